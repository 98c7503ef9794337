//! LW-EDGE-007: two services with one name.

use std::collections::BTreeMap;

use labwright_model::snapshot::proxy::{Claim, claims, declared};
use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct OneName;

const CODE: &str = "LW-EDGE-007";

impl Rule for OneName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "two services with one name"
    }

    fn doc(&self) -> &'static str {
        "Two services say the same name under `url`, or one service has the same name in two environments. The proxy leads a \
         name to one place: the first would have it, and nobody would see the second.\n\n\
         The name that a request is for is all that tells a proxy where it shall go (RFC 9110, 7.2); document 4 has one name \
         for two environments, told apart by a header.\n\n\
         The way out: another name for one of them; in environments `dev: { url: wiki-dev }`. Where one name shall lead to \
         several, say which requests go elsewhere: `routes: [{ headers: { x-mode: micro }, to: OTHER }]`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { use: wiki, on: a, expose: lan, url: wiki }\n  notes: { use: wiki, on: a, expose: lan, url: wiki.lab.home.arpa }",
            passes: "platform: { dns: a, reverse_proxy: a }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\nservices:\n  wiki: { use: wiki, on: a, expose: lan, url: wiki }\n  notes: { use: wiki, on: a, expose: lan, url: notes }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if declared(parsed).is_none() {
            return;
        }
        let mut first: BTreeMap<String, Claim<'_>> = BTreeMap::new();
        for claim in claims(parsed) {
            let Some(before) = first.get(&claim.name) else {
                first.insert(claim.name.clone(), claim);
                continue;
            };
            let (one, other) = (before.placement, claim.placement);
            if std::ptr::eq(one, other) {
                continue;
            }
            let finding = match one.service == other.service {
                true => {
                    let environment =
                        |placement: &labwright_model::Placement| placement.environment.clone().unwrap_or_default();
                    let message = format!(
                        "`{}` is called `{}` in `{}` and in `{}`: the name leads to the first",
                        one.service,
                        claim.name,
                        environment(one),
                        environment(other)
                    );
                    let help = format!("give it another name there: `{}: {{ url: … }}`", environment(other));
                    Finding::warning(CODE, format!("services.{}.url", other.service), claim.url.span, message)
                        .help(help)
                }
                false => {
                    let message = format!("`{}` and `{}` are both called `{}`", one.service, other.service, claim.name);
                    Finding::error(CODE, format!("services.{}.url", other.service), claim.url.span, message)
                        .help("choose another name for one of them")
                        .related(before.url.span, format!("here by `{}`", one.service))
                }
            };
            findings.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn spellings_environments_and_others_proxies() {
        let lab = |proxy: &str| {
            format!(
                r#"
environments: [dev, prod]
platform: {{ dns: a, reverse_proxy: {proxy} }}
compute: {{ hosts: {{ a: {{ address: 10.0.0.1 }} }} }}
services:
  one: {{ use: a, on: a, expose: lan, url: [x, "https://X.lab.home.arpa/path"] }}
  two: {{ use: a, on: a, expose: lan, url: x.lab.home.arpa }}
  both: {{ use: a, on: a, expose: lan, url: y, environments: [dev, prod] }}
  npm: {{ use: npm, on: a }}
"#
            )
        };
        says(
            &lab("a"),
            expect![[r#"
                7:43 error LW-EDGE-007: `one` and `two` are both called `x.lab.home.arpa`
                    help: choose another name for one of them
                    6:44: here by `one`
                8:44 warning LW-EDGE-007: `both` is called `y.lab.home.arpa` in `dev` and in `prod`: the name leads to the first
                    help: give it another name there: `prod: { url: … }`
            "#]],
        );
        says(&lab("{ on: a, service: npm }"), expect![[""]]);
    }
}
