//! LW-PLT-004: one secret in two trust zones, or in two environments.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::{Finding, Findings, Parsed, Placement, Span, reference};
use serde::Serialize;
use serde_json::Value;

use crate::check::{Case, Examples, Rule};

pub struct SharedSecret;

const CODE: &str = "LW-PLT-004";
const RELATED: usize = 5;

impl Rule for SharedSecret {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "one secret in two trust zones or environments"
    }

    fn doc(&self) -> &'static str {
        "Zones and environments are kept apart so that what is taken in one is of no use in another. A secret that is read \
         in two of them is the way across: whoever gets hold of it in `dev` has `prod` as well.\n\n\
         Who reads a secret follows from where it is referred to: a host reads it in its zone; a service in the zones of \
         the hosts that it is placed on, and in its environment. What the shared part of a service refers to is read in \
         every environment of it. References in other sections (a token for Cloudflare, the passphrase of a repository) \
         are not those of a zone.\n\n\
         It comes from document 0: where changes in one area break unrelated systems, recheck network boundaries \
         and shared credentials; and from document 4, which gives each service a part of the secrets of its own.\n\n\
         The way out: one secret for each zone or environment. A service says under `environments:` what differs: \
         `environments: { dev: { containers: … }, prod: { containers: … } }`. Where it has to be one and the same (a \
         network's shared key), accept it with its reason."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { secrets: secrets.yaml }\nnetwork: { zones: { servers: { vlan: 20 }, iot: { vlan: 40 } } }\ncompute:\n  hosts:\n    pg-01:\n      zone: servers\n      address: 10.0.20.5\n      files: { /etc/pg.pass: { content: \"${secret.pg}\" } }\n    sensor-01:\n      zone: iot\n      address: 10.0.40.5\n      files: { /etc/pg.pass: { content: \"${secret.pg}\" } }",
            passes: "platform: { secrets: secrets.yaml }\nnetwork: { zones: { servers: { vlan: 20 }, iot: { vlan: 40 } } }\ncompute:\n  hosts:\n    pg-01:\n      zone: servers\n      address: 10.0.20.5\n      files: { /etc/pg.pass: { content: \"${secret.pg}\" } }\n    sensor-01:\n      zone: iot\n      address: 10.0.40.5\n      files: { /etc/pg.pass: { content: \"${secret.other}\" } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        if parsed.secrets.is_empty() {
            return;
        }
        for (name, readers) in readers(parsed) {
            findings.extend(judge(parsed, &name, &readers));
        }
    }
}

/// A host or a placed service that a secret is delivered to.
struct Reader<'a> {
    /// host `a`, service `b`
    what: String,
    zones: BTreeSet<&'a str>,
    environment: Option<&'a str>,
    /// Where its reference to the secret is looked for: the first of these parts of the file that has one.
    parts: Vec<Vec<&'a str>>,
}

fn judge(parsed: &Parsed, name: &str, readers: &[Reader<'_>]) -> Option<Finding> {
    let zones = grouped(readers, |reader| reader.zones.iter().copied().collect());
    let environments = grouped(readers, |reader| reader.environment.into_iter().collect());
    let mut where_: Vec<String> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for (word, groups) in [("environments", &environments), ("zones", &zones)] {
        if groups.len() > 1 {
            where_
                .push(format!("in the {word} {}", listed(groups.iter().map(|(key, who)| format!("`{key}` ({who})")))));
            if keys.is_empty() {
                keys = groups.iter().map(|(key, _)| *key).collect();
            }
        }
    }
    if where_.is_empty() {
        return None;
    }
    // The first reader has it by right; whoever comes after and is elsewhere is the finding.
    let first = readers.first()?;
    let elsewhere = |reader: &&Reader<'_>| reader.zones != first.zones || reader.environment != first.environment;
    let place = reference_of(parsed, name, readers.iter().find(elsewhere).unwrap_or(first));
    let message = format!("secret `{name}` is read {}", where_.join(", and "));
    let names = listed(keys.iter().map(|key| format!("`{name}_{}`", key.replace('-', "_"))));
    let mut finding =
        Finding::warning(CODE, "platform.secrets", place, message).help(format!("make one secret for each: {names}"));
    let mut told = BTreeSet::from([place]);
    for reader in readers {
        let span = reference_of(parsed, name, reader);
        if told.len() <= RELATED && told.insert(span) {
            finding = finding.related(span, format!("{} reads it here", reader.what));
        }
    }
    Some(finding)
}

/// The zones or environments in which a secret is read, in the order of the readers, each with who reads it there.
fn grouped<'a>(readers: &[Reader<'a>], keys: impl Fn(&Reader<'a>) -> Vec<&'a str>) -> Vec<(&'a str, String)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for reader in readers {
        for key in keys(reader) {
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, who)) if who.contains(&reader.what.as_str()) => {}
                Some((_, who)) => who.push(&reader.what),
                None => groups.push((key, vec![&reader.what])),
            }
        }
    }
    let who = |who: &[&str]| match who {
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
        [] => String::new(),
    };
    groups.iter().map(|(key, readers)| (*key, who(readers))).collect()
}

/// "a", "a and b", "a, b and c".
fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    match parts.as_slice() {
        [some @ .., last] if !some.is_empty() => format!("{} and {last}", some.join(", ")),
        all => all.concat(),
    }
}

fn readers(parsed: &Parsed) -> BTreeMap<String, Vec<Reader<'_>>> {
    let hosts = &parsed.lab.compute.hosts;
    let zone = |host: &str| hosts.get(host).and_then(|host| host.zone.as_ref()).map(|zone| zone.value.as_str());
    let mut readers: BTreeMap<String, Vec<Reader<'_>>> = BTreeMap::new();
    for (host, entry) in hosts.iter() {
        for secret in secrets_of(&entry.value) {
            let reader = Reader {
                what: format!("host `{host}`"),
                zones: zone(host).into_iter().collect(),
                environment: None,
                parts: vec![vec!["compute", "hosts", host]],
            };
            readers.entry(secret).or_default().push(reader);
        }
    }
    for placement in &parsed.placements {
        let Placement { service, environment, entry } = placement;
        let own = environment.as_ref().map(|name| vec!["services", service, "environments", name]);
        let mounted = parsed.project(placement).into_iter().flat_map(|project| project.lab_secrets());
        let mounted: BTreeSet<String> = mounted.map(|secret| secret.value).collect();
        for secret in secrets_of(entry).union(&mounted).cloned() {
            let reader = Reader {
                what: format!("service `{service}`"),
                zones: entry.on.iter().filter_map(|host| zone(host)).collect(),
                environment: environment.as_deref(),
                parts: own.iter().cloned().chain([vec!["services", service]]).collect(),
            };
            readers.entry(secret).or_default().push(reader);
        }
    }
    // Who is in no zone and no environment takes nothing from one to another.
    readers
        .values_mut()
        .for_each(|readers| readers.retain(|reader| !reader.zones.is_empty() || reader.environment.is_some()));
    readers
}

/// The names of all secrets that anything in an entry refers to. The values themselves are asked, because an alias puts
/// one place of the file into several entries.
fn secrets_of(entry: &impl Serialize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(value) = serde_json::to_value(entry) {
        collect(&value, &mut names);
    }
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => names.extend(reference::secrets(text).into_iter().map(str::to_string)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(entries) => entries.values().for_each(|value| collect(value, names)),
        _ => {}
    }
}

/// Where a reader refers to a secret; anywhere that something does, if an alias brought the reference there.
fn reference_of(parsed: &Parsed, name: &str, reader: &Reader<'_>) -> Span {
    let spans = || parsed.secrets.iter().filter(|secret| secret.value == name).map(|secret| secret.span);
    let inside = |part: &Vec<&str>| {
        let whole = parsed.span_of(part);
        spans().find(|span| span.file == whole.file && whole.start <= span.start && span.end <= whole.end)
    };
    reader.parts.iter().find_map(inside).or_else(|| spans().next()).unwrap_or(Span::NONE)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const AROUND: &str = r#"platform: { secrets: { age: secrets.yaml, recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq } }
environments: [dev, prod]
network: { zones: { servers: { vlan: 20 }, iot: { vlan: 40 }, lab: { vlan: 50 } } }
"#;

    #[test]
    fn hosts_and_services_in_their_zones() {
        says(
            &format!(
                r#"{AROUND}compute:
  docker_hosts: [d-01, d-02]
  hosts:
    a: {{ zone: servers, address: 10.0.0.1, files: {{ /pg: {{ content: "${{secret.pg}} $${{secret.app}}" }} }} }}
    b: {{ zone: servers, address: 10.0.0.2, files: {{ /pg: {{ content: "${{secret.pg}}" }} }} }}
    c: {{ zone: iot, address: 10.0.0.3, units: {{ x.service: {{ environment: {{ PG: "${{secret.pg}}" }}, credentials: {{ o: "${{secret.other}}" }} }} }} }}
    d-01: {{ zone: servers, address: 10.0.0.4 }}
    d-02: {{ zone: lab, address: 10.0.0.5 }}
    nowhere: {{ address: 10.0.0.6, files: {{ /o: {{ content: "${{secret.other}}" }} }} }}
services:
  w: {{ containers: {{ c: {{ image: x, environment: {{ A: "${{secret.pg}}" }} }} }}, on: d-02 }}
  two: {{ containers: {{ c: {{ image: x, environment: {{ A: "${{secret.app}}" }} }} }}, on: [d-01, d-02] }}
  saas: {{ external: x, description: "${{secret.app}}" }}
protection: {{ repositories: {{ r: {{ url: "s3:https://x", passphrase: "${{secret.other}}" }} }} }}
"#
            ),
            expect![[r#"
                9:82 warning LW-PLT-004: secret `pg` is read in the zones `servers` (host `a` and 1 more), `iot` (host `c`) and `lab` (service `w`)
                    help: make one secret for each: `pg_servers`, `pg_iot` and `pg_lab`
                    7:70: host `a` reads it here
                    8:70: host `b` reads it here
                    14:56: service `w` reads it here
                15:58 warning LW-PLT-004: secret `app` is read in the zones `lab` (service `two`) and `servers` (service `two`)
                    help: make one secret for each: `app_lab` and `app_servers`
            "#]],
        );
    }

    #[test]
    fn environments_share_what_the_service_says() {
        says(
            &format!(
                r#"{AROUND}compute: {{ docker_hosts: [d-01], hosts: {{ d-01: {{ zone: servers, address: 10.0.0.4 }} }} }}
services:
  shared: {{ containers: {{ c: {{ image: x, environment: {{ A: "${{secret.pg}}" }} }} }}, on: d-01, environments: [dev, prod] }}
  apart:
    containers: {{ c: {{ image: x, environment: {{ A: "${{secret.app}}" }} }} }}
    on: d-01
    environments:
      dev: {{ containers: {{ c: {{ image: x, environment: {{ A: "${{secret.other}}" }} }} }} }}
      prod:
  alone: {{ containers: {{ c: {{ image: x, environment: {{ A: "${{secret.app}}" }} }} }}, on: d-01 }}
"#
            ),
            expect![[r#"
                6:61 warning LW-PLT-004: secret `pg` is read in the environments `dev` (service `shared`) and `prod` (service `shared`)
                    help: make one secret for each: `pg_dev` and `pg_prod`
            "#]],
        );
    }

    #[test]
    fn an_alias_makes_one_place_two_readers() {
        says(
            &format!(
                r#"{AROUND}compute:
  hosts:
    a: {{ zone: servers, address: 10.0.0.1, files: &files {{ /pg: {{ content: "${{secret.pg}}" }} }} }}
    b: {{ zone: iot, address: 10.0.0.2, files: *files }}
"#
            ),
            expect![[r#"
                6:77 warning LW-PLT-004: secret `pg` is read in the zones `servers` (host `a`) and `iot` (host `b`)
                    help: make one secret for each: `pg_servers` and `pg_iot`
            "#]],
        );
    }

    #[test]
    fn accepted_where_it_has_to_be_one() {
        says(
            &format!(
                r#"{AROUND}compute:
  hosts:
    a: {{ zone: servers, address: 10.0.0.1, files: {{ /wifi: {{ content: "${{secret.pg}}" }} }} }}
    # labwright: allow LW-PLT-004 because there is one wireless network
    b: {{ zone: iot, address: 10.0.0.2, files: {{ /wifi: {{ content: "${{secret.pg}}" }} }} }}
"#
            ),
            expect![[""]],
        );
    }
}
