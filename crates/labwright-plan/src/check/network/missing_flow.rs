//! Flows that are missing, gathered so that one line of the lab file is one finding.

use std::collections::BTreeMap;

use labwright_model::lab::Service;
use labwright_model::{Findings, Span};

use super::reach::{End, Reach};
use super::telling::{Stake, listed, typed};

/// What is told together: a kind of need, and the zones or names that it is between.
pub type Group<'a> = (Need, &'a str, &'a str);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    Service,
    Watch,
    Scrape,
    Backup,
    Mount,
    Proxy,
    Tunnel,
    Resolver,
}

/// A way that is missing.
pub struct Missing<'a> {
    pub from: End<'a>,
    pub to: End<'a>,
    /// The zones at both ends, which stand for long lists.
    pub zones: (&'a str, &'a str),
    pub allow: String,
    pub span: Span,
    pub stake: Stake,
}

/// How one is told.
pub struct Words {
    pub at: String,
    /// The fault, where it is the first of its group.
    pub says: String,
    /// What it is where it is another one.
    pub also: String,
}

/// Everything that is missing, by what is told together.
#[derive(Default)]
pub struct Gathered<'a> {
    groups: BTreeMap<Group<'a>, (Vec<Words>, Vec<Missing<'a>>)>,
}

/// A finding shows so many places; more are only counted by who reads on.
const TOLD: usize = 6;
/// A list of so many names is still typed.
const TYPED: usize = 4;

impl<'a> Gathered<'a> {
    pub fn push(&mut self, group: Group<'a>, missing: Missing<'a>, words: impl FnOnce() -> Words) {
        let (told, all) = self.groups.entry(group).or_default();
        if told.len() < TOLD {
            told.push(words());
        }
        all.push(missing);
    }

    /// One finding for each group, with the flow that would let all of it through.
    pub fn told(self, code: &'static str, reach: &Reach<'_>) -> Findings {
        let mut findings = Findings::new();
        for ((need, ..), (words, all)) in self.groups {
            let (Some(told), Some(first)) = (words.first(), all.first()) else { continue };
            let stake = all.iter().map(|one| one.stake).max().unwrap_or(Stake::Lab);
            let mut finding = stake.finding(code, told.at.clone(), first.span, told.says.clone());
            // The hosts that monitoring does not see stand nowhere by themselves: they belong into the sentence.
            match (need, first.from) {
                (Need::Watch, End::Host(watcher)) if all.len() > 1 => {
                    let names = listed(all.iter().map(|one| one.to.name()));
                    finding.message = format!("`{watcher}` watches {names}, and no flow lets it through");
                }
                _ => {
                    for (words, one) in words.iter().zip(&all).skip(1).filter(|(_, one)| one.span != first.span) {
                        finding = finding.related(one.span, words.also.clone());
                    }
                }
            }
            let from = ends(reach, all.iter().map(|one| (one.from, one.zones.0)));
            let to = ends(reach, all.iter().map(|one| (one.to, one.zones.1)));
            let mut allow: Vec<&str> = all.iter().map(|one| one.allow.as_str()).collect();
            allow.sort_unstable();
            allow.dedup();
            let allow = match allow.len() {
                0..=TYPED => allow.into_iter().map(String::from).collect(),
                _ => vec!["PORT/tcp".to_string()],
            };
            let flow = format!("- {{ from: {}, to: {}, allow: {} }}", typed(&from), typed(&to), typed(&allow));
            findings.push(finding.help(format!("add to `network: {{ flows: … }}`: `{flow}`")));
        }
        findings
    }
}

/// The ends as they are typed: by name, or by zone where they are many.
fn ends<'a>(reach: &Reach<'_>, all: impl Iterator<Item = (End<'a>, &'a str)> + Clone) -> Vec<String> {
    let mut names: Vec<End<'_>> = all.clone().map(|(end, _)| end).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > TYPED {
        names = all.map(|(_, zone)| End::Zone(zone)).collect();
        names.sort_unstable();
        names.dedup();
    }
    names.into_iter().map(|end| reach.spelled(end)).collect()
}

/// The port of a service as far as it is known, as a flow would allow it.
pub fn port_of(service: &Service, name: &str) -> String {
    const KNOWN: &[(&str, &str)] = &[
        ("postgres", "postgresql"),
        ("mariadb", "mysql"),
        ("mysql", "mysql"),
        ("redis", "redis"),
        ("valkey", "redis"),
        ("mosquitto", "mqtt"),
        ("mqtt", "mqtt"),
        ("rabbitmq", "amqp"),
    ];
    let called = service.catalogue.as_ref().map_or(name, |catalogue| catalogue.value.as_str());
    if let Some((_, traffic)) = KNOWN.iter().find(|(part, _)| called.contains(part)) {
        return traffic.to_string();
    }
    let said = service.port.as_ref().and_then(|port| port.rsplit(':').next()?.parse::<u16>().ok());
    said.map_or("PORT/tcp".to_string(), |port| format!("{port}/tcp"))
}
