//! WireGuard: the endpoint of the lab's VPN, hosts that are peers of it, and the configurations of everybody else.
//! Through the kernel where it has WireGuard, else through `wireguard-go`. Needs no `wg-quick`, and no file holds a key.

mod client;
mod interface;
mod lower;
mod session;
mod tool;

use labwright_plan::{
    Change, Consequence, Context, Facts, Input, Kind, Lowered, Provider, ProviderError, Refusal, Resource, Session,
};

pub use client::{Client, Tunnel, client};
pub use lower::implied;

/// The provider `wireguard`.
pub struct Wireguard;

static KINDS: [Kind; 1] = [interface::KIND];

impl Provider for Wireguard {
    fn name(&self) -> &'static str {
        "wireguard"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        let host = resource.id.host();
        (!facts.root).then(|| Refusal {
            reason: format!("WireGuard on `{host}` needs root, and labwright runs as `{}` there", facts.user),
            help: crate::host::NOT_ROOT.into(),
        })
    }

    fn price(&self, _: &Resource, changes: &[Change]) -> Consequence {
        interface::price(changes)
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here::new(context)))
    }
}
