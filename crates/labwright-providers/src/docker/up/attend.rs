//! The thread that runs the containers of one lab: it takes orders from the supervisor, listens to the engine, and tells what
//! becomes of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bollard::Docker;
use ipnet::IpNet;
use labwright_model::snapshot::up::control;
use labwright_model::snapshot::up::engine::{Heard, Order};
use labwright_plan::{Context, Facts, Hidden, Progress, ProviderError, ResourceId, Secrets, Via};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::LocalSet;
use zeroize::Zeroizing;

use super::super::session::{Replaced, Saying, Starting};
use super::super::{engine, prepare, room as own_room};
use super::{Stack, Stacks, clear, events, fixed, room, unit};

/// Tells the supervisor something.
pub type Tell = Arc<dyn Fn(Heard) + Send + Sync>;
/// Takes orders.
pub type Orders = Box<dyn Fn(Order)>;

/// What is under way when everything ends is waited for so long.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// All that is known of the containers of one lab.
pub struct Hub {
    pub docker: Docker,
    /// Whether the engine is Podman.
    pub podman: bool,
    pub stacks: Stacks,
    pub context: Context,
    /// By name: where this machine is in it.
    pub networks: RefCell<BTreeMap<String, unit::Once<Option<room::Way>>>>,
    /// Addresses that are taken, once they are known.
    pub taken: Mutex<Option<Vec<IpNet>>>,
    /// Containers that were put into networks of those who need them, by the engine's number and the network.
    pub joined: RefCell<BTreeMap<(String, String), unit::Once<()>>>,
    /// What is listened for on behalf of containers, by network and process.
    pub relayed: RefCell<BTreeSet<(String, String)>>,
    /// One at a time for each image.
    pub images: RefCell<HashMap<String, Rc<Mutex<()>>>>,
    /// The engine, asked for thirty at once, is late with all of them. What is made ahead does not stand before what starts.
    pub turns: Semaphore,
    pub making: Semaphore,
    pub units: RefCell<BTreeMap<String, unit::State>>,
    pub ended: std::cell::Cell<bool>,
    tell: Tell,
    progress: Waits,
    replaced: Replaced,
    starting: Starting,
    ready: prepare::Ready,
    room: own_room::Turn,
}

/// Says what is waited for, under the name of a container.
struct Waits {
    tell: Tell,
    /// By the name of a container: its unit, and which start of it this is.
    of: std::sync::Mutex<BTreeMap<String, (String, u64)>>,
}

impl Progress for Waits {
    fn say(&self, id: &ResourceId, what: &str) {
        let of = self.of.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((unit, attempt)) = of.get(id.name()) {
            (self.tell)(Heard::Waits { unit: unit.clone(), attempt: *attempt, reason: what.to_string() });
        }
    }
}

impl Hub {
    pub fn tell(&self, heard: Heard) {
        (self.tell)(heard);
    }

    pub fn saying<'a>(&'a self, id: &'a ResourceId) -> Saying<'a> {
        Saying {
            id,
            progress: &self.progress,
            context: &self.context,
            replaced: &self.replaced,
            starting: &self.starting,
            ready: &self.ready,
            room: &self.room,
        }
    }

    /// What is said of a container from now on belongs to this start of its unit.
    pub fn belongs(&self, container: &str, unit: &str, attempt: u64) {
        let mut of = self.progress.of.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        of.insert(container.to_string(), (unit.to_string(), attempt));
    }

    pub fn stack(&self, unit: &str) -> Option<&Stack> {
        self.stacks.services.iter().find(|stack| stack.unit == unit)
    }

    /// Tells how the containers of a unit are.
    pub fn show(&self, unit: &str) {
        let containers: Vec<control::Container> = match self.units.borrow().get(unit) {
            Some(state) => state.shown(self.stack(unit)),
            None => return,
        };
        self.tell(Heard::Are { unit: unit.to_string(), containers });
    }
}

/// Begins to run containers, in a thread of its own, which ends when nobody is left who gives orders.
///
/// # Errors
/// What was handed over is not understood, or the engine does not answer.
pub fn attend(
    stacks: serde_json::Value,
    secrets: &BTreeMap<String, String>,
    own: &Path,
    tell: Tell,
) -> Result<Orders, String> {
    let stacks: Stacks = serde_json::from_value(stacks).map_err(|error| error.to_string())?;
    let secrets: Secrets = secrets.iter().map(|(name, value)| (name.clone(), Zeroizing::new(value.clone()))).collect();
    let context = Context {
        facts: Facts::default(),
        state_dir: own.to_path_buf(),
        applied: Arc::default(),
        secrets_dir: stacks.secrets.clone(),
        change_key: Hidden([0; 32]),
        secrets,
        via: Via::default(),
    };
    let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel::<Order>();
    let (say, said) = mpsc::channel();
    let socket = stacks.socket.clone();
    std::thread::Builder::new()
        .name("containers".into())
        .spawn(move || {
            let late = tell.clone();
            let attended = engine::with(&socket, async |docker| {
                let podman = fixed::is_podman(docker).await?;
                let _ = say.send(Ok(()));
                let hub = Rc::new(hub(docker.clone(), podman, stacks.clone(), context.clone(), tell.clone()));
                LocalSet::new().run_until(listen(hub, &mut ordered)).await
            });
            if let Err(error) = attended
                && let Err(mpsc::SendError(Err(why))) = say.send(Err(error.message))
            {
                late(Heard::Note { text: why });
            }
            late(Heard::Ended);
        })
        .map_err(|error| error.to_string())?;
    said.recv().unwrap_or_else(|_| Err("its thread ended at once".to_string()))?;
    Ok(Box::new(move |order| drop(orders.send(order))))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

fn hub(docker: Docker, podman: bool, stacks: Stacks, context: Context, tell: Tell) -> Hub {
    let cores = cores();
    let states = stacks.services.iter().map(|stack| (stack.unit.clone(), unit::State::of(stack)));
    Hub {
        docker,
        podman,
        units: RefCell::new(states.collect()),
        stacks,
        context,
        networks: RefCell::default(),
        taken: Mutex::default(),
        joined: RefCell::default(),
        relayed: RefCell::default(),
        images: RefCell::default(),
        turns: Semaphore::new(2 * cores),
        making: Semaphore::new(cores),
        ended: std::cell::Cell::new(false),
        progress: Waits { tell: tell.clone(), of: std::sync::Mutex::default() },
        tell,
        replaced: Replaced::default(),
        starting: Starting::default(),
        ready: prepare::Ready::default(),
        room: own_room::Turn::default(),
    }
}

async fn listen(hub: Rc<Hub>, ordered: &mut tokio::sync::mpsc::UnboundedReceiver<Order>) -> Result<(), ProviderError> {
    let listening = tokio::task::spawn_local(events::listen(hub.clone()));
    // Made ahead, so that what is started is only started.
    for stack in &hub.stacks.services {
        hub.show(&stack.unit);
        tokio::task::spawn_local(unit::prepare(hub.clone(), stack.unit.clone()));
    }
    while let Some(order) = ordered.recv().await {
        match order {
            Order::Start { unit, attempt } => drop(tokio::task::spawn_local(unit::start(hub.clone(), unit, attempt))),
            Order::Stop { unit, attempt, now } => {
                drop(tokio::task::spawn_local(unit::stop(hub.clone(), unit, attempt, now)));
            }
            Order::Run(command) => drop(tokio::task::spawn_local(unit::run(hub.clone(), *command))),
            Order::End => break,
        }
    }
    hub.ended.set(true);
    listening.abort();
    // What is being made at this moment would be left.
    let most = u32::try_from(cores()).unwrap_or(u32::MAX);
    let idle = async { tokio::join!(hub.turns.acquire_many(2 * most), hub.making.acquire_many(most)) };
    drop(tokio::time::timeout(UNDER_WAY, idle).await);
    let cleared = clear(&hub.docker, &hub.stacks.mark).await;
    if !hub.stacks.secrets.as_os_str().is_empty() {
        drop(std::fs::remove_dir_all(&hub.stacks.secrets));
    }
    if let Err(error) = cleared {
        hub.tell(Heard::Note { text: format!("not all containers of the lab are gone: {}", error.message) });
    }
    Ok(())
}
