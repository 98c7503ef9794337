//! Tailscale: hosts join the lab's tailnet with an auth key, under the tags that its policy knows them by.
//! Runs no control server and changes no policy: `labwright vpn tailscale-acl` prints that for whoever does.

mod node;

use std::collections::BTreeMap;

use labwright_model::lab::Firewall;
use labwright_plan::network::{Matrix, tailscale};
use labwright_plan::{
    Action, Context, Facts, Input, Kind, Lowered, Progress, Provider, ProviderError, Refusal, Resource, ResourceId,
    Sealed, Seen, Session, Step, Value, Wanted, WayBack,
};

/// The provider `tailscale`.
pub struct Tailscale;

static KINDS: [Kind; 1] = [node::KIND];

impl Provider for Tailscale {
    fn name(&self) -> &'static str {
        "tailscale"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        let vpn = input.parsed.lab.edge.vpn.as_ref();
        let Some(tailnet) = vpn.and_then(|vpn| vpn.tailscale.as_ref()) else { return };
        let Some(key) = &tailnet.auth_key else { return };
        let matrix = Matrix::of(input.parsed);
        for number in tailscale::joined(&matrix) {
            let host = &matrix.parties.hosts[number];
            if !crate::host::managed(host.entry) {
                continue;
            }
            let id = ResourceId::new(host.name, "tailscale", "node", "tailnet");
            let tags = [tailscale::tag(host.name)].into_iter().collect::<Value>();
            let mut resource = Resource::new(id, key.span).with("joined", true).with("tags", tags);
            resource = resource.with("key", Value::Secret(Sealed::template(&key.value)));
            let server = tailnet.login_server.as_ref().map(|server| server.value.as_str());
            resource = resource.with_some("login_server", server);
            resource.after.insert(ResourceId::all(host.name, "host", "package"));
            resource.after.insert(ResourceId::all(host.name, "host", "unit"));
            let enforced = host.entry.firewall.as_ref().or(input.parsed.lab.network.firewall.as_ref());
            if enforced.is_some_and(|firewall| firewall.value == Firewall::Enforce) {
                // It lets the host out to where the tailnet is controlled from.
                resource.after.insert(ResourceId::all(host.name, "firewall", "ruleset"));
            }
            out.resources.push(resource);
        }
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        let host = resource.id.host();
        (!facts.root).then(|| Refusal {
            reason: format!("joining a tailnet on `{host}` needs root, and labwright runs as `{}` there", facts.user),
            help: crate::host::NOT_ROOT.into(),
        })
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(Here(context.clone())))
    }
}

struct Here(Context);

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        wanted.iter().map(|wanted| (wanted.id.clone(), Seen::from(node::observe(wanted)))).collect()
    }

    fn apply(&self, step: &Step, _: &dyn Progress) -> Result<(), ProviderError> {
        match step.action {
            Action::Adopt | Action::Release => Ok(()),
            Action::Delete => node::leave(),
            _ => node::join(&self.0, step),
        }
    }

    fn way_back(&self, step: &Step) -> Result<Option<WayBack>, ProviderError> {
        match step.action {
            Action::Update | Action::Replace => node::way_back(&self.0, step),
            _ => Ok(None),
        }
    }

    /// What it is is kept by tailscaled.
    fn persist(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}
