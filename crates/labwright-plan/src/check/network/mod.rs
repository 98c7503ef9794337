//! Rules about zones and addresses.

pub(super) mod management;
pub(super) mod reach;
pub(super) mod telling;
pub(super) mod zone_kind;

mod address_for_name;
mod address_outside_zone;
mod containers;
mod duplicate_address;
mod egress;
mod everything_between;
mod flat_zone;
mod host_networking;
mod inward;
mod missing_flow;
mod overlapping_subnets;
mod published_everywhere;
mod undecided_pair;
mod vlan;

pub use address_for_name::AddressForName;
pub use address_outside_zone::AddressOutsideZone;
pub use duplicate_address::DuplicateAddress;
pub use egress::Egress;
pub use everything_between::EverythingBetween;
pub use flat_zone::FlatZone;
pub use host_networking::HostNetworking;
pub use inward::Inward;
pub use overlapping_subnets::OverlappingSubnets;
pub use published_everywhere::{PublishedEverywhere, is_public};
pub use undecided_pair::UndecidedPair;
pub use vlan::Vlan;
