//! What there is: hosts with their place and roles, services, repositories and policies.

use labwright_model::Spanned;

use super::text::{code, escaped, listed, service, table};
use crate::check::policy_of;
use crate::topology::Topology;

pub fn inventory(topology: &Topology, files: &[(&str, String)]) -> String {
    let lab = &topology.parsed.lab;
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| escaped(value)).unwrap_or_default();
    let names = |names: &[Spanned<String>]| names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(", ");
    let mut hosts: Vec<Vec<String>> = Vec::new();
    for (name, host) in lab.compute.hosts.iter() {
        let roles: Vec<String> = topology
            .roles_of(name)
            .map(|role| escaped(&role.rsplit('.').next().unwrap_or(role).replace('_', " ")))
            .collect();
        let described = !topology.parsed.implied.contains(name);
        hosts.push(vec![
            escaped(name),
            text(&host.zone),
            host.address.iter().map(|address| address.value.to_string()).collect::<Vec<_>>().join(", "),
            if described { host.os.word().to_string() } else { String::new() },
            topology.under(name).first().map(|on| escaped(on)).unwrap_or_default(),
            topology.site(name).map(escaped).unwrap_or_default(),
            names(&host.failure_domain),
            text(&host.owner),
            roles.join(", "),
        ]);
    }
    hosts.sort();
    let mut services: Vec<Vec<String>> = Vec::new();
    for (name, _) in files {
        let Some(entry) = topology.service(name) else { continue };
        let on = match &entry.external {
            Some(external) => {
                format!("at {}", external.provider.as_ref().map_or("others".to_string(), |who| escaped(who)))
            }
            None => listed(&topology.hosts_of(name).into_iter().map(escaped).collect::<Vec<_>>()),
        };
        let placed = topology.placements(name).first();
        let backup = placed.and_then(|placed| policy_of(topology.parsed, placed));
        services.push(vec![
            service(name, files, "services/"),
            on,
            entry.tier.word().to_string(),
            entry.expose.word().to_string(),
            text(&entry.owner),
            backup.map(|policy| escaped(policy)).unwrap_or_default(),
        ]);
    }
    let mut out = format!(
        "## Hosts\n\n{}",
        table(&["host", "zone", "address", "system", "on", "site", "fails with", "owner", "roles"], &hosts)
    );
    if !services.is_empty() {
        out += &format!(
            "\n## Services\n\n{}",
            table(&["service", "on", "tier", "reached from", "owner", "backup"], &services)
        );
    }
    let mut repositories: Vec<Vec<String>> = Vec::new();
    for (name, repository) in lab.protection.repositories.iter() {
        let place = match (&repository.on, &repository.path, &repository.url) {
            (Some(on), Some(path), _) => format!("{}, {}", escaped(on), code(path)),
            (Some(on), None, _) => escaped(on),
            (None, _, Some(url)) => code(url),
            (None, ..) => String::new(),
        };
        repositories.push(vec![escaped(name), place, repository.engine.word().to_string()]);
    }
    repositories.sort();
    if !repositories.is_empty() {
        out += &format!("\n## Where backups are kept\n\n{}", table(&["repository", "place", "engine"], &repositories));
    }
    let mut policies: Vec<Vec<String>> = Vec::new();
    for (name, policy) in lab.protection.policies.iter() {
        policies.push(vec![
            escaped(name),
            escaped(&policy.schedule.value.to_string()),
            names(&policy.to),
            kept(&policy.keep),
            policy.drill.as_ref().map(|drill| escaped(&drill.value.to_string())).unwrap_or_default(),
        ]);
    }
    policies.sort();
    if !policies.is_empty() {
        out += &format!(
            "\n## Backup policies\n\n{}",
            table(&["policy", "when", "to", "keeps", "restore rehearsed"], &policies)
        );
    }
    let mut offline: Vec<Vec<String>> = Vec::new();
    for (name, copy) in lab.protection.offline.iter() {
        let every = copy.every.as_ref().map(|every| every.value.to_string()).unwrap_or_default();
        offline.push(vec![escaped(name), text(&copy.label), text(&copy.location), every]);
    }
    offline.sort();
    if !offline.is_empty() {
        out += &format!(
            "\n## Copies that are not connected\n\n{}",
            table(&["copy", "label", "kept at", "renewed every"], &offline)
        );
    }
    out
}

/// "7 daily, 4 weekly".
pub fn kept(keep: &labwright_model::lab::Keep) -> String {
    let counts = [
        (keep.last, "newest"),
        (keep.hourly, "hourly"),
        (keep.daily, "daily"),
        (keep.weekly, "weekly"),
        (keep.monthly, "monthly"),
        (keep.yearly, "yearly"),
    ];
    let counts = counts.iter().filter_map(|(count, word)| count.map(|count| format!("{count} {word}")));
    let within = keep.within.iter().map(|within| format!("all of {within}"));
    counts.chain(within).collect::<Vec<_>>().join(", ")
}
