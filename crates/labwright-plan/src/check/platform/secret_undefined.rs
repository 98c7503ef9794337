//! LW-PLT-002: a secret that is nowhere.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::{Finding, Findings, Span, finding, reference};

use crate::check::{Case, Examples, Rule};

pub struct UndefinedSecret;

const CODE: &str = "LW-PLT-002";
const RELATED: usize = 5;

impl Rule for UndefinedSecret {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a secret that is nowhere"
    }

    fn doc(&self) -> &'static str {
        "`${secret.NAME}` refers to a secret that the store does not hold and that `platform.secrets.generate` does not \
         declare. Whatever needs it could not be delivered, so nothing is applied. The names of a SOPS file stand in the \
         clear, so this is told without any key.\n\n\
         A secret that is declared and not made yet is an advice only. What a Vault holds cannot be told from here, and \
         is not judged.\n\n\
         It comes from document 0: keep dependencies on DNS, secrets and backup explicit.\n\n\
         The way out: correct the name, or put the secret in: `labwright secret set NAME` asks for it. One that nobody \
         has to choose is declared (`generate: { NAME: password }`) and made by `labwright secret generate`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { secrets: secrets.yaml }\ncompute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/pg.pass: { content: \"${secret.pgg}\" }",
            passes: "platform: { secrets: secrets.yaml }\ncompute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/pg.pass: { content: \"${secret.pg}\" }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let (Some(declared), Some(store)) = (&parsed.lab.platform.secrets, &parsed.store) else { return };
        if store.missing.is_some() || declared.vault.is_some() {
            return;
        }
        let mut used: BTreeMap<&str, BTreeSet<Span>> = BTreeMap::new();
        for secret in parsed.secrets.iter().filter(|secret| !store.names.contains_key(&secret.value)) {
            used.entry(&secret.value).or_default().insert(secret.span);
        }
        for (name, spans) in used {
            let mut spans = spans.into_iter();
            let Some(first) = spans.next() else { continue };
            let half = name.strip_prefix(reference::PUBLIC).filter(|name| declared.generate.contains_key(*name));
            let finding = if let Some(whole) = half {
                let at = format!("platform.secrets.generate.{whole}");
                let message = format!("the public half of `{whole}` is declared, and not in `{}` yet", store.path);
                Finding::advice(CODE, at, first, message).help("`labwright secret generate` makes it")
            } else if declared.generate.contains_key(name) {
                let at = format!("platform.secrets.generate.{name}");
                let message = format!("secret `{name}` is declared, and not in `{}` yet", store.path);
                Finding::advice(CODE, at, first, message).help("`labwright secret generate` makes it")
            } else {
                let message = format!("there is no secret `{name}` in `{}`", store.path);
                let names = store.names.keys().chain(declared.generate.keys()).map(String::as_str);
                Finding::error(CODE, "platform.secrets", first, message).help(help(name, names))
            };
            findings.push(spans.take(RELATED).fold(finding, |finding, span| finding.related(span, "and here")));
        }
    }
}

fn help<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(inner) = names.clone().find(|inner| inner.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    {
        return format!("`{name}` holds several secrets: name one of them, such as `${{secret.{inner}}}`");
    }
    if let Some(whole) = name.strip_suffix(".public").filter(|whole| names.clone().any(|known| known == *whole)) {
        return format!("the public half of `{whole}` is `${{public.{whole}}}`");
    }
    match finding::nearest(name, names) {
        Some(near) => {
            format!("did you mean `${{secret.{near}}}`? A new one is put in by `labwright secret set {name}`")
        }
        None => format!("put it in: `labwright secret set {name}`"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::{says, says_of};

    const STORE: &str =
        "pg: ENC[x]\ndb:\n  user: ENC[x]\n  password: ENC[x]\nsops: { age: [{ recipient: age1recovery }] }\n";

    fn lab(secrets: &str) -> String {
        format!(
            "platform: {{ secrets: {{ age: secrets.yaml, recovery: age1recovery{secrets} }} }}
compute:
  hosts:
    desk:
      local: true
      files:
        /a: {{ content: \"${{secret.pg}} ${{secret.db.user}} ${{secret.db.password}}\" }}
        /b: {{ content: \"${{secret.pgg}} ${{secret.later}} ${{secret.nothing-like-it}} ${{secret.db}} ${{secret.db.usr}}\" }}
        /c: {{ content: \"${{secret.pgg}} ${{secret.pgg}} ${{secret.later}} $${{secret.literal}}\" }}
"
        )
    }

    #[test]
    fn names_near_and_far() {
        says_of(
            &lab(", generate: { later: hex }"),
            STORE,
            expect![[r#"
            8:25 error LW-PLT-002: there is no secret `pgg` in `secrets.yaml`
                help: did you mean `${secret.pg}`? A new one is put in by `labwright secret set pgg`
                9:25: and here
                9:39: and here
            8:39 advice LW-PLT-002: secret `later` is declared, and not in `secrets.yaml` yet
                help: `labwright secret generate` makes it
                9:53: and here
            8:55 error LW-PLT-002: there is no secret `nothing-like-it` in `secrets.yaml`
                help: put it in: `labwright secret set nothing-like-it`
            8:81 error LW-PLT-002: there is no secret `db` in `secrets.yaml`
                help: `db` holds several secrets: name one of them, such as `${secret.db.password}`
            8:94 error LW-PLT-002: there is no secret `db.usr` in `secrets.yaml`
                help: did you mean `${secret.db.user}`? A new one is put in by `labwright secret set db.usr`
        "#]],
        );
    }

    #[test]
    fn a_public_half_that_is_not_made_yet() {
        let lab = |generate: &str| {
            format!(
                "platform: {{ secrets: {{ age: secrets.yaml, recovery: age1recovery, generate: {{ {generate} }} }} }}\ncompute: {{ hosts: {{ desk: {{ local: true, files: {{ /a: {{ content: \"${{public.wg}}\" }} }} }} }} }}\n"
            )
        };
        says_of(
            &lab("wg: wireguard"),
            STORE,
            expect![[r#"
            2:67 advice LW-PLT-002: the public half of `wg` is declared, and not in `secrets.yaml` yet
                help: `labwright secret generate` makes it
            secrets.yaml:1:1 advice LW-PLT-003: nothing refers to secret `pg`
                help: take it out: `labwright secret remove pg`, or refer to it: `${secret.pg}`
            secrets.yaml:3:3 advice LW-PLT-003: nothing refers to secret `db.user`
                help: take it out: `labwright secret remove db.user`, or refer to it: `${secret.db.user}`
            secrets.yaml:4:3 advice LW-PLT-003: nothing refers to secret `db.password`
                help: take it out: `labwright secret remove db.password`, or refer to it: `${secret.db.password}`
        "#]],
        );
        says_of(
            &lab("other: wireguard"),
            STORE,
            expect![[r#"
            1:79 advice LW-PLT-003: nothing refers to secret `other`
                help: take the entry out, or refer to it: `${secret.other}`
            2:67 error LW-LAB-008: `${public.wg}` has no value: `secrets.yaml` holds no public half of `wg`
                help: declare it under `platform.secrets.generate`, and run `labwright secret generate`
            secrets.yaml:1:1 advice LW-PLT-003: nothing refers to secret `pg`
                help: take it out: `labwright secret remove pg`, or refer to it: `${secret.pg}`
            secrets.yaml:3:3 advice LW-PLT-003: nothing refers to secret `db.user`
                help: take it out: `labwright secret remove db.user`, or refer to it: `${secret.db.user}`
            secrets.yaml:4:3 advice LW-PLT-003: nothing refers to secret `db.password`
                help: take it out: `labwright secret remove db.password`, or refer to it: `${secret.db.password}`
        "#]],
        );
    }

    #[test]
    fn what_a_vault_holds_cannot_be_told() {
        says_of(&lab(", vault: { url: https://vault.example.net }"), STORE, expect![""]);
        says(
            "platform: { secrets: { vault: { url: https://vault.example.net } } }\ncompute: { hosts: { desk: { local: true, files: { /a: { content: \"${secret.x}\" } } } } }\n",
            expect![[""]],
        );
    }
}
