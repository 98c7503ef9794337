//! LW-CMP-004: more than one machine that Labwright runs on.

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct LocalHost;

const CODE: &str = "LW-CMP-004";

impl Rule for LocalHost {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "two hosts that are this machine"
    }

    fn doc(&self) -> &'static str {
        "`local: true` says that a host is the machine that Labwright runs on; its state is changed here, without SSH. Only \
         one host can be that. With two, this machine would get the state of both.\n\n\
         It comes from document 1, whose owner applies to the laptop in front of them by a command of its own \
         (`colmena apply-local`), and to every other machine over the network: there is one such machine.\n\n\
         The way out: leave `local` on the one machine that you run Labwright from."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    desk: { local: true }\n    laptop: { local: true }",
            passes: "compute:\n  hosts:\n    desk: { local: true }\n    laptop: { address: 10.0.30.5 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let mut local = parsed.lab.compute.hosts.iter().filter(|(_, host)| host.local);
        let Some((first, place)) = local.next().map(|(name, host)| (name, host.span)) else { return };
        for (name, host) in local {
            let message = format!("`{name}` cannot be this machine: `{first}` is");
            let finding = Finding::error(CODE, format!("compute.hosts.{name}.local"), host.span, message);
            findings.push(finding.help("keep `local: true` on one of the two").related(place, "this one is local"));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn three_of_them() {
        says(
            r#"
compute:
  hosts:
    a: { local: true }
    b: { local: true }
    c: { local: true }
"#,
            expect![[r#"
                5:5 error LW-CMP-004: `b` cannot be this machine: `a` is
                    help: keep `local: true` on one of the two
                    4:5: this one is local
                6:5 error LW-CMP-004: `c` cannot be this machine: `a` is
                    help: keep `local: true` on one of the two
                    4:5: this one is local
            "#]],
        );
    }
}
