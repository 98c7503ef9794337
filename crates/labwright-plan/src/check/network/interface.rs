//! LW-NET-017: an interface that cannot be set up as it is written.

use std::net::IpAddr;

use labwright_model::lab::{Host, Interface};
use labwright_model::units::InterfaceAddress;
use labwright_model::{Finding, Findings, Span, Spanned};

use crate::check::{Case, Examples, Rule};

pub struct InterfaceSetup;

const CODE: &str = "LW-NET-017";
/// Without the zero that ends it; `IFNAMSIZ` of linux/if.h.
const LONGEST_NAME: usize = 15;

impl Rule for InterfaceSetup {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an interface that cannot be set up so"
    }

    fn doc(&self) -> &'static str {
        "- A router (`gateway`, `via`) is in none of the interface's own networks, so the kernel could not send anything \
         there. IPv6 routers may have an address of the link alone (`fe80::1`).\n\
         - Two gateways of one family: which of them counts would be chance.\n\
         - The target of a route is no network in CIDR, or the interface's name is none that the kernel could give.\n\
         - An address is that of the network itself, or its broadcast address, or stands there twice.\n\
         - None of the host's `interfaces` has an address that its `address` says (a warning): the way to it, the firewall \
         and its names are made from `address`. While a host moves, write both there, the new one first: \
         `address: [10.0.20.22, 10.0.20.21]`.\n\n\
         It comes from RFC 1122 (sections 3.2.1.3 and 3.3.1), which says what a host does with its own networks and with \
         everything else.\n\n\
         The way out stands in the finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    web:\n      address: 10.0.20.21\n      interfaces:\n        eth0: { addresses: 10.0.20.21/24, gateway: 10.0.30.1 }",
            passes: "compute:\n  hosts:\n    web:\n      address: 10.0.20.21\n      interfaces:\n        eth0: { addresses: 10.0.20.21/24, gateway: 10.0.20.1 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        for (name, host) in parsed.lab.compute.hosts.iter() {
            for (interface, entry) in host.interfaces.iter() {
                Judge { host: name, interface, findings }.interface(entry);
            }
            gateways(name, host, findings);
            twice(name, host, findings);
            elsewhere(name, host, findings);
        }
    }
}

struct Judge<'a> {
    host: &'a str,
    interface: &'a str,
    findings: &'a mut Findings,
}

impl Judge<'_> {
    fn fault(&mut self, key: &str, span: Span, message: String, help: String) {
        let at = format!("compute.hosts.{}.interfaces.{}{key}", self.host, self.interface);
        self.findings.push(Finding::error(CODE, at, span, message).help(help));
    }

    fn interface(&mut self, entry: &Spanned<Interface>) {
        let name = self.interface;
        let whole = !name.is_empty() && name.len() <= LONGEST_NAME && !matches!(name, "." | "..");
        if !whole || name.contains(|c: char| c.is_whitespace() || c.is_control() || "/:'\"\\$`".contains(c)) {
            let message = format!("`{name}` cannot be the name of an interface");
            let help = "write it as `ip link` on the host prints it: `eth0`, `ens18`".to_string();
            self.fault("", entry.span, message, help);
        }
        if name == "lo" {
            let help = "leave it out: it is every host's own, and set up by itself".to_string();
            self.fault("", entry.span, "`lo` is no interface of a network".into(), help);
        }
        for address in entry.addresses.iter() {
            let net = address.value.0;
            let v4 = net.addr().is_ipv4() && net.prefix_len() < 31;
            let what = match net.addr() {
                at if v4 && at == net.network() => "network",
                at if v4 && at == net.broadcast() => "broadcast",
                _ => continue,
            };
            let message =
                format!("`{}` is the {what} address of `{}`, and no host can have it", net.addr(), net.trunc());
            self.fault(".addresses", address.span, message, "give the host another address of that network".into());
        }
        for gateway in entry.gateway.iter() {
            self.router(entry, ".gateway", gateway);
        }
        for (target, route) in entry.routes.iter() {
            let key = format!(".routes.{target}");
            let Some(via) = &route.via else { continue };
            self.router(entry, &key, via);
            match target.parse::<InterfaceAddress>().map(|net| net.0) {
                Err(_) => {
                    let help = "write network and prefix length: `10.9.0.0/16: 10.0.20.254`".to_string();
                    self.fault(&key, route.span, format!("`{target}` is no network in CIDR"), help);
                }
                Ok(net) if net.addr() != net.network() => {
                    let message = format!("`{target}` is an address in a network, and no network");
                    self.fault(&key, route.span, message, format!("write the network: `{}`", net.trunc()));
                }
                Ok(net) if net.prefix_len() == 0 => {
                    let help = format!("write `gateway: {}`", via.value);
                    self.fault(&key, route.span, format!("`{target}` is everything: that is the gateway"), help);
                }
                Ok(net) if net.addr().is_ipv4() != via.value.is_ipv4() => {
                    let message = format!("`{target}` and the router `{}` are of two kinds", via.value);
                    self.fault(&key, route.span, message, "IPv4 goes by IPv4, and IPv6 by IPv6".into());
                }
                Ok(_) => {}
            }
        }
    }

    /// A router has to be a neighbour.
    fn router(&mut self, entry: &Interface, key: &str, router: &Spanned<IpAddr>) {
        let neighbour = entry.addresses.iter().any(|address| address.value.0.contains(&router.value));
        let own = entry.addresses.iter().any(|address| address.value.0.addr() == router.value);
        let of_the_link = matches!(router.value, IpAddr::V6(six) if six.is_unicast_link_local());
        if own {
            let message = format!("`{}` is the host's own address, and cannot be its router", router.value);
            self.fault(key, router.span, message, "write the address of the router".into());
        } else if !neighbour && !of_the_link {
            let nets: Vec<String> = entry.addresses.iter().map(|a| format!("`{}`", a.value.0.trunc())).collect();
            let message = format!("the router `{}` is in none of the networks of `{}`", router.value, self.interface);
            let help = match nets.is_empty() {
                true => "give the interface an address in the router's network".to_string(),
                false => format!(
                    "its networks are {}: write a router in one of them, or correct the address",
                    nets.join(", ")
                ),
            };
            self.fault(key, router.span, message, help);
        }
    }
}

/// One way out for each family, over all interfaces.
fn gateways(name: &str, host: &Host, findings: &mut Findings) {
    for v4 in [true, false] {
        let all = || {
            let of = |entry: &'_ Spanned<Interface>| entry.gateway.iter().cloned().collect::<Vec<_>>();
            host.interfaces.values().flat_map(of).filter(move |gateway| gateway.value.is_ipv4() == v4)
        };
        let Some(first) = all().next() else { continue };
        for other in all().skip(1) {
            let family = if v4 { "IPv4" } else { "IPv6" };
            let message = format!("`{name}` has two gateways for {family}: `{}` and `{}`", first.value, other.value);
            let help = "keep the one that leads to the internet; what is behind the other one is a route: `routes: { NETWORK: ROUTER }`";
            findings.push(
                Finding::error(CODE, format!("compute.hosts.{name}.interfaces"), other.span, message)
                    .help(help)
                    .related(first.span, "the first"),
            );
        }
    }
}

fn twice(name: &str, host: &Host, findings: &mut Findings) {
    let all: Vec<_> = host.interfaces.values().flat_map(|entry| entry.addresses.iter().cloned()).collect();
    for (n, address) in all.iter().enumerate() {
        let Some(first) = all[..n].iter().find(|first| first.value.0.addr() == address.value.0.addr()) else {
            continue;
        };
        let message = format!("`{name}` has the address `{}` twice", address.value.0.addr());
        findings.push(
            Finding::error(CODE, format!("compute.hosts.{name}.interfaces"), address.span, message)
                .help("remove one of the two")
                .related(first.span, "first given here"),
        );
    }
}

/// Everything else is made from `address`.
fn elsewhere(name: &str, host: &Host, findings: &mut Findings) {
    let Some((_, first)) = host.interfaces.iter().next() else { return };
    let said = |address: IpAddr| host.address.iter().any(|said| said.value == address);
    let set: Vec<IpAddr> = host
        .interfaces
        .values()
        .flat_map(|entry| entry.addresses.iter())
        .map(|address| address.value.0.addr())
        .collect();
    if host.local || set.is_empty() || set.iter().any(|address| said(*address)) {
        return;
    }
    let message = match host.address.first() {
        Some(other) => {
            format!("none of the addresses that `{name}` is given is its `address`, which is `{}`", other.value)
        }
        None => format!("`{name}` is given an address, and has no `address` by which it is reached"),
    };
    let kept: Vec<String> =
        set.iter().take(1).copied().chain(host.address.iter().map(|a| a.value)).map(|a| a.to_string()).collect();
    findings.push(
        Finding::warning(CODE, format!("compute.hosts.{name}.address"), first.span, message)
            .help(format!("write `address: [{}]`: they are tried in this order", kept.join(", "))),
    );
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_no_kernel_takes_and_what_leads_nowhere() {
        says(
            r#"
compute:
  hosts:
    web:
      address: 10.0.20.21
      interfaces:
        eth0:
          addresses: [10.0.20.21/24, "fd00:20::21/64"]
          gateway: [10.0.20.1, "fe80::1"]
          routes: { 10.9.0.0/16: 10.0.20.254, 10.8.0.1/16: 10.0.20.254, 10.7.0.0/16: 10.0.99.1, nine: 10.0.20.9, 0.0.0.0/0: 10.0.20.3 }
        eth1: { addresses: [10.0.30.0/24, 10.0.20.21/24], gateway: 10.0.30.1 }
        "an interface": { addresses: 10.0.40.5/24 }
    moved: { address: 10.0.20.22, interfaces: { eth0: { addresses: 10.0.20.23/24 } } }
    moving: { address: [10.0.20.25, 10.0.20.24], interfaces: { eth0: { addresses: 10.0.20.25/24 } } }
"#,
            expect![[r#"
                10:47 error LW-NET-017: `10.8.0.1/16` is an address in a network, and no network
                    help: write the network: `10.8.0.0/16`
                10:86 error LW-NET-017: the router `10.0.99.1` is in none of the networks of `eth0`
                    help: its networks are `10.0.20.0/24`, `fd00:20::/64`: write a router in one of them, or correct the address
                10:97 error LW-NET-017: `nine` is no network in CIDR
                    help: write network and prefix length: `10.9.0.0/16: 10.0.20.254`
                10:114 error LW-NET-017: `0.0.0.0/0` is everything: that is the gateway
                    help: write `gateway: 10.0.20.3`
                11:29 error LW-NET-017: `10.0.30.0` is the network address of `10.0.30.0/24`, and no host can have it
                    help: give the host another address of that network
                11:43 error LW-NET-017: `web` has the address `10.0.20.21` twice
                    help: remove one of the two
                    8:23: first given here
                11:68 error LW-NET-017: `web` has two gateways for IPv4: `10.0.20.1` and `10.0.30.1`
                    help: keep the one that leads to the internet; what is behind the other one is a route: `routes: { NETWORK: ROUTER }`
                    9:21: the first
                12:9 error LW-NET-017: `an interface` cannot be the name of an interface
                    help: write it as `ip link` on the host prints it: `eth0`, `ens18`
                13:49 warning LW-NET-017: none of the addresses that `moved` is given is its `address`, which is `10.0.20.22`
                    help: write `address: [10.0.20.23, 10.0.20.22]`: they are tried in this order
            "#]],
        );
    }
}
