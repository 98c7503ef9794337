//! What somebody stops and starts by hand while the rest of the lab runs: in which order, with whom, and who is told.

use std::collections::BTreeSet;

use labwright_model::snapshot::up::What;
use labwright_model::snapshot::up::control::Phase;

use super::supervisor::Supervisor;

impl Supervisor {
    /// All that needs a unit, whether itself or over others.
    pub fn standing_on(&self, unit: usize) -> BTreeSet<usize> {
        self.closure(unit, |unit| &self.units[unit].dependents)
    }

    fn closure<'a>(&'a self, unit: usize, next: impl Fn(usize) -> &'a [usize]) -> BTreeSet<usize> {
        let (mut all, mut open) = (BTreeSet::new(), vec![unit]);
        while let Some(unit) = open.pop() {
            open.extend(next(unit).iter().copied().filter(|one| all.insert(*one)));
        }
        all
    }

    /// Stops units until somebody starts them, those first that stand on others. Returns their names, and in words who
    /// needs one of them and goes on.
    pub fn rest(&mut self, chosen: Vec<usize>, dependents: bool) -> (Vec<String>, Vec<String>) {
        let mut all: BTreeSet<usize> = chosen.into_iter().collect();
        if dependents {
            all.extend(all.clone().into_iter().flat_map(|unit| self.standing_on(unit)));
        }
        for unit in &all {
            self.units[*unit].again = false;
            if !matches!(self.units[*unit].phase, Phase::Stopping | Phase::Stopped) {
                self.note(*unit, "it is stopped by hand");
                self.units[*unit].rests = true;
            }
        }
        let runs = |unit: &usize| {
            let unit = &self.units[*unit];
            matches!(unit.phase, Phase::Starting | Phase::Ready | Phase::Unwell | Phase::Pausing)
        };
        // Seeds have done what they need it for.
        let told =
            |unit: &usize| runs(unit) && !all.contains(unit) && !matches!(self.units[*unit].spec.what, What::Seeds(_));
        let told: Vec<(usize, String)> = (0..self.units.len())
            .filter(told)
            .filter_map(|unit| {
                let needs = self.units[unit].needs.iter().filter(|need| all.contains(need));
                let names: Vec<&str> = needs.map(|need| self.units[*need].spec.name.as_str()).collect();
                (!names.is_empty()).then(|| (unit, format!("`{}`", names.join("`, `"))))
            })
            .collect();
        for (unit, names) in &told {
            self.note(*unit, &format!("{names}, which it needs, is stopped by hand; it goes on without"));
        }
        let said = |(unit, names): (usize, String)| {
            format!("`{}` needs {names}, and goes on without", self.units[unit].spec.name)
        };
        (self.names(&all), told.into_iter().map(said).collect())
    }

    fn names<'a>(&self, units: impl IntoIterator<Item = &'a usize>) -> Vec<String> {
        units.into_iter().map(|unit| self.units[*unit].spec.name.clone()).collect()
    }

    /// Starts units that do not run, and what they need of what does not. Returns the names of all of them, and in words what is
    /// started beside those that were asked for.
    pub fn rouse(&mut self, chosen: Vec<usize>) -> (Vec<String>, Vec<String>) {
        let mut needed: BTreeSet<usize> = BTreeSet::new();
        for unit in &chosen {
            needed.extend(self.closure(*unit, |unit| &self.units[unit].needs));
        }
        let asleep = |unit: &usize| {
            let unit = &self.units[*unit];
            unit.rests || matches!(unit.phase, Phase::Stopped | Phase::Stopping | Phase::Failed)
        };
        let beside: Vec<usize> = needed.into_iter().filter(|unit| asleep(unit) && !chosen.contains(unit)).collect();
        for unit in beside.iter().chain(&chosen) {
            self.wake(*unit);
        }
        let said = |unit: usize| format!("`{}` is started as well: it is needed", self.units[unit].spec.name);
        (self.names(beside.iter().chain(&chosen)), beside.into_iter().map(said).collect())
    }

    /// Starts it, unless it runs or is about to.
    fn wake(&mut self, unit: usize) {
        self.units[unit].rests = false;
        if matches!(
            self.units[unit].phase,
            Phase::Stopped | Phase::Stopping | Phase::Failed | Phase::Done | Phase::Pausing
        ) {
            self.restart(unit);
        }
    }
}
