//! How to see and change one outside thing: a folder each.
//! Never plans; the contract is `labwright_plan::Provider`.

use labwright_plan::Provider;

pub mod host;
pub mod serve;
pub mod vault;

/// Every provider. Only the command line names this.
pub const ALL: &[&'static dyn Provider] = &[&host::Host, &vault::Vault, &serve::Serve];

/// The files beside the lab file that are handed to lowering, sorted. What ends with a slash is a folder, and stands for all
/// files in it, each by its own path.
pub fn assets(parsed: &labwright_model::Parsed) -> Vec<String> {
    let all: std::collections::BTreeSet<String> =
        host::assets(parsed).into_iter().chain(vault::assets(parsed)).chain(serve::assets(parsed)).collect();
    all.into_iter().collect()
}
