//! What runs for a service, and how one looks into it: how it fares, what it says, a command beside it.
//! Nothing here changes what is declared; providers that run things implement it.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use serde::{Deserialize, Serialize};

use crate::error::ProviderError;
use crate::resource::ResourceId;
use crate::value::Spec;

/// One thing that a service consists of where it runs: a container, or a unit of systemd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What it is called in its service: its key in the Compose file; for a process, its unit.
    pub name: String,
    pub id: ResourceId,
    /// The fields by which its product finds it, as its resource spells them.
    pub place: Spec,
}

impl Part {
    /// `wiki`, or `wiki (dev)` for the one in an environment.
    pub fn of(&self) -> String {
        called(&self.service, self.environment.as_deref())
    }
}

/// A service as people call it, with its environment where it has one.
pub fn called(service: &str, environment: Option<&str>) -> String {
    environment.map_or_else(|| service.to_string(), |environment| format!("{service} ({environment})"))
}

/// How one thing fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub service: String,
    pub environment: Option<String>,
    /// What it is called in its service.
    pub part: String,
    /// What its product calls it: the container's or the unit's name.
    pub name: String,
    /// Whether the lab declares it; what it does not is a leftover, or somebody else's.
    pub declared: bool,
    pub state: State,
    pub health: Option<Health>,
    /// How it ended, where it did.
    pub exit_code: Option<i64>,
    /// Seconds since 1970: since when it is in this state.
    pub since: Option<i64>,
    /// How often it was started again by itself.
    pub restarts: Option<i64>,
    pub image: Option<ImageSeen>,
    /// What else there is to say of its state, in words.
    pub says: Option<String>,
}

/// What a container was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSeen {
    /// Registry and repository.
    pub name: String,
    pub tag: Option<String>,
    /// `sha256:…`: what its registry knows it by, or the engine's own id of an image that no registry has.
    pub digest: String,
    /// Seconds since 1970: when it was built.
    pub created: Option<i64>,
}

/// What something is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    /// It ran once, as it was meant to, and ended well.
    Ran,
    /// On its way up.
    Starting,
    /// It ended and is about to be started again.
    Restarting,
    /// It ended, and stays so.
    Exited,
    Failed,
    Stopped,
    Paused,
    /// Made and never started.
    Created,
    Dead,
    /// It is declared and not there.
    Missing,
    /// Nobody can say.
    Unknown,
}

impl State {
    /// The word that JSON and tables have.
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Ran => "ran",
            State::Starting => "starting",
            State::Restarting => "restarting",
            State::Exited => "exited",
            State::Failed => "failed",
            State::Stopped => "stopped",
            State::Paused => "paused",
            State::Created => "created",
            State::Dead => "dead",
            State::Missing => "missing",
            State::Unknown => "unknown",
        }
    }

    /// Every word, for descriptions.
    pub const ALL: [State; 12] = [
        State::Running,
        State::Ran,
        State::Starting,
        State::Restarting,
        State::Exited,
        State::Failed,
        State::Stopped,
        State::Paused,
        State::Created,
        State::Dead,
        State::Missing,
        State::Unknown,
    ];
}

/// What its own check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    /// The check has not come to an answer yet.
    Starting,
    Unhealthy,
}

impl Health {
    /// The word that JSON and tables have.
    pub fn word(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Starting => "starting",
            Health::Unhealthy => "unhealthy",
        }
    }
}

impl Running {
    /// Of a part that is not there, or of which nobody can say how it fares.
    pub fn of(part: &Part, state: State) -> Running {
        Running {
            service: part.service.clone(),
            environment: part.environment.clone(),
            part: part.name.clone(),
            name: part.id.name().to_string(),
            declared: true,
            state,
            health: None,
            exit_code: None,
            since: None,
            restarts: None,
            image: None,
            says: None,
        }
    }

    /// Whether it does what it is there for; `None` where nobody can say. A leftover does nobody harm.
    pub fn is_well(&self) -> Option<bool> {
        match self.state {
            _ if !self.declared => Some(true),
            State::Unknown => None,
            State::Ran => Some(true),
            State::Running => Some(matches!(self.health, None | Some(Health::Healthy))),
            _ => Some(false),
        }
    }
}

/// Which part of a log is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsAsk {
    /// Goes on with what comes, until it is stopped.
    pub follow: bool,
    /// Nanoseconds since 1970: nothing from before.
    pub since: Option<i64>,
    /// The last lines of each; `None`: all.
    pub tail: Option<u64>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Nanoseconds since 1970, by the host's clock.
    pub at: i64,
    pub source: LineSource,
    /// Without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineSource {
    Stdout,
    Stderr,
    /// Not the service's own: said about it.
    Note,
}

/// A command that is to run beside a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAsk {
    pub command: Vec<String>,
    /// Whom it runs as; `None`: whom the part runs as.
    pub user: Option<String>,
    /// The folder it runs in; `None`: the part's own.
    pub directory: Option<String>,
    /// The size of the terminal that it has; `None`: it has none.
    pub tty: Option<Size>,
    /// Whether anything will be typed.
    pub stdin: bool,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// What goes to a command that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    Bytes(Vec<u8>),
    /// No more is typed.
    End,
    Resized(Size),
    /// A signal for it, by its number; it does not wait for what was typed before.
    Signal(i32),
}

/// What comes from a command that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    /// So many typed bytes have arrived: as many more may be sent.
    Taken(usize),
}

/// What is asked of a host about what runs there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAsk {
    /// Where the engine listens, where that is not the usual place.
    pub engine: Option<String>,
    /// The host's name in the lab.
    pub host: String,
    /// Whether the files beside a Compose file are to come along.
    pub copy: bool,
    /// Ids of what the lab has already: `host/provider/kind/name`.
    pub known: Vec<ResourceId>,
}

/// Something that runs on a host, as a lab would say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The service's name.
    pub name: String,
    /// Where it comes from: a folder, or a container.
    pub from: String,
    /// What stands under its name in the lab, in the order in which it is written. `compose` is left to whoever knows
    /// where the lab is.
    pub entry: serde_json::Map<String, serde_json::Value>,
    /// The files that it is made of, as they are called on the host; the first is its Compose file. None: it has none.
    pub files: Vec<FoundFile>,
    /// What somebody has to know or to decide.
    pub notes: Vec<String>,
}

/// A file beside a Compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    /// From `/` on.
    pub path: String,
    /// Below the Compose file's folder.
    pub beside: String,
    /// Base64; `None` where it was not asked for.
    pub content: Option<String>,
}

/// What runs on one host, of one provider. Its calls last as long as they have something to say.
pub trait Runtime: Send + Sync {
    /// How parts fare, and what else is there of their services. Errors stand inside, as `State::Unknown`.
    fn running(&self, parts: &[Part]) -> Vec<Running>;

    /// Tells a part's log, oldest line first, on and on where it is followed. Returns soon after `stop` is set.
    fn logs(
        &self,
        part: &Part,
        ask: &LogsAsk,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Line),
    ) -> Result<(), ProviderError>;

    /// Runs a command beside a part, to its end; answers its exit code. When the sender of `typed` is gone before that, so
    /// is whoever began it, and the command is ended.
    fn exec(
        &self,
        part: &Part,
        ask: &ExecAsk,
        typed: mpsc::Receiver<Typed>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<i64, ProviderError>;

    /// Asks a part what only its product knows, or tells it something for a while. What is asked and answered is JSON of the
    /// product's own form; nothing that the lab declares is changed.
    fn ask(&self, part: &Part, _ask: &serde_json::Value) -> Result<serde_json::Value, ProviderError> {
        Err(ProviderError::bug(format!("`{}` answers no questions", part.id)))
    }

    /// What runs there beside what the lab has, as a lab would say it. No secret is in it.
    fn found(&self, _ask: &FoundAsk) -> Result<Vec<Found>, ProviderError> {
        Ok(Vec::new())
    }
}
