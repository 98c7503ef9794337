//! How to see and change one outside thing: a folder each.
//! Never plans; the contract is `labwright_plan::Provider`.

use labwright_plan::Provider;

pub mod firewall;
pub mod host;
pub mod rehearsal;
pub mod vault;
pub mod wireguard;

/// Every provider. Only the command line names this.
pub const ALL: &[&'static dyn Provider] = &[&host::Host, &vault::Vault, &firewall::Firewall, &wireguard::Wireguard];

/// The files beside the lab file that are handed to lowering, sorted.
pub fn assets(parsed: &labwright_model::Parsed) -> Vec<String> {
    let all: std::collections::BTreeSet<String> =
        host::assets(parsed).into_iter().chain(vault::assets(parsed)).collect();
    all.into_iter().collect()
}
