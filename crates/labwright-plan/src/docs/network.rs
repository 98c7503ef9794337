//! The address plan, and who may connect to whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labwright_model::Parsed;
use labwright_model::lab::Flow;

use super::text::{escaped, listed, table};

/// Zones with their subnets, and every address in order.
pub fn addresses(parsed: &Parsed) -> String {
    let lab = &parsed.lab;
    let mut zones: Vec<(Option<u16>, Vec<String>)> = Vec::new();
    for (name, zone) in lab.network.zones.iter() {
        let vlan = zone.vlan.as_ref().map(|vlan| vlan.value);
        let carried = match (vlan, &zone.interface) {
            (Some(vlan), _) => format!("VLAN {vlan}"),
            (None, Some(interface)) => escaped(interface),
            (None, None) => String::new(),
        };
        let subnets: Vec<String> = zone.subnet.iter().map(|subnet| subnet.value.to_string()).collect();
        let row = vec![
            escaped(name),
            carried,
            subnets.join(", "),
            zone.description.as_deref().map(escaped).unwrap_or_default(),
        ];
        zones.push((vlan, row));
    }
    // Numbered VLANs in their order, then the others by name.
    zones.sort_by(|(a, row), (b, other)| (a.is_none(), a, row).cmp(&(b.is_none(), b, other)));
    let zones: Vec<Vec<String>> = zones.into_iter().map(|(_, row)| row).collect();
    let mut by_zone: BTreeMap<String, Vec<(IpAddr, Vec<String>)>> = BTreeMap::new();
    for (name, host) in lab.compute.hosts.iter() {
        for address in host.address.iter() {
            let inside = lab
                .network
                .zones
                .iter()
                .find(|(_, zone)| zone.subnet.iter().any(|subnet| subnet.value.0.contains(&address.value)));
            let zone = inside.map(|(zone, _)| zone.clone()).unwrap_or_default();
            let row = vec![
                address.value.to_string(),
                escaped(name),
                host.description.as_deref().map(escaped).unwrap_or_default(),
            ];
            by_zone.entry(zone).or_default().push((address.value, row));
        }
    }
    let mut out = match zones.is_empty() {
        true => "The lab file declares no zones.\n".to_string(),
        false => table(&["zone", "carried by", "subnet", "for"], &zones),
    };
    for (zone, mut rows) in by_zone {
        rows.sort();
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
        let title = if zone.is_empty() { "In no zone".to_string() } else { escaped(&zone) };
        out += &format!("\n## {title}\n\n{}", table(&["address", "host", "for"], &rows));
    }
    out
}

/// What is so of the matrix: enforced by every host, by some, or only declared.
fn enforcement(parsed: &Parsed) -> String {
    let topology = crate::topology::Topology::of(parsed);
    let mut names: Vec<&str> = parsed.lab.compute.hosts.keys().map(String::as_str).collect();
    names.sort_unstable();
    let open: Vec<&str> = names.iter().copied().filter(|host| !topology.is_enforced(host)).collect();
    match (open.len(), names.len()) {
        (0, 1..) => "What no flow allows is denied, inside a zone too.".to_string(),
        (open, all) if open == all => "The flows are declared, and no host is asked to enforce them.".to_string(),
        _ => {
            let open: Vec<String> = open.iter().map(|host| escaped(host)).collect();
            format!(
                "What no flow allows is denied, inside a zone too, except on {}, where it is declared and not enforced by \
                 the lab.",
                listed(&open)
            )
        }
    }
}

/// The matrix of zones, and every flow with its reason.
pub fn network(parsed: &Parsed) -> String {
    let network = &parsed.lab.network;
    let mut zones: Vec<&str> = network.zones.keys().map(String::as_str).collect();
    zones.sort_unstable();
    let mut out = format!("{}\n", enforcement(parsed));
    if zones.is_empty() {
        return out + "The lab file declares no zones.\n";
    }
    let ends: Vec<&str> = zones.iter().copied().chain(["internet"]).collect();
    let mut cells: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for flow in network.flows.iter() {
        let allow = allow(flow);
        for from in flow.from.iter().filter_map(|end| whole(&ends, end)) {
            for to in flow.to.iter().filter_map(|end| whole(&ends, end)) {
                let cell = cells.entry((from, to)).or_default();
                if !cell.contains(&allow) {
                    cell.push(allow.clone());
                }
            }
        }
    }
    let rows: Vec<Vec<String>> = ends
        .iter()
        .map(|from| {
            let name = format!("**{}**", escaped(from));
            let cell = |to: &&str| cells.get(&(*from, *to)).map(|allow| allow.join(", ")).unwrap_or_default();
            std::iter::once(name).chain(ends.iter().map(cell)).collect()
        })
        .collect();
    let names: Vec<String> = ends.iter().map(|end| escaped(end)).collect();
    let heading: Vec<&str> = std::iter::once("from, to").chain(names.iter().map(String::as_str)).collect();
    out += &format!(
        "\n## Between zones\n\nOf whole zones; single hosts and services stand below.\n\n{}",
        table(&heading, &rows)
    );
    let mut flows: Vec<Vec<String>> = Vec::new();
    for flow in network.flows.iter() {
        let names = |ends: &[labwright_model::Spanned<String>]| {
            let mut names: Vec<String> = ends.iter().map(|end| escaped(end)).collect();
            names.sort();
            listed(&names)
        };
        let because = flow.because.as_ref().map(|because| escaped(because)).unwrap_or_default();
        flows.push(vec![names(&flow.from), names(&flow.to), allow(flow), because]);
    }
    flows.sort();
    if !flows.is_empty() {
        out += &format!("\n## Flows\n\n{}", table(&["from", "to", "allows", "because"], &flows));
    }
    out
}

/// The zone that an end is as a whole.
fn whole<'a>(ends: &[&'a str], end: &str) -> Option<&'a str> {
    let name = end.strip_prefix("zone/").unwrap_or(end);
    ends.iter().copied().find(|zone| *zone == name)
}

fn allow(flow: &Flow) -> String {
    if flow.allow.is_empty() {
        return "any".to_string();
    }
    flow.allow.iter().map(|allow| escaped(&allow.value.to_string())).collect::<Vec<_>>().join(", ")
}
