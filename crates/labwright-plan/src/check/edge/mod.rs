//! Rules about what the outside reaches, by what names, and how the lab is administered.

pub(super) mod admin_page;
pub(super) mod names;

mod admin_door;
mod administration_in_browser;
mod administration_past_vpn;
mod certificate;
mod door;
mod management_reachable;
mod mesh_coordination;
mod nameless_record;
mod no_way;
mod one_name;
mod public_name;
mod public_without_access;
mod second_domain;
mod shared_port;
mod told_proxy;

pub use admin_page::AdminPage;
pub use administration_past_vpn::AdministrationPastVpn;
pub use certificate::Certificate;
pub use door::Door;
pub use management_reachable::ManagementReachable;
pub use mesh_coordination::MeshCoordination;
pub use nameless_record::NamelessRecord;
pub use no_way::NoWayIn;
pub use one_name::OneName;
pub use public_name::PublicName;
pub use public_without_access::PublicWithoutAccess;
pub use second_domain::SecondDomain;
pub use shared_port::SharedPort;
pub use told_proxy::ToldProxy;
