//! The four questions. Each is a list of points; without an essential one the answer is no, without another partly.

mod detect;
mod rebuild;
mod restore;
mod security;

use std::collections::{BTreeSet, HashMap};

use labwright_model::lab::Service;
use labwright_model::{Parsed, Placement};

use super::evidence::{Outcome, Proof, Proven};
use super::{Answer, Question, Verdict};
use crate::topology::Topology;

/// One service, and what is known of it.
pub struct Asked<'a> {
    pub topology: &'a Topology<'a>,
    pub flows: &'a Flows<'a>,
    pub placement: &'a Placement,
    /// What was tried; `None` when nobody looked.
    pub proofs: Option<Vec<&'a Proof>>,
}

impl<'a> Asked<'a> {
    fn entry(&self) -> &'a Service {
        &self.placement.entry
    }

    fn hosts(&self) -> BTreeSet<&'a str> {
        self.entry().on.iter().map(|on| on.value.as_str()).collect()
    }

    /// Who runs it, where that is someone else and the machine is theirs too.
    fn vendor(&self) -> Option<String> {
        let external = self.entry().external.as_ref()?;
        (external.level < 2)
            .then(|| external.provider.as_ref().map_or("its vendor".to_string(), |who| format!("`{}`", who.value)))
    }
}

/// One thing that speaks for an answer, or is wanting.
pub struct Point {
    essential: bool,
    told: Result<String, String>,
}

#[derive(Default)]
pub struct Points(Vec<Point>);

impl Points {
    /// Without it the answer is no.
    fn must(&mut self, told: Result<String, String>) {
        self.0.push(Point { essential: true, told });
    }

    /// Without it the answer is partly.
    fn should(&mut self, told: Result<String, String>) {
        self.0.push(Point { essential: false, told });
    }
}

/// `Ok` with what is there, or `Err` with what to do.
fn either(holds: bool, evidence: impl Into<String>, wanting: impl Into<String>) -> Result<String, String> {
    if holds { Ok(evidence.into()) } else { Err(wanting.into()) }
}

pub fn answers(asked: &Asked) -> Vec<Answer> {
    let answer = |question| match question {
        Question::Restore => settle(asked, question, Proven::Drill, restore::points(asked)),
        Question::Detect => settle(asked, question, Proven::Probe, detect::points(asked)),
        Question::Security => settled(question, security::points(asked), false),
        Question::Rebuild => settle(asked, question, Proven::Rebuild, rebuild::points(asked)),
    };
    Question::ALL.into_iter().map(answer).collect()
}

/// What was tried is weighed with what is declared: a failure is a no, and once somebody looks, nothing tried is no yes.
fn settle(asked: &Asked, question: Question, kind: Proven, mut points: Points) -> Answer {
    let Some(proofs) = &asked.proofs else { return settled(question, points, false) };
    let newest = proofs.iter().filter(|proof| proof.what == kind).min_by_key(|proof| proof.age);
    let (word, anew) = match kind {
        Proven::Drill => ("restored", "rehearse a restore"),
        Proven::Probe => ("probed", "let a probe run"),
        Proven::Rebuild => ("rebuilt", "rehearse a rebuild"),
    };
    let mut proven = false;
    match newest.map(|proof| (&proof.outcome, proof)) {
        None => points.should(Err(format!("{anew}: nothing was tried yet"))),
        Some((Outcome::Failed(why), proof)) => points.must(Err(format!("mend what failed on {}: {why}", proof.at))),
        Some((Outcome::Passed, proof)) => {
            let limit = (kind == Proven::Drill).then(|| restore::proof_within(asked)).flatten();
            proven = limit.is_none_or(|limit| proof.age <= limit.0);
            points.should(either(
                proven,
                format!("{word} on {}", proof.at),
                format!("{anew}: the last, on {}, is too old", proof.at),
            ));
        }
    }
    settled(question, points, proven)
}

fn settled(question: Question, points: Points, proven: bool) -> Answer {
    let missing = || points.0.iter().filter(|point| point.told.is_err());
    let verdict = match (missing().any(|point| point.essential), missing().next().is_some()) {
        (true, _) => Verdict::No,
        (false, true) => Verdict::Partly,
        (false, false) => Verdict::Yes,
    };
    let (mut evidence, mut wanting) = (Vec::new(), Vec::new());
    for point in points.0 {
        match point.told {
            Ok(told) => evidence.push(told),
            Err(told) => wanting.push(told),
        }
    }
    Answer { question, verdict, proven: proven && verdict == Verdict::Yes, evidence, wanting }
}

/// What the flows say of each end that they lead to.
#[derive(Default)]
pub struct Flows<'a> {
    to: HashMap<&'a str, Led>,
    /// What is said of alerts that nobody receives.
    pub dropped: Option<String>,
    /// Services that probe others by themselves, by their names: Uptime Kuma, Gatus.
    pub probers: Vec<&'a str>,
}

#[derive(Clone, Copy, Default)]
pub struct Led {
    pub all: usize,
    pub without_reason: usize,
    /// Let everything through, and give no reason.
    pub wide_open: usize,
}

impl<'a> Flows<'a> {
    pub fn of(parsed: &'a Parsed) -> Flows<'a> {
        let probers = parsed.placements.iter().filter(|placement| crate::check::is_prober(parsed, placement));
        let mut flows = Flows {
            dropped: crate::check::says(parsed, "LW-PLT-016"),
            probers: probers.map(|placement| placement.service.as_str()).collect(),
            ..Flows::default()
        };
        for flow in parsed.lab.network.flows.iter() {
            let any = |traffic: &labwright_model::units::Traffic| *traffic == labwright_model::units::Traffic::Any;
            let wide = flow.allow.is_empty() || flow.allow.iter().any(|allow| any(allow));
            for to in flow.to.iter() {
                let led = flows.to.entry(bare(to)).or_default();
                led.all += 1;
                led.without_reason += usize::from(flow.because.is_none());
                led.wide_open += usize::from(wide && flow.because.is_none());
            }
        }
        flows
    }

    /// The flows that lead to any of these ends.
    pub fn to<'n>(&self, ends: impl IntoIterator<Item = &'n str>) -> Led {
        let found = ends.into_iter().filter_map(|end| self.to.get(end));
        found.fold(Led::default(), |sum, led| Led {
            all: sum.all + led.all,
            without_reason: sum.without_reason + led.without_reason,
            wide_open: sum.wide_open + led.wide_open,
        })
    }
}

/// A flow's end without its kind.
fn bare(end: &str) -> &str {
    ["zone/", "host/", "service/"].iter().find_map(|prefix| end.strip_prefix(prefix)).unwrap_or(end)
}
