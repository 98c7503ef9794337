//! One engine's things, seen and changed over its socket: hands each resource to its kind.
//! Keeps no connection: each call has its own, so that several may be made at once.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use labwright_plan::{
    Action, Context, ErrorKind, Observed, Progress, ProviderError, ResourceId, Seen, Session, Spec, Step, Value, Wanted,
};

use super::image::Images;
use super::{container, engine, image, network, prepare, room, secrets, volume};

/// As many things are looked at at the same time.
const AT_ONCE: usize = 8;

/// What was found: `None` where it is not there, an error where nobody can say.
pub type Look<T = Observed> = Result<Option<T>, ProviderError>;

/// A session on one host.
pub struct Here {
    context: Context,
    applied: BTreeMap<ResourceId, Spec>,
    replaced: Replaced,
    starting: Starting,
    ready: prepare::Ready,
    room: room::Turn,
    known: engine::Known,
    /// Where the engine of each host listens, as far as anything that was made there says.
    engines: BTreeMap<String, String>,
}

/// Containers are made and started a few at a time, in the order that they come: the engine, asked for thirty at once, is late
/// with all of them. Waiting for them is not counted.
#[derive(Default)]
pub struct Starting {
    turns: Mutex<Turns>,
    ended: Condvar,
}

#[derive(Default)]
struct Turns {
    under_way: usize,
    waiting: usize,
}

/// One that is being made or started.
pub struct Turn<'a>(&'a Starting);

impl Starting {
    fn most() -> usize {
        std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2)
    }

    pub fn turn(&self) -> Turn<'_> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.waiting += 1;
        while turns.under_way >= Self::most() {
            turns = self.ended.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        turns.waiting -= 1;
        turns.under_way += 1;
        Turn(self)
    }

    /// As `turn`, for what has time: whoever has not is let go first, and keeps half of the turns.
    pub fn spare_turn(&self) -> Turn<'_> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        while turns.waiting > 0 || turns.under_way >= Self::most() / 2 {
            turns = self.ended.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        turns.under_way += 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner).under_way -= 1;
        self.0.ended.notify_all();
    }
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
    pub starting: &'a Starting,
    pub ready: &'a prepare::Ready,
    pub room: &'a room::Turn,
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
        let applied: BTreeMap<ResourceId, Spec> = applied.map(|(id, spec)| (id.clone(), spec.clone())).collect();
        let engine =
            |(id, spec): (&ResourceId, &Spec)| Some((id.host().to_string(), text(spec, "engine")?.to_string()));
        Here {
            context: context.clone(),
            engines: applied.iter().filter_map(engine).collect(),
            applied,
            replaced: Replaced::default(),
            starting: Starting::default(),
            ready: prepare::Ready::default(),
            room: room::Turn::default(),
            known: engine::Known::default(),
        }
    }

    fn saying<'a>(&'a self, id: &'a ResourceId, progress: &'a dyn Progress) -> Saying<'a> {
        Saying {
            id,
            progress,
            context: &self.context,
            replaced: &self.replaced,
            starting: &self.starting,
            ready: &self.ready,
            room: &self.room,
        }
    }

    /// Where the engine of a resource listens.
    fn socket<'a>(&'a self, id: &ResourceId, spec: &'a Spec) -> &'a str {
        let of = |spec: &'a Spec| text(spec, "engine");
        let made = || of(self.applied.get(id)?);
        // What was begun and never done has said nothing yet.
        let beside = || self.engines.get(id.host()).map(String::as_str).filter(|_| spec.is_empty());
        of(spec).or_else(made).or_else(beside).unwrap_or(engine::SOCKET)
    }
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let mut by_engine: BTreeMap<&str, Vec<&Wanted<'_>>> = BTreeMap::new();
        for wanted in wanted {
            by_engine.entry(self.socket(wanted.id, wanted.spec)).or_default().push(wanted);
        }
        let mut seen = BTreeMap::new();
        for (socket, part) in by_engine {
            let looked = engine::with_known(socket, &self.known, async |docker| {
                let images = &Images::new(docker);
                let look = async |wanted: &&Wanted<'_>| {
                    let look = match wanted.id.kind() {
                        "network" => network::observe(docker, wanted).await,
                        "volume" => volume::observe(docker, wanted).await,
                        "image" => image::observe(images, wanted).await,
                        "container" => container::observe(docker, images, wanted, &self.replaced, &self.context).await,
                        kind => Err(ProviderError::bug(format!("the docker provider has no kind `{kind}`"))),
                    };
                    (wanted.id.clone(), Seen::from(look))
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
        let saying = &self.saying(&step.id, progress);
        let socket = self.socket(&step.id, &step.spec);
        let made = engine::with_known(socket, &self.known, async |docker| match step.id.kind() {
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

    fn settle(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        if step.id.kind() != container::KIND.name {
            return Ok(());
        }
        let saying = &self.saying(&step.id, progress);
        let socket = self.socket(&step.id, &step.spec);
        engine::with_known(socket, &self.known, async |docker| container::settle(docker, step, saying).await)
    }

    fn waits(&self, kind: &str) -> bool {
        kind == "container"
    }

    fn prepares_before(&self, step: &Step, need: &ResourceId) -> bool {
        prepare::comes_before(step, need)
    }

    fn prepare(&self, step: &Step) -> Result<(), ProviderError> {
        let saying = &self.saying(&step.id, &prepare::Silent);
        let socket = self.socket(&step.id, &step.spec);
        engine::with_known(socket, &self.known, async |docker| prepare::prepare(docker, step, saying).await)
    }

    fn discard(&self, step: &Step) -> Result<(), ProviderError> {
        let saying = &self.saying(&step.id, &prepare::Silent);
        let socket = self.socket(&step.id, &step.spec);
        engine::with_known(socket, &self.known, async |docker| prepare::discard(docker, step, saying).await)
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
