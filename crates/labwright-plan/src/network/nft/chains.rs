//! The chains of a host: what comes in, what goes out, what containers do, and what becomes of the rest.

use std::fmt::Write;

use super::Page;
use super::forward::Ways;
use super::sets::{Ports, address, port, set};
use crate::network::ranges::{Family, Ranges, number};

/// Networks that container engines make on a host, by what their interfaces are called.
const CONTAINERS: &[&str] = &["docker0", "docker_gwbridge", "br-*", "podman*", "cni*", "virbr*", "lxdbr*", "incusbr*"];

/// What a bridge of containers is called by Docker, and one of a zone by whoever likes `br-lan`: the addresses tell which it is.
const ZONE_FROM: &[&str] = &[
    "iifname \"br-*\" ip saddr @lab4 return",
    "iifname \"br-*\" ip6 saddr @lab6 return",
    "iifname \"br-*\" ip saddr != { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16 } return",
];
const ZONE_TO: &[&str] = &[
    "oifname \"br-*\" ip daddr @lab4 return",
    "oifname \"br-*\" ip6 daddr @lab6 return",
    "oifname \"br-*\" ip daddr != { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16 } return",
];

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

    /// Sources that cannot be where they say. A router asks for the way back where it has just asked for the way there
    /// (`looked_back`), which costs it far less than at the first hook; what is exempt is looked at only where none is found.
    pub(super) fn spoofed(&mut self) {
        if !self.routes {
            let rules = lines(&["iif != \"lo\" fib saddr type local counter drop"]);
            let hook = "filter hook prerouting priority raw; policy accept";
            return chain(&mut self.out, "Nobody else has this host's own addresses.", "spoofed", hook, &rules);
        }
        let several = self.in_several_zones();
        let mut rules =
            lines(&["ip saddr 0.0.0.0 udp sport 68 udp dport 67 return", "ip6 saddr { ::, fe80::/10 } return"]);
        for (family, addresses) in Family::ALL.into_iter().zip(&several).filter(|(_, several)| !several.is_empty()) {
            let name = format!("several{}", family.digit());
            self.out.push_str("\n\t# Hosts in several zones: they answer on one way what was asked over another.\n");
            set(&mut self.out, &name, address(family), true, addresses);
            rules.push(format!("ct direction reply {} saddr @{name} return", family.word()));
        }
        rules.push("counter drop".into());
        let about = "An address is believed where the way back to it leads; whoever has none yet asks for one.";
        chain(&mut self.out, about, "spoofed", "", &rules);
    }

    /// The rule that holds a packet's source against the way back to it, before anything accepts the packet.
    fn looked_back(&self) -> Option<String> {
        self.routes.then(|| "iif != \"lo\" fib saddr . iif oif missing jump spoofed".to_string())
    }

    /// The addresses of other hosts that are in more than one zone, for each family.
    fn in_several_zones(&self) -> [Vec<String>; 2] {
        let parties = &self.matrix.parties;
        Family::ALL.map(|family| {
            let others =
                (0..parties.hosts.len()).filter(|host| *host != self.host && parties.hosts[*host].zones.len() > 1);
            let mut addresses = Ranges::default();
            for address in others.flat_map(|host| parties.host_addresses(host, family)) {
                addresses.add(number(address), number(address));
            }
            addresses.iter().map(|(first, last)| family.interval(first, last)).collect()
        })
    }

    pub(super) fn input(&mut self, addressed: [bool; 2]) {
        let mut rules: Vec<String> = self.looked_back().into_iter().collect();
        rules.extend(lines(&[
            "ct state established,related accept",
            "ct state invalid drop",
            "iif \"lo\" accept",
            "meta l4proto vmap { icmpv6 : jump neighbours, igmp : accept }",
        ]));
        // A router gives addresses out, and is given one by its provider.
        if self.routes {
            rules.extend(lines(&[
                "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
                "ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept",
            ]));
        }
        rules.extend(lines(&[
            "udp sport 67 udp dport 68 accept",
            "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
        ]));
        rules.push("jump inbound".into());
        rules.extend(lines(&["ip saddr . tcp dport @moving4 accept", "ip6 saddr . tcp dport @moving6 accept"]));
        let own = self.matrix.for_its_containers(self.host);
        let mut asked = lines(ZONE_FROM);
        if own.any {
            asked.push("accept".into());
        }
        if own.ping {
            asked.extend(lines(&["icmp type echo-request accept", "icmpv6 type echo-request accept"]));
        }
        for (protocol, ports) in [("tcp", &own.tcp), ("udp", &own.udp)] {
            let ports: Vec<String> = ports.iter().map(|(first, last)| port(first, last)).collect();
            if !ports.is_empty() {
                asked.push(format!("{protocol} dport {{ {} }} accept", ports.join(", ")));
            }
        }
        let asked = Some(asked).filter(|rules| rules.len() > ZONE_FROM.len());
        rules.extend(asked.is_some().then(|| "iifname @containers jump own_services".to_string()));
        rules.push("goto denied".into());
        let hook = "filter hook input priority filter; policy drop";
        chain(&mut self.out, "What comes to this host.", "input", hook, &rules);
        let inbound = self.inward.rules(Ports::Own, addressed);
        chain(&mut self.out, "", "inbound", "", &inbound);
        if let Some(asked) = asked {
            chain(
                &mut self.out,
                "What runs on this host, for what runs in its containers.",
                "own_services",
                "",
                &asked,
            );
        }
        let neighbours = lines(&[
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, nd-redirect } \
             ip6 hoplimit 255 accept",
            "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept",
        ]);
        let about =
            "Without these IPv6 does not find its neighbours; from farther away than the link they are not believed.";
        chain(&mut self.out, about, "neighbours", "", &neighbours);
    }

    pub(super) fn output(&mut self, addressed: [bool; 2]) {
        let mut rules = lines(&[
            "ct state established,related accept",
            "oif \"lo\" accept",
            "oifname @containers jump to_containers",
            "meta l4proto vmap { icmpv6 : jump neighbours, igmp : accept }",
        ]);
        if self.routes {
            rules.extend(lines(&[
                "udp sport 67 udp dport 68 accept",
                "ip6 daddr fe80::/10 udp sport 547 udp dport 546 accept",
            ]));
        }
        rules.extend(lines(&[
            "udp sport 68 udp dport 67 accept",
            "ip6 daddr { fe80::/10, ff02::1:2 } udp sport 546 udp dport 547 accept",
        ]));
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
        let about =
            "A zone's bridge may be called as one of containers is: who has an address of the lab is judged as such.";
        let mut rules = lines(ZONE_TO);
        rules.push("accept".into());
        chain(&mut self.out, about, "to_containers", "", &rules);
    }

    /// What passes through: between zones on a router; to and from containers anywhere.
    pub(super) fn forward(&mut self, ways: Option<&Ways>, addressed: [bool; 2]) {
        let mut rules: Vec<String> = self.looked_back().into_iter().collect();
        rules.extend(lines(&["ct state established,related accept", "ct state invalid drop"]));
        let carries = self.matrix.parties.hosts[self.host].carries && !self.routes;
        rules.push("iifname @containers jump from_containers".into());
        rules.push("# A published port is the host's: it is judged by what it was before it was translated.".into());
        let mut about =
            "What passes through this host: to its containers and from them, before their engine looks at it.";
        if ways.is_some() {
            about = "What passes through: between zones, to the internet, to containers. Before a container engine looks at it.";
            rules.push("ct status dnat oifname @containers jump published".into());
            rules.push("jump between".into());
            if self.routes {
                rules.extend(lines(&[
                    "ip saddr . ip daddr . tcp dport @moving_through4 accept",
                    "ip6 saddr . ip6 daddr . tcp dport @moving_through6 accept",
                ]));
            }
        } else {
            rules.push("ct status dnat jump published".into());
        }
        if carries {
            rules.push("meta iifkind \"bridge\" meta oifkind \"bridge\" jump guests".into());
        }
        rules.push("goto denied".into());
        let hook = "filter hook forward priority filter - 10; policy drop";
        chain(&mut self.out, about, "forward", hook, &rules);
        let mut rules = lines(ZONE_FROM);
        rules.extend(lines(&["oifname @containers jump to_containers", "jump outbound", "goto denied"]));
        let about = "Between containers their engine decides; out of them goes what may go out of this host.";
        chain(&mut self.out, about, "from_containers", "", &rules);
        if carries {
            let about =
                "Guests on bridges are machines of their own, with firewalls of their own; containers are this host's.";
            let mut rules = lines(&["oifname != @containers accept"]);
            rules.extend(ZONE_TO.iter().map(|rule| rule.replace("return", "accept")));
            chain(&mut self.out, about, "guests", "", &rules);
        }
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
