//! What a lab is judged and lowered by: itself, and what follows from it, each made once, when it is first asked for.
//! Judges nothing. Two rules that ask for the same thing see the same one.

use std::sync::{Arc, OnceLock};

use labwright_model::Parsed;

use super::compute::carried::Carried;
use super::network::reach::{Placed, Reach};
use super::network::zone_kind::Kinds;
use super::protection::places::Places;
use super::references::{Reference, references};
use crate::network::Matrix;
use crate::topology::Topology;

/// A lab with what several rules ask of it.
pub struct Case<'a> {
    pub parsed: &'a Parsed,
    topology: OnceLock<Arc<Topology<'a>>>,
    carried: OnceLock<Carried<'a>>,
    places: OnceLock<Places<'a>>,
    reach: OnceLock<Reach<'a>>,
    kinds: OnceLock<Kinds<'a>>,
    placed: OnceLock<Placed<'a>>,
    references: OnceLock<Vec<Reference<'a>>>,
    matrix: OnceLock<Matrix<'a>>,
}

impl<'a> Case<'a> {
    /// Costs nothing: what follows from the lab is made when it is asked for.
    pub fn of(parsed: &'a Parsed) -> Case<'a> {
        Case {
            parsed,
            topology: OnceLock::new(),
            carried: OnceLock::new(),
            places: OnceLock::new(),
            reach: OnceLock::new(),
            kinds: OnceLock::new(),
            placed: OnceLock::new(),
            references: OnceLock::new(),
            matrix: OnceLock::new(),
        }
    }

    /// Who stands on what.
    pub fn topology(&self) -> &Topology<'a> {
        self.shared_topology()
    }

    fn shared_topology(&self) -> &Arc<Topology<'a>> {
        self.topology.get_or_init(|| Arc::new(Topology::of(self.parsed)))
    }

    /// Who may open which connection to whom.
    pub fn matrix(&self) -> &Matrix<'a> {
        self.matrix.get_or_init(|| Matrix::with(self.parsed, self.reach(), self.kinds()))
    }

    /// What stands on each machine, and how much people rely on it.
    pub(super) fn carried(&self) -> &Carried<'a> {
        self.carried.get_or_init(|| Carried::of(self.parsed, self.shared_topology().clone()))
    }

    /// On which machine a path, an address or a repository is.
    pub(super) fn places(&self) -> &Places<'a> {
        self.places.get_or_init(|| Places::of(self.parsed, self.shared_topology().clone()))
    }

    /// Which flow lets what through.
    pub(crate) fn reach(&self) -> &Reach<'a> {
        self.reach.get_or_init(|| Reach::of(&self.parsed.lab))
    }

    /// What each zone is for.
    pub(crate) fn kinds(&self) -> &Kinds<'a> {
        self.kinds.get_or_init(|| Kinds::of(self.parsed, self.reach()))
    }

    /// Services as others see them.
    pub(super) fn placed(&self) -> &Placed<'a> {
        self.placed.get_or_init(|| Placed::of(&self.parsed.placements))
    }

    /// Every reference that must lead somewhere, roles aside.
    pub(super) fn references(&self) -> &[Reference<'a>] {
        self.references.get_or_init(|| references(self.parsed))
    }
}
