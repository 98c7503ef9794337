//! LW-PLT-006: a key that can open the store and is nobody's, or somebody's that cannot.

use labwright_model::lab::Secrets;
use labwright_model::{Finding, Findings, Spanned, Store};

use crate::check::{Case, Examples, Rule};

pub struct UnownedKey;

const CODE: &str = "LW-PLT-006";

impl Rule for UnownedKey {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "the keys of the store are not those of the lab file"
    }

    fn doc(&self) -> &'static str {
        "The lab file says who may read the secrets: `admins`, by name, and the `recovery` key. The store says who can: its \
         recipients. Two differences are findings:\n\n\
         - A key opens the store and is nobody's. Somebody may have left and still read everything, or has put their own \
         key in.\n\
         - An admin's key, or the recovery key, does not open the store. It was named and the store was not encrypted to \
         it; one day that is noticed at the worst time.\n\n\
         Comments behind SSH keys do not count.\n\n\
         It comes from how SOPS keeps keys (https://getsops.io/docs/usage/key-management/): a change of the list \
         of recipients changes no file until that is encrypted anew.\n\n\
         The way out: name the key under `admins: { NAME: KEY }` if it is somebody's; then `labwright secret rekey` \
         encrypts the store to exactly those that are named. Whoever is taken out may have kept what they read: rotate it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  secrets:\n    age: secrets.yaml\n    admins: { stian: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f }\n    recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq",
            passes: "platform:\n  secrets:\n    age: secrets.yaml\n    recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let (Some(declared), Some(store)) = (&parsed.lab.platform.secrets, &parsed.store) else { return };
        // A store without any key is told by another rule.
        if store.recipients.is_empty() {
            return;
        }
        unowned(declared, store, findings);
        let opens = |key: &str| store.recipients.iter().any(|recipient| same_key(recipient, key));
        let help = "`labwright secret rekey` encrypts the store to everybody that the lab file names";
        for (name, keys) in declared.admins.iter() {
            for key in keys.iter().filter(|key| !opens(key)) {
                let at = format!("platform.secrets.admins.{name}");
                let message = match keys.len() {
                    1 => format!("admin `{name}` cannot open `{}`: it is not encrypted to this key", store.path),
                    _ => format!("`{}` is not encrypted to this key of admin `{name}`", store.path),
                };
                findings.push(Finding::warning(CODE, at, key.span, message).help(help));
            }
        }
        if let Some(key) = declared.recovery.as_ref().filter(|key| !key.trim().is_empty() && !opens(key)) {
            let message = format!("`{}` is not encrypted to the recovery key", store.path);
            findings.push(Finding::warning(CODE, "platform.secrets.recovery", key.span, message).help(help));
        }
    }
}

/// Recipients that the lab file does not name. If it names nobody at all, that is one finding.
fn unowned(declared: &Secrets, store: &Store, findings: &mut Findings) {
    let named = || declared.admins.values().flat_map(|keys| keys.value.iter()).chain(&declared.recovery);
    let unowned = |recipient: &&Spanned<String>| !named().any(|key| same_key(key, recipient));
    let mut unowned: Vec<&Spanned<String>> = store.recipients.iter().filter(unowned).collect();
    unowned.dedup_by(|later, first| same_key(later, first));
    let finding = |key: &Spanned<String>, message: String, help: &str| {
        Finding::warning(CODE, "platform.secrets.admins", key.span, message).help(help)
    };
    if let (None, [first, rest @ ..]) = (named().next(), unowned.as_slice()) {
        let whose = if rest.is_empty() { "whose key opens it" } else { "whose keys open it" };
        let message = format!("the lab file does not say who may read `{}`: {whose}", store.path);
        let help = "name them: `platform: { secrets: { admins: { NAME: age1… } } }`";
        let whole = finding(first, message, help);
        findings.push(rest.iter().fold(whole, |whole, key| whole.related(key.span, "and whose this is")));
        return;
    }
    for key in unowned {
        let message =
            format!("`{}` opens `{}`, and is neither an admin's key nor the recovery key", short(key), store.path);
        let help = "name whose it is: `admins: { NAME: KEY }`; or `labwright secret rekey` takes it out";
        findings.push(finding(key, message, help));
    }
}

/// Type and key: what stands behind them on an SSH key is a comment.
fn same_key(one: &str, other: &str) -> bool {
    let key = |text: &str| -> Vec<String> { text.split_whitespace().take(2).map(str::to_string).collect() };
    match (one.trim().starts_with("age1"), other.trim().starts_with("age1")) {
        (true, true) => one.trim() == other.trim(),
        _ => key(one) == key(other),
    }
}

/// A key as a person tells it from others: its beginning and its end.
fn short(key: &str) -> String {
    let key: Vec<&str> = key.split_whitespace().take(2).collect();
    let [.., last] = key.as_slice() else { return String::new() };
    let letters: Vec<char> = last.chars().collect();
    let shown = match letters.len() {
        0..=24 => last.to_string(),
        length => letters[..12].iter().chain(&['…']).chain(&letters[length - 8..]).collect(),
    };
    match key.as_slice() {
        [kind, _] => format!("{kind} {shown}"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says_of;

    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn store(recipients: &[&str]) -> String {
        let entry = |recipient: &&str| format!("    - recipient: {recipient}\n      enc: x\n");
        format!("sops:\n  age:\n{}", recipients.iter().map(entry).collect::<String>())
    }

    #[test]
    fn both_ways() {
        says_of(
            &format!(
                "
platform:
  secrets:
    age: secrets.yaml
    admins:
      stian: {SSH} stian@laptop
      kari: [age1kari, age1karilaptop]
      gone: age1gone
    recovery: age1recovery
"
            ),
            &store(&[
                SSH,
                "age1kari",
                "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq",
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB old@laptop",
            ]),
            expect![[r#"
                7:24 warning LW-PLT-006: `secrets.yaml` is not encrypted to this key of admin `kari`
                    help: `labwright secret rekey` encrypts the store to everybody that the lab file names
                8:13 warning LW-PLT-006: admin `gone` cannot open `secrets.yaml`: it is not encrypted to this key
                    help: `labwright secret rekey` encrypts the store to everybody that the lab file names
                9:15 warning LW-PLT-006: `secrets.yaml` is not encrypted to the recovery key
                    help: `labwright secret rekey` encrypts the store to everybody that the lab file names
                secrets.yaml:7:18 warning LW-PLT-006: `age1qyqszqgp…qs3290gq` opens `secrets.yaml`, and is neither an admin's key nor the recovery key
                    help: name whose it is: `admins: { NAME: KEY }`; or `labwright secret rekey` takes it out
                secrets.yaml:9:18 warning LW-PLT-006: `ssh-ed25519 AAAAC3NzaC1l…BBBBBBBB` opens `secrets.yaml`, and is neither an admin's key nor the recovery key
                    help: name whose it is: `admins: { NAME: KEY }`; or `labwright secret rekey` takes it out
            "#]],
        );
    }

    #[test]
    fn nobody_is_named() {
        says_of(
            "platform: { secrets: secrets.yaml }\n",
            &store(&["age1a"]),
            expect![[r#"
            1:22 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
                help: `age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`
            secrets.yaml:3:18 warning LW-PLT-006: the lab file does not say who may read `secrets.yaml`: whose key opens it
                help: name them: `platform: { secrets: { admins: { NAME: age1… } } }`
        "#]],
        );
        says_of(
            "platform: { secrets: secrets.yaml }\n",
            &store(&["age1a", "age1b", "age1b"]),
            expect![[r#"
            1:22 warning LW-PLT-007: `secrets.yaml` has no recovery key: with the last admin's key, every secret is lost
                help: `age-keygen -o recovery.txt`, keep that file offline, put the public half it prints under `platform: { secrets: { recovery: age1… } }`, then `labwright secret rekey`
            secrets.yaml:3:18 warning LW-PLT-006: the lab file does not say who may read `secrets.yaml`: whose keys open it
                help: name them: `platform: { secrets: { admins: { NAME: age1… } } }`
                secrets.yaml:5:18: and whose this is
        "#]],
        );
    }

    #[test]
    fn everybody_is_named() {
        says_of(
            &format!("platform: {{ secrets: {{ age: secrets.yaml, admins: {{ a: {SSH} }}, recovery: age1a }} }}\n"),
            &store(&["age1a", &format!("{SSH} a@b")]),
            expect![[""]],
        );
    }
}
