//! Edge and access: the router, the administrative way in, and what the internet sees.

use std::net::IpAddr;

use crate::decode::{Decoder, Foreign, Many, Table, choice, or_string, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};
use crate::units::{Period, Subnet, Traffic};

section! {
    /// How the lab meets the outside.
    pub struct Edge {
        /// The host that routes between the zones and to the internet.
        router: Option<Router>,
        /// The only way in for administration: `tailscale`, or `wireguard` with its settings.
        vpn: Option<Vpn>,
        /// What the internet can reach. Absent: nothing.
        public: Option<Public>,
    }
}

section! {
    /// The router; its short form is the host's name.
    pub struct Router {
        /// The host that plays the role.
        on: Option<Spanned<String>>,
        /// What it runs. `linux` is configured over SSH; for any other the zone matrix is exported as a work order.
        kind: RouterKind = RouterKind::Linux,
    }
    required ["on"]
    short (node, decoder) { named(node, decoder).map(|on| Router { on: Some(on), ..Router::default() }) }
    schema or_string
}

choice! {
    /// What a router runs.
    pub enum RouterKind {
        Linux = "linux",
        Opnsense = "opnsense",
        Unifi = "unifi",
        Mikrotik = "mikrotik",
        Other = "other",
    }
}

section! {
    /// The VPN for administrative access; its short form is `tailscale` or `wireguard`.
    pub struct Vpn {
        /// A WireGuard endpoint that the lab runs itself.
        wireguard: Option<Wireguard>,
        /// A Tailscale network that hosts join.
        tailscale: Option<Tailscale>,
    }
    short (node, decoder) {
        match node.text() {
            Some("tailscale") => Some(Vpn { tailscale: Some(Tailscale::default()), wireguard: None }),
            Some("wireguard") => Some(Vpn { wireguard: Some(Wireguard::default()), tailscale: None }),
            _ => decoder.wrong(node, "`tailscale`, `wireguard`, or a map with one of them"),
        }
    }
    schema or_string
}

section! {
    /// A WireGuard endpoint.
    pub struct Wireguard {
        /// The host that listens; the router when absent.
        on: Option<Spanned<String>>,
        /// The UDP port it listens on.
        port: u16 = 51820,
        /// The secret with its private key, as `${secret.NAME}`, made by `generate: { NAME: wireguard }`. With it the
        /// endpoint is set up; without, somebody else runs it, and only its flows are known.
        key: Option<Spanned<String>>,
        /// Its own address inside the VPN; the first of the VPN's subnet when absent.
        address: Option<Spanned<IpAddr>>,
        /// The interface; the zone of the VPN is the one that has it as its `interface`.
        interface: Spanned<String> = "wg0".to_string().into(),
        /// The name or address that peers call, with a port where that differs; the host's first address when absent.
        endpoint: Option<Spanned<String>>,
        /// Devices that may connect.
        peers: Table<WireguardPeer>,
    }
}

section! {
    /// A device that connects over WireGuard.
    pub struct WireguardPeer {
        /// Its address inside the VPN.
        address: Option<Spanned<IpAddr>>,
        /// Its public key, where the device made its own key pair.
        public_key: Option<Spanned<String>>,
        /// The secret with its private key, as `${secret.NAME}`, where the pair is made here for it: then
        /// `labwright vpn client` writes a configuration that is whole.
        key: Option<Spanned<String>>,
        /// The host of the lab that it is. With its key, the interface is set up there as well.
        on: Option<Spanned<String>>,
        /// Further networks behind it: another site.
        networks: Many<Spanned<Subnet>>,
        /// Whether all of its traffic goes through the VPN, or only the lab's.
        full_tunnel: bool,
        /// Whose device it is.
        owner: Option<Spanned<String>>,
    }
}

section! {
    /// A Tailscale network.
    pub struct Tailscale {
        /// The tailnet's name.
        tailnet: Option<Spanned<String>>,
        /// The key that hosts join with, as a reference to a secret.
        auth_key: Option<Spanned<String>>,
        /// The coordination server that hosts join by, where it is not Tailscale's own: the URL of a Headscale, as
        /// `tailscale up --login-server` takes it. A host that has joined stays with the one it joined by.
        login_server: Option<Spanned<String>>,
        /// Hosts that join; all hosts of the zone with the interface `tailscale0` when absent.
        on: Many<Spanned<String>>,
    }
}

section! {
    /// What is reachable from the internet, and through what.
    pub struct Public {
        /// An outbound Cloudflare tunnel, its DNS records and its rules.
        cloudflare: Option<Cloudflare>,
    }
}

section! {
    /// A Cloudflare account that fronts the lab.
    pub struct Cloudflare {
        /// The account's id.
        account: Option<Spanned<String>>,
        /// The DNS zones that public names are made in.
        zones: Many<Spanned<String>>,
        /// The tunnel that carries all public traffic, outbound.
        tunnel: Option<Tunnel>,
        /// The API token, as a reference to a secret.
        token: Option<Spanned<String>>,
        /// Firewall rules at Cloudflare's edge.
        waf: Many<WafRule>,
        /// Access policies: who may reach a public name at all.
        access: Table<AccessPolicy>,
        /// What is no web page and goes through Cloudflare's edge proxy instead of the tunnel: game servers, SSH.
        ports: Table<EdgePort>,
        /// Settings of the zones, by Cloudflare's own names.
        settings: Foreign,
        /// Where names point when the lab is down.
        standby: Option<Standby>,
    }
}

section! {
    /// The tunnel; its short form is the host that runs it.
    pub struct Tunnel {
        /// The tunnel's name at Cloudflare.
        name: Option<Spanned<String>>,
        /// The host that runs the tunnel's outbound end.
        on: Option<Spanned<String>>,
    }
    required ["on"]
    short (node, decoder) { named(node, decoder).map(|on| Tunnel { on: Some(on), name: None }) }
    schema or_string
}

section! {
    /// One port that the edge proxies.
    pub struct EdgePort {
        /// The service that it leads to.
        to: Spanned<String>,
        /// The port and its protocol.
        port: Spanned<Traffic>,
    }
    required ["to", "port"]
}

section! {
    /// One firewall rule at the edge.
    pub struct WafRule {
        /// The rule's name.
        name: Spanned<String>,
        /// The condition, in Cloudflare's rules language.
        expression: Spanned<String>,
        /// What happens to a request that matches.
        action: WafAction = WafAction::Block,
    }
    required ["name", "expression"]
}

choice! {
    /// What happens to a request that matches a rule.
    pub enum WafAction {
        Block = "block",
        Challenge = "challenge",
        ManagedChallenge = "managed_challenge",
        JsChallenge = "js_challenge",
        Log = "log",
        Skip = "skip",
    }
}

section! {
    /// Who may reach a public name.
    pub struct AccessPolicy {
        /// The names or services it covers.
        covers: Many<Spanned<String>>,
        /// E-mail addresses that are let in.
        emails: Many<Spanned<String>>,
        /// E-mail domains that are let in.
        domains: Many<Spanned<String>>,
    }
}

section! {
    /// Where public names point when the lab is down.
    pub struct Standby {
        /// The host name of the static site that takes over.
        pages: Option<Spanned<String>>,
        /// The records that are flipped: `apex`, `www`, or any name of the zone.
        records: Many<Spanned<String>> = Many(vec!["apex".to_string().into(), "www".to_string().into()]),
        /// The records of each environment, where one environment can be flipped without the others.
        environments: Table<Many<Spanned<String>>>,
        /// How long others may remember the records, and so how long a flip takes to be seen.
        ttl: Period = Period(std::time::Duration::from_secs(300)),
    }
}

/// The short form "a name" of a role.
pub(crate) fn named(node: &Node, decoder: &mut Decoder<'_>) -> Option<Spanned<String>> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(Spanned::new(text.clone(), node.span)),
        _ => decoder.wrong(node, "a host's name, or a map with `on`"),
    }
}
