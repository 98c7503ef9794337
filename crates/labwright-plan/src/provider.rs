//! The contract between the one planner and every outside product.
//! The pure half lowers and describes; only a session touches the world. `docs/provider-contract.md` says it in words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use labwright_model::{Findings, Parsed};
use serde::{Deserialize, Serialize};

use crate::check::Case;
use crate::error::ProviderError;
use crate::observation::Observation;
use crate::plan::{Action, Change, Consequence, Step};
use crate::resource::{Resource, ResourceId};
use crate::runtime::{Part, Runtime};
use crate::sealed::{ChangeKey, Secrets};
use crate::value::{Digest, Spec};
use crate::way_back::{Doors, WayBack};

/// A provider: how to see and change one outside thing.
pub trait Provider: Sync {
    /// The second part of its resources' ids.
    fn name(&self) -> &'static str;
    /// What it manages, field by field.
    fn kinds(&self) -> &'static [Kind];
    /// Turns its part of the lab into resources. Pure, and independent of the order of the file.
    fn lower(&self, input: &Input<'_>, out: &mut Lowered);
    /// Puts into the desired resources what only an observation can tell, such as which image a tag stands for today.
    /// Pure. What served only this is taken out of the observation: a step's fingerprint must not hang on it.
    fn settle(&self, _desired: &mut [Resource], _observed: &mut Observation) {}
    /// Why a resource cannot be on a host of these facts; said at plan time, not by a crash.
    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal>;
    /// What these changes of one resource cost beyond what each field says: taking a key away is dearer than adding one.
    fn price(&self, _resource: &Resource, _changes: &[Change]) -> Consequence {
        Consequence::None
    }
    /// What a change means for whoever uses the thing, in words, where more can be said than its consequence: how long it is
    /// down. `observed`: how it is now. Pure.
    fn foretell(&self, _resource: &Resource, _action: Action, _observed: &Spec) -> Option<String> {
        None
    }
    /// Whether things of a kind can only be looked at with the secrets that they refer to, such as a token for a server.
    /// Hosts that have any are looked at a second time; what such a secret is for is never kept for the next boot.
    fn looks_with_secrets(&self, _kind: &str) -> bool {
        false
    }
    /// What the lab's services consist of, as far as this provider runs it. Pure.
    fn parts(&self, _parsed: &Parsed) -> Vec<Part> {
        Vec::new()
    }
    /// The way into what runs; called where it runs. `None`: this provider runs nothing.
    fn runtime(&self) -> Option<Box<dyn Runtime>> {
        None
    }
    /// The only door to the world. Called where the resources are: in the agent, for a host's.
    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError>;
}

/// An open way to one host's things of one provider. Used from several threads at once.
pub trait Session: Send + Sync {
    /// What is there now, for each id. Errors stand inside, so one unreadable thing hides no other.
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen>;
    /// Makes one step true. Idempotent: "already so" is success.
    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError>;
    /// Waits until what is taken as it is (`Action::Adopt`) is as it would be after it was made: a run that was cut off may have
    /// started it a moment ago, and what needs it must not go on before it is up. Changes nothing.
    fn settle(&self, _step: &Step, _progress: &dyn Progress) -> Result<(), ProviderError> {
        Ok(())
    }
    /// Steps of a kind that are made true together in one go, such as packages. `None`: one by one.
    fn batches(&self, _kind: &str) -> bool {
        false
    }
    /// As `apply`, for steps of a kind that batches: one answer for each step, in order.
    fn apply_batch(&self, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
        steps.iter().map(|step| self.apply(step, progress)).collect()
    }
    /// Whether steps of a kind mostly wait for something else, such as a container until it is healthy: many of them may be
    /// under way at once, and none of them keeps one that works from being begun.
    fn waits(&self, _kind: &str) -> bool {
        false
    }
    /// Whether a step that waits for `need` may be prepared before that has come about.
    fn prepares_before(&self, _step: &Step, _need: &ResourceId) -> bool {
        false
    }
    /// Does what can be done of a step before its turn without a change to what is there or runs: `observe` answers as before.
    /// It need not: whatever it leaves, after an error too, `apply` goes on with or `discard` takes away, and so does the next
    /// run where this one is cut off.
    fn prepare(&self, _step: &Step) -> Result<(), ProviderError> {
        Ok(())
    }
    /// Takes away what was prepared of a step that will not be made: by this run, or, of a thing that the lab lets go of, by
    /// one that was cut off.
    fn discard(&self, _step: &Step) -> Result<(), ProviderError> {
        Ok(())
    }
    /// What a step that may cut the way in would be undone with, gathered before anything is touched. `None`: it cuts nothing.
    /// With one, undoing is the engine's: a step that fails halfway is left as it is, and the way back is gone.
    fn way_back(&self, _step: &Step) -> Result<Option<WayBack>, ProviderError> {
        Ok(None)
    }
    /// Where the host takes connections now that a step with a way back is made. Asked before it is confirmed.
    fn doors(&self, _step: &Step) -> Result<Doors, ProviderError> {
        Ok(Doors::default())
    }
    /// As `doors`, for a step that takes the run's own connection with it: nothing can be told over it afterwards, so it is
    /// told before anything is touched. `None`: the connection stays.
    fn doors_ahead(&self, _step: &Step) -> Result<Option<Doors>, ProviderError> {
        Ok(None)
    }
    /// Puts back what a reboot took from what was applied, such as files kept in memory. Returns how many things.
    fn restore(&self) -> Result<usize, ProviderError> {
        Ok(0)
    }
    /// Makes everything applied so far survive a power cut. Called before a run is reported as done.
    fn persist(&self) -> Result<(), ProviderError>;
}

/// A resource to look at: a declared one with its fields, or one that is only marked, with what was applied.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub id: &'a ResourceId,
    pub spec: &'a Spec,
}

/// Says what is going on during a long step.
pub trait Progress: Sync {
    fn say(&self, id: &ResourceId, what: &str);
}

/// What the engine tells a session about where it is.
#[derive(Clone, Debug)]
pub struct Context {
    pub facts: Facts,
    /// Where Labwright keeps its own things on this host; exists.
    pub state_dir: std::path::PathBuf,
    /// What each marked resource was last made to be; one for all sessions.
    pub applied: Arc<BTreeMap<ResourceId, Spec>>,
    /// Where secrets are written: in memory, and this lab's alone.
    pub secrets_dir: std::path::PathBuf,
    /// What recognises secret content again.
    pub change_key: Hidden,
    /// The secrets that this run brought along.
    pub secrets: Secrets,
    /// The connection that the run came by.
    pub via: Via,
}

/// A connection as SSH tells it: from where, and to which of the host's own addresses and ports. All `None` where nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Via {
    pub client: Option<IpAddr>,
    pub server: Option<IpAddr>,
    pub port: Option<u16>,
}

impl Via {
    /// From `CLIENT PORT SERVER PORT`, the form of `SSH_CONNECTION`; sshd(8).
    pub fn parse(text: &str) -> Via {
        let words: Vec<&str> = text.split_whitespace().collect();
        // An address of one link alone has the link's name behind it.
        let address = |n: usize| words.get(n)?.split('%').next()?.parse().ok();
        Via { client: address(0), server: address(2), port: words.get(3).and_then(|port| port.parse().ok()) }
    }
}

/// A key that is not shown.
#[derive(Clone, Copy)]
pub struct Hidden(pub ChangeKey);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// What lowering reads.
pub struct Input<'a> {
    pub parsed: &'a Parsed,
    /// The lab with what several providers and rules ask of it, the network's matrix among them.
    pub case: Case<'a>,
    /// Files beside the lab file that it refers to, by their path as `Parsed` names them.
    pub assets: &'a Assets,
}

/// Files beside the lab file: their content, or why it could not be read.
pub type Assets = BTreeMap<String, Result<Vec<u8>, String>>;

impl<'a> Input<'a> {
    pub fn of(parsed: &'a Parsed, assets: &'a Assets) -> Input<'a> {
        Input::going_on(Case::of(parsed), assets)
    }

    /// With what the rules made of the lab already.
    pub fn going_on(case: Case<'a>, assets: &'a Assets) -> Input<'a> {
        Input { parsed: case.parsed, case, assets }
    }
}

/// What lowering makes.
#[derive(Default)]
pub struct Lowered {
    pub resources: Vec<Resource>,
    pub findings: Findings,
}

/// What was seen of a resource. Unknown is not absent: nothing is created, deleted or replaced from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    Present(Observed),
    Absent,
    Unknown(ProviderError),
}

/// As a look at one thing answers: nothing there, or that nobody can say.
impl From<Result<Option<Observed>, ProviderError>> for Seen {
    fn from(look: Result<Option<Observed>, ProviderError>) -> Seen {
        match look {
            Ok(Some(observed)) => Seen::Present(observed),
            Ok(None) => Seen::Absent,
            Err(error) => Seen::Unknown(error),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The fields as they are, spelled as `Resource::spec` spells them.
    pub spec: Spec,
    /// What would be lost with it, in words: "12 entries". `None`: nothing that is not declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// What a host is, as far as planning asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os: String,
    /// `ID` of `/etc/os-release`.
    pub os_id: String,
    pub kernel: String,
    /// Whether systemd runs as the init.
    pub systemd: bool,
    /// Whether packages come from apt.
    pub apt: bool,
    /// Whether the agent runs as root.
    pub root: bool,
    /// The user that the agent runs as.
    pub user: String,
    /// Changes with each boot.
    pub boot_id: String,
    /// The host's clock, in seconds since 1970.
    pub clock: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: String,
    pub help: String,
}

/// A kind of resource, described for planner, documentation and display.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub doc: &'static str,
    pub fields: &'static [Field],
    /// Whether it is a thing that somebody else may have made. A setting (a sysctl, the host name) always exists.
    pub ownership: Ownership,
    /// What making it, and removing it, costs.
    pub create: Consequence,
    pub delete: Consequence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Found there unmarked and different: a conflict, taken over only by word.
    Thing,
    /// Always there: changing it is enough to own it.
    Setting,
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub doc: &'static str,
    pub on_change: OnChange,
    pub consequence: Consequence,
    /// Content that may be large: travels as a digest where nothing changed, and is shown as a diff.
    pub content: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    Update,
    Replace,
    /// Used when it is made, never compared.
    Ignore,
    /// As `Ignore`, and another one is no reason to touch even the mark: what only helps to choose.
    Hint,
}

impl OnChange {
    /// Whether what is there is held against it.
    pub fn is_compared(self) -> bool {
        matches!(self, OnChange::Update | OnChange::Replace)
    }
}

impl Kind {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// The digests of a resource's content fields: what a host is told so that it need not send equal content back.
pub fn hints(kind: &Kind, spec: &Spec) -> BTreeMap<String, Digest> {
    let content = kind.fields.iter().filter(|field| field.content);
    content.filter_map(|field| Some((field.name.to_string(), spec.get(field.name)?.digest()?))).collect()
}

/// Whether a resource can only be looked at with the secrets that it refers to.
pub fn looks_with_secrets(providers: &[&'static dyn Provider], id: &ResourceId) -> bool {
    let provider = providers.iter().find(|provider| provider.name() == id.provider());
    provider.is_some_and(|provider| provider.looks_with_secrets(id.kind()))
}

/// The kind of an id, if one of the providers has it.
pub fn kind_of(providers: &[&'static dyn Provider], id: &ResourceId) -> Option<&'static Kind> {
    let provider = providers.iter().find(|provider| provider.name() == id.provider())?;
    provider.kinds().iter().find(|kind| kind.name == id.kind())
}
