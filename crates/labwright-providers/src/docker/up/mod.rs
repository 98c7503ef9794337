//! Containers of a lab that is up on this machine (`labwright up`): the same stacks as on its hosts, with names of their own,
//! published on loopback alone, owned by a label that says which run they are of. No marks, no root: what a user may ask
//! the engine for is enough.
//!
//! Knows no order of services: each is started when it is told to. What `apply` made on the same engine is never touched.

mod attend;
mod events;
mod fixed;
mod ground;
mod lines;
mod lower;
mod one;
mod relay;
mod room;
mod secrets;
mod unit;
mod unsaid;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use labwright_plan::{ProviderError, Sealed, Spec, Value};
use serde::{Deserialize, Serialize};

use super::container;
use super::engine::{self, told};

pub use attend::{Orders, Tell, attend};
pub use lower::{Ask, lower};

/// The label that says which run a thing is of.
pub const LABEL: &str = "dev.labwright.up";
/// The label that says which copy of some data a volume is.
const COPY: &str = "dev.labwright.up.copy";
/// What stands for the address of this machine in a container's network, until that is known.
const GATEWAY: &str = "@gateway";

/// All containers of a lab, as they travel to whoever runs them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stacks {
    /// Where the engine listens.
    pub socket: String,
    /// Which run they are of.
    pub mark: String,
    /// Where files with secrets are, in memory; nothing where none is needed.
    pub secrets: PathBuf,
    pub services: Vec<Stack>,
    /// Processes of this machine that containers reach, by name: the port that containers use, and the process's own.
    pub relays: BTreeMap<String, (u16, u16)>,
}

impl Stacks {
    /// The names of the secrets that any of them refers to.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let made = self.services.iter().flat_map(|stack| &stack.containers);
        made.flat_map(|made| {
            let environment = match made.spec.get("environment") {
                Some(Value::Map(all)) => all.values().collect(),
                _ => Vec::new(),
            };
            let in_environment = environment.into_iter().filter_map(|value| match value {
                Value::Secret(sealed) => Some(sealed),
                _ => None,
            });
            made.secrets.values().chain(in_environment).flat_map(Sealed::names)
        })
    }
}

/// The containers of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    pub unit: String,
    pub containers: Vec<Made>,
    /// By name: its own, and one for each service that it needs, where the two of them meet and nobody else is.
    pub networks: BTreeMap<String, Spec>,
    /// The networks that those bring who need it: what its containers are called there, by their names.
    pub met: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Processes of this machine that it needs.
    pub relays: BTreeSet<String>,
    pub volumes: BTreeMap<String, Spec>,
    /// Folders and files that stand here for it, absolute.
    pub folders: Vec<PathBuf>,
    pub files: Vec<(PathBuf, String, u32)>,
    /// Seconds that a container may take to end, where it does not say.
    pub stop_within: i32,
    /// Its containers do their work and end.
    pub once: bool,
    /// Why it cannot be started as it is said.
    pub fault: Option<String>,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub key: String,
    pub name: String,
    /// The image as the lab names it.
    pub image: String,
    pub spec: Spec,
    /// Others of the same service that are up first, by name.
    pub after: Vec<String>,
    /// `no`, `always`, `unless-stopped`, `on-failure[:N]`: who ends is started again by the supervisor, not by the engine.
    pub restart: String,
    /// Files with secrets in them, by path inside.
    pub secrets: BTreeMap<String, Sealed>,
    /// The network over which it reaches this machine, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
}

/// Where Podman listens that root has started.
const PODMAN: &str = "/run/podman/podman.sock";

/// How long an engine may take to answer a greeting.
const GREETING: Duration = Duration::from_secs(5);

/// The socket of an engine that answers here, and that this user may ask; else why there is none.
///
/// # Errors
/// In words that go on after "it runs in containers, and".
pub fn engine() -> Result<String, String> {
    let candidates: Vec<PathBuf> = match std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => vec![path.into()],
            None => {
                return Err(format!(
                    "DOCKER_HOST is `{host}`, where this machine's folders and ports are not; unset it, or name a socket: \
                     `unix:///var/run/docker.sock`"
                ));
            }
        },
        None => {
            let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
            // Podman speaks Docker's language where its socket is there: `systemctl --user enable --now podman.socket`.
            let of = |end: &str| own.as_ref().map(|folder| folder.join(end));
            let docker = [Some(PathBuf::from(engine::SOCKET)), of("docker.sock")];
            let podman = [of("podman/podman.sock"), Some(PathBuf::from(PODMAN))];
            docker.into_iter().chain(podman).flatten().collect()
        }
    };
    let mut why = None;
    for path in candidates.iter().filter(|path| path.exists()) {
        let socket = path.display().to_string();
        match greet(&socket) {
            Ok(()) => return Ok(socket),
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    let names: Vec<String> = candidates.iter().map(|path| format!("`{}`", path.display())).collect();
    Err(why
        .unwrap_or_else(|| format!("no Docker engine and no Podman is here: nobody listens at {}", names.join(" or "))))
}

fn greet(socket: &str) -> Result<(), String> {
    if let Err(error) = std::os::unix::net::UnixStream::connect(socket) {
        return Err(match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "the Docker engine at `{socket}` is not open to you: be in its group (`sudo usermod -aG docker $USER`, then \
                 log in anew)"
            ),
            _ => format!("the Docker engine at `{socket}` does not answer: {error}"),
        });
    }
    let (say, said) = mpsc::channel();
    let at = socket.to_string();
    std::thread::spawn(move || {
        let greeted = engine::with(&at, async |docker| {
            docker.ping().await.map_err(|error| told("greet", "the engine", error)).map(drop)
        });
        let _ = say.send(greeted);
    });
    match said.recv_timeout(GREETING) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the Docker engine at `{socket}` does not answer: {}", error.message)),
        Err(_) => Err(format!("the Docker engine at `{socket}` does not answer within {} s", GREETING.as_secs())),
    }
}

/// Takes away the containers and networks of a run that nobody sees to any more. Volumes stay. Returns the names of the
/// containers.
///
/// # Errors
/// The engine does not answer, or keeps something.
pub fn sweep(socket: &str, mark: &str) -> Result<Vec<String>, ProviderError> {
    engine::with(socket, async |docker| clear(docker, mark).await)
}

async fn clear(docker: &Docker, mark: &str) -> Result<Vec<String>, ProviderError> {
    let label = || Some(HashMap::from([("label".to_string(), vec![format!("{LABEL}={mark}")])]));
    let options = ListContainersOptions { all: true, filters: label(), ..Default::default() };
    let listed = docker.list_containers(Some(options)).await;
    let listed = listed.map_err(|error| told("list containers of", "the engine", error))?;
    let mut names = Vec::new();
    let mut gone = Vec::new();
    for found in listed {
        let Some(id) = found.id else { continue };
        let name = found.names.unwrap_or_default().first().map(|name| name.trim_start_matches('/').to_string());
        names.push(name.unwrap_or_else(|| id.clone()));
        gone.push(async move { container::remove(docker, &id).await });
    }
    futures_util::future::try_join_all(gone).await?;
    let networks = docker.list_networks(Some(ListNetworksOptions { filters: label() })).await;
    let networks = networks.map_err(|error| told("list networks of", "the engine", error))?;
    let gone = networks.into_iter().filter_map(|network| Some((network.id?, network.name.unwrap_or_default())));
    let gone = gone.map(|(id, name)| async move {
        match docker.remove_network(&id).await {
            Err(error) if engine::status(&error) != Some(404) => Err(told("remove network", &name, error)),
            _ => Ok(()),
        }
    });
    futures_util::future::try_join_all(gone).await?;
    names.sort();
    Ok(names)
}
