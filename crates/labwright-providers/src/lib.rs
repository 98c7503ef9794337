//! How to see and change one outside thing: a folder each.
//! Never plans; the contract is `labwright_plan::Provider`.

use labwright_plan::Provider;

pub mod host;

/// Every provider. Only the command line names this.
pub const ALL: &[&'static dyn Provider] = &[&host::Host];

pub use host::assets;
