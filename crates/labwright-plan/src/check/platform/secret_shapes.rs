//! What a secret looks like when it stands in the clear: the shapes of known tokens, and values that nobody would type.
//! Knows texts only; where they stand and what is said about it is for the rule.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A kind of token that begins with a word of its own, so that it is known wherever it stands.
struct Token {
    what: &'static str,
    begins: &'static str,
    /// What may follow, and at least how much of it.
    follows: fn(u8) -> bool,
    least: usize,
}

const fn token(what: &'static str, begins: &'static str, follows: fn(u8) -> bool, least: usize) -> Token {
    Token { what, begins, follows, least }
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn dashed(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn path(byte: u8) -> bool {
    dashed(byte) || byte == b'/'
}

/// Prefixes and lengths are those that the issuers document and secret scanners look for.
const TOKENS: &[Token] = &[
    token("an age private key", "AGE-SECRET-KEY-1", upper, 40),
    token("an age private key", "AGE-SECRET-KEY-PQ-1", upper, 40),
    token("a GitHub token", "ghp_", alphanumeric, 36),
    token("a GitHub token", "gho_", alphanumeric, 36),
    token("a GitHub token", "ghu_", alphanumeric, 36),
    token("a GitHub token", "ghs_", alphanumeric, 36),
    token("a GitHub token", "ghr_", alphanumeric, 36),
    token("a GitHub token", "github_pat_", word, 22),
    token("a GitLab token", "glpat-", dashed, 20),
    token("an AWS access key", "AKIA", upper, 16),
    token("an AWS access key", "ASIA", upper, 16),
    token("a Slack token", "xoxa-", dashed, 10),
    token("a Slack token", "xoxb-", dashed, 10),
    token("a Slack token", "xoxp-", dashed, 10),
    token("a Slack token", "xoxr-", dashed, 10),
    token("a Slack token", "xoxs-", dashed, 10),
    token("a Slack webhook", "https://hooks.slack.com/services/", path, 30),
    token("a Discord webhook", "https://discord.com/api/webhooks/", path, 40),
    token("a Discord webhook", "https://discordapp.com/api/webhooks/", path, 40),
    token("a Stripe key", "sk_live_", alphanumeric, 16),
    token("a Stripe key", "rk_live_", alphanumeric, 16),
    token("a Tailscale key", "tskey-", dashed, 16),
    token("a Vault token", "hvs.", dashed, 20),
    token("a Vault token", "hvb.", dashed, 20),
    token("an npm token", "npm_", alphanumeric, 36),
    token("a DigitalOcean token", "dop_v1_", alphanumeric, 64),
    token("a Google API key", "AIza", dashed, 35),
];

/// What the names of secrets have in common, in small letters.
pub const HINTS: &[&str] = &["pass", "pw", "secret", "token", "key"];

const PRIVATE_KEY: &str = "-----BEGIN ";
/// `{"` in base64.
const WEB_TOKEN: &str = "eyJ";
const AUTHORITY: &str = "://";

/// Tells in one pass which texts hold nothing that the rest of this file would find: in a large lab, nearly all.
pub struct Glance(Option<AhoCorasick>);

impl Glance {
    pub fn new() -> Glance {
        let shapes = TOKENS.iter().map(|token| token.begins).chain([PRIVATE_KEY, WEB_TOKEN, AUTHORITY]);
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
        Glance(builder.build(shapes.chain(HINTS.iter().copied())).ok())
    }

    /// Whether a text may hold a token of a known shape, or give a value to the name of a secret.
    pub fn is_worth_a_look(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|words| words.is_match(text))
    }
}

/// Every token of a known shape in a text: its place, and what it is.
pub fn known(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let mut found: Vec<(Range<usize>, &str)> = tokens(text).collect();
    found.extend(private_keys(text).map(|range| (range, "a private key")));
    found.extend(web_tokens(text).map(|range| (range, "a JSON web token")));
    found.extend(tokens_of_receivers(text).map(|range| (range, "the token of a receiver of messages")));
    found.extend(passwords_in_urls(text).map(|range| (range, "a password in an address")));
    found
}

/// Only beginnings of words are looked at: labs have many texts, and nearly all of them are none.
fn tokens(text: &str) -> impl Iterator<Item = (Range<usize>, &'static str)> {
    let bytes = text.as_bytes();
    let starts = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_alphabetic() && begins_a_word(bytes, *at));
    starts.filter_map(|at| {
        let Token { what, begins, follows, least } =
            TOKENS.iter().find(|token| bytes[at..].starts_with(token.begins.as_bytes()))?;
        let rest = &bytes[at + begins.len()..];
        let length = rest.iter().take_while(|byte| follows(**byte)).count();
        let range = at..at + begins.len() + length;
        // The examples of manuals say so.
        let example = text[range.clone()].to_ascii_uppercase().contains("EXAMPLE");
        (length >= *least && !example).then_some((range, *what))
    })
}

fn begins_a_word(text: &[u8], at: usize) -> bool {
    at == 0 || !dashed(text[at - 1]) && text[at - 1] != b'.'
}

/// The first lines of PEM blocks that hold private keys.
fn private_keys(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(PRIVATE_KEY).filter_map(|(at, begin)| {
        let label = &text[at + begin.len()..];
        let end = label.find("-----")?;
        let private = label[..end].ends_with("PRIVATE KEY") || label[..end].ends_with("PRIVATE KEY BLOCK");
        (private && !label[..end].contains('\n')).then(|| at..at + begin.len() + end + 5)
    })
}

/// Three parts in URL-safe base64, of which the first two are JSON.
fn web_tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(WEB_TOKEN).filter_map(|(at, _)| {
        let length = text.as_bytes()[at..].iter().take_while(|byte| dashed(**byte) || **byte == b'.').count();
        let token = text[at..at + length].trim_end_matches('.');
        let parts: Vec<&str> = token.split('.').collect();
        let whole = parts.len() == 3 && parts[1].starts_with(WEB_TOKEN) && parts.iter().all(|part| part.len() >= 10);
        (whole && begins_a_word(text.as_bytes(), at)).then(|| at..at + token.len())
    })
}

/// The passwords of `scheme://user:password@host`.
fn passwords_in_urls(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(AUTHORITY).filter_map(|(colon, separator)| {
        let start = colon + separator.len();
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'`<>|,".contains(c)).unwrap_or(rest.len());
        let user = rest[..end].rfind('@').map(|at| &rest[..at])?;
        let password = user.find(':').map(|at| at + 1)?;
        let scheme = text[..colon].bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let given = !stands_for_another(&user[password..]) && !user[password..].contains("${");
        (scheme && given).then(|| start + password..start + user.len())
    })
}

/// Schemes of receivers whose address is their key, as Apprise and Shoutrrr write them.
const RECEIVERS: &[&str] = &[
    "discord",
    "gotify",
    "gotifys",
    "ifttt",
    "line",
    "mailgun",
    "msteams",
    "pbul",
    "pover",
    "prowl",
    "pushbullet",
    "pushover",
    "sendgrid",
    "slack",
    "teams",
    "telegram",
    "tgram",
];

/// The tokens of `tgram://TOKEN/CHAT`, `discord://ID/TOKEN`, `pover://USER@TOKEN`.
fn tokens_of_receivers(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(AUTHORITY).filter_map(|(colon, separator)| {
        let scheme = text[..colon].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if !RECEIVERS.contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let start = colon + separator.len();
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "?#\"'`<>|,".contains(c)).unwrap_or(rest.len());
        let address = &rest[..end];
        if address.contains("${") || address.contains("{{") || address.contains('…') {
            return None;
        }
        let mut at = start;
        address.split_inclusive(['/', '@', ':']).find_map(|part| {
            let range = at..at + part.trim_end_matches(['/', '@', ':']).len();
            at += part.len();
            is_token(&text[range.clone()]).then_some(range)
        })
    })
}

/// Letters and digits that nobody chose: no number of a chat, no host, no name of a place to be filled in.
fn is_token(part: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| part.bytes().any(|byte| kind(&byte));
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let plain = part.bytes().all(dashed);
    plain
        && ((part.len() >= 15 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic))
            || (part.len() >= 20 && mixed))
}

/// Whether a value is no secret of its own: it is empty, a reference, a place where something is to be filled in, a
/// switch, a path, an address, or known to everybody.
pub fn stands_for_another(value: &str) -> bool {
    let value = value.trim();
    let Some(first) = value.chars().next() else { return true };
    let reference = |at: usize| value[at + 1..].starts_with(|c: char| c.is_ascii_alphanumeric() || "{(_".contains(c));
    let filled_in = value.starts_with('<') && value.ends_with('>')
        || value.contains("{{")
        || value.contains('…')
        || value.contains("...")
        || value.chars().all(|c| c == first)
        || ["redacted", "none", "null", "nil", "unset", "required", "optional", "prompt", "ask"]
            .contains(&value.to_lowercase().as_str());
    let switch =
        ["true", "false", "yes", "no", "on", "off", "enabled", "disabled"].contains(&value.to_lowercase().as_str());
    let elsewhere =
        ["/", "./", "../", "~/", "%d/", "%t/", "file:", "env:", "@/"].iter().any(|start| value.starts_with(start))
            || value.contains("://");
    filled_in
        || switch
        || elsewhere
        || value.match_indices('$').any(|(at, _)| reference(at))
        || is_hash(value)
        || is_public(value)
}

/// What a password was hashed to, in crypt(3)'s and LDAP's forms, and checksums.
fn is_hash(value: &str) -> bool {
    let forms =
        ["$1$", "$2", "$5$", "$6$", "$7$", "$y$", "$argon2", "$scrypt", "$pbkdf2", "{SSHA", "{SHA", "{CRYPT", "sha1:"];
    let checksums = ["sha256:", "sha512:", "sha256-", "sha384-", "sha512-", "md5:"];
    forms.iter().chain(&checksums).any(|form| value.starts_with(form)) || value.contains("@sha256:")
}

fn is_public(value: &str) -> bool {
    let begins =
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "AAAA", "age1", "ENC[", "-----BEGIN CERT", "-----BEGIN PUBLIC"];
    begins.iter().any(|begin| value.starts_with(begin))
}

/// 32 bytes in base64, as WireGuard writes its keys.
pub fn is_wireguard_key(value: &str) -> bool {
    value.len() == 44 && value.ends_with('=') && STANDARD.decode(value).is_ok_and(|bytes| bytes.len() == 32)
}

/// The form of Cloudflare's API tokens, which have no sign of their own: 40 letters, digits, `_` and `-`.
pub fn is_cloudflare_token(value: &str) -> bool {
    value.len() == 40 && value.bytes().all(dashed) && looks_random(value)
}

/// At least 20 characters that no person chose: no words, and hard to guess.
pub fn looks_random(value: &str) -> bool {
    const LEAST: usize = 20;
    if value.chars().count() < LEAST || value.contains(char::is_whitespace) || !value.is_ascii() {
        return false;
    }
    // Of the 16 digits of hexadecimal, even a random text of 20 seldom has more than 3.5 bits each.
    let least = if value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') { 2.8 } else { 3.5 };
    bits(value) >= least && value.split(|c: char| !c.is_ascii_alphanumeric()).any(is_jumbled)
}

/// Shannon's entropy of one character.
fn bits(value: &str) -> f64 {
    let mut counts: BTreeMap<u8, f64> = BTreeMap::new();
    value.bytes().for_each(|byte| *counts.entry(byte).or_default() += 1.0);
    let all = value.len() as f64;
    counts.values().map(|count| count / all).map(|share| -share * share.log2()).sum()
}

/// Whether a run of letters and digits is no word: digits stand between its letters, or capitals all over it.
/// `postgres16` and `getUserName` are words.
fn is_jumbled(run: &str) -> bool {
    let bytes = run.as_bytes();
    let pairs = |test: fn(u8, u8) -> bool| bytes.windows(2).filter(|pair| test(pair[0], pair[1])).count();
    let turns = pairs(|a, b| a.is_ascii_digit() != b.is_ascii_digit());
    let least = if bytes.iter().all(u8::is_ascii_hexdigit) { 2 } else { 3 };
    let rises = pairs(|a, b| a.is_ascii_lowercase() && b.is_ascii_uppercase());
    let shouts = pairs(|a, b| a.is_ascii_uppercase() && b.is_ascii_uppercase());
    bytes.len() >= 8 && (turns >= least || rises * 6 >= bytes.len() && shouts * 8 >= bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that no file of this project holds the whole of one.
    fn tokens() -> Vec<(String, &'static str)> {
        let random = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2";
        let upper = random.to_uppercase();
        vec![
            (format!("AGE-SECRET-KEY-1{}", &upper[..58]), "an age private key"),
            (format!("ghp_{}", &random[..36]), "a GitHub token"),
            (format!("github_pat_{}", &random[..40]), "a GitHub token"),
            (format!("glpat-{}", &random[..20]), "a GitLab token"),
            (format!("AKIA{}", &upper[..16]), "an AWS access key"),
            (format!("xoxb-{}", &random[..30]), "a Slack token"),
            (format!("sk_live_{}", &random[..24]), "a Stripe key"),
            (format!("tskey-auth-{}", &random[..24]), "a Tailscale key"),
            (format!("hvs.{}", &random[..24]), "a Vault token"),
            (format!("eyJ{0}.eyJ{0}.{0}", &random[..20]), "a JSON web token"),
            (format!("https://hooks.slack.com/services/T0/B0/{}", &random[..30]), "a Slack webhook"),
            (format!("https://discord.com/api/webhooks/1234567890/{}", &random[..60]), "a Discord webhook"),
            (format!("-----BEGIN {}PRIVATE KEY-----", "OPENSSH "), "a private key"),
            (format!("-----BEGIN PGP {} BLOCK-----", "PRIVATE KEY"), "a private key"),
        ]
    }

    #[test]
    fn tokens_are_known_wherever_they_stand() {
        for (token, what) in tokens() {
            for text in [token.clone(), format!("x = \"{token}\",\ny"), format!("ø {token}")] {
                let found = known(&text);
                assert_eq!(found.len(), 1, "{text}: {found:?}");
                assert_eq!((&text[found[0].0.clone()], found[0].1), (token.as_str(), what));
            }
            let cut = &token[..token.len() / 3];
            assert_eq!(known(cut), [], "{cut}");
        }
    }

    #[test]
    fn passwords_in_addresses() {
        for (text, password) in [
            ("postgres://app:hunter2@db:5432/app", "hunter2"),
            ("x smb://u:a:b@c@nas/share", "a:b@c"),
            ("https://:hunter2@x", "hunter2"),
        ] {
            let found = known(text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(&text[found[0].0.clone()], password);
        }
        for text in [
            "pover://user@token",
            "https://x/y:z@w",
            "https://user:${secret.pg}@x",
            "https://user:$PASSWORD@x",
            "https://user:***@x",
            "https://user:<password>@x",
            "https://user:@x",
            "http://a:80, http://b@c",
            "ssh://git@github.com:22/x",
            "s3:https://s3.example.net/reference-lab",
        ] {
            assert_eq!(known(text), [], "{text}");
        }
    }

    #[test]
    fn receivers_whose_address_is_their_key() {
        for (text, token) in [
            ("tgram://123456789:AAbcdEFghIJklMNopQRstUVwxYZ012345/987654321", "AAbcdEFghIJklMNopQRstUVwxYZ012345"),
            ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "JHMHI8qBe7bk2ZwO5U711o3dV_js"),
            ("pover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG@azGDORePK8gMaC0QOYAMyEEuzJnyUi", "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"),
            ("gotifys://push.example.net/A4zQ9bL2mK7pXwR", "A4zQ9bL2mK7pXwR"),
        ] {
            let found: Vec<&str> = known(text).into_iter().map(|(range, _)| &text[range]).collect();
            assert_eq!(found, [token], "{text}");
        }
        for text in [
            "tgram://${secret.bot}/987654321",
            "discord://WEBHOOK_ID/WEBHOOK_TOKEN",
            "ntfy://ntfy.sh/my-topic-of-the-lab-2026",
            "slack://alerts",
            "https://example.net/a1B2c3D4e5F6g7H8",
            "gotify://push.example.net/…",
            "…tgram://…",
        ] {
            assert_eq!(known(text), [], "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_token_and_is_none() {
        for text in [
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_token",
            "my-ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN \nPRIVATE KEY-----",
            "tskey-auth-…",
            "eyJhbGciOiJIUzI1NiJ9",
            "https://hooks.slack.com/services/",
            "AGE-SECRET-KEY-1…",
        ] {
            assert_eq!(known(text), [], "{text}");
        }
    }

    #[test]
    fn random_and_chosen_values() {
        for text in [
            "kQ7vX2mN9pL4wR8tY3zB",
            "550e8400-e29b-41d4-a716-446655440000",
            "d41d8cd98f00b204e9800998ecf8427e",
            "9f86d081884c7d659a2f",
            "dGhpc0lzTm90QVJhbmRvbVRleHQ5OTE4MjczNjQ1",
            "qKMtzRWxBnvLPgdHTsYcJfXw",
        ] {
            assert!(looks_random(text), "{text}: {}", bits(text));
        }
        for text in [
            "short7Q2",
            "postgres-16-database-password",
            "immich_database_password",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "ThisIsTheNameOfASecretOfTheLab",
            "correct horse battery staple 1 2 3",
            "infrastructure/secrets-2024.yaml",
            "homeassistant.local.example.net",
            "2026-01-02T10:20:30+02:00",
            "ørsted1ørsted2ørsted3ørsted4",
        ] {
            assert!(!looks_random(text), "{text}");
        }
    }

    #[test]
    fn what_stands_for_another() {
        for text in [
            "",
            "${secret.pg}",
            "$PASSWORD",
            "$(cat /run/x)",
            "{{ password }}",
            "<password>",
            "…",
            "********",
            "yes",
            "None",
            "/run/secrets/pg",
            "%d/pg",
            "https://x",
            "$2y$05$abcdefghijklmnopqrstuv",
            "sha256:0123",
            "postgres:16.4@sha256:0123",
            "ssh-ed25519 AAAA",
            "age1qyqs",
            "ENC[AES256_GCM,data:x]",
        ] {
            assert!(stands_for_another(text), "{text}");
        }
        for text in ["hunter2", "a$", "pa$-x", "changeme", "password", "x/y", "yes!"] {
            assert!(!stands_for_another(text), "{text}");
        }
    }

    #[test]
    fn keys_without_a_sign() {
        assert!(is_wireguard_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
        assert!(!is_wireguard_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"));
        assert!(is_cloudflare_token("a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"));
        assert!(!is_cloudflare_token("the-name-of-a-token-that-has-forty-chars"));
    }
}
