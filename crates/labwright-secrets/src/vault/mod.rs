//! Vault and OpenBao over their HTTP API: secrets, policies, logins for machines, keys that open other servers.
//! Blocking, every call with a deadline; caches no secret and reads no environment. Retries only a login that ran out, and
//! an engine that was mounted a moment ago.

mod approle;
mod client;
mod kv;
pub mod policy;
pub mod seal;
mod sys;
mod token;
mod transit;

mod address;
mod answer;
mod tls;
mod transport;

pub use approle::{AppRole, Role, SecretId};
pub use client::{Client, Login, Options, PlainHttp};
pub use kv::{Cas, Fields, Kv, Metadata, Version, VersionInfo};
pub use sys::{Enabled, Health, Mount, SealStatus, Sys};
pub use tls::config as tls_config;
pub use token::{Token, TokenInfo, TokenSpec, Tokens};
pub use transit::{Transit, TransitKey};
