//! If it failed tomorrow, could I restore it?

use labwright_model::lab::{Policy, Repository};
use labwright_model::units::Period;

use super::{Asked, Points, either};
use crate::check;

pub fn points(asked: &Asked) -> Points {
    let mut points = Points::default();
    let entry = asked.entry();
    let policy = policy(asked);
    let vendor = asked.vendor();
    let copies: Vec<(&str, Option<&Repository>)> =
        policy.iter().flat_map(|(_, policy)| repositories(asked, policy)).collect();
    let named = |names: &[(&str, Option<&Repository>)]| {
        names.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match (&policy, &vendor) {
        (Some((name, policy)), _) => points.must(either(
            !copies.is_empty(),
            format!("`{name}` copies it at {} to {}", policy.schedule.value, named(&copies)),
            format!("let policy `{name}` write to a repository: `to: REPOSITORY`"),
        )),
        (None, Some(vendor)) => {
            points.must(Ok(format!("{vendor} keeps copies")));
            points.should(Err(
                "take an export of your own now and then, and name the policy that keeps it: `backup: POLICY`"
                    .to_string(),
            ));
        }
        (None, None) if entry.backup.is_none() && check::keeps_nothing(asked.topology.parsed, asked.placement) => {
            points.must(Ok("it keeps no data: starting it anew is all".to_string()));
        }
        (None, None) => {
            let what = match entry.backup {
                Some(_) => "name a policy of `protection.policies` in its `backup`",
                None if entry.data.is_empty() => {
                    "say where its data is (`data:`) and how it is copied: `backup: POLICY`"
                }
                None => "copy its data: `backup: POLICY`",
            };
            points.must(Err(what.to_string()));
        }
    }
    if let Some((name, policy)) = &policy {
        if vendor.is_none() && !copies.is_empty() {
            let away =
                copies.iter().find(|(_, repository)| repository.is_some_and(|repository| is_away(asked, repository)));
            points.should(either(
                away.is_some(),
                away.map(|(name, _)| format!("`{name}` fails with none of its machines")).unwrap_or_default(),
                "keep one copy where another machine, hypervisor and site would have to fail: a repository elsewhere",
            ));
        }
        points.should(either(
            policy.drill.is_some(),
            policy.drill.as_ref().map(|drill| format!("a restore is rehearsed: {}", drill.value)).unwrap_or_default(),
            format!("rehearse restores: `drill: weekly` in policy `{name}`"),
        ));
    }
    points.should(match (&entry.restore_notes, &entry.catalogue, &vendor) {
        (Some(notes), ..) => Ok(format!("the way back is written down: {}", notes.trim())),
        (None, Some(catalogue), _) => Ok(format!("the catalogue entry `{}` knows the way back", catalogue.value)),
        (None, None, Some(_)) => Err("write down how to come back from an export: `restore_notes:`".to_string()),
        (None, None, None) => Err("write down the way back: `restore_notes:`".to_string()),
    });
    points
}

/// How old a proven restore may be.
pub fn proof_within(asked: &Asked) -> Option<Period> {
    policy(asked).and_then(|(_, policy)| policy.proof_within.as_ref().map(|within| within.value))
}

fn policy<'a>(asked: &Asked<'a>) -> Option<(&'a str, &'a Policy)> {
    let name = check::policy_of(asked.topology.parsed, asked.placement)?;
    let policy = asked.topology.parsed.lab.protection.policies.get(name.value.as_str())?;
    Some((name, &policy.value))
}

fn repositories<'a>(asked: &Asked<'a>, policy: &'a Policy) -> Vec<(&'a str, Option<&'a Repository>)> {
    let all = &asked.topology.parsed.lab.protection.repositories;
    policy.to.iter().map(|to| (to.value.as_str(), all.get(to.value.as_str()).map(|found| &found.value))).collect()
}

/// Whether a repository fails with none of the machines that a service stands on.
fn is_away(asked: &Asked, repository: &Repository) -> bool {
    match &repository.on {
        Some(on) => asked.topology.stands_apart(on, asked.hosts()),
        None => repository.url.is_some(),
    }
}
