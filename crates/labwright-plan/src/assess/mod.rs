//! Who answers for what, and the four questions of the smell test, for every service.
//!
//! The questions: could I restore it, would I detect a compromise, do I understand its security model, can I rebuild it
//! from documentation. An answer is made of points, each with what the file gives for it or what would make it hold.
//! What the file declares is a promise; what was tried is a `Proof`, and counts for more. Nothing is tried here.

mod evidence;
mod questions;

use labwright_model::lab::Tier;
use labwright_model::{Parsed, Placement};
use serde::Serialize;

use crate::topology::Topology;
pub use evidence::{Evidence, Outcome, Proof, Proven};
use questions::Asked;

/// How much of the stack is one's own, from 0 (someone else's service) to 3b (one's own, and relied on).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Level {
    /// Software as a service: settings are yours.
    #[serde(rename = "0")]
    Saas,
    /// A hosted platform: applications are yours.
    #[serde(rename = "1")]
    Platform,
    /// A rented machine: everything above the hardware is yours.
    #[serde(rename = "2")]
    Rented,
    /// Your own, to learn on.
    #[serde(rename = "3a")]
    Lab,
    /// Your own, and people rely on it.
    #[serde(rename = "3b")]
    Production,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Level::Saas => "0",
            Level::Platform => "1",
            Level::Rented => "2",
            Level::Lab => "3a",
            Level::Production => "3b",
        }
    }

    pub fn environment(self) -> &'static str {
        match self {
            Level::Saas => "SaaS",
            Level::Platform => "hosted platform",
            Level::Rented => "rented machine",
            Level::Lab => "full stack, lab",
            Level::Production => "full stack, production",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    No,
    Partly,
    Yes,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::No => "no",
            Verdict::Partly => "partly",
            Verdict::Yes => "yes",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    Restore,
    Detect,
    Security,
    Rebuild,
}

impl Question {
    pub const ALL: [Question; 4] = [Question::Restore, Question::Detect, Question::Security, Question::Rebuild];

    pub fn word(self) -> &'static str {
        match self {
            Question::Restore => "restore",
            Question::Detect => "detect",
            Question::Security => "security",
            Question::Rebuild => "rebuild",
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Question::Restore => "if it failed tomorrow, could I restore it?",
            Question::Detect => "if it were compromised, would I detect it?",
            Question::Security => "do I understand its security model?",
            Question::Rebuild => "can I rebuild it from documentation?",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub question: Question,
    pub verdict: Verdict,
    /// Whether it was tried, and not only declared.
    pub proven: bool,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// What would make it a yes; empty for a yes.
    pub wanting: Vec<String>,
}

/// One row of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessed {
    /// The service; in an environment as `wiki (dev)`.
    pub service: String,
    pub level: Level,
    pub tier: &'static str,
    /// Who answers for the hardware, for system and software, and for backups and recovery.
    pub hardware: String,
    pub os: String,
    pub backups: String,
    pub answers: Vec<Answer>,
}

impl Assessed {
    pub fn answer(&self, question: Question) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.question == question)
    }

    /// Whether people rely on it and a question is answered with no.
    pub fn is_denied(&self) -> bool {
        self.tier == Tier::Production.word() && self.answers.iter().any(|answer| answer.verdict == Verdict::No)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessment {
    pub services: Vec<Assessed>,
}

/// Every service, in the order of the file.
pub fn assess(parsed: &Parsed, evidence: &Evidence) -> Assessment {
    let topology = Topology::of(parsed);
    let flows = questions::Flows::of(parsed);
    let row = |placement| {
        let asked = Asked { topology: &topology, flows: &flows, placement, proofs: evidence.of(placement) };
        let (level, [hardware, os, backups]) = responsibility(parsed, placement);
        Assessed {
            service: evidence::name(placement),
            level,
            tier: placement.entry.tier.word(),
            hardware,
            os,
            backups,
            answers: questions::answers(&asked),
        }
    };
    Assessment { services: parsed.placements.iter().map(row).collect() }
}

/// The level, and who owns hardware, system, and backups.
fn responsibility(parsed: &Parsed, placement: &Placement) -> (Level, [String; 3]) {
    let entry = &placement.entry;
    let owner = entry.owner.as_ref().or(parsed.lab.owner.as_ref());
    let you = owner.map_or("nobody".to_string(), |owner| owner.value.clone());
    let Some(external) = &entry.external else {
        if let Some(provider) = rented_from(parsed, placement) {
            return (Level::Rented, [provider, you.clone(), you]);
        }
        let level = if entry.tier == Tier::Production { Level::Production } else { Level::Lab };
        return (level, [you.clone(), you.clone(), you]);
    };
    let vendor = external.provider.as_ref().map_or("vendor".to_string(), |provider| provider.value.clone());
    match external.level {
        0 => (Level::Saas, [vendor.clone(), format!("{you} (settings)"), vendor]),
        1 => (Level::Platform, [vendor.clone(), format!("{you} (apps)"), vendor]),
        _ => (Level::Rented, [vendor, you.clone(), you]),
    }
}

/// The provider of the machines, where all that it runs on are rented: the hardware under a guest is its hypervisor's.
fn rented_from(parsed: &Parsed, placement: &Placement) -> Option<String> {
    let mut providers: Vec<&str> = Vec::new();
    for on in placement.entry.on.iter() {
        let mut machine = parsed.lab.host(on)?;
        // A guest of a guest is deep enough; more is a circle.
        for _ in 0..4 {
            let Some(under) = labwright_model::carrier(machine).filter(|_| machine.provider.is_none()) else { break };
            machine = parsed.lab.host(under)?;
        }
        let provider = machine.provider.as_ref()?.value.as_str();
        if !providers.contains(&provider) {
            providers.push(provider);
        }
    }
    (!providers.is_empty()).then(|| providers.join(", "))
}

#[cfg(test)]
mod tests;
