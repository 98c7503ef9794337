//! `flows`: the matrix as it is read, by pairs of zones, with what enforces it; and what of it nothing enforces.

use std::collections::BTreeMap;

use serde::Serialize;

use super::allowed::Allowed;
use super::answer::Told;
use super::matrix::Matrix;
use super::parties::{End, Guard, Party};

/// Everything that is open, by the zones at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flows {
    pub pairs: Vec<ZonePair>,
    /// Ways that something in the lab needs, and that only a flow of their own would open.
    pub withheld: Vec<Needed>,
    /// Services that something has to reach, and whose port nothing says.
    pub portless: Vec<Portless>,
    pub guards: Vec<Guards>,
    pub unenforced: Vec<Unenforced>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZonePair {
    pub from: String,
    pub to: String,
    pub flows: Vec<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Needed {
    #[serde(flatten)]
    pub told: Told,
    /// What it would cross.
    pub crosses: String,
    /// The flow to add.
    pub add: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Portless {
    pub service: String,
    pub because: String,
    pub place: String,
}

/// Whether a host denies what no flow allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guards {
    pub host: String,
    /// `enforced`, `off`, or `foreign`: nothing is changed on it.
    pub firewall: &'static str,
    pub router: bool,
}

/// Between two zones, pairs that are denied and that nothing denies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unenforced {
    pub from: String,
    pub to: String,
    pub pairs: usize,
    /// Up to three of them.
    pub such_as: Vec<(String, String)>,
}

impl Guard {
    pub fn word(self) -> &'static str {
        match self {
            Guard::Enforced => "enforced",
            Guard::Off => "off",
            Guard::Foreign => "foreign",
        }
    }
}

/// The matrix, as far as both ends pass the filters; `None` passes everybody.
pub fn flows(matrix: &Matrix<'_>, from: Option<Party>, to: Option<Party>) -> Flows {
    let parties = &matrix.parties;
    let is = |end: End, wanted: Option<Party>| wanted.is_none_or(|party| parties.ends(party).contains(&end));
    let mut pairs: BTreeMap<(String, String), Vec<Told>> = BTreeMap::new();
    for grant in matrix.grants.iter().filter(|grant| is(grant.from, from) && is(grant.to, to)) {
        let key = (zone(matrix, grant.from), zone(matrix, grant.to));
        pairs.entry(key).or_default().push(matrix.told(grant));
    }
    for told in pairs.values_mut() {
        told.sort_by(|a, b| (&a.from, &a.to, a.why, &a.place).cmp(&(&b.from, &b.to, b.why, &b.place)));
    }
    let withheld = matrix.withheld.iter().filter(|one| is(one.from, from) && is(one.to, to)).map(|one| {
        let told = Told {
            from: parties.name(one.from).to_string(),
            to: parties.name(one.to).to_string(),
            allows: one.allowed.clone(),
            why: one.why,
            because: one.reason.clone(),
            place: matrix.place(one.span),
        };
        Needed { told, crosses: one.crosses.clone(), add: add(matrix, one.from, one.to, &one.allowed) }
    });
    let portless = matrix.portless.iter().map(|(service, span, because)| Portless {
        service: service.clone(),
        because: because.clone(),
        place: matrix.place(*span),
    });
    Flows {
        pairs: pairs.into_iter().map(|((from, to), flows)| ZonePair { from, to, flows }).collect(),
        withheld: withheld.collect(),
        portless: portless.collect(),
        guards: guards(matrix),
        unenforced: unenforced(matrix),
    }
}

/// A flow as it is typed.
pub fn add(matrix: &Matrix<'_>, from: End, to: End, allowed: &Allowed) -> String {
    let ports = allowed.to_string();
    let ports = if ports.contains(", ") { format!("[{ports}]") } else { ports };
    format!("- {{ from: {}, to: {}, allow: {ports} }}", matrix.parties.spelled(from), matrix.parties.spelled(to))
}

/// The zone that an end is told under.
fn zone(matrix: &Matrix<'_>, end: End) -> String {
    let parties = &matrix.parties;
    match end {
        End::Internet | End::Zone(_) => parties.name(end).to_string(),
        End::Host(host) => {
            let said = parties.hosts[host].entry.zone.as_ref().map(|zone| zone.value.clone());
            let first = || parties.hosts[host].zones.first().map(|zone| parties.zones[*zone].name.to_string());
            said.or_else(first).unwrap_or_else(|| "(no zone)".to_string())
        }
    }
}

fn guards(matrix: &Matrix<'_>) -> Vec<Guards> {
    let parties = &matrix.parties;
    let of = |(number, host): (usize, &super::parties::HostParty<'_>)| Guards {
        host: host.name.to_string(),
        firewall: host.guard.word(),
        router: parties.router == Some(number),
    };
    parties.hosts.iter().enumerate().map(of).collect()
}

/// Pairs that are not wholly open, and that nothing on the way between them denies.
pub fn unenforced(matrix: &Matrix<'_>) -> Vec<Unenforced> {
    let parties = &matrix.parties;
    let everybody = matrix.everybody();
    let place = |party: Party| match party {
        Party::Internet => "internet".to_string(),
        Party::Device(number) => parties.zones[number].name.to_string(),
        Party::Host(host) => zone(matrix, End::Host(host)),
    };
    let places: Vec<String> = everybody.iter().map(|party| place(*party)).collect();
    let mut found: BTreeMap<(&str, &str), Unenforced> = BTreeMap::new();
    for (n, from) in everybody.iter().enumerate() {
        for (m, to) in everybody.iter().enumerate() {
            let stands_outside = |host: usize| parties.is_outside(host);
            let outside = *to == Party::Internet && matches!(from, Party::Internet)
                || matches!(from, Party::Host(host) if *to == Party::Internet && stands_outside(*host));
            let same = n == m && matches!(from, Party::Host(_));
            // What goes out of a lab without a router of its own is nobody's to deny here.
            if outside || same || matrix.is_enforced(*from, *to) || matrix.is_wide_open(*from, *to) {
                continue;
            }
            let entry = found.entry((&places[n], &places[m])).or_insert_with(|| Unenforced {
                from: places[n].clone(),
                to: places[m].clone(),
                pairs: 0,
                such_as: Vec::new(),
            });
            entry.pairs += 1;
            if entry.such_as.len() < 3 {
                entry.such_as.push((parties.party_name(*from), parties.party_name(*to)));
            }
        }
    }
    found.into_values().collect()
}
