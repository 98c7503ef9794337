//! Rules about zones and addresses.

mod address_outside_zone;
mod duplicate_address;
mod overlapping_subnets;
mod vlan;

pub use address_outside_zone::AddressOutsideZone;
pub use duplicate_address::DuplicateAddress;
pub use overlapping_subnets::OverlappingSubnets;
pub use vlan::Vlan;
