//! Rules about the platform's roles, and about the secrets of the lab.

mod backup_bootstrap;
mod dns_bootstrap;
mod one_resolver;
mod recovery_order;
mod registry_upkeep;
mod secret_generator;
mod secret_plaintext;
mod secret_recipients;
mod secret_recovery;
mod secret_shapes;
mod secret_shared;
mod secret_store;
mod secret_undefined;
mod secret_unused;
mod secrets_bootstrap;
mod silent_alerts;
mod undecided_role;
mod watcher;

pub use backup_bootstrap::BackupBootstrap;
pub use dns_bootstrap::DnsBootstrap;
pub use one_resolver::OneResolver;
pub use recovery_order::RecoveryOrder;
pub use registry_upkeep::RegistryUpkeep;
pub use secret_generator::SenselessGenerator;
pub use secret_plaintext::{PlaintextSecret, secret_in_the_clear};
pub use secret_recipients::UnownedKey;
pub use secret_recovery::NoRecoveryKey;
pub use secret_shared::SharedSecret;
pub use secret_store::UnusableStore;
pub use secret_undefined::UndefinedSecret;
pub use secret_unused::UnusedSecret;
pub use secrets_bootstrap::SecretsBootstrap;
pub use silent_alerts::SilentAlerts;
pub use undecided_role::UndecidedRole;
pub use watcher::Watcher;
