//! The chains of a host: what comes in, what goes out, what containers do, and what becomes of the rest.

use std::fmt::Write;

use super::Page;
use super::forward::Ways;
use super::sets::{Ports, port};
use crate::network::allowed::Allowed;
use crate::network::ports;

/// Networks that container engines make on a host, by what their interfaces are called.
const CONTAINERS: &[&str] = &["docker0", "docker_gwbridge", "br-*", "podman*", "cni*", "virbr*", "lxdbr*", "incusbr*"];

/// A chain, if it has rules or hooks in somewhere.
fn chain(out: &mut String, about: &str, name: &str, hook: &str, rules: &[String]) {
    if !about.is_empty() {
        let _ = write!(out, "\n\t# {about}");
    }
    let _ = write!(out, "\n\tchain {name} {{\n");
    if !hook.is_empty() {
        let _ = write!(out, "\t\ttype {hook};\n\n");
    }
    for rule in rules {
        match rule.is_empty() {
            true => out.push('\n'),
            false => {
                let _ = writeln!(out, "\t\t{rule}");
            }
        }
    }
    out.push_str("\t}\n");
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| line.to_string()).collect()
}

impl Page<'_, '_> {
    /// Sets that fill while packets come, and the names of container networks.
    pub(super) fn watched(&mut self) {
        let names: Vec<String> = CONTAINERS.iter().map(|name| format!("\"{name}\"")).collect();
        let _ = write!(
            self.out,
            "\n\t# Networks of containers on this host. Their engine's own tables stay as they are.\n\
             \tset containers {{\n\t\ttype ifname\n\t\tflags interval\n\t\telements = {{ {} }}\n\t}}\n\
             \n\t# Pairs that were denied, with how often; forgotten after a day of quiet.\n",
            names.join(", ")
        );
        for (digit, address) in [('4', "ipv4_addr"), ('6', "ipv6_addr")] {
            let _ = write!(
                self.out,
                "\tset denied{digit} {{\n\t\ttype {address} . {address}\n\t\tsize 16384\n\
                 \t\tflags dynamic,timeout\n\t\ttimeout 1d\n\t}}\n"
            );
        }
        self.out.push_str(
            "\n\t# Where SSH of this host moves to, for whoever has to see that it did; forgotten by itself.\n",
        );
        for (digit, address) in [('4', "ipv4_addr"), ('6', "ipv6_addr")] {
            let _ = write!(
                self.out,
                "\tset moving{digit} {{\n\t\ttype {address} . inet_service\n\t\tsize 64\n\t\tflags timeout\n\t}}\n"
            );
        }
        if !self.routes {
            return;
        }
        self.out.push_str(
            "\n\t# The same for hosts behind this router, whose SSH is where it was until it is where it goes.\n",
        );
        for (digit, address) in [('4', "ipv4_addr"), ('6', "ipv6_addr")] {
            let _ = write!(
                self.out,
                "\tset moving_through{digit} {{\n\t\ttype {address} . {address} . inet_service\n\t\tsize 64\n\t\tflags timeout\n\t}}\n"
            );
        }
    }

    /// Sources that cannot be where they say.
    pub(super) fn spoofed(&mut self) {
        let hook = "filter hook prerouting priority raw; policy accept";
        let (about, rules) = match self.routes {
            true => (
                "An address is believed where the way back to it leads; whoever has none yet asks for one.",
                lines(&[
                    "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
                    "ip6 saddr { ::, fe80::/10 } accept",
                    "iif != \"lo\" fib saddr . iif oif missing counter drop",
                ]),
            ),
            false => (
                "Nobody else has this host's own addresses.",
                lines(&["iif != \"lo\" fib saddr type local counter drop"]),
            ),
        };
        chain(&mut self.out, about, "spoofed", hook, &rules);
    }

    pub(super) fn input(&mut self, addressed: [bool; 2]) {
        let mut rules = lines(&[
            "ct state vmap { established : accept, related : accept, invalid : drop }",
            "iif \"lo\" accept",
            "meta l4proto vmap { icmpv6 : jump neighbours, igmp : accept }",
        ]);
        rules.extend(match self.routes {
            true => lines(&["ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept"]),
            false => {
                lines(&["udp sport 67 udp dport 68 accept", "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"])
            }
        });
        rules.push("jump inbound".into());
        rules.extend(lines(&["ip saddr . tcp dport @moving4 accept", "ip6 saddr . tcp dport @moving6 accept"]));
        let own = self.own_services();
        for (protocol, ports) in [("tcp", &own.tcp), ("udp", &own.udp)] {
            let ports: Vec<String> = ports.iter().map(|(first, last)| port(first, last)).collect();
            if !ports.is_empty() {
                let ports = ports.join(", ");
                rules.push(format!("iifname @containers {protocol} dport {{ {ports} }} accept"));
            }
        }
        rules.push("goto denied".into());
        let hook = "filter hook input priority filter; policy drop";
        chain(&mut self.out, "What comes to this host.", "input", hook, &rules);
        let inbound = self.inward.rules(Ports::Own, addressed);
        chain(&mut self.out, "", "inbound", "", &inbound);
        let neighbours = lines(&[
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, nd-redirect } \
             ip6 hoplimit 255 accept",
            "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept",
        ]);
        let about =
            "Without these IPv6 does not find its neighbours; from farther away than the link they are not believed.";
        chain(&mut self.out, about, "neighbours", "", &neighbours);
    }

    /// What runs on this host, for what runs in its containers.
    fn own_services(&self) -> Allowed {
        let (parties, lab) = (&self.matrix.parties, self.matrix.parties.lab());
        let name = parties.hosts[self.host].name;
        let mut own = Allowed::default();
        for placement in &parties.parsed.placements {
            if placement.entry.on.iter().any(|on| on.value == name) {
                own.extend(&ports::of(parties.parsed, placement));
            }
        }
        if lab.platform.dns.iter().flat_map(|dns| dns.on.iter()).any(|on| on.value == name) {
            own.extend(&Allowed::both(53));
        }
        if lab.platform.reverse_proxy.iter().flat_map(|proxy| proxy.on.iter()).any(|on| on.value == name) {
            own.extend(&Allowed::tcp([80, 443]));
        }
        own
    }

    pub(super) fn output(&mut self, addressed: [bool; 2]) {
        let mut rules = lines(&[
            "ct state vmap { established : accept, related : accept }",
            "oif \"lo\" accept",
            "oifname @containers accept",
            "meta l4proto vmap { icmpv6 : jump neighbours, igmp : accept }",
        ]);
        rules.extend(match self.routes {
            true => lines(&["udp sport 67 udp dport 68 accept"]),
            false => {
                lines(&["udp sport 68 udp dport 67 accept", "ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept"])
            }
        });
        rules.extend(lines(&[
            "# What stays on the link is for whoever hears it to judge.",
            "ip daddr 224.0.0.0/24 accept",
            "ip6 daddr ff02::/16 accept",
            "jump outbound",
            "goto denied",
        ]));
        let hook = "filter hook output priority filter; policy drop";
        chain(&mut self.out, "What this host opens.", "output", hook, &rules);
        let outbound = self.outward.rules(Ports::Own, addressed);
        chain(&mut self.out, "", "outbound", "", &outbound);
    }

    /// What passes through: between zones on a router; to and from containers anywhere.
    pub(super) fn forward(&mut self, ways: Option<&Ways>, addressed: [bool; 2]) {
        let mut rules = lines(&["ct state vmap { established : accept, related : accept, invalid : drop }"]);
        if self.matrix.parties.hosts[self.host].carries && ways.is_none() {
            rules.push("# Guests on bridges are machines of their own, with firewalls of their own.".into());
            rules.push("meta iifkind \"bridge\" meta oifkind \"bridge\" accept".into());
        }
        rules.extend(lines(&[
            "# Between containers their engine decides; out of them goes what may go out of this host.",
            "iifname @containers oifname @containers accept",
            "iifname @containers jump outbound",
            "iifname @containers goto denied",
            "# A published port is the host's: it is judged by what it was before it was translated.",
        ]));
        let mut about =
            "What passes through this host: to its containers and from them, before their engine looks at it.";
        if ways.is_some() {
            about = "What passes through: between zones, to the internet, to containers. Before a container engine looks at it.";
            rules.push("ct status dnat oifname @containers jump published".into());
            rules.push("jump between".into());
            rules.extend(lines(&[
                "ip saddr . ip daddr . tcp dport @moving_through4 accept",
                "ip6 saddr . ip6 daddr . tcp dport @moving_through6 accept",
            ]));
        } else {
            rules.push("ct status dnat jump published".into());
        }
        rules.push("goto denied".into());
        let hook = "filter hook forward priority filter - 10; policy drop";
        chain(&mut self.out, about, "forward", hook, &rules);
        let published = self.inward.rules(Ports::Original, addressed);
        chain(&mut self.out, "", "published", "", &published);
        if let Some(ways) = ways {
            chain(&mut self.out, "", "between", "", &ways.rules());
        }
    }

    pub(super) fn denied(&mut self) {
        let rules = lines(&[
            "update @denied4 { ip saddr . ip daddr counter limit rate 3/minute burst 3 packets } \
             log prefix \"labwright denied: \" level info",
            "update @denied6 { ip6 saddr . ip6 daddr counter limit rate 3/minute burst 3 packets } \
             log prefix \"labwright denied: \" level info",
            "counter",
            "# The lab is told at once; the internet is told nothing.",
            "ip saddr @lab4 reject with icmpx admin-prohibited",
            "ip6 saddr @lab6 reject with icmpx admin-prohibited",
            "iifname @containers reject with icmpx admin-prohibited",
            "fib saddr type local reject with icmpx admin-prohibited",
            "drop",
        ]);
        chain(&mut self.out, "Each pair is counted, and logged three times a minute at most.", "denied", "", &rules);
    }
}
