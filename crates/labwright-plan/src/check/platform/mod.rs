//! Rules about the platform's roles, and about the secrets of the lab.

mod undecided_role;

mod secret_generator;
mod secret_plaintext;
mod secret_recipients;
mod secret_recovery;
mod secret_shapes;
mod secret_shared;
mod secret_store;
mod secret_undefined;
mod secret_unused;

pub use undecided_role::UndecidedRole;

pub use secret_generator::SenselessGenerator;
pub use secret_plaintext::PlaintextSecret;
pub use secret_recipients::UnownedKey;
pub use secret_recovery::NoRecoveryKey;
pub use secret_shared::SharedSecret;
pub use secret_store::UnusableStore;
pub use secret_undefined::UndefinedSecret;
pub use secret_unused::UnusedSecret;
