//! Rules about zones and addresses.

pub(super) mod management;
pub(crate) mod reach;
pub(super) mod telling;
pub(crate) mod zone_kind;

mod address_for_name;
mod address_outside_zone;
mod duplicate_address;
mod egress;
mod everything_between;
mod flat_zone;
mod foreign_router;
mod host_networking;
mod interface;
mod inward;
mod locked_out;
mod missing_flow;
mod nameless;
mod not_enforced;
mod not_opened;
mod overlapping_subnets;
mod published_everywhere;
mod undecided_pair;
mod vlan;
mod vpn_way_back;
mod vpn_zone;

pub use address_for_name::AddressForName;
pub use address_outside_zone::AddressOutsideZone;
pub use duplicate_address::DuplicateAddress;
pub use egress::Egress;
pub use everything_between::EverythingBetween;
pub use flat_zone::FlatZone;
pub use foreign_router::ForeignRouter;
pub use host_networking::HostNetworking;
pub use interface::InterfaceSetup;
pub use inward::Inward;
pub use locked_out::LockedOut;
pub use nameless::Nameless;
pub use not_enforced::NotEnforced;
pub use not_opened::NotOpened;
pub use overlapping_subnets::OverlappingSubnets;
pub use published_everywhere::{Port, PublishedEverywhere, is_database, is_public, published};
pub use undecided_pair::UndecidedPair;
pub use vlan::Vlan;
pub use vpn_way_back::VpnWayBack;
pub use vpn_zone::VpnZone;

/// Whether any host is asked to enforce. The matrix of a lab that asks for nothing is not made for nothing.
fn firewall_is_asked_for(parsed: &labwright_model::Parsed) -> bool {
    parsed.lab.network.firewall.is_some() || parsed.lab.compute.hosts.values().any(|host| host.firewall.is_some())
}
