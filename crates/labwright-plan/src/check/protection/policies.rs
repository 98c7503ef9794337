//! Policies as they are used: which services are copied by each, and to where.

use std::collections::HashMap;

use labwright_model::lab::{Policy, Repository};
use labwright_model::{Parsed, Placement, Span, Spanned};

use crate::check::services::told::{distinct, is_production};

pub struct Used<'a> {
    pub name: &'a str,
    pub span: Span,
    pub policy: &'a Policy,
    /// The placed services that name it, in the order of the file.
    pub placements: Vec<&'a Placement>,
    /// The repositories that it writes to, each once.
    pub to: Vec<(&'a Spanned<String>, &'a Repository)>,
}

impl<'a> Used<'a> {
    /// Whether anything in production relies on it.
    pub fn is_production(&self) -> bool {
        self.placements.iter().any(|placement| is_production(placement))
    }

    pub fn services(&self) -> Vec<&'a str> {
        distinct(self.placements.iter().copied())
    }
}

/// Every policy that a service names and whose repositories are all known: another fault was told of the others.
pub fn used(parsed: &Parsed) -> Vec<Used<'_>> {
    let protection = &parsed.lab.protection;
    let mut placements: HashMap<&str, Vec<&Placement>> = HashMap::new();
    for placement in &parsed.placements {
        if let Some(policy) = placement.entry.backup.as_ref().and_then(|backup| backup.policy.as_ref()) {
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
