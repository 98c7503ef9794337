//! How to see and change one outside thing: a folder each.
//! Never plans; the contract is `labwright_plan::Provider`.

use std::collections::BTreeSet;

use labwright_model::Parsed;
use labwright_plan::Provider;

mod api;
pub mod caddy;
pub mod docker;
pub mod firewall;
pub mod host;
mod process;
pub mod rehearsal;
pub mod resolver;
pub mod serve;
pub mod tailscale;
pub mod vault;
pub mod wireguard;

/// Every provider. Only the command line names this.
pub const ALL: &[&'static dyn Provider] = &[
    &host::Host,
    &docker::Docker,
    &vault::Vault,
    &firewall::Firewall,
    &serve::Serve,
    &wireguard::Wireguard,
    &tailscale::Tailscale,
    &caddy::Caddy,
    &resolver::Resolver,
];

/// The files beside the lab file that are handed to lowering, sorted. What ends with a slash is a folder, and stands for all
/// files in it, each by its own path.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    let all = host::assets(parsed).into_iter().chain(docker::assets(parsed)).chain(vault::assets(parsed));
    all.chain(serve::assets(parsed)).collect::<BTreeSet<String>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_described() {
        for kind in ALL.iter().flat_map(|provider| provider.kinds()) {
            assert!(kind.doc.ends_with('.'), "{}", kind.name);
            for field in kind.fields {
                assert!(field.doc.ends_with('.'), "{} {}", kind.name, field.name);
            }
        }
    }
}
