//! One page for each service, as someone needs it who did not set it up; and the matrix of who answers for what.

use std::collections::BTreeSet;

use labwright_model::compose::mounts::MountType;
use labwright_model::lab::Service;
use labwright_model::reference;

use super::inventory::kept;
use super::text::{code, count, escaped, joined, listed, prose, service as link, table};
use crate::assess::{Answer, Assessed, Assessment, Question};
use crate::blast::{Affected, Kind, Thing, Urgency, World, blast_in};
use crate::check::containers::containers;
use crate::check::policy_of;
use crate::topology::Topology;

type Files<'a> = [(&'a str, String)];

pub fn service(topology: &Topology, world: &World, rows: &[&Assessed], name: &str, files: &Files) -> String {
    let Some(entry) = topology.service(name) else { return String::new() };
    let mut out = String::new();
    if let Some(description) = &entry.description {
        out += &format!("{}\n\n", escaped(description));
    }
    out += &table(&["", ""], &facts(topology, name, entry));
    out += &format!("\n## To restore it\n\n{}", restore(topology, name, entry));
    let links =
        |names: BTreeSet<&str>| listed(&names.into_iter().map(|name| link(name, files, "")).collect::<Vec<_>>());
    let (needs, dependents) = (topology.needs(name), topology.dependents(name));
    out += "\n## What it stands on\n\n";
    for host in topology.hosts_of(name) {
        out += &format!("- host {}", escaped(host));
        out += &topology.under(host).iter().map(|under| format!(", on {}", escaped(under))).collect::<String>();
        out += &topology.site(host).map(|site| format!(", at {}", escaped(site))).unwrap_or_default();
        out.push('\n');
    }
    let placed = world.service(name).iter().map(|n| &world.placed[*n]);
    let from = placed.flat_map(|placed| placed.data_on.iter().chain(&placed.sees_from).chain(&placed.beside));
    for (host, path) in from.collect::<BTreeSet<_>>() {
        out += &format!("- {}, which comes from {}\n", code(path), escaped(world.hosts[*host]));
    }
    if !needs.is_empty() {
        out += &format!("- services {}\n", links(needs));
    }
    if let Some(egress) = &entry.egress {
        out += &format!("- its traffic to the internet goes through {} or not at all\n", link(egress, files, ""));
    }
    out += &match dependents.is_empty() {
        true => "- no service needs it\n".to_string(),
        false => format!("- needed by {}\n", links(dependents)),
    };
    out += &format!("\n## If it fails\n\n{}", if_it_fails(world, name));
    out += "\n## Four questions\n";
    for row in rows {
        if rows.len() > 1 {
            out += &format!("\n### {}\n", escaped(&row.service));
        }
        out += &format!("\n{}", row.answers.iter().map(question).collect::<String>());
    }
    out
}

fn facts(topology: &Topology, name: &str, entry: &Service) -> Vec<Vec<String>> {
    let lab = &topology.parsed.lab;
    let mut rows = Vec::new();
    let mut row = |key: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![key.to_string(), value]);
        }
    };
    row("owner", entry.owner.as_ref().map(|owner| escaped(owner)).unwrap_or("nobody is named".to_string()));
    row("tier", entry.tier.word().to_string());
    let provider = entry
        .external
        .as_ref()
        .map(|external| external.provider.as_ref().map_or("others".to_string(), |who| escaped(who)));
    row("run by", provider.unwrap_or_default());
    let images = images(topology, name);
    let what = match (&entry.catalogue, &entry.compose, &entry.run) {
        (Some(catalogue), ..) => format!("catalogue entry {}", escaped(catalogue)),
        (_, Some(compose), _) if images.is_empty() => format!("Compose file {}", code(compose)),
        (_, Some(compose), _) => format!("Compose file {}: {images}", code(compose)),
        (_, _, Some(run)) => {
            format!("process {}", run.command.first().map(|command| code(command)).unwrap_or_default())
        }
        _ => images,
    };
    row("what runs", what);
    row("reached from", entry.expose.word().to_string());
    let urls: Vec<String> = entry.url.iter().map(|url| code(&lab.fqdn(url))).collect();
    row("names", urls.join(", "));
    row("data", entry.data.iter().map(|data| code(data)).collect::<Vec<_>>().join(", "));
    row(
        "volumes and folders",
        mounted(topology, name).iter().map(|source| code(source)).collect::<Vec<_>>().join(", "),
    );
    let environments: Vec<String> = entry.environments.keys().map(|name| escaped(name)).collect();
    row("environments", environments.join(", "));
    let secrets: Vec<String> = secrets(topology, name).iter().map(|secret| code(secret)).collect();
    row("secrets, by name", secrets.join(", "));
    rows
}

/// What its containers have of volumes and of their host's folders, beside what `data` names already.
fn mounted<'a>(topology: &Topology<'a>, name: &str) -> BTreeSet<&'a str> {
    const SYSTEM: &[&str] = &["/var/run", "/run", "/dev", "/sys", "/proc", "/etc/localtime", "/etc/timezone"];
    let projects = topology.placements(name).iter().filter_map(|placed| topology.parsed.project(placed));
    let mounts = projects.flat_map(|project| project.enabled()).flat_map(|(_, service)| service.volumes.iter());
    let kept = mounts.filter(|mount| matches!(mount.kind, MountType::Bind | MountType::Volume));
    let sources = kept.filter_map(|mount| mount.source.as_ref()).map(|source| source.value.as_str());
    let data = |source: &&str| {
        topology.service(name).is_some_and(|service| service.data.iter().any(|data| data.value == **source))
    };
    let system = |source: &&str| SYSTEM.iter().any(|system| source.starts_with(system));
    sources.filter(|source| !data(source) && !system(source)).collect()
}

fn images(topology: &Topology<'_>, name: &str) -> String {
    let containers = topology.placements(name).iter().flat_map(|placed| containers(topology.parsed, placed));
    let mut images: Vec<&str> = Vec::new();
    for image in containers.filter_map(|one| one.image()) {
        if !images.contains(&image.text) {
            images.push(image.text);
        }
    }
    images.into_iter().map(code).collect::<Vec<_>>().join(", ")
}

/// The secrets that a service refers to, in whatever environment.
fn secrets(topology: &Topology, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for placement in topology.placements(name) {
        let Ok(entry) = serde_json::to_value(&placement.entry) else { continue };
        let mut open = vec![&entry];
        while let Some(value) = open.pop() {
            match value {
                serde_json::Value::String(text) => {
                    found.extend(reference::secrets(text).into_iter().map(str::to_string))
                }
                serde_json::Value::Array(items) => open.extend(items),
                serde_json::Value::Object(fields) => open.extend(fields.values()),
                _ => {}
            }
        }
    }
    found
}

fn restore(topology: &Topology, name: &str, entry: &Service) -> String {
    let lab = &topology.parsed.lab;
    let mut out = String::new();
    let mut step = 0;
    let mut add = |text: String| {
        step += 1;
        out += &format!("{step}. {text}\n");
    };
    if let Some(external) = entry.external.as_ref().filter(|external| external.level < 2) {
        let who = external.provider.as_ref().map_or("whoever runs it".to_string(), |who| escaped(who));
        add(format!("Ask {who}: machine, program and copies are theirs."));
    }
    let needs: Vec<String> = topology.needs(name).into_iter().map(escaped).collect();
    if !needs.is_empty() {
        add(format!("Bring back what it needs first: {}.", listed(&needs)));
    }
    let placed = topology.placements(name).first();
    let policy = placed.and_then(|placed| policy_of(topology.parsed, placed));
    match policy.and_then(|policy| Some((policy, lab.protection.policies.get(policy.value.as_str())?))) {
        Some((policy_name, policy)) => {
            let places: Vec<String> = policy
                .to
                .iter()
                .map(|to| {
                    match lab.protection.repositories.get(to.value.as_str()).map(|repository| &repository.value) {
                        Some(repository) => match (&repository.on, &repository.url) {
                            (Some(on), _) => format!("{} on {}", escaped(to), escaped(on)),
                            (None, Some(url)) => format!("{} at {}", escaped(to), code(url)),
                            (None, None) => escaped(to),
                        },
                        None => escaped(to),
                    }
                })
                .collect();
            add(format!("Take the newest copy from {}.", joined(&places, "or")));
            let dumps = entry.backup.iter().flat_map(|backup| backup.dump.iter());
            for (dump, of) in dumps {
                let database = of.database.as_ref().map(|database| code(database)).unwrap_or_default();
                let service = of.service.as_ref().map(|service| format!(" of {}", escaped(service)));
                let database = if database.is_empty() { "its database".into() } else { format!("database {database}") };
                add(format!("Load the dump {} into {database}{}.", code(dump), service.unwrap_or_default()));
            }
            let keeps = kept(&policy.keep);
            let keeps = if keeps.is_empty() { String::new() } else { format!(", and keeps {keeps}") };
            let drill = policy.drill.as_ref().map_or("Nobody rehearses a restore.".to_string(), |drill| {
                format!("A restore is rehearsed: {}.", escaped(&drill.value.to_string()))
            });
            let schedule = escaped(&policy.schedule.value.to_string());
            out += &notes(&mut step, entry);
            out += &format!("\nPolicy {} copies it at {schedule}{keeps}. {drill}\n", escaped(policy_name));
        }
        None => {
            if entry.external.is_none() {
                add("There is no backup: what its host held is gone with it.".to_string());
            }
            out += &notes(&mut step, entry);
        }
    }
    out
}

/// The last steps, in the words of whoever wrote them.
fn notes(step: &mut usize, entry: &Service) -> String {
    let Some(notes) = &entry.restore_notes else { return String::new() };
    *step += 1;
    format!("{step}. {}\n", escaped(notes))
}

fn if_it_fails(world: &World, name: &str) -> String {
    let blast = blast_in(world, &Thing { kind: Kind::Service, name: name.to_string() });
    if blast.affected.is_empty() {
        return "Nothing else goes with it.\n".to_string();
    }
    // Who reads a page wants to know what kind of harm it is; the whole list is a question of its own.
    const MOST: usize = 20;
    let mut out: String = blast.affected.iter().take(MOST).map(affected).collect();
    if let Some(more) = blast.affected.len().checked_sub(MOST + 1) {
        out += &format!("- and {} more: {} tells all\n", more + 1, code(&format!("labwright blast service/{name}")));
    }
    out
}

fn affected(affected: &Affected) -> String {
    let urgency = match affected.urgency {
        Urgency::Dark => "goes dark",
        Urgency::Degraded => "degrades",
        Urgency::Unprotected => "is no longer copied",
        Urgency::Held => "cannot be deployed or watched",
    };
    let because: Vec<&str> = affected.because.iter().map(|link| link.one.as_str()).collect();
    let what = if affected.what.is_empty() { String::new() } else { format!(": {}", prose(&affected.what)) };
    format!("- {} {urgency}{what}; it {}\n", escaped(&affected.thing.name), prose(&because.join(", which ")))
}

fn question(answer: &Answer) -> String {
    let mut out = format!("- {} **{}**", capital(answer.question.text()), answer.verdict.word());
    if !answer.evidence.is_empty() {
        let evidence: Vec<String> = answer.evidence.iter().map(|point| prose(point)).collect();
        out += &format!(": {}", evidence.join("; "));
    }
    out.push('\n');
    out += &answer.wanting.iter().map(|wanting| format!("  - {}\n", prose(wanting))).collect::<String>();
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The matrix: who answers for what, and the four answers.
pub fn responsibility(assessment: &Assessment, files: &Files) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in &assessment.services {
        // `wiki (dev)` is a row of `wiki`.
        let page = row.service.split(" (").next().unwrap_or_default();
        let name = format!("{}{}", link(page, files, "services/"), escaped_rest(&row.service[page.len()..]));
        let answers = Question::ALL
            .iter()
            .map(|question| row.answer(*question).map_or("", |answer| answer.verdict.word()).to_string());
        let own = [name, row.level.word().to_string(), escaped(&row.hardware), escaped(&row.os), escaped(&row.backups)];
        rows.push(own.into_iter().chain(answers).collect());
    }
    rows.sort();
    let denied = assessment.services.iter().filter(|row| row.is_denied()).count();
    let denied = match denied {
        0 => "No service that people rely on is answered with no.".to_string(),
        n => format!(
            "{} that people rely on {} answered with no.",
            count(n, "service"),
            if n == 1 { "is" } else { "are" }
        ),
    };
    format!(
        "Level 0 is someone else's service, 1 a hosted platform, 2 a rented machine, 3a one's own to learn on, 3b one's own that people rely on. The answers rest on what the lab file says; nothing was tried.\n\n{}\n{denied}\n",
        table(
            &[
                "service",
                "level",
                "hardware",
                "system and software",
                "backups",
                "restore",
                "detect",
                "security",
                "rebuild"
            ],
            &rows
        )
    )
}

fn escaped_rest(environment: &str) -> String {
    if environment.is_empty() { String::new() } else { format!(" {}", escaped(environment)) }
}
