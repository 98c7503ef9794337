//! What `status`, `logs` and `exec` have in common: which parts are meant, and the ways to where they run.

use std::collections::BTreeSet;

use labwright_engine::Target;
use labwright_model::{Parsed, Severity};
use labwright_plan::{Part, Selection};

use crate::error::CliError;
use crate::lab::{self, LabOption, PROVIDERS, SshArgs};
use crate::render::findings::count;
use crate::terminal::Terminal;

/// A lab that is looked into. One with mistakes will do: whoever is in trouble may be in the middle of an edit.
pub struct Looked {
    pub parsed: Parsed,
    pub parts: Vec<Part>,
}

pub fn read(lab: &LabOption, terminal: &Terminal) -> Result<Looked, CliError> {
    let read = lab::read(&lab.arg())?;
    let errors = read.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        terminal.warn(&format!(
            "the lab contradicts itself in {}; what it says is taken as it stands",
            count(errors, "place")
        ));
        terminal.hint("`labwright check` shows them");
    }
    let parts = PROVIDERS.iter().flat_map(|provider| provider.parts(&read.parsed)).collect();
    Ok(Looked { parsed: read.parsed, parts })
}

impl Looked {
    /// The ways to the hosts of these parts.
    pub fn targets(&self, parts: &[Part], ssh: &SshArgs) -> Result<Vec<Target>, CliError> {
        let hosts: BTreeSet<String> = parts.iter().map(|part| part.id.host().to_string()).collect();
        lab::ways(&self.parsed, &hosts, ssh)
    }

    /// The parts of a service by `SERVICE`, `SERVICE@ENVIRONMENT`, and either with `/CONTAINER`.
    pub fn named(&self, name: &str) -> Result<Vec<Part>, CliError> {
        let (service, container) = name.split_once('/').map_or((name, None), |(service, one)| (service, Some(one)));
        let of_service: Vec<&Part> = self.parts.iter().filter(|part| is_called(part, service)).collect();
        if of_service.is_empty() {
            return Err(self.unknown(service));
        }
        let meant = of_service.iter().filter(|part| container.is_none_or(|c| part.name == c || part.id.name() == c));
        let meant: Vec<Part> = meant.map(|part| (*part).clone()).collect();
        if meant.is_empty() {
            let all: BTreeSet<&str> = of_service.iter().map(|part| part.name.as_str()).collect();
            let all: Vec<&str> = all.into_iter().collect();
            let message = format!("`{service}` has no container `{}`", container.unwrap_or_default());
            return Err(CliError::usage(message).hint(format!("it has {}", all.join(", "))));
        }
        Ok(meant)
    }

    fn unknown(&self, service: &str) -> CliError {
        let bare = service.split('@').next().unwrap_or(service);
        if let Some(placement) = self.parsed.placements.iter().find(|placement| placement.service == bare) {
            let why = not_looked_at(&self.parsed, placement);
            if service != bare && why.is_none() {
                let known: Vec<&str> = self
                    .parsed
                    .placements
                    .iter()
                    .filter(|placement| placement.service == bare)
                    .filter_map(|placement| placement.environment.as_deref())
                    .collect();
                let error = CliError::usage(format!("`{bare}` is not placed as `{service}`"));
                return match known.is_empty() {
                    true => error.hint(format!("it has no environments: write `{bare}`")),
                    false => error.hint(format!("it is placed in {}", known.join(", "))),
                };
            }
            let why = why.unwrap_or_else(|| "nothing of it runs on a host of this lab".into());
            return CliError::usage(format!("`{bare}` cannot be looked into: {why}"));
        }
        let known: BTreeSet<&str> = self.parts.iter().map(|part| part.service.as_str()).collect();
        let error = CliError::usage(format!("no service of this lab is called `{service}`"));
        match known.is_empty() {
            true => error.hint("no service of this lab runs on a host of it"),
            false => error.hint(format!("there are {}", known.into_iter().collect::<Vec<_>>().join(", "))),
        }
    }
}

/// A time ago, or a time, in nanoseconds since 1970.
pub fn ago(text: &str) -> Result<i64, String> {
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let wrong =
                || "a time ago such as `10m`, `2h` or `1d`, or a time such as `2026-11-20T14:00:00Z`".to_string();
            let span: jiff::Span = text.parse().map_err(|_| wrong())?;
            let ago = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
            labwright_engine::now().checked_sub(ago.abs()).map_err(|_| wrong())?
        }
    };
    i64::try_from(at.as_nanosecond()).map_err(|_| "a time of this century".to_string())
}

/// `wiki`, `wiki@dev`
pub fn address(part: &Part) -> String {
    match &part.environment {
        Some(environment) => format!("{}@{environment}", part.service),
        None => part.service.clone(),
    }
}

fn is_called(part: &Part, service: &str) -> bool {
    part.service == service || address(part) == service
}

/// Whether a pattern means a part: by its service, its container, its host, or any front of those; `*` is anything.
pub fn is_meant(part: &Part, pattern: &str) -> bool {
    let (host, name) = (part.id.host(), &part.name);
    [
        format!("{}/{name}", part.service),
        format!("{}/{name}", address(part)),
        format!("{host}/{}/{name}", part.service),
        format!("{host}/{}/{name}", address(part)),
    ]
    .iter()
    .any(|text| Selection::covers(pattern, text))
}

/// Why nobody looks at a service, where that is so.
pub fn not_looked_at(parsed: &Parsed, placement: &labwright_model::Placement) -> Option<String> {
    let entry = &placement.entry;
    if let Some(external) = &entry.external {
        let who = external.provider.as_ref().map(|provider| provider.value.as_str());
        return Some(who.map_or("someone else runs it".into(), |who| format!("{who} runs it")));
    }
    if let Some(built_in) = &entry.built_in {
        return Some(format!("its host's own configuration runs it: {}", built_in.value));
    }
    let runs = entry.compose.is_some() || !entry.containers.0.is_null() || entry.run.is_some();
    let known = entry.on.iter().any(|on| parsed.lab.compute.hosts.contains_key(&on.value));
    match () {
        () if !runs => Some("the lab does not say what it runs".into()),
        () if entry.on.is_empty() => Some("the lab does not say where it runs (`on:`)".into()),
        () if !known => Some("its host is not in the lab".into()),
        () => None,
    }
}
