//! LW-PLT-003: a secret that nothing refers to.

use std::collections::BTreeSet;

use labwright_model::store::UNENCRYPTED;
use labwright_model::{Finding, Findings, Parsed};

use crate::check::{Case, Examples, Rule};

pub struct UnusedSecret;

const CODE: &str = "LW-PLT-003";

impl Rule for UnusedSecret {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a secret that nothing refers to"
    }

    fn doc(&self) -> &'static str {
        "A secret is in the store, or is declared under `platform.secrets.generate`, and nothing in the lab refers to it: \
         neither `${secret.NAME}` nor `${public.NAME}`, nor another secret that is made from it. It may be what is left of \
         a service that is gone, and then somebody still has to guard and rotate it. It is an advice only: people and \
         other tools may read the store as well.\n\n\
         It comes from OWASP's cheat sheet on secrets management, which has secrets revoked that are no longer needed, \
         and from document 2, which asks of each system whether one understands its security model.\n\n\
         The way out: `labwright secret remove NAME`, and take its entry out of `generate`; or refer to it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { secrets: { age: secrets.yaml, generate: { old_token: hex } } }",
            passes: "platform: { secrets: { age: secrets.yaml, generate: { app: { kind: bcrypt, of: pg }, pg: password } } }\ncompute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/app.hash: { content: \"${secret.app} ${secret.other}\" }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(declared) = &parsed.lab.platform.secrets else { return };
        let used = referred(parsed);
        let is_used = |name: &str| used.contains(name) || public_half_is_used(parsed, name);
        for (name, generator) in declared.generate.iter().filter(|(name, _)| !is_used(name)) {
            let at = format!("platform.secrets.generate.{name}");
            let kept = parsed.store.as_ref().is_some_and(|store| store.names.contains_key(name));
            let help = match kept {
                true => format!("take the entry out, then `labwright secret remove {name}`; or refer to it"),
                false => format!("take the entry out, or refer to it: `${{secret.{name}}}`"),
            };
            let message = format!("nothing refers to secret `{name}`");
            findings.push(Finding::advice(CODE, at, generator.span, message).help(help));
        }
        let Some(store) = parsed.store.as_ref().filter(|store| store.sops.is_some()) else { return };
        for (name, entry) in &store.names {
            // What is meant to be read by everybody is no secret.
            let open = name.split('.').any(|part| part.ends_with(UNENCRYPTED));
            if open || declared.generate.contains_key(name) || is_used(name) {
                continue;
            }
            let message = format!("nothing refers to secret `{name}`");
            let help = format!("take it out: `labwright secret remove {name}`, or refer to it: `${{secret.{name}}}`");
            findings.push(Finding::advice(CODE, "platform.secrets.age", entry.span, message).help(help));
        }
    }
}

/// Whether something in the lab has a use for this secret: a reference to it or to its public half, a generator that makes
/// another one from it, or the way in to a Vault.
#[must_use]
pub fn secret_is_used(parsed: &Parsed, name: &str) -> bool {
    referred(parsed).contains(name) || public_half_is_used(parsed, name)
}

fn referred(parsed: &Parsed) -> BTreeSet<&str> {
    let mut used: BTreeSet<&str> = parsed.secrets.iter().map(|secret| secret.value.as_str()).collect();
    if let Some(declared) = &parsed.lab.platform.secrets {
        for generator in declared.generate.values() {
            used.extend(generator.of.iter().chain(&generator.ca).map(|source| source.value.as_str()));
        }
        used.extend(declared.vault.iter().flat_map(labwright_model::lab::Vault::secrets));
    }
    used
}

/// Public references are put in when the lab is read, so they are looked for in its text. Their names have no dots.
fn public_half_is_used(parsed: &Parsed, name: &str) -> bool {
    let half = name.replace('.', "_");
    let references =
        [format!("${{public.{half}}}"), format!("${{public.{half}_chain}}"), format!("${{public.{name}}}")];
    let store = parsed.store.as_ref().map(|store| store.path.as_str());
    let mut lab = parsed.sources.iter().filter(|source| Some(source.name.as_str()) != store);
    lab.any(|source| references.iter().any(|reference| source.text.contains(reference.as_str())))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says_of;

    #[test]
    fn of_the_store_and_of_the_generators() {
        says_of(
            r#"
platform:
  secrets:
    age: secrets.yaml
    recovery: age1recovery
    generate:
      used: password
      source: password
      hash: { kind: htpasswd, user: x, of: source }
      authority: ca
      web: { kind: certificate, ca: authority, names: x.example.net }
      wg: wireguard
      left: hex
      never_made: hex
compute:
  hosts:
    desk:
      local: true
      files:
        /a: { content: "${secret.used} ${secret.hash} ${secret.db.user}" }
        /b: { content: "${public.web_chain} ${public.wg} $${secret.by_hand}" }
"#,
            "used: ENC[x]\nsource: ENC[x]\nhash: ENC[x]\nauthority: ENC[x]\nweb: ENC[x]\nwg: ENC[x]\nleft: ENC[x]\nby_hand: ENC[x]\ndb:\n  user: ENC[x]\n  old: ENC[x]\nnote_unencrypted: x\npublic_unencrypted: { web: x, web_chain: x, wg: x, by_hand: x }\nmade_unencrypted: { used: 2026-01-01 }\nsops: { age: [{ recipient: age1recovery }] }\n",
            expect![[r#"
                13:7 advice LW-PLT-003: nothing refers to secret `left`
                    help: take the entry out, then `labwright secret remove left`; or refer to it
                14:7 advice LW-PLT-003: nothing refers to secret `never_made`
                    help: take the entry out, or refer to it: `${secret.never_made}`
                secrets.yaml:8:1 advice LW-PLT-003: nothing refers to secret `by_hand`
                    help: take it out: `labwright secret remove by_hand`, or refer to it: `${secret.by_hand}`
                secrets.yaml:11:3 advice LW-PLT-003: nothing refers to secret `db.old`
                    help: take it out: `labwright secret remove db.old`, or refer to it: `${secret.db.old}`
            "#]],
        );
    }
}
