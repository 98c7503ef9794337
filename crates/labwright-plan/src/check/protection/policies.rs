//! Policies as they are used: which services are copied by each, and to where.

use std::collections::HashMap;

use labwright_model::lab::{Policy, Repository};
use labwright_model::{Parsed, Placement, Span, Spanned};

use super::into_itself::own;
use super::snapshot_as_backup::is_snapshot;
use crate::check::keeps_nothing;
use crate::check::services::told::{distinct, is_production};

pub struct Used<'a> {
    pub name: &'a str,
    pub span: Span,
    pub policy: &'a Policy,
    /// The placed services that it copies, in the order of the file.
    pub placements: Vec<&'a Placement>,
    /// The repositories that it writes to, each once.
    pub to: Vec<(&'a Spanned<String>, &'a Repository)>,
}

impl<'a> Used<'a> {
    /// Whether anything in production relies on it.
    pub fn is_production(&self) -> bool {
        self.placements.iter().any(|placement| is_production(placement))
    }

    /// Whether all that it writes to is snapshots.
    pub fn is_snapshots(&self) -> bool {
        self.to.iter().all(|(_, repository)| is_snapshot(repository))
    }

    pub fn services(&self) -> Vec<&'a str> {
        distinct(self.placements.iter().copied())
    }
}

/// The policy that copies a placed service: its own, or that by which every machine that it runs on is copied whole.
pub fn of<'a>(parsed: &'a Parsed, placement: &'a Placement) -> Option<&'a Spanned<String>> {
    let entry = &placement.entry;
    if let Some(backup) = &entry.backup {
        return backup.policy.as_ref();
    }
    let whole = |host: &str| parsed.lab.host(host)?.backup.as_ref();
    let policy = whole(entry.on.first()?)?;
    // What keeps nothing loses nothing with its machine.
    (entry.on.iter().all(|on| whole(on).is_some()) && !keeps_nothing(parsed, placement)).then_some(policy)
}

/// Whether anything copies a placed service.
pub fn is_copied(parsed: &Parsed, placement: &Placement) -> bool {
    placement.entry.backup.is_some() || of(parsed, placement).is_some()
}

/// Every policy that copies a service and whose repositories are all known: another fault was told of the others.
pub fn used(parsed: &Parsed) -> Vec<Used<'_>> {
    let protection = &parsed.lab.protection;
    let mut placements: HashMap<&str, Vec<&Placement>> = HashMap::new();
    for placement in &parsed.placements {
        // What is copied into itself is told as that alone.
        if let Some(policy) = of(parsed, placement).filter(|policy| own(parsed, placement, policy).is_none()) {
            placements.entry(&policy.value).or_default().push(placement);
        }
    }
    let policies = protection.policies.iter().filter_map(|(name, policy)| {
        let placements = placements.remove(name.as_str())?;
        let mut to: Vec<(&Spanned<String>, &Repository)> = Vec::new();
        for repository in policy.to.iter() {
            let known = protection.repositories.get(&repository.value)?;
            if !to.iter().any(|(other, _)| other.value == repository.value) {
                to.push((repository, &known.value));
            }
        }
        let (span, policy) = (policy.span, &policy.value);
        (!to.is_empty()).then_some(Used { name, span, policy, placements, to })
    });
    policies.collect()
}
