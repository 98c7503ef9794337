//! SSH servers behind a router that move: its new rules come first, and let whoever moves them through to the old port and the
//! new one for a while. Without that the move could not be confirmed, or could not go back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use labwright_plan::network::HostParty;
use labwright_plan::{Observation, Progress, ProviderError, Resource, ResourceId, Spec, Step, Value};

use super::moving::{self, Hole};
use super::session::Here;

/// The field of a router's ruleset: hosts behind it whose SSH port the lab sets.
pub const FIELD: &str = "through";

/// What sets a host's SSH port.
pub fn sshd(host: &str) -> ResourceId {
    ResourceId::new(host, "host", "sshd", "hardening")
}

/// For each host where its SSH is, and where it was if the lab never said.
pub fn field<'a>(hosts: impl Iterator<Item = &'a HostParty<'a>>) -> Option<Value> {
    let one = |host: &HostParty<'_>| {
        let reached = host.entry.ssh.port.as_ref().map_or(22, |port| port.value);
        let addresses = host.addresses.iter().map(|address| address.to_string()).collect::<Value>();
        let said = [
            ("addresses", addresses),
            ("port", Value::Int(host.ssh_port.into())),
            ("reached", Value::Int(reached.into())),
        ];
        (host.name.to_string(), Value::Map(said.map(|(name, value)| (name.to_string(), value)).into()))
    };
    let hosts: BTreeMap<String, Value> = hosts.map(one).collect();
    (!hosts.is_empty()).then_some(Value::Map(hosts))
}

/// An SSH server that goes to another port than the router's rules were made for.
#[derive(Debug, PartialEq, Eq)]
struct Move {
    host: String,
    addresses: Vec<IpAddr>,
    ports: BTreeSet<u16>,
}

fn entries(spec: &Spec) -> impl Iterator<Item = (&String, &BTreeMap<String, Value>)> {
    let hosts = match spec.get(FIELD) {
        Some(Value::Map(hosts)) => Some(hosts),
        _ => None,
    };
    hosts.into_iter().flatten().filter_map(|(host, said)| match said {
        Value::Map(said) => Some((host, said)),
        _ => None,
    })
}

fn port(said: &BTreeMap<String, Value>, name: &str) -> Option<u16> {
    said.get(name).and_then(Value::int).and_then(|port| port.try_into().ok())
}

/// `applied`: what the rules that are loaded were made from, if the lab made them.
fn moves(wanted: &Spec, applied: Option<&Spec>) -> Vec<Move> {
    let one = |(host, said): (&String, &BTreeMap<String, Value>)| {
        let before = applied.into_iter().flat_map(entries).find(|(known, _)| *known == host);
        let was = before.map_or_else(|| port(said, "reached"), |(_, before)| port(before, "port"))?;
        let new = port(said, "port")?;
        let addresses = said.get("addresses").and_then(Value::list).unwrap_or_default();
        let addresses = addresses.iter().filter_map(|address| address.text()?.parse().ok()).collect();
        (was != new).then(|| Move { host: host.clone(), addresses, ports: [was, new].into() })
    };
    entries(wanted).filter_map(one).collect()
}

/// Puts the router's rules before the SSH servers that move behind it; they come after those that stay.
pub fn settle(desired: &mut [Resource], observed: &Observation) {
    let mut first: BTreeMap<ResourceId, ResourceId> = BTreeMap::new();
    for rules in desired.iter_mut().filter(|resource| resource.spec.contains_key(FIELD)) {
        let marks = observed.reached(rules.id.host()).map(|host| &host.marks);
        let applied = marks.and_then(|marks| marks.get(&rules.id)).map(|mark| &mark.applied);
        for moved in moves(&rules.spec, applied) {
            let id = sshd(&moved.host);
            rules.after.remove(&id);
            first.insert(id, rules.id.clone());
        }
    }
    for resource in desired {
        resource.after.extend(first.get(&resource.id).cloned());
    }
}

/// Lets the address that the run comes from through to those that move, once the new rules are loaded.
pub fn open(here: &Here, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
    let Some(client) = here.context.via.client else { return Ok(()) };
    for moved in moves(&step.spec, here.context.applied.get(&step.id)) {
        for address in moved.addresses.iter().filter(|address| address.is_ipv4() == client.is_ipv4()) {
            let mut open = BTreeSet::new();
            for port in &moved.ports {
                if moving::let_through(client, *address, *port)? == Hole::Open {
                    open.insert(port.to_string());
                }
            }
            if !open.is_empty() {
                let ports = open.into_iter().collect::<Vec<_>>().join(" and ");
                let said =
                    format!("lets `{client}` through to SSH of `{}` at ports {ports} while it moves", moved.host);
                progress.say(&step.id, &said);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use labwright_model::Span;
    use labwright_plan::{HostSeen, Mark, Origin, Sight};

    use super::*;

    fn spec(hosts: &[(&str, i64)]) -> Spec {
        let one = |(host, port): &(&str, i64)| {
            let said = [
                ("addresses", ["10.0.0.5"].into_iter().collect()),
                ("port", Value::Int(*port)),
                ("reached", Value::Int(22)),
            ];
            (host.to_string(), Value::Map(said.map(|(name, value)| (name.to_string(), value)).into()))
        };
        Spec::from([(FIELD.to_string(), Value::Map(hosts.iter().map(one).collect()))])
    }

    #[test]
    fn what_moves_is_what_the_loaded_rules_know_at_another_port() {
        let ports = |wanted: &Spec, applied: Option<&Spec>| {
            let moves = moves(wanted, applied).into_iter();
            moves.map(|moved| (moved.host, moved.ports.into_iter().collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        let (old, new) = (spec(&[("db", 2222), ("web", 22)]), spec(&[("db", 2200), ("web", 22)]));
        assert_eq!(ports(&new, Some(&old)), [("db".to_string(), vec![2200, 2222])]);
        assert_eq!(ports(&new, Some(&new)), []);
        // The lab says it for the first time: it is where it is reached.
        assert_eq!(ports(&new, None), [("db".to_string(), vec![22, 2200])]);
        assert_eq!(ports(&new, Some(&Spec::new())), [("db".to_string(), vec![22, 2200])]);
    }

    #[test]
    fn rules_come_before_what_moves_and_after_what_stays() {
        let rules = ResourceId::new("gw", "firewall", "ruleset", "labwright");
        let mut router = Resource::new(rules.clone(), Span::NONE);
        router.spec = spec(&[("db", 2222), ("web", 22)]);
        router.after = [sshd("db"), sshd("web")].into();
        let mut desired = vec![Resource::new(sshd("db"), Span::NONE), router, Resource::new(sshd("web"), Span::NONE)];
        let mut host = HostSeen::default();
        let mark = Mark {
            origin: Origin::Created,
            applied: spec(&[("db", 22), ("web", 22)]),
            after: BTreeSet::new(),
            in_flight: false,
        };
        host.marks.insert(rules.clone(), mark);
        let observed = Observation { hosts: [("gw".to_string(), Sight::Reached(Box::new(host)))].into() };
        settle(&mut desired, &observed);
        assert_eq!(desired[0].after, [rules].into());
        assert_eq!(desired[1].after, [sshd("web")].into());
        assert!(desired[2].after.is_empty());
    }
}
