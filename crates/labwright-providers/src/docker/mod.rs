//! Stacks of containers on Docker engines: networks, volumes, images, containers.
//! Runs on the host itself, in the agent, and speaks to the engine's unix socket: no `docker` command, no open port.

pub mod stack;

mod apart;
mod container;
mod egress;
mod image;
mod network;
mod volume;

pub mod lock;
mod lower;
mod own;
mod project;
mod secrets;
mod services;
mod session;

pub mod adopt;
mod exec;
mod logs;
mod parts;
mod runtime;
mod signal;
pub mod up;

mod archive;
mod culprit;
mod engine;
mod form;
mod gate;
mod options;
mod prepare;
mod probe;
mod reference;
mod replace;
mod revive;
mod room;
mod sockets;

use labwright_model::Parsed;
use labwright_plan::{
    Action, Consequence, Context, Facts, Field, Input, Kind, Lowered, Observation, OnChange, Part, Provider,
    ProviderError, Refusal, Resource, Runtime, Session, Spec,
};

pub use apart::of_environment;
pub use lower::{Ground, lower_stack};
pub use project::IN_PLACE;
pub use secrets::any as holds_secrets;
pub use services::{assets, findings};

/// The second part of its resources' ids.
const NAME: &str = "docker";

/// Where the engine listens, where that is not its usual place.
const ENGINE: Field = Field {
    name: "engine",
    doc: "The socket that the engine listens at, where it is not the usual one.",
    on_change: OnChange::Ignore,
    consequence: Consequence::None,
    content: false,
};

/// The provider `docker`.
pub struct Docker;

static KINDS: [Kind; 4] = [network::KIND, volume::KIND, image::KIND, container::KIND];

impl Provider for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        services::lower(input, out);
    }

    fn settle(&self, desired: &mut [Resource], observed: &mut Observation) {
        image::settle(desired, observed);
    }

    fn foretell(&self, resource: &Resource, action: Action, observed: &Spec) -> Option<String> {
        let is_new = resource.id.kind() == container::KIND.name && action == Action::Replace;
        is_new.then(|| replace::foretold(&resource.spec, observed)).flatten()
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        let (name, host) = (resource.id.name(), resource.id.host());
        (!facts.root).then(|| Refusal {
            reason: format!("`{name}` needs root, and labwright runs as `{}` on `{host}`", facts.user),
            help: "log in as root, or as a user that may use `sudo` without a password".into(),
        })
    }

    fn parts(&self, parsed: &Parsed) -> Vec<Part> {
        parts::parts(parsed)
    }

    fn runtime(&self) -> Option<Box<dyn Runtime>> {
        Some(Box::new(runtime::Engines))
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here::new(context)))
    }
}
