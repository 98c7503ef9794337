//! The daemon of a host, `labwright serve`: its program, and what it is told to do.
//! Does none of its work; the unit and the credentials are the provider `host`'s.

mod daemon;
mod lower;
mod program;
mod runtime;

use std::collections::BTreeMap;

use labwright_model::Parsed;
use labwright_plan::{
    Action, Context, Facts, Input, Kind, Lowered, Observed, Part, Progress, Provider, ProviderError, Refusal, Resource,
    ResourceId, Runtime, Seen, Session, Step, Wanted,
};

pub(crate) use lower::pages;
pub use lower::{assets, implied};

/// The provider `serve`.
pub struct Serve;

static KINDS: [Kind; 2] = [program::KIND, daemon::KIND];

/// What was found of one resource: `None` where it is not there, an error where nobody can say.
type Look = Result<Option<Observed>, ProviderError>;

impl Provider for Serve {
    fn name(&self) -> &'static str {
        "serve"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    fn parts(&self, parsed: &Parsed) -> Vec<Part> {
        runtime::parts(parsed)
    }

    fn runtime(&self) -> Option<Box<dyn Runtime>> {
        Some(Box::new(runtime::Roles))
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        let (host, name) = (resource.id.host(), resource.id.name());
        if !facts.systemd {
            return Some(Refusal {
                reason: format!("`{host}` does not run systemd, so `{name}` cannot run there"),
                help: "name a host that runs systemd: `platform.reverse_proxy.on`, `platform.dns.on`".into(),
            });
        }
        (!facts.root).then(|| Refusal {
            reason: format!("`{name}` needs root, and labwright runs as `{}` on `{host}`", facts.user),
            help: crate::host::NOT_ROOT.into(),
        })
    }

    fn connect(&self, _: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(Here))
    }
}

/// The way to a host's daemon, from that host.
struct Here;

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let look = |wanted: &Wanted<'_>| match wanted.id.kind() {
            "program" => program::observe(wanted),
            "daemon" => daemon::observe(),
            kind => Err(ProviderError::bug(format!("the serve provider has no kind `{kind}`"))),
        };
        wanted.iter().map(|wanted| (wanted.id.clone(), Seen::from(look(wanted)))).collect()
    }

    fn apply(&self, step: &Step, _: &dyn Progress) -> Result<(), ProviderError> {
        if matches!(step.action, Action::Adopt | Action::Release) {
            return Ok(());
        }
        match step.id.kind() {
            "program" => program::apply(step),
            "daemon" => daemon::apply(step),
            kind => Err(ProviderError::bug(format!("the serve provider has no kind `{kind}`"))),
        }
    }

    fn persist(&self) -> Result<(), ProviderError> {
        // Program and snapshot are on the disk before either is told to be there.
        Ok(())
    }
}
