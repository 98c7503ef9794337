//! LW-NET-006: devices or guests that may open connections inwards.

use labwright_model::units::Traffic;
use labwright_model::{Finding, Findings, Severity};

use super::management::opened_to_users;
use super::reach::{End, Reach, is_only, sole, traffic};
use super::telling::{Stake, listed};
use super::zone_kind::{Kinds, ZoneKind};
use crate::check::{Case, Examples, Rule};

pub struct Inward;

const CODE: &str = "LW-NET-006";

impl Rule for Inward {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "devices or guests that may reach inwards"
    }

    fn doc(&self) -> &'static str {
        "A zone for devices or for guests (its name says so: `iot`, `cameras`, `guest`, `visitors`) may open connections to \
         the rest of the lab. Devices that get no updates are where intruders stay, and guests bring machines that nobody \
         knows. What they may always ask for is the internet, names, the time and an address.\n\n\
         - any traffic to a zone or a host: a warning from guests, and from devices where it reaches what has \
         `tier: production`; advice otherwise;\n\
         - some ports to a whole zone: the same fault in small, by tier;\n\
         - from guests, some ports to one host or service: advice, and silence where `because` gives the reason;\n\
         - from devices, some ports to one host or service: nothing. A broker has to be reachable.\n\n\
         Document 0 gives guests the internet and nothing else, keeps cameras and smart home devices in a zone of their \
         own, and isolates monitoring and backup from guest and IoT traffic; document 3 denies by default.\n\n\
         The way out: let the lab open the connections (`{ from: home-assistant, to: iot }`), or name the one host or service \
         and its ports: `{ from: iot, to: broker, allow: mqtt }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    iot: { subnet: 10.0.40.0/24 }\n  flows:\n    - { from: iot, to: servers }",
            passes: "network:\n  zones:\n    servers: { subnet: 10.0.20.0/24 }\n    iot: { subnet: 10.0.40.0/24 }\n  flows:\n    - { from: servers, to: iot }\n    - { from: iot, to: servers, allow: [dns, ntp] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        if lab.network.flows.is_empty() {
            return;
        }
        let reach = case.reach();
        let kinds = case.kinds();
        for flow in lab.network.flows.iter() {
            let allow: Vec<Traffic> = traffic(flow).into_iter().filter(|one| !is_only(one, ALWAYS)).collect();
            let untrusted = flow.from.iter().filter_map(|name| match sole(lab, name)? {
                End::Zone(zone) => match kinds.zone(zone)? {
                    kind @ (ZoneKind::Iot | ZoneKind::Guest) => Some((name.span, zone, kind == ZoneKind::Guest)),
                    _ => None,
                },
                _ => None,
            });
            let (mut from, mut to, mut worst) = (Vec::new(), Vec::new(), None);
            for (span, zone, guest) in untrusted.filter(|_| !allow.is_empty()) {
                for end in flow.to.iter().filter_map(|name| sole(lab, name)) {
                    // That a management interface is open is told by LW-EDGE-003.
                    if opened_to_users(lab, kinds, reach, end, &allow).is_some() {
                        continue;
                    }
                    let source = Source { zone, guest, because: flow.because.is_some() };
                    let Some(grade) = grade(&source, reach, kinds, end, &allow) else { continue };
                    worst = worst.max(Some(grade));
                    for (list, item) in [(&mut from, (span, zone.to_string())), (&mut to, (span, reach.spelled(end)))] {
                        if !list.contains(&item) {
                            list.push(item);
                        }
                    }
                }
            }
            let (Some(severity), Some((span, _))) = (worst, from.first()) else { continue };
            to.dedup_by(|(_, a), (_, b)| a == b);
            let what = match allow.contains(&Traffic::Any) {
                true => "with anything".to_string(),
                false => {
                    let ports: Vec<String> = allow.iter().map(Traffic::to_string).collect();
                    format!("with {}", listed(ports.iter().map(String::as_str)))
                }
            };
            let mut names: Vec<&str> = to.iter().map(|(_, name)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let zones = listed(from.iter().map(|(_, zone)| zone.as_str()));
            let message = format!("{zones} may open connections to {}, {what}", listed(names));
            let guests = from.iter().any(|(_, zone)| kinds.zone(zone) == Some(ZoneKind::Guest));
            let help = match guests {
                true => {
                    "take the flow out: guests get the internet alone; or name one host, its ports, and why: `because: …`"
                }
                false => {
                    "take the flow out, or name one host or service and its ports: `- { from: iot, to: broker, allow: mqtt }`"
                }
            };
            let finding = Finding::warning(CODE, "network.flows", *span, message).help(help);
            findings.push(Finding { severity, ..finding });
        }
    }
}

/// What any zone may ask for: names, the time, an address, who is there.
const ALWAYS: &[u16] = &[53, 67, 123, 5353];

struct Source<'a> {
    zone: &'a str,
    guest: bool,
    because: bool,
}

fn grade(from: &Source<'_>, reach: &Reach<'_>, kinds: &Kinds<'_>, to: End<'_>, allow: &[Traffic]) -> Option<Severity> {
    let any = allow.contains(&Traffic::Any);
    let by_stake = |stake: Stake| if stake == Stake::Production { Severity::Warning } else { Severity::Advice };
    let wide = |stake: Stake| if from.guest { Severity::Warning } else { by_stake(stake) };
    let narrow = (from.guest && !from.because).then_some(Severity::Advice);
    match to {
        End::Internet => None,
        End::Zone(zone) if zone == from.zone => None,
        End::Zone(zone) if any => Some(wide(kinds.stake_in(zone))),
        End::Zone(zone) => Some(by_stake(kinds.stake_in(zone))),
        End::Host(host) if reach.zones(host).is_some_and(|zones| zones.contains(from.zone)) => None,
        End::Host(host) if any => Some(wide(kinds.stake(host))),
        // The ports of a service are its own, whatever the flow lets through.
        End::Host(_) | End::Service(_) => narrow,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_the_file_says_of_a_zone_counts_for_more_than_its_name() {
        let lab = |kind: &str| {
            format!(
                "network:\n  zones:\n    servers: {{ subnet: 10.0.1.0/24{kind} }}\n    inner: {{ subnet: 10.0.2.0/24, kind: servers }}\n  flows:\n    - {{ from: servers, to: inner }}\n"
            )
        };
        let codes = |kind: &str| {
            let (_, findings) = crate::check::tests::found(&lab(kind));
            findings.iter().filter(|finding| finding.code == super::CODE).count()
        };
        assert_eq!((codes(""), codes(", kind: iot"), codes(", kind: guest")), (0, 1, 1));
    }

    #[test]
    fn wide_and_narrow_ways_in() {
        says(
            r#"
network:
  zones:
    servers: { subnet: 10.0.20.0/24 }
    lounge: { subnet: 10.0.30.0/24 }
    iot: { subnet: 10.0.40.0/24 }
    cameras: { subnet: 10.0.41.0/24 }
    guest-wifi: { subnet: 10.0.50.0/24 }
  flows:
    - { from: [iot, cameras], to: [servers, lounge, internet] }
    - { from: iot, to: lounge }
    - { from: iot, to: lounge, allow: [mqtt, dns] }
    - { from: iot, to: [broker, nas-01], allow: [mqtt, 8000-8010/tcp] }
    - { from: iot, to: nas-01 }
    - { from: iot, to: broker }
    - { from: [iot, guest-wifi], to: servers, allow: [dns, ntp, icmp] }
    - { from: guest-wifi, to: lounge }
    - { from: guest-wifi, to: printer, allow: ipp }
    - { from: guest-wifi, to: printer, allow: ipp, because: guests print }
    - { from: guest-wifi, to: [guest-wifi, internet] }
    - { from: iot, to: bulb }
    - { from: lounge, to: servers }
    - { from: bulb, to: lounge }
compute:
  hosts:
    nas-01: { zone: servers, address: 10.0.20.5, tier: production }
    printer: { zone: lounge, address: 10.0.30.9 }
    bulb: { zone: iot, address: 10.0.40.9 }
services:
  broker: { use: mosquitto, on: nas-01 }
"#,
            expect![[r#"
                10:7 advice LW-NET-013: zones and flows are declared, and nothing enforces them
                    help: write `network: { firewall: enforce }`, after `labwright rehearse` has tried it; `firewall: off` keeps it as it is
                10:16 warning LW-NET-006: `iot` and `cameras` may open connections to `lounge` and `servers`, with anything
                    help: take the flow out, or name one host or service and its ports: `- { from: iot, to: broker, allow: mqtt }`
                11:15 advice LW-NET-006: `iot` may open connections to `lounge`, with anything
                    help: take the flow out, or name one host or service and its ports: `- { from: iot, to: broker, allow: mqtt }`
                12:15 advice LW-NET-006: `iot` may open connections to `lounge`, with `mqtt`
                    help: take the flow out, or name one host or service and its ports: `- { from: iot, to: broker, allow: mqtt }`
                14:15 warning LW-NET-006: `iot` may open connections to `nas-01`, with anything
                    help: take the flow out, or name one host or service and its ports: `- { from: iot, to: broker, allow: mqtt }`
                17:15 warning LW-NET-006: `guest-wifi` may open connections to `lounge`, with anything
                    help: take the flow out: guests get the internet alone; or name one host, its ports, and why: `because: …`
                18:15 advice LW-NET-006: `guest-wifi` may open connections to `printer`, with `ipp`
                    help: take the flow out: guests get the internet alone; or name one host, its ports, and why: `because: …`
            "#]],
        );
    }
}
