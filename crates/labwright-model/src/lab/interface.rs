//! Network interfaces of a host: their addresses, and the routes over them.

use std::net::IpAddr;

use crate::decode::{Many, Table, or_string, section};
use crate::span::Spanned;
use crate::units::InterfaceAddress;

section! {
    /// A network interface as the lab sets it up: what is not said here, it does not have. It keeps what the network's own
    /// side gives it by itself, such as IPv6 addresses that a router announces.
    pub struct Interface {
        /// Its addresses, each with the length of its network: `10.0.20.21/24`.
        addresses: Many<Spanned<InterfaceAddress>>,
        /// The routers that lead everywhere else over this interface: one for IPv4, one for IPv6.
        gateway: Many<Spanned<IpAddr>>,
        /// Further networks, with the router that leads there: `10.9.0.0/16: 10.0.20.254`.
        routes: Table<Route>,
        /// The resolvers that the host asks over it. Absent: as they are.
        dns: Many<Spanned<IpAddr>>,
    }
    required ["addresses"]
}

section! {
    /// A static route; its short form is the router that it leads to.
    pub struct Route {
        /// The router.
        via: Option<Spanned<IpAddr>>,
        /// How dear it is: of several routes to one network the cheapest counts.
        metric: Option<Spanned<u32>>,
    }
    required ["via"]
    short (node, decoder) {
        Some(Route { via: Some(Spanned::new(IpAddr::from_node(node, decoder)?, node.span)), metric: None })
    }
    schema or_string
}
