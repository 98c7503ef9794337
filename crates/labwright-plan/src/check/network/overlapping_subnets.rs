//! LW-NET-003: zones whose subnets overlap.

use std::net::IpAddr;

use labwright_model::{Finding, Findings, Span};

use crate::check::{Case, Examples, Rule};

pub struct OverlappingSubnets;

const CODE: &str = "LW-NET-003";

impl Rule for OverlappingSubnets {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "zones whose subnets overlap"
    }

    fn doc(&self) -> &'static str {
        "Two subnets share addresses. A host there is in both zones, and a router cannot tell where to send to.\n\n\
         A usual cause is a VPN that takes all of 100.64.0.0/10, or a subnet written as /16 where /24 was meant.\n\n\
         It comes from tailscale/tailscale#1381 and tailscale/tailscale#12829, where a VPN over all of \
         100.64.0.0/10 (RFC 6598) cut off machines that had addresses in it.\n\n\
         The way out: make one of the subnets smaller, or move it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    lab: { subnet: 10.0.0.0/16 }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    lab: { subnet: 10.1.0.0/16 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // Sorted by first address, each subnet can only overlap one that began before it and has not ended. IPv4 sorts
        // before IPv6, so the two families never meet.
        let zones = parsed.lab.network.zones.iter();
        let mut subnets: Vec<Range<'_>> = zones
            .flat_map(|(name, zone)| {
                zone.subnet.iter().map(move |subnet| Range {
                    first: subnet.value.0.network(),
                    last: subnet.value.0.broadcast(),
                    zone: name,
                    span: subnet.span,
                    text: subnet.value.to_string(),
                })
            })
            .collect();
        subnets.sort_by_key(|subnet| (subnet.first, subnet.last, subnet.span));
        let mut open: Option<Range<'_>> = None;
        for subnet in subnets {
            if let Some(before) = open.as_ref().filter(|before| subnet.first <= before.last) {
                // The later one in the file is the one to change.
                let (old, new) = if before.span <= subnet.span { (before, &subnet) } else { (&subnet, before) };
                let message = match old.zone == new.zone {
                    true => format!("zone `{}` has `{}` beside its own `{}`", new.zone, new.text, old.text),
                    false => {
                        format!("`{}` of zone `{}` overlaps `{}` of zone `{}`", new.text, new.zone, old.text, old.zone)
                    }
                };
                let finding = Finding::error(CODE, format!("network.zones.{}.subnet", new.zone), new.span, message);
                findings
                    .push(finding.help("make one of the two smaller, or move it").related(old.span, "overlaps this"));
            }
            if open.as_ref().is_none_or(|before| subnet.last > before.last) {
                open = Some(subnet);
            }
        }
    }
}

struct Range<'a> {
    first: IpAddr,
    last: IpAddr,
    zone: &'a str,
    span: Span,
    text: String,
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn equal_and_nested_subnets() {
        says(
            r#"
network:
  zones:
    all: { subnet: 10.0.0.0/8 }
    a: { subnet: 10.0.1.0/24 }
    b: { subnet: [10.0.2.0/24, 10.0.2.128/25] }
    vpn: { subnet: 100.64.0.0/10 }
    tailnet: { subnet: 100.90.0.0/16 }
    six: { subnet: "fd00::/48" }
    seven: { subnet: "fd00::/48" }
"#,
            expect![[r#"
                5:18 error LW-NET-003: `10.0.1.0/24` of zone `a` overlaps `10.0.0.0/8` of zone `all`
                    help: make one of the two smaller, or move it
                    4:20: overlaps this
                6:19 error LW-NET-003: `10.0.2.0/24` of zone `b` overlaps `10.0.0.0/8` of zone `all`
                    help: make one of the two smaller, or move it
                    4:20: overlaps this
                6:32 error LW-NET-003: `10.0.2.128/25` of zone `b` overlaps `10.0.0.0/8` of zone `all`
                    help: make one of the two smaller, or move it
                    4:20: overlaps this
                8:24 error LW-NET-003: `100.90.0.0/16` of zone `tailnet` overlaps `100.64.0.0/10` of zone `vpn`
                    help: make one of the two smaller, or move it
                    7:20: overlaps this
                10:22 error LW-NET-003: `fd00::/48` of zone `seven` overlaps `fd00::/48` of zone `six`
                    help: make one of the two smaller, or move it
                    9:20: overlaps this
            "#]],
        );
    }
}
