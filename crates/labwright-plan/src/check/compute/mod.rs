//! Rules about hosts and their state.

mod autostart;
pub(in crate::check) mod carried;
mod host_address;
mod host_keys;
mod host_owner;
mod host_state;
mod intermittent_host;
mod local_host;
mod mixed_host;
mod only_a_role;
mod overcommit;
mod runner_host;
mod secret_in_state;
mod shared_fallback;
mod single_point;
mod unmanaged_host;
mod zone_of_host;

pub use autostart::Autostart;
pub use host_address::HostAddress;
pub use host_keys::HostKeys;
pub use host_owner::HostOwner;
pub use host_state::HostState;
pub use intermittent_host::IntermittentHost;
pub use local_host::LocalHost;
pub use mixed_host::MixedHost;
pub use only_a_role::OnlyARole;
pub use overcommit::Overcommit;
pub use runner_host::RunnerHost;
pub use secret_in_state::SecretInState;
pub use shared_fallback::SharedFallback;
pub use single_point::SinglePoint;
pub use unmanaged_host::UnmanagedHost;
pub use zone_of_host::ZoneOfHost;
