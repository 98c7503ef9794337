//! LW-PLT-008: a store of secrets that cannot be used as it is.

use labwright_model::{Finding, Findings, Parsed, Severity, Span, Store};

use crate::check::{Case, Examples, Rule};

pub struct UnusableStore;

const CODE: &str = "LW-PLT-008";

impl Rule for UnusableStore {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a store of secrets that cannot be used"
    }

    fn doc(&self) -> &'static str {
        "The lab names a SOPS file, and something is wrong with it:\n\n\
         - It is not there, or cannot be read.\n\
         - It has no `sops:` block, so it is not encrypted or was cut off.\n\
         - No age key and no SSH key opens it. Keys of other kinds are not used here.\n\
         - A value in it is not encrypted. It was written by hand, and may be in the history of the repository already. \
         Names that end in `_unencrypted` are meant to be read, and so is what the file's own rules leave in the clear.\n\n\
         It comes from getsops/sops#571 (how are files that are not encrypted kept out of the repository?) and \
         getsops/sops#1832 (a store changed by hand is broken, and it takes a key to notice).\n\n\
         The way out: `labwright secret init` begins a store; `git log -- FILE` finds the last whole version of one that \
         broke; `labwright secret set NAME` puts a value in as it should be, and what was committed in the clear is \
         replaced where it was given out."
    }

    fn examples(&self) -> Examples {
        Examples { fails: "platform: { secrets: missing.yaml }", passes: "platform: { secrets: secrets.yaml }" }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let (Some(declared), Some(store)) = (&parsed.lab.platform.secrets, &parsed.store) else { return };
        let named = declared.age.as_ref().map_or_else(|| parsed.span_of(&["platform", "secrets"]), |age| age.span);
        let error = |span: Span, message: String| Finding::error(CODE, "platform.secrets.age", span, message);
        let path = &store.path;
        if let Some(why) = &store.missing {
            // A fault of its text was told at its place.
            if !is_told(parsed, store) {
                let help = format!(
                    "`labwright secret init` begins a store; a lost one comes back from the repository: \
                     `git checkout COMMIT -- {path}`"
                );
                findings.push(error(named, format!("cannot read the store `{path}`: {why}")).help(help));
            }
            return;
        }
        let Some(sops) = store.sops else {
            let help = format!(
                "encrypt it: `sops encrypt -i {path}`; if it was encrypted once, it is cut off: \
                 `git checkout COMMIT -- {path}`"
            );
            findings.push(error(named, format!("`{path}` is not encrypted: it has no `sops:` block")).help(help));
            return;
        };
        if store.recipients.is_empty() {
            let message = format!("no age key and no SSH key opens `{path}`");
            let help = format!("add one where its other key is at hand: `sops rotate -i --add-age age1… {path}`");
            findings.push(error(sops, message).help(help));
        }
        for (name, entry) in store.names.iter().filter(|(_, entry)| !entry.encrypted) {
            let help = format!(
                "take the line out, then `labwright secret set {name}`; if it was committed, it is known: replace it \
                 where it is used"
            );
            findings.push(error(entry.span, format!("`{name}` stands in `{path}` in the clear")).help(help));
        }
    }
}

fn is_told(parsed: &Parsed, store: &Store) -> bool {
    let in_store = |span: Span| parsed.sources.get(span.file).is_some_and(|source| source.name == store.path);
    parsed.findings.iter().any(|finding| finding.severity == Severity::Error && in_store(finding.span))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::check::tests::says_of;

    fn store(text: &str, golden: Expect) {
        says_of("platform: { secrets: { age: secrets.yaml, recovery: age1recovery } }\n", text, golden);
    }

    const SOPS: &str = "sops: { age: [{ recipient: age1recovery }] }\n";

    #[test]
    fn values_in_the_clear() {
        store(
            &format!(
                "a_unencrypted: hunter2\nb: hunter2\nc:\n  d: [hunter2, \"ENC[x]\"]\n  e: ENC[x]\nf: ENC[cut off\n{SOPS}"
            ),
            expect![[r#"
                secrets.yaml:2:1 advice LW-PLT-003: nothing refers to secret `b`
                    help: take it out: `labwright secret remove b`, or refer to it: `${secret.b}`
                secrets.yaml:2:1 error LW-PLT-008: `b` stands in `secrets.yaml` in the clear
                    help: take the line out, then `labwright secret set b`; if it was committed, it is known: replace it where it is used
                secrets.yaml:4:7 advice LW-PLT-003: nothing refers to secret `c.d.0`
                    help: take it out: `labwright secret remove c.d.0`, or refer to it: `${secret.c.d.0}`
                secrets.yaml:4:7 error LW-PLT-008: `c.d.0` stands in `secrets.yaml` in the clear
                    help: take the line out, then `labwright secret set c.d.0`; if it was committed, it is known: replace it where it is used
                secrets.yaml:4:16 advice LW-PLT-003: nothing refers to secret `c.d.1`
                    help: take it out: `labwright secret remove c.d.1`, or refer to it: `${secret.c.d.1}`
                secrets.yaml:5:3 advice LW-PLT-003: nothing refers to secret `c.e`
                    help: take it out: `labwright secret remove c.e`, or refer to it: `${secret.c.e}`
                secrets.yaml:6:1 advice LW-PLT-003: nothing refers to secret `f`
                    help: take it out: `labwright secret remove f`, or refer to it: `${secret.f}`
                secrets.yaml:6:1 error LW-PLT-008: `f` stands in `secrets.yaml` in the clear
                    help: take the line out, then `labwright secret set f`; if it was committed, it is known: replace it where it is used
            "#]],
        );
        store(
            &format!("b: hunter2\n{}  encrypted_regex: ^a\n", SOPS.replace("{ age", "\n  age").replace("}] }", "}]")),
            expect![[r#"
            secrets.yaml:1:1 advice LW-PLT-003: nothing refers to secret `b`
                help: take it out: `labwright secret remove b`, or refer to it: `${secret.b}`
        "#]],
        );
    }

    #[test]
    fn no_block_no_key_no_text() {
        store(
            "a: hunter2\nb: hunter2\n",
            expect![[r#"
            1:29 error LW-PLT-008: `secrets.yaml` is not encrypted: it has no `sops:` block
                help: encrypt it: `sops encrypt -i secrets.yaml`; if it was encrypted once, it is cut off: `git checkout COMMIT -- secrets.yaml`
        "#]],
        );
        store(
            "a: ENC[x]\nsops: { pgp: [{ fp: x }] }\n",
            expect![[r#"
            secrets.yaml:1:1 advice LW-PLT-003: nothing refers to secret `a`
                help: take it out: `labwright secret remove a`, or refer to it: `${secret.a}`
            secrets.yaml:2:1 error LW-PLT-008: no age key and no SSH key opens `secrets.yaml`
                help: add one where its other key is at hand: `sops rotate -i --add-age age1… secrets.yaml`
        "#]],
        );
        store(
            "a: ENC[x]\nsops:\n",
            expect![[r#"
            secrets.yaml:1:1 advice LW-PLT-003: nothing refers to secret `a`
                help: take it out: `labwright secret remove a`, or refer to it: `${secret.a}`
            secrets.yaml:2:1 error LW-PLT-008: no age key and no SSH key opens `secrets.yaml`
                help: add one where its other key is at hand: `sops rotate -i --add-age age1… secrets.yaml`
        "#]],
        );
        store(
            "",
            expect![[r#"
            1:29 error LW-PLT-008: cannot read the store `secrets.yaml`: it is empty
                help: `labwright secret init` begins a store; a lost one comes back from the repository: `git checkout COMMIT -- secrets.yaml`
        "#]],
        );
        store(
            "just words\n",
            expect![[r#"
            1:29 error LW-PLT-008: cannot read the store `secrets.yaml`: it is no map of names and values
                help: `labwright secret init` begins a store; a lost one comes back from the repository: `git checkout COMMIT -- secrets.yaml`
        "#]],
        );
    }

    #[test]
    fn faults_of_the_text_are_told_once() {
        store(
            "a: [\n",
            expect![[r#"
            secrets.yaml:1:4 error LW-LAB-001: a bracket, or a comma between two entries, is missing
                help: close every `{` with `}` and every `[` with `]`; quote a text that contains them
        "#]],
        );
        store(
            "a: ENC[x]\n<<<<<<< HEAD\n",
            expect![[r#"
            secrets.yaml:2:1 error LW-LAB-001: `secrets.yaml` holds an unsolved merge conflict on line 2
                help: take one side whole (`git checkout --ours secrets.yaml`), then set again what the other side had changed: `labwright secret set NAME`
        "#]],
        );
    }
}
