//! LW-EDGE-010: a record that leads a name to the proxy, and no service of that name.

use std::collections::BTreeSet;

use labwright_model::snapshot::proxy::{claims, full_name, routed};
use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct NamelessRecord;

const CODE: &str = "LW-EDGE-010";

impl Rule for NamelessRecord {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name at the proxy without a service"
    }

    fn doc(&self) -> &'static str {
        "A record of `platform.dns` leads a name to the host of the reverse proxy, and no service has that name. Whoever comes \
         by it is told that nothing here is called so: a request for a name that is not a server's own is misdirected (RFC 9110, 7.4).\n\n\
         Not told of wildcards, which are for names to come, of the host's own name, nor where the proxy's host runs services of its own that are reached without it. \
         Advice.\n\n\
         The way out: give the service that is meant the name, `url: NAME`, and take the record out: names of services have \
         one by themselves. Or lead the record elsewhere."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: { on: dns-01, records: { wiki: proxy-01 } }, reverse_proxy: proxy-01 }\ncompute: { hosts: { dns-01: { address: 10.0.0.2 }, proxy-01: { address: 10.0.0.1 } } }",
            passes: "platform: { dns: { on: dns-01, records: { wiki: proxy-01 } }, reverse_proxy: proxy-01 }\ncompute: { hosts: { dns-01: { address: 10.0.0.2 }, proxy-01: { address: 10.0.0.1 } } }\nservices:\n  wiki: { use: wiki, on: dns-01, expose: lan, url: wiki }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let (Some(proxy), Some(dns)) = (routed(parsed), &lab.platform.dns) else { return };
        let names: BTreeSet<String> = claims(parsed).into_iter().map(|claim| claim.name).collect();
        for on in proxy.on.iter() {
            let addresses = lab.host(on).into_iter().flat_map(|host| host.address.iter());
            let targets: BTreeSet<String> =
                addresses.map(|address| address.value.to_string()).chain([on.value.clone(), lab.fqdn(on)]).collect();
            let others = parsed.placements.iter().any(|placement| {
                placement.entry.on.iter().any(|host| host.value == on.value) && placement.entry.url.is_empty()
            });
            if others {
                continue;
            }
            for (record, declared) in dns.records.iter() {
                let leads = declared.to.iter().chain(&declared.cname).find(|target| targets.contains(&target.value));
                let Some(target) = leads.map(|target| &target.value) else { continue };
                let name = full_name(lab, record);
                // A wildcard is for names that are still to come.
                let is_there = name.starts_with("*.") || names.contains(&name) || name == lab.fqdn(on);
                if !is_there {
                    let span = parsed.span_of(&["platform", "dns", "records", record]);
                    let message = format!("`{name}` leads to the proxy on `{target}`, and no service is called so");
                    findings.push(
                        Finding::advice(CODE, format!("platform.dns.records.{record}"), span, message)
                            .help(format!("give the service that is meant the name: `url: {record}`")),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn records_by_name_address_and_wildcard() {
        says(
            r#"
platform:
  dns: { on: d, records: { none: p, by-address: 10.0.0.1, there: p, p: 10.0.0.1, "*.apps": p, "*.empty": p, nas: 10.0.0.9 } }
  reverse_proxy: p
compute: { hosts: { d: { address: 10.0.0.2 }, p: { address: 10.0.0.1 } } }
services:
  there: { use: a, on: d, expose: lan, url: there }
  app: { use: a, on: d, expose: lan, url: app.apps.lab.home.arpa }
"#,
            expect![[r#"
                3:34 advice LW-EDGE-010: `none.lab.home.arpa` leads to the proxy on `p`, and no service is called so
                    help: give the service that is meant the name: `url: none`
                3:49 advice LW-EDGE-010: `by-address.lab.home.arpa` leads to the proxy on `10.0.0.1`, and no service is called so
                    help: give the service that is meant the name: `url: by-address`
            "#]],
        );
    }
}
