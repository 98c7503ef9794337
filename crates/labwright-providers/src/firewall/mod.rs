//! The firewall of a host: one table of nftables, made from the lab's flows, loaded at once and again at every boot.
//! Every other table on the host stays as it is: Docker's, the administrator's, whoever's.

mod boot;
mod loaded;
mod lower;
pub(crate) mod moving;
mod ruleset;
mod session;
mod through;

use labwright_plan::{
    Change, Consequence, Context, Facts, Input, Kind, Lowered, Observation, Provider, ProviderError, Refusal, Resource,
    Session,
};

pub use lower::implied;

/// The provider `firewall`.
pub struct Firewall;

static KINDS: [Kind; 1] = [ruleset::KIND];

impl Provider for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    fn settle(&self, desired: &mut [Resource], observed: &mut Observation) {
        through::settle(desired, observed);
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        let host = resource.id.host();
        (!facts.root).then(|| Refusal {
            reason: format!("the firewall of `{host}` needs root, and labwright runs as `{}` there", facts.user),
            help: crate::host::NOT_ROOT.into(),
        })
    }

    fn price(&self, _: &Resource, changes: &[Change]) -> Consequence {
        ruleset::price(changes)
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here { context: context.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_has_a_firewall() {
        let id = labwright_plan::ResourceId::new("web", "firewall", "ruleset", "labwright");
        let resource = Resource::new(id, labwright_model::Span::NONE);
        let user = Facts { user: "stian".into(), ..Facts::default() };
        let refusal = Firewall.refuse(&resource, &user).unwrap();
        assert_eq!(refusal.reason, "the firewall of `web` needs root, and labwright runs as `stian` there");
        assert_eq!(Firewall.refuse(&resource, &Facts { root: true, ..user }), None);
    }
}
