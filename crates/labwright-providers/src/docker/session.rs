//! One engine's things, seen and changed over its socket: hands each resource to its kind.
//! Keeps no connection: each call has its own, so that several may be made at once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::{StreamExt, stream};
use labwright_plan::{
    Action, Context, ErrorKind, Observed, Progress, ProviderError, ResourceId, Seen, Session, Spec, Step, Value, Wanted,
};

use super::image::Images;
use super::{container, engine, image, network, secrets, volume};

/// As many things are looked at at the same time.
const AT_ONCE: usize = 8;

/// What was found: `None` where it is not there, an error where nobody can say.
pub type Look<T = Observed> = Result<Option<T>, ProviderError>;

/// A session on one host.
pub struct Here {
    context: Context,
    applied: BTreeMap<ResourceId, Spec>,
    replaced: Replaced,
}

/// Containers that this run took others' places with: whose they were, by the ids of those that are gone. Whoever lived in
/// the network of one has a step of its own, which must not be refused because of this.
pub type Replaced = Mutex<BTreeMap<String, String>>;

/// Says what is going on with one step.
pub struct Saying<'a> {
    pub id: &'a ResourceId,
    pub progress: &'a dyn Progress,
    pub context: &'a Context,
    pub replaced: &'a Replaced,
}

impl Saying<'_> {
    /// Says it, under the step's id.
    pub fn say(&self, what: &str) {
        self.progress.say(self.id, what);
    }
}

impl Here {
    pub fn new(context: &Context) -> Self {
        let applied = context.applied.iter().filter(|(id, _)| id.provider() == super::NAME);
        Here {
            context: context.clone(),
            applied: applied.map(|(id, spec)| (id.clone(), spec.clone())).collect(),
            replaced: Replaced::default(),
        }
    }

    /// Where the engine of a resource listens.
    fn socket<'a>(&'a self, id: &ResourceId, spec: &'a Spec) -> &'a str {
        let of = |spec: &'a Spec| text(spec, "engine");
        of(spec).or_else(|| of(self.applied.get(id)?)).unwrap_or(engine::SOCKET)
    }
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let mut by_engine: BTreeMap<&str, Vec<&Wanted<'_>>> = BTreeMap::new();
        // What is to go is looked at as it was made: a step that removes says nothing of fields.
        let asked = |wanted: &Wanted<'_>| match self.applied.get(wanted.id) {
            Some(applied) if wanted.spec.is_empty() => applied.clone(),
            _ => wanted.spec.clone(),
        };
        let specs: Vec<Spec> = wanted.iter().map(asked).collect();
        let wanted: Vec<Wanted<'_>> =
            wanted.iter().zip(&specs).map(|(wanted, spec)| Wanted { id: wanted.id, spec }).collect();
        for wanted in &wanted {
            by_engine.entry(self.socket(wanted.id, wanted.spec)).or_default().push(wanted);
        }
        let mut seen = BTreeMap::new();
        for (socket, part) in by_engine {
            let looked = engine::with(socket, async |docker| {
                let images = &Images::new(docker);
                let look = async |wanted: &&Wanted<'_>| {
                    let look = match wanted.id.kind() {
                        "network" => network::observe(docker, wanted).await,
                        "volume" => volume::observe(docker, wanted).await,
                        "image" => image::observe(images, wanted).await,
                        "container" => container::observe(docker, images, wanted, &self.replaced, &self.context).await,
                        kind => Err(ProviderError::bug(format!("the docker provider has no kind `{kind}`"))),
                    };
                    let sight = match look {
                        Ok(Some(observed)) => Seen::Present(observed),
                        Ok(None) => Seen::Absent,
                        Err(error) => Seen::Unknown(error),
                    };
                    (wanted.id.clone(), sight)
                };
                // Registries are asked once for each image, and containers are looked at with what they said.
                let (first, then): (Vec<_>, Vec<_>) = part.iter().partition(|wanted| wanted.id.kind() == "image");
                let mut seen = BTreeMap::new();
                for part in [first, then] {
                    let looks = stream::iter(part.into_iter().map(&look)).buffer_unordered(AT_ONCE);
                    seen.extend(looks.collect::<Vec<_>>().await);
                }
                Ok(seen)
            });
            match looked {
                Ok(looked) => seen.extend(looked),
                Err(error) => {
                    seen.extend(part.iter().map(|wanted| (wanted.id.clone(), Seen::Unknown(error.clone()))));
                }
            }
        }
        seen
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        if matches!(step.action, Action::Adopt | Action::Release) {
            return Ok(());
        }
        let saying = &Saying { id: &step.id, progress, context: &self.context, replaced: &self.replaced };
        let made = engine::with(self.socket(&step.id, &step.spec), async |docker| match step.id.kind() {
            "network" => network::apply(docker, step, saying).await,
            "volume" => volume::apply(docker, step).await,
            "image" => image::apply(docker, step, saying).await,
            "container" => container::apply(docker, step, saying).await,
            kind => Err(ProviderError::bug(format!("the docker provider has no kind `{kind}`"))),
        });
        made.map_err(|error| match error.kind {
            // Nothing may be deleted twice by itself.
            ErrorKind::Unreachable | ErrorKind::Timeout if step.action == Action::Delete => {
                ProviderError { retry: false, ..error }
            }
            _ => error,
        })
    }

    fn batches(&self, _: &str) -> bool {
        false
    }

    fn apply_batch(&self, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
        steps.iter().map(|step| self.apply(step, progress)).collect()
    }

    fn restore(&self) -> Result<usize, ProviderError> {
        secrets::restore(&self.context)
    }

    fn persist(&self) -> Result<(), ProviderError> {
        // The engine writes its own records before it answers.
        Ok(())
    }
}

/// A text field of a spec.
pub fn text<'a>(spec: &'a Spec, field: &str) -> Option<&'a str> {
    spec.get(field).and_then(Value::text)
}
