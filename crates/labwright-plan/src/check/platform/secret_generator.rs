//! LW-PLT-009: a generator that makes no sense.

use std::collections::BTreeSet;

use labwright_model::lab::{Generate, GenerateKind};
use labwright_model::store::UNENCRYPTED;
use labwright_model::{Finding, Findings, Span, Spanned, Table, finding};

use crate::check::{Case, Examples, Rule};

pub struct SenselessGenerator;

const CODE: &str = "LW-PLT-009";
/// What the generators themselves demand, so that a lab which passes here can be made.
const LEAST_BITS: f64 = 64.0;
const MOST: u32 = 4096;
const MOST_DAYS: u32 = 36_500;
/// bcrypt looks at no more of a password.
const BCRYPT_BYTES: u32 = 72;
const ALPHABETS: &[(&str, usize)] = &[("alphanumeric", 62), ("letters", 52), ("digits", 10), ("symbols", 67)];

impl Rule for SenselessGenerator {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a generator that makes no sense"
    }

    fn doc(&self) -> &'static str {
        "`platform.secrets.generate` says how secrets are made, and one entry cannot be followed:\n\n\
         - A certificate without `ca` or `names`, or with a `ca` that is no entry of kind `ca`.\n\
         - `htpasswd` or `bcrypt` without `of`, or of something that is not declared; `htpasswd` without `user`. What they \
         are made from may be of kind `ask`. More than 72 bytes are not hashed by bcrypt.\n\
         - Secrets that are made from each other.\n\
         - A key that means nothing to the kind, such as `length` on `hex`.\n\
         - Fewer than 64 bits of entropy: too short for its alphabet, or fewer than 8 bytes.\n\
         - A validity of no days, or of more than a hundred years.\n\
         - A name that stays in the clear in the store, because it ends in `_unencrypted`, or that the store needs itself.\n\n\
         It comes from how the kinds work: bcrypt-ruby/bcrypt-ruby#283 (two passwords with the same first 72 bytes \
         have the same hash), RFC 5280 (a certificate has an issuer and subject names), and the usage pages of \
         SOPS (`_unencrypted`, `sops`). The 64 bits are what OWASP's cheat sheet on session management asks of a \
         value that must not be guessed.\n\n\
         The way out stands in the finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  secrets:\n    age: secrets.yaml\n    generate:\n      app: { kind: password, length: 8 }\n      other: { kind: htpasswd, user: operator, of: pg }",
            passes: "platform:\n  secrets:\n    age: secrets.yaml\n    generate:\n      app: { kind: password, length: 24 }\n      other: { kind: htpasswd, user: operator, of: pg }\n      pg: ask",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(declared) = &parsed.lab.platform.secrets else { return };
        let all = &declared.generate;
        for (name, entry) in all.iter() {
            let one = One { name, entry, all };
            let faults = [one.name_fault(), one.strength(), one.days(), one.certificate(), one.hash()];
            let faults = one.foreign_keys().into_iter().chain(faults.into_iter().flatten());
            findings.extend(faults.map(|Fault { key, span, message, help }| {
                let dot = if key.is_empty() { "" } else { "." };
                let at = format!("platform.secrets.generate.{name}{dot}{key}");
                Finding::error(CODE, at, span, message).help(help)
            }));
        }
        cycles(all, findings);
    }
}

struct Fault {
    key: &'static str,
    span: Span,
    message: String,
    help: String,
}

/// One entry among all.
struct One<'a> {
    name: &'a str,
    entry: &'a Spanned<Generate>,
    all: &'a Table<Generate>,
}

impl One<'_> {
    fn fault(&self, key: &'static str, span: Option<Span>, message: String, help: impl Into<String>) -> Option<Fault> {
        Some(Fault { key, span: span.unwrap_or(self.entry.span), message, help: help.into() })
    }

    fn name_fault(&self) -> Option<Fault> {
        let name = self.name;
        if name.split('.').any(|part| part.ends_with(UNENCRYPTED)) {
            let help = format!("leave `{UNENCRYPTED}` out of the name");
            return self.fault("", None, format!("secret `{name}` would stand in the store in the clear"), help);
        }
        if name == "sops" || name.starts_with("sops.") {
            return self.fault("", None, format!("`{name}` is the store's own block"), "give the secret another name");
        }
        None
    }

    /// The keys that are given and mean nothing to the kind.
    fn foreign_keys(&self) -> Vec<Fault> {
        let entry = &self.entry.value;
        let takes = takes(entry.kind);
        let given: [(&'static str, Option<Span>); 9] = [
            ("length", entry.length.as_ref().map(|value| value.span)),
            ("alphabet", entry.alphabet.as_ref().map(|value| value.span)),
            ("bytes", entry.bytes.as_ref().map(|value| value.span)),
            ("names", entry.names.first().map(|value| value.span)),
            ("ca", entry.ca.as_ref().map(|value| value.span)),
            ("days", entry.days.as_ref().map(|value| value.span)),
            ("of", entry.of.as_ref().map(|value| value.span)),
            ("user", entry.user.as_ref().map(|value| value.span)),
            ("comment", entry.comment.as_ref().map(|value| value.span)),
        ];
        let foreign = given.into_iter().filter(|(key, _)| !takes.contains(key));
        let fault = |(key, span): (&'static str, Option<Span>)| {
            let span = span?;
            let kind = entry.kind.word();
            let known: Vec<String> = takes.iter().map(|key| format!("`{key}`")).collect();
            let help = match known.as_slice() {
                [] => format!("remove it: `{kind}` takes no settings"),
                known => format!("remove it: `{kind}` takes {}", known.join(", ")),
            };
            self.fault(key, Some(span), format!("`{key}` means nothing to secret `{}`, a `{kind}`", self.name), help)
        };
        foreign.filter_map(fault).collect()
    }

    fn strength(&self) -> Option<Fault> {
        let entry = &self.entry.value;
        match entry.kind {
            GenerateKind::Password => self.password(entry),
            GenerateKind::Hex | GenerateKind::Base64 => {
                let bytes = entry.bytes.as_ref()?;
                let wrong = |message, help: &str| self.fault("bytes", Some(bytes.span), message, help);
                match bytes.value {
                    0..8 => wrong(
                        format!("{} bytes are {} bits, and 64 are the least", bytes.value, bytes.value * 8),
                        "write `bytes: 8` or more; 32 is usual",
                    ),
                    8..=MOST => None,
                    _ => wrong(format!("{} bytes are more than {MOST}", bytes.value), "32 is usual"),
                }
            }
            _ => None,
        }
    }

    /// As the generator counts it: every character is drawn by itself, and the first of `symbols` is a letter or digit.
    fn password(&self, entry: &Generate) -> Option<Fault> {
        let alphabet = entry.alphabet.as_ref();
        let named = alphabet.map_or("alphanumeric", |alphabet| alphabet.value.as_str());
        let (among, first) = match ALPHABETS.iter().find(|(word, _)| *word == named) {
            Some((word, size)) => (*size, if *word == "symbols" { 62 } else { *size }),
            None => {
                if let Some(near) = finding::nearest(named, ALPHABETS.iter().map(|(word, _)| *word)) {
                    let message = format!("the alphabet of `{}` would be the letters of `{named}` alone", self.name);
                    let help = format!("did you mean `{near}`?");
                    return self.fault("alphabet", alphabet.map(|alphabet| alphabet.span), message, help);
                }
                let own: BTreeSet<char> = named.chars().collect();
                if own.iter().any(|c| c.is_control()) {
                    let message = format!("the alphabet of `{}` has a control character", self.name);
                    let help = "use characters that can be typed";
                    return self.fault("alphabet", alphabet.map(|alphabet| alphabet.span), message, help);
                }
                (own.len(), own.len())
            }
        };
        if among < 2 {
            let message = format!("the alphabet of `{}` has fewer than two characters", self.name);
            let help = "leave `alphabet` out for letters and digits";
            return self.fault("alphabet", alphabet.map(|alphabet| alphabet.span), message, help);
        }
        let length = entry.length.as_ref().map_or(32, |length| length.value);
        let span = entry.length.as_ref().map(|length| length.span).or(alphabet.map(|alphabet| alphabet.span));
        if length > MOST {
            return self.fault("length", span, format!("{length} characters are more than {MOST}"), "32 is usual");
        }
        let (each, first) = ((among as f64).log2(), (first as f64).log2());
        let bits = if length == 0 { 0.0 } else { first + f64::from(length - 1) * each };
        if bits >= LEAST_BITS {
            return None;
        }
        let enough = ((LEAST_BITS - first) / each).ceil() + 1.0;
        let message = format!("{length} characters out of {among} are {:.0} bits, and 64 are the least", bits.floor());
        self.fault("length", span, message, format!("write `length: {enough}` or more; 32 is usual"))
    }

    fn days(&self) -> Option<Fault> {
        let days = self.entry.days.as_ref()?;
        if !takes(self.entry.kind).contains(&"days") || (1..=MOST_DAYS).contains(&days.value) {
            return None;
        }
        let message = format!("a certificate is not valid for {} days", days.value);
        self.fault("days", Some(days.span), message, format!("write 1 to {MOST_DAYS}; `days: 365` is usual"))
    }

    fn certificate(&self) -> Option<Fault> {
        let entry = &self.entry.value;
        if entry.kind != GenerateKind::Certificate {
            return None;
        }
        let name = self.name;
        let Some(ca) = &entry.ca else {
            let authority = self.all.iter().find(|(_, entry)| entry.kind == GenerateKind::Ca);
            let help = match authority {
                Some((authority, _)) => format!("name who signs it: `ca: {authority}`"),
                None => "declare an authority, `lab_ca: ca`, and name it: `ca: lab_ca`".to_string(),
            };
            return self.fault("ca", None, format!("certificate `{name}` is signed by nobody"), help);
        };
        match self.all.get(&ca.value) {
            Some(source) if source.kind == GenerateKind::Ca => {}
            Some(_) if ca.value == name => {
                let help = "name an entry of kind `ca`: a certificate does not sign itself";
                return self.fault("ca", Some(ca.span), format!("certificate `{name}` would sign itself"), help);
            }
            Some(source) => {
                let kind = source.kind.word();
                let message = format!("`{}` is a `{kind}`, and no authority that could sign `{name}`", ca.value);
                return self.fault("ca", Some(ca.span), message, "name an entry of kind `ca`");
            }
            None => {
                let message = format!("there is no authority `{}` that could sign `{name}`", ca.value);
                return self.fault("ca", Some(ca.span), message, self.unknown(&ca.value, "ca", Some(GenerateKind::Ca)));
            }
        }
        if entry.names.is_empty() {
            let help = "write the names and addresses that it is reached by: `names: [nas.lab.home.arpa, 10.0.20.5]`";
            return self.fault("names", None, format!("certificate `{name}` is for no name"), help);
        }
        None
    }

    fn hash(&self) -> Option<Fault> {
        let entry = &self.entry.value;
        if !matches!(entry.kind, GenerateKind::Htpasswd | GenerateKind::Bcrypt) {
            return None;
        }
        let (name, kind) = (self.name, entry.kind.word());
        let Some(of) = &entry.of else {
            let help = "name the secret that it is made from: `of: NAME`";
            return self.fault("of", None, format!("`{name}` is the {kind} of nothing"), help);
        };
        match self.all.get(&of.value) {
            None => {
                let message = format!("`{name}` is made from `{}`, which `generate` does not declare", of.value);
                return self.fault("of", Some(of.span), message, self.unknown(&of.value, "of", None));
            }
            Some(source) => {
                if let Some(bytes) = bytes(source).filter(|bytes| *bytes > BCRYPT_BYTES) {
                    let message = format!("bcrypt takes {BCRYPT_BYTES} bytes, and `{}` has {bytes}", of.value);
                    let help = format!("make `{}` shorter: 32 characters are plenty", of.value);
                    return self.fault("of", Some(of.span), message, help);
                }
            }
        }
        if entry.kind == GenerateKind::Bcrypt {
            return None;
        }
        match &entry.user {
            None => self.fault("user", None, format!("the htpasswd line `{name}` is for no user"), "add `user: NAME`"),
            Some(user)
                if user.is_empty() || user.len() > 255 || user.contains(|c: char| c == ':' || c.is_control()) =>
            {
                let message = format!("the user of `{name}` cannot stand in an htpasswd line");
                self.fault("user", Some(user.span), message, "write 1 to 255 characters without `:`")
            }
            Some(_) => None,
        }
    }

    /// What to do about a source that is not declared.
    fn unknown(&self, typed: &str, key: &str, kind: Option<GenerateKind>) -> String {
        let fitting =
            self.all.iter().filter(|(name, entry)| *name != self.name && kind.is_none_or(|kind| entry.kind == kind));
        match finding::nearest(typed, fitting.map(|(name, _)| name.as_str())) {
            Some(near) => format!("did you mean `{key}: {near}`?"),
            None => format!("declare it: `{typed}: {}`", kind.map_or("ask", GenerateKind::word)),
        }
    }
}

/// The keys that a kind takes, beside `kind` and `rotate_after`.
fn takes(kind: GenerateKind) -> &'static [&'static str] {
    match kind {
        GenerateKind::Password => &["length", "alphabet"],
        GenerateKind::Hex | GenerateKind::Base64 => &["bytes"],
        GenerateKind::Uuid | GenerateKind::WireGuard | GenerateKind::AgeKey => &[],
        GenerateKind::SshKey | GenerateKind::Ask => &["comment"],
        GenerateKind::Ca => &["comment", "days"],
        GenerateKind::Certificate => &["ca", "names", "days"],
        GenerateKind::Htpasswd => &["user", "of"],
        GenerateKind::Bcrypt => &["of"],
    }
}

/// How long a secret will be in bytes, where that is known and it is one that people hash.
fn bytes(source: &Generate) -> Option<u32> {
    let given = source.bytes.as_ref().map_or(32, |bytes| bytes.value);
    match source.kind {
        GenerateKind::Password => Some(source.length.as_ref().map_or(32, |length| length.value)),
        GenerateKind::Hex => Some(given.saturating_mul(2)),
        GenerateKind::Base64 => Some(given.div_ceil(3).saturating_mul(4)),
        _ => None,
    }
}

/// The entry that another is made from.
fn source(entry: &Generate) -> Option<&Spanned<String>> {
    match entry.kind {
        GenerateKind::Certificate => entry.ca.as_ref(),
        GenerateKind::Htpasswd | GenerateKind::Bcrypt => entry.of.as_ref(),
        _ => None,
    }
}

/// Every entry is made from one other at most, so whoever comes back to where it began stands on a circle.
fn cycles(all: &Table<Generate>, findings: &mut Findings) {
    for (start, entry) in all.iter() {
        let Some(first) = source(entry) else { continue };
        let mut chain: Vec<&str> = vec![start];
        let mut next = Some(first);
        while let Some(name) = next.filter(|name| !chain.contains(&name.value.as_str())) {
            chain.push(&name.value);
            next = all.get(&name.value).and_then(|entry| source(entry));
        }
        // Told once, at the first of its names; a certificate that signs itself was told as such.
        let closed = next.is_some_and(|name| name.value == *start) && chain.iter().min() == chain.first();
        if !closed || (chain.len() == 1 && entry.kind == GenerateKind::Certificate) {
            continue;
        }
        let message = match chain.as_slice() {
            [only] => format!("secret `{only}` is made from itself"),
            _ => {
                let path: Vec<String> = chain.iter().chain([&start.as_str()]).map(|name| format!("`{name}`")).collect();
                format!("secrets are made from each other: {}", path.join(" from "))
            }
        };
        let help = "make one of them from nothing: of kind `password`, or `ask`";
        let at = format!("platform.secrets.generate.{start}");
        let finding = Finding::error(CODE, at, first.span, message).help(help);
        let others = chain.iter().skip(1).filter_map(|name| source(all.get(*name)?));
        findings.push(others.fold(finding, |finding, of| finding.related(of.span, "the way on")));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::check::tests::says_of;

    /// Findings about generators that are otherwise in order: each is referred to.
    fn generate(entries: &str, golden: Expect) {
        let names: Vec<&str> =
            entries.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
        let indented: String = entries.trim().lines().map(|line| format!("      {}\n", line.trim())).collect();
        let used: String = names.iter().map(|name| format!(" ${{secret.{name}}}")).collect();
        let store: String =
            names.iter().filter(|name| **name != "sops").map(|name| format!("{name}: ENC[x]\n")).collect();
        says_of(
            &format!(
                "platform:\n  secrets:\n    age: secrets.yaml\n    recovery: age1recovery\n    generate:\n{indented}compute: {{ hosts: {{ desk: {{ local: true, files: {{ /a: {{ content: \"{used}\" }} }} }} }} }}\n"
            ),
            &format!("{store}sops: {{ age: [{{ recipient: age1recovery }}] }}\n"),
            golden,
        );
    }

    #[test]
    fn everything_in_order() {
        generate(
            "
            a: password
            b: { kind: password, length: 20, alphabet: digits }
            c: { kind: password, length: 16, alphabet: 0123456789abcdef }
            d: { kind: hex, bytes: 8, rotate_after: 90d }
            e: base64
            f: uuid
            g: { kind: ssh-key, comment: root@x }
            h: wireguard
            i: age-key
            j: { kind: ca, days: 3650, comment: lab }
            k: { kind: certificate, ca: j, names: [x.lab.home.arpa, 10.0.0.1], days: 90 }
            l: { kind: htpasswd, user: x, of: a }
            m: { kind: bcrypt, of: n }
            n: { kind: ask, comment: from the provider }
            ",
            expect![[""]],
        );
    }

    #[test]
    fn certificates() {
        generate(
            "
            none: { kind: certificate, names: x }
            lab_ca: ca
            near: { kind: certificate, names: x, ca: lab_cq }
            far: { kind: certificate, names: x, ca: something }
            other: { kind: certificate, names: x, ca: near }
            own: { kind: certificate, names: x, ca: own }
            nameless: { kind: certificate, ca: lab_ca, days: 0 }
            old: { kind: ca, days: 40000 }
            ",
            expect![[r#"
                6:7 error LW-PLT-009: certificate `none` is signed by nobody
                    help: name who signs it: `ca: lab_ca`
                8:48 error LW-PLT-009: there is no authority `lab_cq` that could sign `near`
                    help: did you mean `ca: lab_ca`?
                9:47 error LW-PLT-009: there is no authority `something` that could sign `far`
                    help: declare it: `something: ca`
                10:49 error LW-PLT-009: `near` is a `certificate`, and no authority that could sign `other`
                    help: name an entry of kind `ca`
                11:47 error LW-PLT-009: certificate `own` would sign itself
                    help: name an entry of kind `ca`: a certificate does not sign itself
                12:7 error LW-PLT-009: certificate `nameless` is for no name
                    help: write the names and addresses that it is reached by: `names: [nas.lab.home.arpa, 10.0.20.5]`
                12:56 error LW-PLT-009: a certificate is not valid for 0 days
                    help: write 1 to 36500; `days: 365` is usual
                13:30 error LW-PLT-009: a certificate is not valid for 40000 days
                    help: write 1 to 36500; `days: 365` is usual
            "#]],
        );
        generate(
            "none: { kind: certificate, names: x }",
            expect![[r#"
            6:7 error LW-PLT-009: certificate `none` is signed by nobody
                help: declare an authority, `lab_ca: ca`, and name it: `ca: lab_ca`
        "#]],
        );
    }

    #[test]
    fn hashes_and_circles() {
        generate(
            "
            pg: password
            none: bcrypt
            near: { kind: bcrypt, of: pgg }
            far: { kind: bcrypt, of: elsewhere }
            own: { kind: bcrypt, of: own }
            a: { kind: bcrypt, of: b }
            b: { kind: htpasswd, user: x, of: c }
            c: { kind: bcrypt, of: a }
            into: { kind: bcrypt, of: a }
            userless: { kind: htpasswd, of: pg }
            colon: { kind: htpasswd, of: pg, user: a:b }
            long: { kind: hex, bytes: 64 }
            of_long: { kind: bcrypt, of: long }
            ",
            expect![[r#"
                7:7 error LW-PLT-009: `none` is the bcrypt of nothing
                    help: name the secret that it is made from: `of: NAME`
                8:33 error LW-PLT-009: `near` is made from `pgg`, which `generate` does not declare
                    help: did you mean `of: pg`?
                9:32 error LW-PLT-009: `far` is made from `elsewhere`, which `generate` does not declare
                    help: declare it: `elsewhere: ask`
                10:32 error LW-PLT-009: secret `own` is made from itself
                    help: make one of them from nothing: of kind `password`, or `ask`
                11:30 error LW-PLT-009: secrets are made from each other: `a` from `b` from `c` from `a`
                    help: make one of them from nothing: of kind `password`, or `ask`
                    12:41: the way on
                    13:30: the way on
                15:7 error LW-PLT-009: the htpasswd line `userless` is for no user
                    help: add `user: NAME`
                16:46 error LW-PLT-009: the user of `colon` cannot stand in an htpasswd line
                    help: write 1 to 255 characters without `:`
                18:36 error LW-PLT-009: bcrypt takes 72 bytes, and `long` has 128
                    help: make `long` shorter: 32 characters are plenty
            "#]],
        );
    }

    #[test]
    fn strength() {
        generate(
            "
            a: { kind: password, length: 10 }
            b: { kind: password, alphabet: digits, length: 19 }
            c: { kind: password, alphabet: ab }
            d: { kind: password, alphabet: a }
            e: { kind: password, alphabet: alphanumerc }
            f: { kind: password, length: 5000 }
            g: { kind: password, length: 0 }
            h: { kind: hex, bytes: 7 }
            i: { kind: base64, bytes: 5000 }
            ",
            expect![[r#"
                6:36 error LW-PLT-009: 10 characters out of 62 are 59 bits, and 64 are the least
                    help: write `length: 11` or more; 32 is usual
                7:54 error LW-PLT-009: 19 characters out of 10 are 63 bits, and 64 are the least
                    help: write `length: 20` or more; 32 is usual
                8:38 error LW-PLT-009: 32 characters out of 2 are 32 bits, and 64 are the least
                    help: write `length: 64` or more; 32 is usual
                9:38 error LW-PLT-009: the alphabet of `d` has fewer than two characters
                    help: leave `alphabet` out for letters and digits
                10:38 error LW-PLT-009: the alphabet of `e` would be the letters of `alphanumerc` alone
                    help: did you mean `alphanumeric`?
                11:36 error LW-PLT-009: 5000 characters are more than 4096
                    help: 32 is usual
                12:36 error LW-PLT-009: 0 characters out of 62 are 0 bits, and 64 are the least
                    help: write `length: 11` or more; 32 is usual
                13:30 error LW-PLT-009: 7 bytes are 56 bits, and 64 are the least
                    help: write `bytes: 8` or more; 32 is usual
                14:33 error LW-PLT-009: 5000 bytes are more than 4096
                    help: 32 is usual
            "#]],
        );
    }

    #[test]
    fn keys_of_other_kinds_and_names_that_stay_in_the_clear() {
        generate(
            "
            a: { kind: hex, length: 32 }
            b: { kind: uuid, bytes: 8, comment: x }
            c: { kind: password, of: a, user: x, ca: a, names: [x], days: 3 }
            d_unencrypted: password
            sops: password
            ",
            expect![[r#"
                6:31 error LW-PLT-009: `length` means nothing to secret `a`, a `hex`
                    help: remove it: `hex` takes `bytes`
                7:31 error LW-PLT-009: `bytes` means nothing to secret `b`, a `uuid`
                    help: remove it: `uuid` takes no settings
                7:43 error LW-PLT-009: `comment` means nothing to secret `b`, a `uuid`
                    help: remove it: `uuid` takes no settings
                8:32 error LW-PLT-009: `of` means nothing to secret `c`, a `password`
                    help: remove it: `password` takes `length`, `alphabet`
                8:41 error LW-PLT-009: `user` means nothing to secret `c`, a `password`
                    help: remove it: `password` takes `length`, `alphabet`
                8:48 error LW-PLT-009: `ca` means nothing to secret `c`, a `password`
                    help: remove it: `password` takes `length`, `alphabet`
                8:59 error LW-PLT-009: `names` means nothing to secret `c`, a `password`
                    help: remove it: `password` takes `length`, `alphabet`
                8:69 error LW-PLT-009: `days` means nothing to secret `c`, a `password`
                    help: remove it: `password` takes `length`, `alphabet`
                9:7 error LW-PLT-009: secret `d_unencrypted` would stand in the store in the clear
                    help: leave `_unencrypted` out of the name
                10:7 error LW-PLT-009: `sops` is the store's own block
                    help: give the secret another name
                11:128 advice LW-PLT-002: secret `sops` is declared, and not in `secrets.yaml` yet
                    help: `labwright secret generate` makes it
            "#]],
        );
    }
}
