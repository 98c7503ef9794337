//! What a failure takes with it: what goes dark, what has no spare any more, what is no longer copied, and what can wait.
//!
//! Judged from the lab file alone. Fast burn is what people notice at once; slow burn is what the next change, or the
//! next failure, will. It asks no host, and whether a fallback really takes over is not known here.

mod effects;
mod outside;
mod points;
mod spread;
mod target;
mod words;
mod world;

use labwright_model::Parsed;
use serde::{Serialize, Serializer};

pub(crate) use outside::is_application;
pub use points::{Point, single_points};
pub use target::{NoTarget, target, things};
pub(crate) use words::listed;
pub use world::World;

/// How soon it is felt; the order is the order in which to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Does not work, or cannot be reached. Fast burn.
    Dark,
    /// Works with less: its spare is gone. Fast burn.
    Degraded,
    /// Its copies are gone, or out of reach. Slow burn, until something else fails.
    Unprotected,
    /// Runs on, and cannot be deployed, changed or watched. Slow burn.
    Held,
}

impl Urgency {
    pub const ALL: [Urgency; 4] = [Urgency::Dark, Urgency::Degraded, Urgency::Unprotected, Urgency::Held];

    pub fn word(self) -> &'static str {
        match self {
            Urgency::Dark => "dark",
            Urgency::Degraded => "degraded",
            Urgency::Unprotected => "unprotected",
            Urgency::Held => "held",
        }
    }

    /// Whether people notice at once.
    pub fn is_fast(self) -> bool {
        self <= Urgency::Degraded
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Host,
    Service,
    Zone,
    Site,
    /// A failure domain that the file names.
    Domain,
    Role,
    /// The uplink to the internet.
    Internet,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::Service => "service",
            Kind::Zone => "zone",
            Kind::Site => "site",
            Kind::Domain => "domain",
            Kind::Role => "role",
            Kind::Internet => "internet",
        }
    }
}

/// Something of the lab that can fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Thing {
    pub kind: Kind,
    /// As the file has it; a service of one environment as `wiki (dev)`, a role in words.
    pub name: String,
}

/// One link of a chain of reasons: "runs on `docker-01`".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub one: String,
    /// The same said of several: "run on `docker-01`".
    pub many: String,
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.one)
    }
}

/// Something that a failure reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affected {
    pub urgency: Urgency,
    #[serde(flatten)]
    pub thing: Thing,
    /// Whether people rely on it.
    pub production: bool,
    /// What that means, where it is more than being gone; else empty.
    pub what: String,
    /// Why, link by link, from the thing to what fails.
    pub because: Vec<Link>,
    /// What to do, where the file says what is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blast {
    /// What fails.
    pub fails: Thing,
    /// What it is for: "guest of `pve-01`, DNS, runs 2 services".
    pub about: String,
    /// How to bring it back, where the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Everything else, the most urgent first.
    pub affected: Vec<Affected>,
    /// What fails and what goes down with it (what is only cut off aside), in the order in which the lab file brings things back
    /// (`protection.recovery`). Empty where the file gives no order, or it orders fewer than two of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<Thing>,
}

impl Blast {
    pub fn of(&self, urgency: Urgency) -> impl Iterator<Item = &Affected> {
        self.affected.iter().filter(move |affected| affected.urgency == urgency)
    }
}

/// What a failure takes with it.
pub fn blast(parsed: &Parsed, fails: &Thing) -> Blast {
    blast_in(&World::of(parsed), fails)
}

/// The same, for many failures of one lab.
pub fn blast_in(world: &World, fails: &Thing) -> Blast {
    let down = spread::spread(world, fails);
    let hits = effects::effects(world, &down);
    words::told(world, &down, hits, fails)
}

#[cfg(test)]
mod tests;
