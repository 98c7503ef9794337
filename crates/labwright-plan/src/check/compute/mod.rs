//! Rules about hosts and their state.

mod host_address;
mod host_state;
mod local_host;
mod only_a_role;
mod secret_in_state;
mod unmanaged_host;
mod zone_of_host;

pub use host_address::HostAddress;
pub use host_state::HostState;
pub use local_host::LocalHost;
pub use only_a_role::OnlyARole;
pub use secret_in_state::SecretInState;
pub use unmanaged_host::UnmanagedHost;
pub use zone_of_host::ZoneOfHost;
