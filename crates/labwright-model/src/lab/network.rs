//! Network segmentation: zones, and the flows between them.

use crate::decode::{Many, Table, choice, section};
use crate::span::Spanned;
use crate::units::{Subnet, Traffic};

section! {
    /// Zones and flows. What no flow allows is denied, inside a zone too.
    pub struct Network {
        /// Parts of the network that are told apart.
        zones: Table<Zone>,
        /// What may connect to what.
        flows: Many<Spanned<Flow>>,
        /// Whether the hosts and the router deny what no flow allows. Absent: nothing is changed on any of them.
        firewall: Option<Spanned<Firewall>>,
    }
}

choice! {
    /// Whether a host denies what no flow allows.
    pub enum Firewall {
        /// A table of nftables of its own, made from the flows.
        Enforce = "enforce",
        /// Labwright makes no rule.
        Off = "off",
    }
}

section! {
    /// A part of the network: a VLAN, a VPN, a bridge.
    pub struct Zone {
        /// The VLAN id, 1 to 4094.
        vlan: Option<Spanned<u16>>,
        /// The subnets that its addresses are in, IPv4 or IPv6.
        subnet: Many<Spanned<Subnet>>,
        /// The interface that carries it, where that is not a VLAN: `tailscale0`, `wg0`.
        interface: Option<Spanned<String>>,
        /// What kind of zone it is, by which rules judge it. Absent: as its interface, its name or its hosts tell;
        /// `labwright show model` shows the guess.
        kind: Option<Spanned<ZoneKind>>,
        /// What it is for.
        description: Option<String>,
    }
}

choice! {
    /// What a zone is for.
    pub enum ZoneKind {
        /// What the lab itself is run from: hypervisors, switches, storage.
        Management = "management",
        /// What serves others.
        Servers = "servers",
        /// What people sit at.
        Clients = "clients",
        /// Devices that nobody logs in to.
        Iot = "iot",
        /// The internet and nothing else.
        Guest = "guest",
        /// The way in for administration.
        Vpn = "vpn",
        /// What the internet reaches; nothing further in should trust it.
        Dmz = "dmz",
        /// Experiments, which may break or be broken into.
        Lab = "lab",
    }
}

section! {
    /// One allowed way from here to there.
    pub struct Flow {
        /// Where connections start: a zone, a host, a service, or `internet`.
        from: Many<Spanned<String>>,
        /// Where they end: a zone, a host, a service, or `internet`.
        to: Many<Spanned<String>>,
        /// What is let through. Absent: any.
        allow: Many<Spanned<Traffic>>,
        /// Why this is needed; shown wherever the flow is shown.
        because: Option<Spanned<String>>,
    }
    required ["from", "to"]
}
