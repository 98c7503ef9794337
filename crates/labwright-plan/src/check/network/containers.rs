//! Containers in Compose's own syntax, in the lab file and in Compose files beside it.

use std::collections::BTreeSet;

use labwright_model::{Parsed, Placement, Span};
use serde_json::{Map, Value};

/// One container of a service.
pub struct Container<'a> {
    pub placement: &'a Placement,
    pub name: &'a str,
    pub entry: &'a Map<String, Value>,
    path: Vec<&'a str>,
}

impl<'a> Container<'a> {
    /// Where a value of the container stands.
    pub fn span(&self, parsed: &Parsed, key: &[&str]) -> Span {
        let inside: Vec<&str> = [self.name].into_iter().chain(key.iter().copied()).collect();
        if let Some(span) = parsed.in_project(self.placement, &inside) {
            return span;
        }
        let path: Vec<&str> = self.path.iter().copied().chain(key.iter().copied()).collect();
        parsed.span_of(&path)
    }

    pub fn at(&self) -> String {
        self.path.join(".")
    }

    pub fn network_mode(&self) -> Option<&'a str> {
        self.entry.get("network_mode")?.as_str()
    }

    /// The program's name as its image has it: `home-assistant` of `ghcr.io/home-assistant/home-assistant:2026.3`.
    pub fn image(&self) -> &'a str {
        let image = self.entry.get("image").and_then(Value::as_str).unwrap_or_default();
        let name = image.rsplit('/').next().unwrap_or_default();
        name.split([':', '@']).next().unwrap_or_default()
    }
}

/// Every inline container, once: what an environment shares with its service is told where the service says it.
pub fn containers(parsed: &Parsed) -> Vec<Container<'_>> {
    let mut shared: BTreeSet<&str> = BTreeSet::new();
    let mut all = Vec::new();
    for placement in &parsed.placements {
        let Some(entries) = placement.entry.containers.0.as_object() else { continue };
        let service = placement.service.as_str();
        let path = match own_containers(parsed, placement) {
            Some(environment) => vec!["services", service, "environments", environment, "containers"],
            None if shared.insert(service) => vec!["services", service, "containers"],
            None => continue,
        };
        for (name, entry) in entries {
            let Some(entry) = entry.as_object() else { continue };
            let path = path.iter().copied().chain([name.as_str()]).collect();
            all.push(Container { placement, name, entry, path });
        }
    }
    all
}

/// The environment of a placement, if it has containers that differ from the service's.
fn own_containers<'a>(parsed: &'a Parsed, placement: &'a Placement) -> Option<&'a str> {
    let environment = placement.environment.as_deref()?;
    let differs = parsed.lab.services.get(&placement.service)?.environments.get(environment)?;
    differs.value.0.get("containers").or(differs.value.0.get("compose")).map(|_| environment)
}

/// The strings under a key that is a string, a list of strings or a map of them, each with the way to it and its name
/// where it has one.
pub fn strings<'a>(entry: &'a Map<String, Value>, key: &str) -> Vec<(Vec<String>, &'a str, &'a str)> {
    match entry.get(key) {
        Some(Value::String(text)) => vec![(vec![], "", text)],
        Some(Value::Array(items)) => {
            let numbered = items.iter().enumerate().filter_map(|(number, item)| Some((number, item.as_str()?)));
            let split = |(number, text): (usize, &'a str)| match text.split_once('=') {
                Some((name, value)) => (vec![number.to_string()], name, value),
                None => (vec![number.to_string()], "", text),
            };
            numbered.map(split).collect()
        }
        Some(Value::Object(entries)) => entries
            .iter()
            .filter_map(|(name, value)| Some((vec![name.clone()], name.as_str(), value.as_str()?)))
            .collect(),
        _ => Vec::new(),
    }
}
