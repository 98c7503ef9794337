//! The lab: six sections, in the order of the six layers.
//! Typed values only; what they mean together is for the rules in `labwright-plan`.

mod compute;
mod dns;
mod edge;
mod host_state;
mod interface;
mod network;
mod platform;
mod protection;
mod secrets;
mod services;

pub use compute::*;
pub use dns::*;
pub use edge::*;
pub use host_state::*;
pub use interface::*;
pub use network::*;
pub use platform::*;
pub use protection::*;
pub use secrets::*;
pub use services::*;

use crate::decode::{Many, Table, section};
use crate::span::Spanned;

section! {
    /// A homelab, described once.
    pub struct Lab {
        /// The lab's name. It marks everything that the lab owns, so changing it disowns everything.
        lab: Spanned<String> = "home".to_string().into(),
        /// The internal DNS zone; every host and service gets a name in it.
        domain: Spanned<String> = "lab.home.arpa".to_string().into(),
        /// Who answers for whatever names no owner of its own.
        owner: Option<Spanned<String>>,
        /// The time zone that schedules are read in, by its IANA name.
        timezone: Spanned<String> = "UTC".to_string().into(),
        /// Environments that services can be placed in, such as dev and prod.
        environments: Many<Spanned<String>>,
        /// Further files or folders, merged into this one; paths are relative to the file that names them.
        include: Many<Spanned<String>>,
        /// Edge and access: router, VPN, what is public.
        edge: Edge,
        /// Network segmentation: zones and the flows between them. Everything else is denied.
        network: Network,
        /// Compute: hosts, hypervisors, container hosts and their state.
        compute: Compute,
        /// Platform services: DNS, reverse proxy, identity, secrets, monitoring, registry, runners.
        platform: Platform,
        /// Application services: what the lab is for.
        services: Table<Service>,
        /// Data protection: repositories, policies, offline copies.
        protection: Protection,
    }
}

/// The top-level keys, as an editor shows them.
pub const SECTIONS: &[&str] = &["edge", "network", "compute", "platform", "services", "protection"];

impl Lab {
    /// The full name of a host or service inside the lab.
    pub fn fqdn(&self, name: &str) -> String {
        if name.contains('.') { name.to_string() } else { format!("{name}.{}", self.domain.value) }
    }

    pub fn host(&self, name: &str) -> Option<&Host> {
        self.compute.hosts.get(name).map(|host| &host.value)
    }
}
