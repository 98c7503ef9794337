//! How to see and change one outside thing: a folder each.
//! Never plans; the contract is `labwright_plan::Provider`.

use labwright_model::Parsed;
use labwright_plan::Provider;

pub mod docker;
pub mod host;

/// Every provider. Only the command line names this.
pub const ALL: &[&'static dyn Provider] = &[&host::Host, &docker::Docker];

/// The files beside the lab file that lowering reads: what `Input::assets` has to hold.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    host::assets(parsed).into_iter().chain(docker::assets(parsed)).collect()
}
