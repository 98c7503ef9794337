//! Where secrets are kept and how they travel: the SOPS store, age identities, envelopes for hosts, generators, Vault.
//! Knows nothing of labs, plans or hosts; whoever calls decides what is written where.

pub mod envelope;
pub mod error;
pub mod generate;
pub mod identity;
pub mod recipient;
pub mod rules;
pub mod store;
mod text;
pub mod vault;

pub use error::{ErrorKind, SecretError};
pub use text::SecretText;
