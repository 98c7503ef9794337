//! Certificates: those of the lab's own authority at once, those of an ACME directory as soon as they can be had, each kept
//! on the disk and renewed at two thirds of its life. Until a directory has given one, the lab's own stands in for it.

mod acme;
mod authority;
mod dns01;
mod keeper;
mod shelf;
mod store;
pub mod trust;

pub use authority::{Authority, root};
pub use keeper::Keeper;
pub use store::Store;

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
