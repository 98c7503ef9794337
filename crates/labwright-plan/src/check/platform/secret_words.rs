//! Whether a name and its value speak of a secret, and where a text gives values to names.
//! Knows no lab: what is found is the rule's to tell.

use std::ops::Range;

use labwright_model::Severity;

use super::secret_shapes::{HINTS, is_cloudflare_token, is_wireguard_key, looks_random, stands_for_another};

/// Whether a key is worth taking apart: most have nothing to do with secrets.
pub fn speaks_of_anything(key: &str) -> bool {
    let has = |hint: &&str| key.as_bytes().windows(hint.len()).any(|part| part.eq_ignore_ascii_case(hint.as_bytes()));
    HINTS.iter().any(has)
}

/// The name that a secret would have whose value stands under this key in the clear; `None` where it is no secret.
pub fn secret_in_the_clear(key: &str, value: &str) -> Option<String> {
    let shaped = || !super::secret_shapes::known(value).is_empty();
    (judge(key, value).is_some() || shaped()).then(|| match secret_name(key) {
        name if name == "NAME" => key.to_ascii_lowercase(),
        name => name,
    })
}

/// What is wrong with a value under a key, if anything is.
pub fn judge(key: &str, value: &str) -> Option<(Severity, String)> {
    if !speaks_of_anything(key) {
        return None;
    }
    let words = words(key);
    let value = value.trim();
    if !speaks_of_a_secret(&words) || stands_for_another(value) {
        return None;
    }
    let joined = words.concat();
    if (joined.contains("privatekey") || joined.contains("presharedkey")) && is_wireguard_key(value) {
        return Some((Severity::Error, "a WireGuard key stands here in the clear".into()));
    }
    if joined.contains("token") && is_cloudflare_token(value) {
        return Some((Severity::Error, format!("the token `{key}` stands here in the clear")));
    }
    if is_a_password(&words) || (is_variable(key) && is_signed_with(&words) && is_chosen(value)) {
        return Some((Severity::Warning, format!("the value of `{key}` stands here in the clear")));
    }
    looks_random(value).then(|| (Severity::Warning, format!("the value of `{key}` looks like a secret in the clear")))
}

/// The words of a key, in small letters: `dbPassword`, `DB_PASSWORD` and `db-password` are the same. Numbers at the end
/// do not count.
pub fn words(key: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = '_';
    for c in key.chars() {
        if !c.is_alphanumeric() || (before.is_lowercase() && c.is_uppercase()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    while words.last().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
        words.pop();
    }
    words
}

/// Whether the value of a key is a secret, and not something about one: its file, its length, its name.
fn speaks_of_a_secret(words: &[String]) -> bool {
    const ABOUT: &[&str] = &[
        "file",
        "files",
        "path",
        "dir",
        "folder",
        "command",
        "cmd",
        "name",
        "names",
        "id",
        "url",
        "uri",
        "endpoint",
        "policy",
        "length",
        "age",
        "days",
        "ttl",
        "timeout",
        "expiry",
        "expires",
        "lifetime",
        "type",
        "kind",
        "ref",
        "from",
        "env",
        "hash",
        "algorithm",
        "method",
        "stdin",
        "authentication",
        "prompt",
        "change",
        "expire",
        "rotation",
        "version",
    ];
    let joined = words.concat();
    let about = words.last().is_some_and(|last| ABOUT.contains(&last.as_str()));
    let secret = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "privatekey",
        "presharedkey",
        "authkey",
        "accesskey",
        "appkey",
        "encryptionkey",
        "signingkey",
        "masterkey",
    ]
    .iter()
    .any(|word| joined.contains(word));
    (secret || is_a_password(words)) && !about && !words.iter().any(|word| word == "public")
}

/// Whether a key is written as variables of environments are: `ADMIN_TOKEN`.
fn is_variable(key: &str) -> bool {
    key.contains('_') && !key.chars().any(|c| c.is_ascii_lowercase())
}

/// Whether a variable is what programs sign, or let in, with: any text there is a secret, however weak.
fn is_signed_with(words: &[String]) -> bool {
    const SIGNED: &[&[&str]] = &[
        &["secret", "key"],
        &["app", "key"],
        &["encryption", "key"],
        &["signing", "key"],
        &["master", "key"],
        &["admin", "token"],
        &["jwt", "secret"],
        &["session", "secret"],
        &["cookie", "secret"],
        &["client", "secret"],
        &["secret", "access", "key"],
    ];
    let ends = |tail: &[&str]| words.len() >= tail.len() && words[words.len() - tail.len()..].iter().eq(tail);
    SIGNED.iter().any(|tail| ends(tail))
}

/// Whether somebody chose this as a secret: words in a sentence of their own, yes and no, and paths are none, nor what
/// says itself that it names a secret kept elsewhere.
fn is_chosen(value: &str) -> bool {
    let names_another = value.contains(['-', '_']) && !value.bytes().any(|byte| byte.is_ascii_digit());
    value.len() >= 6 && !value.contains(char::is_whitespace) && !names_another
}

/// Whether whatever stands there is a password, however weak.
fn is_a_password(words: &[String]) -> bool {
    match words {
        [.., last] if ["password", "passwd", "passphrase", "pwd", "dbpass"].contains(&last.as_str()) => true,
        // Written as one word: `WEBPASSWORD`, `PGPASSWORD`, `rootpassword`.
        [.., last] if last.ends_with("password") && last != "nopassword" => true,
        [_, .., last] => last == "pass" || last == "pw",
        _ => false,
    }
}

/// A name for the secret under such a key.
pub fn secret_name(key: &str) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let words = words(key);
    // A whole file or a command gives none.
    match speaks_of_a_secret(&words) {
        true => words.join("_").chars().map(known).collect(),
        false => "NAME".into(),
    }
}

/// The values that a text gives to names: `NAME=value` in environments, units, commands and addresses, `--name value` in
/// commands, `"name": "value"` in JSON; and in texts of several lines `name: value` and `name = value`.
pub fn assignments(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let several = text.contains('\n');
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if several && line.trim_start().starts_with(['#', ';']) || line.trim_start().starts_with("//") {
            continue;
        }
        let separators = line.match_indices(['=', ':']).filter_map(|(at, _)| assignment(line, at, several));
        let values = separators.chain(options(line));
        found.extend(values.map(|(key, range)| (key, start + range.start..start + range.end)));
    }
    found
}

/// The name before a separator and the value behind it.
fn assignment(line: &str, separator: usize, several: bool) -> Option<(&str, Range<usize>)> {
    let colon = line[separator..].starts_with(':');
    let before = line[..separator].trim_end();
    let (key, quoted_key) = match before.strip_suffix(['"', '\'']) {
        Some(inner) => (&inner[inner.rfind(['"', '\''])? + 1..], true),
        None => {
            let start = before
                .rfind(|c: char| !is_name_part(c))
                .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
            // `$NAME = …` compares, and `${NAME=…}` has a value if nobody gave one.
            if before[..start].ends_with('$') || before[..start].ends_with("${") {
                return None;
            }
            (&before[start..], false)
        }
    };
    let key = key.trim_start_matches('-');
    let rest = &line[separator + 1..];
    let value = rest.trim_start();
    let spaced = before.len() < separator || value.len() < rest.len();
    // In one line of prose, a word with a colon is no key; in a file it is.
    let fits = match colon {
        true => quoted_key || several && rest.starts_with(char::is_whitespace),
        false => several || !spaced,
    };
    if !fits || !is_name(key) || value.starts_with(['=', '~']) {
        return None;
    }
    let start = line.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &value[1..];
        let end = inner.find(quote).unwrap_or(inner.trim_end().len());
        return Some((key, start + 1..start + 1 + end));
    }
    let end = value.find(|c: char| c.is_whitespace() || ",;&\"'}".contains(c)).unwrap_or(value.len());
    let ends = value[end..].trim_start().chars().next().is_none_or(|c| ",;}])#".contains(c));
    let code = value[..end].contains(['(', ')', '[', ']', '{', '<', '>', '|', '`']);
    ((ends || !spaced) && !code).then_some((key, start..start + end))
}

/// `--name value`
fn options(line: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut option: Option<&str> = None;
    line.split_whitespace().filter_map(move |word| {
        let name = option.take().filter(|_| !word.starts_with('-'));
        option = word.strip_prefix("--").filter(|name| is_name(name));
        let value = word.trim_matches(['"', '\'']);
        let start = value.as_ptr() as usize - line.as_ptr() as usize;
        Some((name?, start..start + value.len()))
    })
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

pub fn is_name(key: &str) -> bool {
    !key.is_empty() && key.len() <= 100 && key.chars().all(is_name_part)
}
