//! The configuration of a device that connects: what its WireGuard app reads, as text or as a picture of it.

use std::fmt::Write;

use labwright_model::Parsed;
use labwright_model::lab::WireguardPeer;
use zeroize::Zeroizing;

use super::lower::{Endpoint, KEEPALIVE, alone};

/// What stands where the private key belongs, of a device that made its own.
const OWN_KEY: &str = "(the private key that this device made)";

/// How much of a device's traffic goes through the VPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// The lab's.
    Split,
    /// All of it.
    Full,
}

/// A device's configuration, but for its private key.
#[derive(Debug)]
pub struct Client {
    before_key: String,
    after_key: String,
    /// The name of the secret with its private key; `None`: the device made its own.
    pub secret: Option<String>,
}

impl Client {
    /// The whole of it. Without a key, something stands in its place that no app takes for one.
    pub fn text(&self, private: Option<&str>) -> Zeroizing<String> {
        let parts = [self.before_key.as_str(), private.map_or(OWN_KEY, str::trim), self.after_key.as_str()];
        let mut whole = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| whole.push_str(part));
        whole
    }
}

/// Of a peer, by name. The error says what is missing, and then what to do about it.
pub fn client(parsed: &Parsed, name: &str, tunnel: Option<Tunnel>) -> Result<Client, (String, String)> {
    let vpn = parsed.lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref());
    let Some(vpn) = vpn else {
        return Err((
            "the lab has no WireGuard endpoint".into(),
            "declare one below `edge: { vpn: { wireguard: … } }`".into(),
        ));
    };
    let Some(peer) = vpn.peers.get(name) else {
        let known: Vec<&str> = vpn.peers.keys().map(String::as_str).collect();
        let help = match known.as_slice() {
            [] => "declare it below `edge.vpn.wireguard.peers`".to_string(),
            known => format!("the peers are {}", known.join(", ")),
        };
        return Err((format!("the VPN has no peer `{name}`"), help));
    };
    let Some(endpoint) = Endpoint::of(parsed) else {
        return Err((
            "the endpoint has no key of the lab's, so its public half is not known".into(),
            "add `key: ${secret.wireguard}` to `edge.vpn.wireguard`, and `wireguard: wireguard` below `platform.secrets.generate`".into(),
        ));
    };
    let Some(public) = endpoint.public_key(parsed) else {
        return Err(("the endpoint's key is not made yet".into(), "`labwright secret generate` makes it".into()));
    };
    let Some(called) = endpoint.called_at(parsed) else {
        return Err((
            format!("nobody knows where `{}` is called at", endpoint.on),
            "add `endpoint: vpn.example.org` to `edge.vpn.wireguard`, or an address to the host".into(),
        ));
    };
    let Some(address) = &peer.address else {
        return Err((format!("`{name}` has no address in the VPN"), "give it one: `address: 10.8.0.2`".into()));
    };
    let tunnel = tunnel.unwrap_or(if peer.full_tunnel { Tunnel::Full } else { Tunnel::Split });
    let lab = &parsed.lab.lab.value;
    let before_key = format!("# {name} of lab {lab}, by labwright\n[Interface]\nPrivateKey = ");
    let mut after_key = format!("\nAddress = {}\n", alone(address.value));
    let resolvers = resolvers(parsed);
    if !resolvers.is_empty() {
        let _ = writeln!(after_key, "DNS = {}", resolvers.join(", "));
    }
    let _ = write!(
        after_key,
        "\n[Peer]\nPublicKey = {public}\nAllowedIPs = {}\nEndpoint = {called}\nPersistentKeepalive = {KEEPALIVE}\n",
        allowed(parsed, &endpoint, peer, tunnel).join(", ")
    );
    let secret =
        peer.key.as_ref().and_then(|key| labwright_model::reference::secrets(key).first().map(ToString::to_string));
    Ok(Client { before_key, after_key, secret })
}

/// The addresses of the lab's resolvers.
fn resolvers(parsed: &Parsed) -> Vec<String> {
    let on = parsed.lab.platform.dns.iter().flat_map(|dns| dns.on.iter());
    on.filter_map(|name| parsed.lab.host(name)?.address.first().map(|address| address.value.to_string())).collect()
}

/// What goes through the tunnel.
fn allowed(parsed: &Parsed, endpoint: &Endpoint<'_>, peer: &WireguardPeer, tunnel: Tunnel) -> Vec<String> {
    if tunnel == Tunnel::Full {
        return vec!["0.0.0.0/0".into(), "::/0".into()];
    }
    let own: Vec<String> = peer.networks.iter().map(|net| net.value.to_string()).collect();
    let zones = parsed.lab.network.zones.values().flat_map(|zone| zone.subnet.iter()).map(|net| net.value.to_string());
    let sites = endpoint.vpn.peers.values().flat_map(|peer| peer.networks.iter()).map(|net| net.value.to_string());
    let mut nets: Vec<String> = zones.chain(sites).filter(|net| !own.contains(net)).collect();
    nets.extend(endpoint.subnets(parsed).iter().map(ToString::to_string));
    nets.sort_unstable();
    nets.dedup();
    nets
}
