//! Every ordered pair, decided: what flows allow, what follows from the rest of the lab, and nothing else.
//! A grant holds between whole zones, hosts or the internet; what no grant gives is denied, inside a zone too.

use std::collections::HashMap;

use labwright_model::units::Traffic;
use labwright_model::{Parsed, Placement, Span};
use serde::Serialize;

use super::allowed::{Allowed, Try};
use super::derive;
use super::parties::{End, Parties, Party};
use super::ports;
use crate::check::network::reach::{End as Named, Reach};
use crate::check::network::zone_kind::{Kinds, ZoneKind};

/// Why something may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A flow of the lab file says so.
    Flow,
    Names,
    Time,
    Addresses,
    Needs,
    Exposed,
    Upstream,
    Watching,
    Backup,
    Mount,
    Vpn,
    Tunnel,
    Administration,
    Updates,
    Hairpin,
}

impl Why {
    pub fn word(self) -> &'static str {
        match self {
            Why::Flow => "flow",
            Why::Names => "names",
            Why::Time => "time",
            Why::Addresses => "addresses",
            Why::Needs => "needs",
            Why::Exposed => "exposed",
            Why::Upstream => "upstream",
            Why::Watching => "watching",
            Why::Backup => "backup",
            Why::Mount => "mount",
            Why::Vpn => "vpn",
            Why::Tunnel => "tunnel",
            Why::Administration => "administration",
            Why::Updates => "updates",
            Why::Hairpin => "hairpin",
        }
    }

    /// Whether it may lead into a management zone unasked: names, time and addresses administer nothing, and the VPN is
    /// asked for by its own name.
    fn is_harmless(self) -> bool {
        matches!(self, Why::Names | Why::Time | Why::Addresses | Why::Vpn | Why::Hairpin)
    }
}

/// One way that is open.
#[derive(Clone, Debug)]
pub struct Grant {
    pub from: End,
    pub to: End,
    pub allowed: Allowed,
    pub why: Why,
    /// In words: what a flow says under `because`, or what it follows from.
    pub reason: String,
    /// The place that says it.
    pub span: Span,
}

/// A way that follows from the lab, and that only a flow of its own would open.
#[derive(Clone, Debug)]
pub struct Withheld {
    pub from: End,
    pub to: End,
    pub allowed: Allowed,
    pub why: Why,
    pub reason: String,
    pub span: Span,
    /// What it would cross: "into management zone `management`".
    pub crosses: String,
}

/// The whole matrix of a lab.
pub struct Matrix<'a> {
    pub parties: Parties<'a>,
    pub grants: Vec<Grant>,
    pub withheld: Vec<Withheld>,
    /// Services that something has to reach, and whose port nothing says.
    pub portless: Vec<(String, Span, String)>,
    cells: HashMap<(End, End), Cell>,
    placed: HashMap<&'a str, Vec<&'a Placement>>,
}

/// What is open between two ends, and by which grants.
#[derive(Default)]
struct Cell {
    allowed: Allowed,
    grants: Vec<usize>,
}

impl<'a> Matrix<'a> {
    pub fn of(parsed: &'a Parsed) -> Matrix<'a> {
        let reach = Reach::of(&parsed.lab);
        Matrix::with(parsed, &reach, &Kinds::of(parsed, &reach))
    }

    /// As `of`, for whoever knows already which flow lets what through and what each zone is for.
    pub(crate) fn with(parsed: &'a Parsed, reach: &Reach<'a>, kinds: &Kinds<'a>) -> Matrix<'a> {
        let mut matrix = Matrix {
            parties: Parties::of(parsed, reach, kinds),
            grants: Vec::new(),
            withheld: Vec::new(),
            portless: Vec::new(),
            cells: HashMap::new(),
            placed: HashMap::new(),
        };
        for placement in &parsed.placements {
            matrix.placed.entry(placement.service.as_str()).or_default().push(placement);
        }
        matrix.declare();
        derive::all(&mut matrix);
        matrix
    }

    /// The flows that the lab file declares.
    fn declare(&mut self) {
        let lab = self.parties.lab();
        for flow in lab.network.flows.iter() {
            let mut allowed = Allowed::default();
            match flow.allow.is_empty() {
                true => allowed.add(&Traffic::Any),
                false => flow.allow.iter().for_each(|traffic| allowed.add(&traffic.value)),
            }
            let said = flow.because.as_ref().map(|because| because.value.clone());
            for from in flow.from.iter() {
                for source in self.sources(from) {
                    for to in flow.to.iter() {
                        for (target, allowed) in self.targets(to, &allowed) {
                            let reason = said.clone().unwrap_or_else(|| format!("{} to {}", from.value, to.value));
                            let span = if flow.span.is_none() { to.span } else { flow.span };
                            self.grant(Grant { from: source, to: target, allowed, why: Why::Flow, reason, span });
                        }
                    }
                }
            }
        }
    }

    fn sources(&self, name: &'a labwright_model::Spanned<String>) -> Vec<End> {
        let ends = self.parties.named(name).into_iter();
        ends.flat_map(|end| match end {
            Named::Internet => vec![End::Internet],
            Named::Zone(zone) => self.parties.zone(zone).map(End::Zone).into_iter().collect(),
            Named::Host(host) => self.parties.host(host).map(End::Host).into_iter().collect(),
            Named::Service(service) => self.homes(service),
        })
        .collect()
    }

    /// As `sources`; a service that says its ports is meant by those, and not by the whole of its host.
    fn targets(&self, name: &'a labwright_model::Spanned<String>, allowed: &Allowed) -> Vec<(End, Allowed)> {
        let ends = self.parties.named(name).into_iter();
        let whole = |end: End| vec![(end, allowed.clone())];
        ends.flat_map(|end| match end {
            Named::Internet => whole(End::Internet),
            Named::Zone(zone) => self.parties.zone(zone).map(End::Zone).into_iter().flat_map(whole).collect(),
            Named::Host(host) => self.parties.host(host).map(End::Host).into_iter().flat_map(whole).collect(),
            Named::Service(service) => {
                let mut own = Allowed::default();
                self.placed(service)
                    .iter()
                    .for_each(|placement| own.extend(&ports::of(self.parties.parsed, placement)));
                let narrow = allowed.any && !own.is_empty();
                let allowed = if narrow { own } else { allowed.clone() };
                self.homes(service).into_iter().map(|end| (end, allowed.clone())).collect()
            }
        })
        .collect()
    }

    /// A service as it is placed.
    pub fn placed(&self, service: &str) -> &[&'a Placement] {
        self.placed.get(service).map_or(&[], Vec::as_slice)
    }

    /// The hosts that a service runs on.
    pub(super) fn homes(&self, service: &str) -> Vec<End> {
        let mut homes: Vec<End> = self
            .placed(service)
            .iter()
            .flat_map(|placement| placement.entry.on.iter())
            .filter_map(|on| self.parties.host(on).map(End::Host))
            .collect();
        homes.sort_unstable();
        homes.dedup();
        homes
    }

    fn grant(&mut self, grant: Grant) {
        let itself = grant.from == grant.to && !matches!(grant.from, End::Zone(_));
        if grant.allowed.is_empty() || itself && !self.is_of_its_containers(&grant) {
            return;
        }
        let cell = self.cells.entry((grant.from, grant.to)).or_default();
        cell.allowed.extend(&grant.allowed);
        cell.grants.push(self.grants.len());
        self.grants.push(grant);
    }

    /// Adds what follows from the lab, unless a flow says it already; what would lead into a management zone, or out of one
    /// for guests or devices, is not opened and is told.
    pub(super) fn derive(&mut self, mut grant: Grant) {
        let mut known = Allowed::default();
        for from in self.parties.ends(party(grant.from)) {
            for to in self.parties.ends(party(grant.to)) {
                if let Some(cell) = self.cells.get(&(from, to)) {
                    known.extend(&cell.allowed);
                }
            }
        }
        grant.allowed = grant.allowed.minus(&known);
        if grant.allowed.is_empty() || grant.from == grant.to && !self.is_of_its_containers(&grant) {
            return;
        }
        match self.crosses(&grant) {
            None => self.grant(grant),
            Some(_)
                if matches!(grant.why, Why::Names | Why::Time) && self.asks_elsewhere(grant.from, &grant.allowed) => {}
            Some(crosses) => {
                let Grant { from, to, allowed, why, reason, span } = grant;
                self.withheld.push(Withheld { from, to, allowed, why, reason, span, crosses });
            }
        }
    }

    /// What a derived way may not cross by itself.
    fn crosses(&self, grant: &Grant) -> Option<String> {
        let zones = |end: End| self.parties.zones_of(party(end));
        let (here, there) = (zones(grant.from), zones(grant.to));
        let of_kind = |zone: &&usize, kinds: &[ZoneKind]| {
            self.parties.zones[**zone].kind.is_some_and(|kind| kinds.contains(&kind))
        };
        let untrusted = &[ZoneKind::Guest, ZoneKind::Iot];
        let routed = matches!(grant.why, Why::Addresses | Why::Hairpin);
        if !routed
            && let Some(zone) = here.first()
            && here.iter().all(|zone| of_kind(&zone, untrusted))
            && there.is_disjoint(&here)
        {
            return Some(format!("out of zone `{}`", self.parties.zones[*zone].name));
        }
        let zone = there.iter().find(|zone| of_kind(zone, &[ZoneKind::Management]) && !here.contains(zone))?;
        (!grant.why.is_harmless()).then(|| format!("into management zone `{}`", self.parties.zones[*zone].name))
    }

    /// Whether somebody may ask anybody else for the same: a zone that has the internet needs no resolver of the lab.
    fn asks_elsewhere(&self, from: End, allowed: &Allowed) -> bool {
        self.parties
            .ends(party(from))
            .iter()
            .any(|from| self.cells.iter().any(|((source, _), cell)| source == from && cell.allowed.covers(allowed)))
    }

    /// What is open from one party to another. A party is never denied to itself.
    pub fn between(&self, from: Party, to: Party) -> Allowed {
        if from == to && matches!(from, Party::Host(_)) {
            return Allowed::any();
        }
        let mut allowed = Allowed::default();
        for cell in self.cells_between(from, to) {
            allowed.extend(&cell.allowed);
        }
        allowed
    }

    /// Whether everything is open from one party to another.
    pub fn is_wide_open(&self, from: Party, to: Party) -> bool {
        (from == to && matches!(from, Party::Host(_))) || self.cells_between(from, to).any(|cell| cell.allowed.any)
    }

    fn cells_between(&self, from: Party, to: Party) -> impl Iterator<Item = &Cell> {
        let targets = self.parties.ends(to);
        let pairs = self.parties.ends(from).into_iter().flat_map(move |from| {
            let targets = targets.clone();
            targets.into_iter().map(move |to| (from, to))
        });
        pairs.filter_map(|pair| self.cells.get(&pair))
    }

    /// The grants that hold from one party to another, in the order of the lab file.
    pub fn grants_between(&self, from: Party, to: Party) -> Vec<&Grant> {
        let mut numbers: Vec<usize> =
            self.cells_between(from, to).flat_map(|cell| cell.grants.iter().copied()).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| &self.grants[number]).collect()
    }

    /// The first grant that lets this through.
    pub fn decide(&self, from: Party, to: Party, what: Try) -> Option<&Grant> {
        self.grants_between(from, to).into_iter().find(|grant| grant.allowed.lets(what))
    }

    /// What is open between two ends themselves, with the grants that say so.
    pub fn cells(&self) -> impl Iterator<Item = (End, End, &Allowed, impl Iterator<Item = &Grant>)> {
        self.cells.iter().map(|((from, to), cell)| {
            let grants = cell.grants.iter().map(|number| &self.grants[*number]);
            (*from, *to, &cell.allowed, grants)
        })
    }

    /// Everybody: the internet, each zone's other devices, each host.
    pub fn everybody(&self) -> Vec<Party> {
        let devices = (0..self.parties.zones.len()).map(Party::Device);
        let hosts = (0..self.parties.hosts.len()).map(Party::Host);
        std::iter::once(Party::Internet).chain(devices).chain(hosts).collect()
    }

    /// Where a grant is said: `lab.yaml:29`; empty where no file says it.
    pub fn place(&self, span: Span) -> String {
        let place = self.parties.parsed.place(span);
        place.map_or(String::new(), |place| format!("{}:{}", place.file, place.line))
    }
}

/// An end as somebody: a whole zone as one of its devices.
pub(crate) fn party(end: End) -> Party {
    match end {
        End::Internet => Party::Internet,
        End::Zone(zone) => Party::Device(zone),
        End::Host(host) => Party::Host(host),
    }
}
