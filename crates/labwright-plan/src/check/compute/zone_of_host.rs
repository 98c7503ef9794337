//! LW-CMP-001: a host without a zone.

use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct ZoneOfHost;

const CODE: &str = "LW-CMP-001";

impl Rule for ZoneOfHost {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a host without a zone"
    }

    fn doc(&self) -> &'static str {
        "The lab has zones, and this host is in none of them. No flow speaks of it, so everything to and from it is denied, \
         or, where no firewall stands between, nothing is.\n\n\
         Hosts that only a role names are not told twice (LW-CMP-003), nor is the machine that Labwright runs on \
         (`local: true`): it is often a laptop that moves between zones.\n\n\
         It comes from document 0, which lays out every machine in one of five VLANs, and from document 3, which \
         denies all that is not allowed.\n\n\
         The way out: give it a `zone`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { address: 10.0.20.21 }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\ncompute:\n  hosts:\n    docker-01: { zone: servers, address: 10.0.20.21 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let zones = &parsed.lab.network.zones;
        if zones.is_empty() {
            return;
        }
        for (name, host) in parsed.lab.compute.hosts.iter() {
            if host.zone.is_some() || host.local || parsed.implied.contains(name) {
                continue;
            }
            let fits = zones.iter().find(|(_, zone)| {
                zone.subnet
                    .iter()
                    .any(|subnet| host.address.iter().any(|address| subnet.value.0.contains(&address.value)))
            });
            let help = match fits {
                Some((zone, _)) => format!("add `zone: {zone}`: its address is there"),
                None => format!("add `zone: …`, one of {}", zones.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            let finding = Finding::warning(
                CODE,
                format!("compute.hosts.{name}"),
                host.span,
                format!("host `{name}` is in no zone"),
            );
            findings.push(finding.help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn who_needs_a_zone() {
        says(
            r#"
network:
  zones: { servers: { subnet: 10.0.20.0/24 }, vpn: { interface: tailscale0 } }
compute:
  docker_hosts: [docker-02]
  hosts:
    by-address: { address: 10.0.20.5 }
    anywhere: { intermittent: true }
    desk: { local: true }
"#,
            expect![[r#"
                5:18 advice LW-CMP-003: host `docker-02` is only named by its role
                    help: describe it: `compute: { hosts: { docker-02: { address: … } } }`
                7:5 warning LW-CMP-001: host `by-address` is in no zone
                    help: add `zone: servers`: its address is there
                8:5 warning LW-CMP-001: host `anywhere` is in no zone
                    help: add `zone: …`, one of servers, vpn
            "#]],
        );
    }
}
