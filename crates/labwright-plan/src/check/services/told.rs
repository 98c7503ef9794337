//! How findings speak of services: their names in a sentence, their places, and one finding for several of them.

use labwright_model::lab::Tier;
use labwright_model::{Finding, Parsed, Placement, Severity, Span};

/// Further places that one finding names.
const RELATED: usize = 5;

/// "`a`", "`a` and `b`", "`a`, `b`, `c` and 3 more".
pub fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.len() {
        0..=3 => all_of(&quoted),
        more => format!("{} and {} more", quoted[..3].join(", "), more - 3),
    }
}

/// "service `a`", "services `a` and `b`".
pub fn services(names: &[&str]) -> String {
    let noun = if names.len() == 1 { "service" } else { "services" };
    format!("{noun} {}", quoted(names))
}

/// "a", "a and b", "a, b and c".
pub fn all_of(parts: &[String]) -> String {
    match parts {
        [some @ .., last] if !some.is_empty() => format!("{} and {last}", some.join(", ")),
        all => all.concat(),
    }
}

/// Each name once, in the order of the file.
pub fn distinct<'a>(placements: impl IntoIterator<Item = &'a Placement>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for placement in placements {
        // A service's placements follow one another.
        if names.last() != Some(&placement.service.as_str()) {
            names.push(&placement.service);
        }
    }
    names
}

pub fn is_production(placement: &Placement) -> bool {
    placement.entry.tier == Tier::Production
}

/// A finding that is milder where nobody relies on what it is about.
pub fn at_tier(production: bool, finding: Finding) -> Finding {
    let milder = match finding.severity {
        Severity::Error => Severity::Warning,
        Severity::Warning | Severity::Advice => Severity::Advice,
    };
    Finding { severity: if production { finding.severity } else { milder }, ..finding }
}

/// Where a service is named.
pub fn place(parsed: &Parsed, service: &str) -> Span {
    parsed.lab.services.get(service).map_or(Span::NONE, |service| service.span)
}

/// Where a part of a placed service is said: by its environment, or by the service itself.
pub fn place_in(parsed: &Parsed, placement: &Placement, path: &[&str]) -> Span {
    let service = ["services", placement.service.as_str()];
    if let ["containers", rest @ ..] = path
        && let Some(span) = parsed.in_project(placement, rest)
    {
        return span;
    }
    if let (Some(environment), Some(first)) = (&placement.environment, path.first()) {
        let own = [&service[..], &["environments", environment]].concat();
        if parsed.span_of(&[&own[..], &[*first]].concat()) != parsed.span_of(&own) {
            return parsed.span_of(&[&own[..], path].concat());
        }
    }
    let span = parsed.span_of(&[&service[..], path].concat());
    if span.is_none() { place(parsed, &placement.service) } else { span }
}

/// Several places with one fault, as one finding: it stands at the first and points to the others. What is accepted at its
/// own line has a finding of its own, so that accepting one thing accepts nothing else.
pub fn fold<'a>(
    parsed: &Parsed,
    code: &str,
    all: &[(&'a str, Span)],
    also: &str,
    finding: impl Fn(&[&'a str], Span) -> Finding,
) -> Vec<Finding> {
    let allows: Vec<(u32, usize)> =
        parsed.allows.iter().filter(|allow| allow.code == code).map(|allow| (allow.span.file, allow.line)).collect();
    let is_accepted = |span: Span| {
        !allows.is_empty() && parsed.place(span).is_some_and(|place| allows.contains(&(span.file, place.line)))
    };
    let (accepted, open): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(_, span)| is_accepted(*span));
    let mut findings: Vec<Finding> = accepted.iter().map(|(name, span)| finding(&[*name], *span)).collect();
    if let Some(((_, span), others)) = open.split_first() {
        let names: Vec<&str> = open.iter().map(|(name, _)| *name).collect();
        let mut folded = finding(&names, *span);
        for (_, span) in others.iter().take(RELATED) {
            folded = folded.related(*span, also);
        }
        findings.push(folded);
    }
    findings
}

/// Services with their places, each once.
pub fn places<'a>(parsed: &Parsed, names: &[&'a str]) -> Vec<(&'a str, Span)> {
    names.iter().map(|name| (*name, place(parsed, name))).collect()
}
