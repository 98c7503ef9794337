//! What should change, and why: checks, lowering, diff, plan.
//!
//! Pure: nothing here reads a file, a clock, the environment or the network, and the same input gives the same output
//! whatever its order.

mod application;
pub mod assess;
pub mod blast;
pub mod check;
pub mod docs;
mod drift;
mod error;
pub mod export;
pub mod graph;
mod mounted;
pub mod network;
mod observation;
mod order;
mod plan;
mod planner;
mod provider;
mod resource;
mod runtime;
pub mod sealed;
mod select;
pub mod topology;
mod value;
mod way_back;

pub use drift::{Drift, Drifted, What, drift};
pub use error::{ErrorKind, ProviderError};
pub use observation::{HostSeen, Interrupted, Mark, Observation, Origin, Pending, Sight};
pub use order::topological;
pub use plan::{
    Action, Away, Blocked, Change, Consequence, Expect, Kept, PLAN_VERSION, Plan, Report, Step, Why, hide_private,
};
pub use planner::{Adopt, Options, PlanInput, differences, plan};
pub use provider::{
    Assets, Context, Facts, Field, Hidden, Input, Kind, Lowered, Observed, OnChange, Ownership, Progress, Provider,
    Refusal, Seen, Session, Via, Wanted, hints, kind_of, looks_with_secrets,
};
pub use resource::{Fingerprint, Resource, ResourceId};
pub use runtime::{
    ExecAsk, Found, FoundAsk, FoundFile, Health, ImageSeen, Line, LineSource, LogsAsk, Part, Running, Runtime, Size,
    State, Told, Typed, called,
};
pub use sealed::{ChangeKey, Sealed, Secrets};
pub use select::Selection;
pub use value::{Digest, Spec, Value};
pub use way_back::{Before, Call, Doors, Was, WayBack};
