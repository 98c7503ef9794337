//! What answers rest on: the file, and, once something was tried, what came of it.

use std::time::Duration;

use labwright_model::Placement;

/// What is known beside the lab file. A new kind of proof is a word in `Proven`, and the question that it counts for.
#[derive(Clone, Debug, Default)]
pub enum Evidence {
    /// Nothing was tried, or nobody looked: what the file declares is all there is, and no answer is proven.
    #[default]
    File,
    /// Somebody looked at what was tried. A service without a proof was then not tried.
    Tried(Vec<Proof>),
}

/// Something that was tried with one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub service: String,
    pub environment: Option<String>,
    pub what: Proven,
    pub outcome: Outcome,
    /// When, as it is shown to people.
    pub at: String,
    /// How long ago that is: clocks are read elsewhere.
    pub age: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proven {
    /// A backup was restored and its service asked: counts for `restore`.
    Drill,
    /// The service was asked whether it works: counts for `detect`.
    Probe,
    /// The service was made anew from the file: counts for `rebuild`.
    Rebuild,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// What went wrong.
    Failed(String),
}

impl Evidence {
    /// What was tried with one placement; `None` when nobody looked.
    pub(super) fn of(&self, placement: &Placement) -> Option<Vec<&Proof>> {
        let Evidence::Tried(proofs) = self else { return None };
        let of = |proof: &&Proof| proof.service == placement.service && proof.environment == placement.environment;
        Some(proofs.iter().filter(of).collect())
    }
}

/// A service as it is placed: `wiki`, `wiki (dev)`.
pub(crate) fn name(placement: &Placement) -> String {
    match &placement.environment {
        Some(environment) => format!("{} ({environment})", placement.service),
        None => placement.service.clone(),
    }
}
