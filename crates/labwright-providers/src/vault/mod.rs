//! A Vault or OpenBao server: policies for who reads what, and the pair in which one server unseals the other.
//! Initialises nothing and sees no key share: those stay with the owner.

mod policy;
mod seal;
mod token;
mod transit_key;

mod access;
mod lower;
mod session;

use labwright_plan::{
    Change, Consequence, Context, Facts, Field, Input, Kind, Lowered, Provider, ProviderError, Refusal, Resource,
    Session,
};

use crate::api::reached;

pub(crate) use access::{error as told, secret};
pub use lower::{assets, implied};

/// The provider `vault`.
pub struct Vault;

static KINDS: [Kind; 4] = [transit_key::KIND, policy::KIND, token::KIND, seal::KIND];

/// How a server is reached. None of it is the thing itself, so none of it is compared.
const ADDRESS: Field = reached("address", "The address of the server.");
const CA: Field = reached("ca", "The certificate authority that signed the server's certificate.");
const NAMESPACE: Field = reached("namespace", "The server's namespace.");
const ADMIN: Field = reached("admin", "The token that may look at this and change it.");

impl Provider for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        let (host, name) = (resource.id.host(), resource.id.name());
        let refusal = |reason: String, help: &str| Some(Refusal { reason, help: help.into() });
        match resource.id.kind() {
            "seal" if !facts.systemd => refusal(
                format!("`{host}` does not run systemd, so `{name}` cannot be restarted there"),
                "name a host that runs systemd: `platform.secrets.vault.on`",
            ),
            "seal" if !facts.root => refusal(
                format!("`{name}` needs root, and labwright runs as `{}` on `{host}`", facts.user),
                crate::host::NOT_ROOT,
            ),
            _ => None,
        }
    }

    fn price(&self, resource: &Resource, changes: &[Change]) -> Consequence {
        match resource.id.kind() {
            "seal" => seal::price(changes),
            _ => Consequence::None,
        }
    }

    /// The state of a seal is told to everybody; whatever else there is only to a token.
    fn looks_with_secrets(&self, kind: &str) -> bool {
        kind != "seal"
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here { context: context.clone() }))
    }
}
