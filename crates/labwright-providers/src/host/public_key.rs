//! Lines of `authorized_keys`: what is a public key, and which of two lines speak of the same one.
//! Judges no key's strength, and never repeats what it was given: it may be a secret.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// The types that OpenSSH takes, as they stand at the start of a key.
const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// How private keys begin, in the forms that people have lying about.
const PRIVATE: &[&str] = &["PRIVATE KEY", "b3BlbnNzaC1rZXktdjE", "PuTTY-User-Key-File", "AGE-SECRET-KEY"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It looks like the secret half.
    Private,
    /// It is no key at all.
    NoKey,
}

/// The lines of a declared key, each of them one public key. Blank lines and comments say nothing.
pub fn lines(text: &str) -> Result<Vec<String>, Fault> {
    if PRIVATE.iter().any(|sign| text.contains(sign)) {
        return Err(Fault::Private);
    }
    let lines: Vec<&str> = entries(text).collect();
    if lines.is_empty() || lines.iter().any(|line| key(line).is_none()) {
        return Err(Fault::NoKey);
    }
    Ok(lines.into_iter().map(str::to_string).collect())
}

/// The lines of an `authorized_keys` file that are not blank and not comments.
pub fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The key itself, without its options and comment: what makes two lines speak of the same one.
pub fn key(line: &str) -> Option<&str> {
    let mut words = words(line.trim());
    let first = words.next()?;
    let kind = if TYPES.contains(&first) { first } else { words.next()? };
    let blob = words.next()?;
    (TYPES.contains(&kind) && is_blob_of(blob, kind)).then_some(blob)
}

/// A key names its type a second time inside, after that name's length.
fn is_blob_of(blob: &str, kind: &str) -> bool {
    let bytes = STANDARD.decode(blob).or_else(|_| STANDARD_NO_PAD.decode(blob)).unwrap_or_default();
    let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
    bytes.len() > 4 + kind.len() && bytes[..4] == length && bytes[4..].starts_with(kind.as_bytes())
}

/// Words apart by blanks; options may hold blanks between quotes.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t']);
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.find(|c: char| {
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            !quoted && (c == ' ' || c == '\t')
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
pub const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMf8gA4bG6gCWPvZX0dTyLx2IDyN9XoAYrnfWTrvqGEQ";
#[cfg(test)]
pub const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_with_and_without_options_and_comments() {
        let blob = ED25519.split(' ').nth(1);
        for line in [
            ED25519.to_string(),
            format!("{ED25519} stian@laptop with blanks"),
            format!("restrict,command=\"/bin/echo \\\"a b\\\" c\",no-pty {ED25519} x"),
            format!("  from=\"10.0.0.0/8\"\t{ED25519}"),
        ] {
            assert_eq!(key(&line), blob, "{line}");
        }
    }

    #[test]
    fn whatever_is_no_public_key_is_refused_without_being_told() {
        let swapped = ED25519.replace("ssh-ed25519", "ssh-rsa");
        for text in
            ["", "ssh-ed25519", "ssh-ed25519 AAAA", "stian", "# only a comment", &swapped, "ssh-dss AAAAB3NzaC1kc3M="]
        {
            assert_eq!(lines(text), Err(Fault::NoKey), "{text}");
        }
        for text in [
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==",
            "-----BEGIN RSA PRIVATE KEY-----",
        ] {
            assert_eq!(lines(text), Err(Fault::Private));
        }
    }

    #[test]
    fn a_block_of_several_keys_is_several_keys() {
        let text = format!("# laptop\n{ED25519} a\n\n{OTHER} b\n");
        assert_eq!(lines(&text).unwrap(), [format!("{ED25519} a"), format!("{OTHER} b")]);
    }
}
