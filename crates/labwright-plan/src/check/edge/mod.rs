//! Rules about what the outside reaches, by what names, and how the lab is administered.

pub(super) mod names;

mod administration_past_vpn;
mod certificate;
mod management_reachable;
mod public_name;
mod public_without_access;
mod second_domain;

pub use administration_past_vpn::AdministrationPastVpn;
pub use certificate::Certificate;
pub use management_reachable::ManagementReachable;
pub use public_name::PublicName;
pub use public_without_access::PublicWithoutAccess;
pub use second_domain::SecondDomain;
