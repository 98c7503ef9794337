//! LW-NET-002: a VLAN id that two zones have, or that is none.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Span};

use crate::check::{Case, Examples, Rule};

pub struct Vlan;

const CODE: &str = "LW-NET-002";

impl Rule for Vlan {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a VLAN id that two zones have, or that is none"
    }

    fn doc(&self) -> &'static str {
        "Zones are kept apart by their VLANs: two zones with one VLAN id are one network, whatever their names and subnets \
         say. Ids go from 1 to 4094 (IEEE 802.1Q); 0 and 4095 are reserved.\n\n\
         It comes from document 0, whose five zones have a VLAN each, and from the standard.\n\n\
         The way out: give each zone an id of its own, and \
         the same one on the switch."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { vlan: 20, subnet: 10.0.20.0/24 }\n    iot: { vlan: 20, subnet: 10.0.40.0/24 }",
            passes: "network:\n  zones:\n    servers: { vlan: 20, subnet: 10.0.20.0/24 }\n    iot: { vlan: 40, subnet: 10.0.40.0/24 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let mut first: BTreeMap<u16, (&str, Span)> = BTreeMap::new();
        for (name, zone) in parsed.lab.network.zones.iter() {
            let Some(vlan) = &zone.vlan else { continue };
            let at = format!("network.zones.{name}.vlan");
            if !(1..=4094).contains(&vlan.value) {
                let message = format!("`{}` is no VLAN id", vlan.value);
                findings.push(Finding::error(CODE, at, vlan.span, message).help("ids go from 1 to 4094"));
                continue;
            }
            match first.get(&vlan.value) {
                None => drop(first.insert(vlan.value, (name, vlan.span))),
                Some((other, place)) => {
                    let message = format!("zone `{name}` has the VLAN id {} of zone `{other}`", vlan.value);
                    let finding = Finding::error(CODE, at, vlan.span, message).help("give each zone an id of its own");
                    findings.push(finding.related(*place, "first given here"));
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
    fn ids() {
        says(
            r#"
network:
  zones:
    a: { vlan: 0 }
    b: { vlan: 4095 }
    c: { vlan: 4094 }
    d: { vlan: 4094 }
    e: { vlan: 4094 }
    f: { interface: tailscale0 }
"#,
            expect![[r#"
                4:16 error LW-NET-002: `0` is no VLAN id
                    help: ids go from 1 to 4094
                5:16 error LW-NET-002: `4095` is no VLAN id
                    help: ids go from 1 to 4094
                7:16 error LW-NET-002: zone `d` has the VLAN id 4094 of zone `c`
                    help: give each zone an id of its own
                    6:16: first given here
                8:16 error LW-NET-002: zone `e` has the VLAN id 4094 of zone `c`
                    help: give each zone an id of its own
                    6:16: first given here
            "#]],
        );
    }
}
