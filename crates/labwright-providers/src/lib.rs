//! How to see and change one outside thing: a folder each.
//! Never plans; the contract is `labwright_plan::Provider`.

use std::collections::BTreeSet;

use labwright_model::Parsed;
use labwright_plan::Provider;

pub mod docker;
pub mod host;
mod process;
pub mod vault;

/// Every provider. Only the command line names this.
pub const ALL: &[&'static dyn Provider] = &[&host::Host, &docker::Docker, &vault::Vault];

/// The files beside the lab file that are handed to lowering, sorted.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    let all = host::assets(parsed).into_iter().chain(docker::assets(parsed)).chain(vault::assets(parsed));
    all.collect::<BTreeSet<String>>().into_iter().collect()
}
