//! From the lab's VPN to the interfaces of its hosts, and to what those hosts need for them. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use labwright_model::lab::{Host, Sysctl, Wireguard, WireguardPeer};
use labwright_model::{Finding, Findings, Parsed, Span, Spanned, codes, reference};
use labwright_plan::{Input, Lowered, Resource, ResourceId, Sealed, Spec, Value};

use crate::host::managed;

/// The Debian package that has `wg`.
const PACKAGE: &str = "wireguard-tools";
pub const AT: &str = "edge.vpn.wireguard";
/// Seconds; what wireguard.com recommends for peers behind a translation of addresses.
pub const KEEPALIVE: i64 = 25;

/// The endpoint, where it is this program's to set up: its settings, its host, and its key.
pub struct Endpoint<'a> {
    pub vpn: &'a Wireguard,
    pub on: &'a str,
    pub key: &'a Spanned<String>,
}

impl<'a> Endpoint<'a> {
    pub fn of(parsed: &'a Parsed) -> Option<Endpoint<'a>> {
        let edge = &parsed.lab.edge;
        let vpn = edge.vpn.as_ref()?.wireguard.as_ref()?;
        let router = || edge.router.as_ref().and_then(|router| router.on.as_ref());
        let on = vpn.on.as_ref().or_else(router)?;
        Some(Endpoint { vpn, on: on.value.as_str(), key: vpn.key.as_ref()? })
    }

    /// The VPN's subnets: those of the zone with its interface, else of the zones that its peers' addresses are in.
    pub fn subnets(&self, parsed: &Parsed) -> Vec<Net> {
        let zones = &parsed.lab.network.zones;
        let named = zones
            .values()
            .find(|zone| zone.interface.as_ref().is_some_and(|interface| interface.value == self.vpn.interface.value));
        if let Some(zone) = named {
            return zone
                .subnet
                .iter()
                .map(|subnet| Net::of(&subnet.value.to_string()))
                .collect::<Option<_>>()
                .unwrap_or_default();
        }
        let addresses: Vec<IpAddr> =
            self.vpn.peers.values().filter_map(|peer| Some(peer.address.as_ref()?.value)).collect();
        let all = zones.values().flat_map(|zone| zone.subnet.iter());
        let nets = all.filter_map(|subnet| Net::of(&subnet.value.to_string()));
        nets.filter(|net| addresses.iter().any(|address| net.holds(*address))).collect()
    }

    /// Its own address, with the length of its network.
    pub fn address(&self, subnets: &[Net]) -> Option<String> {
        match &self.vpn.address {
            Some(address) => Some(with_length(address.value, subnets)),
            None => subnets.first().map(Net::first),
        }
    }

    /// What peers call: `vpn.example.org:51820`.
    pub fn called_at(&self, parsed: &Parsed) -> Option<String> {
        let own = || parsed.lab.host(self.on)?.address.first().map(|address| address.value.to_string());
        let called = self.vpn.endpoint.as_ref().map(|endpoint| endpoint.value.clone()).or_else(own)?;
        let has_port = called
            .rsplit_once(':')
            .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
        Some(match (has_port, called.contains(':') && !called.starts_with('[')) {
            (true, _) => called,
            (false, true) => format!("[{called}]:{}", self.vpn.port),
            (false, false) => format!("{called}:{}", self.vpn.port),
        })
    }

    pub fn public_key(&self, parsed: &Parsed) -> Option<String> {
        public_half(parsed, self.key)
    }
}

/// A network, as far as it is needed here: where it begins, and how long its prefix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    base: u128,
    length: u32,
    six: bool,
}

impl Net {
    pub fn of(text: &str) -> Option<Net> {
        let (address, length) = text.split_once('/')?;
        let (bits, six) = bits(address.parse().ok()?);
        Some(Net { base: bits, length: length.parse().ok()?, six })
    }

    fn width(&self) -> u32 {
        if self.six { 128 } else { 32 }
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        let (bits, six) = bits(address);
        let host = self.width() - self.length;
        six == self.six && (host >= 128 || bits >> host == self.base >> host)
    }

    /// The first address in it that may be somebody's, with the length of the network.
    fn first(&self) -> String {
        let bits = self.base + 1;
        let address: IpAddr = match self.six {
            true => IpAddr::V6(bits.into()),
            false => IpAddr::V4((bits as u32).into()),
        };
        format!("{address}/{}", self.length)
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(four) => (u32::from(four).into(), false),
        IpAddr::V6(six) => (six.into(), true),
    }
}

fn with_length(address: IpAddr, subnets: &[Net]) -> String {
    let own = if address.is_ipv6() { 128 } else { 32 };
    let length = subnets.iter().find(|net| net.holds(address)).map_or(own, |net| net.length);
    format!("{address}/{length}")
}

/// One address as a network of its own.
pub fn alone(address: IpAddr) -> String {
    with_length(address, &[])
}

/// The public half of a secret that was made here, as the store has it in the clear.
pub fn public_half(parsed: &Parsed, key: &str) -> Option<String> {
    let name = reference::secrets(key).into_iter().next()?;
    Some(parsed.store.as_ref()?.public.get(&name.replace('.', "_"))?.value.clone())
}

/// A peer's public key: its own, or the half of the pair that was made for it.
pub fn peer_key(parsed: &Parsed, peer: &WireguardPeer) -> Option<String> {
    let own = peer.public_key.as_ref().map(|key| reference::unescape(&key.value));
    own.or_else(|| public_half(parsed, peer.key.as_ref()?))
}

/// The interfaces of the endpoint and of every peer that is a host of the lab.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let parsed = input.parsed;
    let Some(endpoint) = Endpoint::of(parsed) else { return };
    let before = out.findings.len();
    judge(parsed, &endpoint, &mut out.findings);
    if out.findings.len() > before {
        return;
    }
    let subnets = endpoint.subnets(parsed);
    let Some(own) = endpoint.address(&subnets) else { return };
    if parsed.lab.host(endpoint.on).is_some_and(managed) {
        let (mut peers, mut routes) = (Spec::new(), Vec::new());
        for peer in endpoint.vpn.peers.values() {
            let (Some(key), Some(address)) = (peer_key(parsed, peer), &peer.address) else { continue };
            let networks: Vec<String> = peer.networks.iter().map(|net| net.value.to_string()).collect();
            peers.insert(key, allowed(std::iter::once(alone(address.value)).chain(networks.iter().cloned()), None));
            routes.extend(networks);
        }
        let port = i64::from(endpoint.vpn.port);
        let made = interface(&endpoint, endpoint.on, &own, endpoint.key, (port, peers, Spec::new(), routes));
        out.resources.push(made);
    }
    let Some((public, called)) = endpoint.public_key(parsed).zip(endpoint.called_at(parsed)) else { return };
    for (name, peer) in endpoint.vpn.peers.iter() {
        let (Some(on), Some(key), Some(address)) = (&peer.on, &peer.key, &peer.address) else { continue };
        if !parsed.lab.host(on).is_some_and(managed) {
            continue;
        }
        // The VPN itself, and whatever lies behind its other peers.
        let others = endpoint.vpn.peers.iter().filter(|(other, _)| *other != name);
        let far: Vec<String> =
            others.flat_map(|(_, other)| other.networks.iter()).map(|net| net.value.to_string()).collect();
        let nets = subnets.iter().map(ToString::to_string).chain(far.iter().cloned());
        let peers = Spec::from([(public.clone(), allowed(nets, Some(KEEPALIVE)))]);
        let endpoints = Spec::from([(public.clone(), Value::Text(called.clone()))]);
        let own = with_length(address.value, &subnets);
        out.resources.push(interface(&endpoint, on, &own, key, (0, peers, endpoints, far)));
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.width() - self.length;
        let base = if host >= 128 { 0 } else { self.base >> host << host };
        let address: IpAddr = match self.six {
            true => IpAddr::V6(base.into()),
            false => IpAddr::V4((base as u32).into()),
        };
        write!(f, "{address}/{}", self.length)
    }
}

fn allowed(nets: impl Iterator<Item = String>, keepalive: Option<i64>) -> Value {
    let mut nets: Vec<String> = nets.collect();
    nets.sort_unstable();
    nets.dedup();
    let mut peer = Spec::from([("allowed".to_string(), nets.into_iter().collect::<Value>())]);
    peer.extend(keepalive.map(|seconds| ("keepalive".to_string(), Value::Int(seconds))));
    Value::Map(peer)
}

/// Port, peers, where they are called at, and routes.
type Wires = (i64, Spec, Spec, Vec<String>);

fn interface(
    endpoint: &Endpoint<'_>,
    host: &str,
    own: &str,
    key: &Spanned<String>,
    (port, peers, endpoints, mut routes): Wires,
) -> Resource {
    routes.sort_unstable();
    routes.dedup();
    let id = ResourceId::new(host, "wireguard", "interface", &endpoint.vpn.interface);
    let mut resource = Resource::new(id, key.span)
        .with("addresses", [own.to_string()].into_iter().collect::<Value>())
        .with("port", Value::Int(port))
        .with("key", Value::Secret(Sealed::template(key)))
        .with("peers", Value::Map(peers))
        .with("endpoints", Value::Map(endpoints))
        .with("routes", routes.into_iter().collect::<Value>())
        .with("up", true);
    resource.after.insert(ResourceId::all(host, "host", "package"));
    resource
}

/// What in the lab file cannot become an interface.
fn judge(parsed: &Parsed, endpoint: &Endpoint<'_>, findings: &mut Findings) {
    let mut wrong = |place: String, span: Span, message: String, help: String| {
        findings.push(Finding::error(codes::WRONG_VALUE, format!("{AT}.{place}"), span, message).help(help));
    };
    let vpn = endpoint.vpn;
    let interface = &vpn.interface;
    // What the kernel takes as a name: IFNAMSIZ is 16 with its end.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if interface.is_empty() || interface.len() > 15 || !interface.chars().all(plain) {
        let message = format!("`{}` cannot be the name of an interface", interface.value);
        wrong(
            "interface".into(),
            interface.span,
            message,
            "up to 15 letters, digits, `-` and `_`, such as `wg0`".into(),
        );
    }
    let subnets = endpoint.subnets(parsed);
    if endpoint.address(&subnets).is_none() {
        let message = "the VPN has no subnet, so its endpoint has no address".to_string();
        let help = format!(
            "declare its zone: `network: {{ zones: {{ vpn: {{ subnet: 10.8.0.0/24, interface: {} }} }} }}`",
            interface.value
        );
        wrong("address".into(), endpoint.key.span, message, help);
    }
    let mut keys: BTreeMap<String, &str> = BTreeMap::new();
    let secret = |key: &Spanned<String>| reference::secrets(key).len() == 1 && key.trim().starts_with("${");
    let named =
        endpoint.vpn.peers.iter().filter_map(|(name, peer)| Some((format!("peers.{name}.key"), peer.key.as_ref()?)));
    for (place, key) in std::iter::once(("key".to_string(), endpoint.key)).chain(named) {
        if !secret(key) {
            let message = format!("`{place}` names no secret");
            wrong(
                place,
                key.span,
                message,
                "write `${secret.NAME}`, and `NAME: wireguard` below `platform.secrets.generate`".into(),
            );
        } else if public_half(parsed, key).is_none() {
            let name = reference::secrets(key).first().map(ToString::to_string).unwrap_or_default();
            let message =
                format!("the public half of `{name}` is not in the store, so nobody can be told whom to expect");
            let help = format!(
                "`labwright secret generate` makes it, with `{name}: wireguard` below `platform.secrets.generate`"
            );
            wrong(place, key.span, message, help);
        }
    }
    for (name, peer) in vpn.peers.iter() {
        if peer.address.is_none() {
            let help = "give it an address of its own: `address: 10.8.0.2`".to_string();
            wrong(format!("peers.{name}.address"), peer.span, format!("`{name}` has no address in the VPN"), help);
        }
        match peer_key(parsed, peer) {
            None if peer.key.is_none() => {
                let help = format!(
                    "`public_key: …` as the device shows it; or let the pair be made here: `key: ${{secret.wireguard_{name}}}`, and \
                     `wireguard_{name}: wireguard` below `platform.secrets.generate`"
                );
                wrong(
                    format!("peers.{name}"),
                    peer.span,
                    format!("`{name}` has no key, so it could never connect"),
                    help,
                );
            }
            Some(key) => {
                if let Some(other) = keys.insert(key, name) {
                    let message =
                        format!("`{other}` and `{name}` have one key, so WireGuard takes them for one device");
                    wrong(format!("peers.{name}"), peer.span, message, "make a pair of its own for each".into());
                }
            }
            None => {}
        }
    }
}

/// The host with what its interface needs: the tools; and on the endpoint that packets may pass.
pub fn implied<'a>(parsed: &Parsed, name: &str, host: Cow<'a, Host>) -> Cow<'a, Host> {
    let Some(endpoint) = Endpoint::of(parsed) else { return host };
    let is_endpoint = endpoint.on == name;
    let is_peer =
        |peer: &Spanned<WireguardPeer>| peer.key.is_some() && peer.on.as_ref().is_some_and(|on| on.value == name);
    if !is_endpoint && !endpoint.vpn.peers.values().any(is_peer) {
        return host;
    }
    let span = endpoint.key.span;
    let mut host = host.into_owned();
    if !host.packages.iter().any(|package| package.value == PACKAGE) {
        host.packages.0.push(Spanned::new(PACKAGE.to_string(), span));
    }
    if is_endpoint {
        // What the lab file says of these itself counts.
        let on = || Spanned::new(Sysctl { value: Spanned::new("1".to_string(), span) }, span);
        host.sysctl.0.entry("net.ipv4.ip_forward".into()).or_insert_with(on);
        if endpoint.subnets(parsed).iter().any(|net| net.six) {
            host.sysctl.0.entry("net.ipv6.conf.all.forwarding".into()).or_insert_with(on);
        }
    }
    Cow::Owned(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let net = Net::of("10.8.0.0/24").unwrap();
        assert!(net.holds("10.8.0.7".parse().unwrap()) && !net.holds("10.8.1.7".parse().unwrap()));
        assert!(!net.holds("::a08:7".parse().unwrap()));
        assert_eq!((net.first(), net.to_string()), ("10.8.0.1/24".into(), "10.8.0.0/24".into()));
        let six = Net::of("fd00:8::/64").unwrap();
        assert_eq!((six.first(), six.to_string()), ("fd00:8::1/64".into(), "fd00:8::/64".into()));
        assert!(Net::of("::/0").unwrap().holds("2001:db8::1".parse().unwrap()));
        assert_eq!(alone("10.8.0.2".parse().unwrap()), "10.8.0.2/32");
    }
}
