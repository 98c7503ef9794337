//! `labwright status`: how services fare, everywhere, now.

use std::collections::{BTreeMap, BTreeSet};

use labwright_engine::Answers;
use labwright_engine::Fared;
use labwright_plan::{Part, ProviderError, Running, State};
use serde_json::json;

use super::looking::{self, Looked};
use crate::error::{CliError, Exit};
use crate::lab::{LabOption, PROVIDERS, SshArgs};
use crate::render::status as words;
use crate::terminal::Terminal;

/// Shows how services fare: containers and processes with their health, image, age and restarts.
///
/// Asks every host that runs any, all at once. What a host that does not answer runs is `unknown`. Exits with 7 when
/// something is not healthy (or not yet), with 6 when something could not be looked at.
#[derive(clap::Args)]
pub struct Status {
    /// Only these: a service, `SERVICE@ENVIRONMENT`, `SERVICE/CONTAINER`, or a host; `*` stands for anything.
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    lab: LabOption,
    #[command(flatten)]
    ssh: SshArgs,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// A service on one host.
#[derive(serde::Serialize)]
pub struct Row {
    pub service: String,
    pub environment: Option<String>,
    pub host: String,
    /// Whether all of it is well; `None` where nobody can say.
    pub well: Option<bool>,
    pub parts: Vec<Running>,
}

/// A service that nobody looks at.
#[derive(serde::Serialize)]
pub struct Beyond {
    pub service: String,
    pub environment: Option<String>,
    pub why: String,
}

impl Status {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let looked = looking::read(&self.lab, terminal)?;
        let meant = |part: &Part| self.patterns.iter().any(|pattern| looking::is_meant(part, pattern));
        let parts: Vec<Part> =
            looked.parts.iter().filter(|part| self.patterns.is_empty() || meant(part)).cloned().collect();
        if let Some(pattern) = self.patterns.iter().find(|pattern| !self.fits(&looked, pattern)) {
            return Err(CliError::usage(format!("no service and no host that runs any is called `{pattern}`"))
                .hint("`labwright inventory` lists both"));
        }
        let targets = looked.targets(&parts, &self.ssh)?;
        let answers = labwright_engine::running(&targets, &parts, PROVIDERS);
        let away: BTreeMap<String, ProviderError> =
            answers.iter().filter_map(|(host, answer)| Some((host.clone(), answer.as_ref().err()?.clone()))).collect();
        let clocks = answers.iter().filter_map(|(host, answer)| Some((host.clone(), answer.as_ref().ok()?.clock)));
        let clocks: BTreeMap<String, i64> = clocks.collect();
        let rows = rows(&parts, answers, self.patterns.is_empty());
        let beyond = beyond(&looked, &self.patterns);
        if self.json {
            terminal.document(&json!({ "services": rows, "not_looked_at": beyond, "away": away }))?;
        } else {
            terminal.data(&words::text(&rows, &beyond, &clocks, terminal.out_color));
            terminal.say(&words::summary(&rows));
        }
        for (host, error) in &away {
            terminal.warn(&format!("`{host}` could not be looked at: {}", error.message));
            if !error.help.is_empty() {
                terminal.hint(&error.help);
            }
        }
        let intermittent = |host: &str| looked.parsed.lab.compute.hosts.get(host).is_some_and(|host| host.intermittent);
        let open = |row: &Row| row.well.is_none() && !(away.contains_key(&row.host) && intermittent(&row.host));
        Ok(match () {
            () if rows.iter().any(|row| row.well == Some(false)) => Exit::Unhealthy,
            () if rows.iter().any(open) => Exit::Unreachable,
            () => Exit::Done,
        })
    }

    /// A pattern that fits nothing is a typing error.
    fn fits(&self, looked: &Looked, pattern: &str) -> bool {
        looked.parts.iter().any(|part| looking::is_meant(part, pattern))
            || looked.parsed.placements.iter().any(|placement| placement.service == pattern)
    }
}

fn rows(parts: &[Part], answers: Answers<Fared>, leftovers: bool) -> Vec<Row> {
    let mut rows: BTreeMap<(String, Option<String>, String), Vec<Running>> = BTreeMap::new();
    for (host, answer) in answers {
        let here: Vec<&Part> = parts.iter().filter(|part| part.id.host() == host).collect();
        let running = match answer {
            Ok(fared) => fared.running,
            Err(_) => here.iter().map(|part| Running::of(part, State::Unknown)).collect(),
        };
        for one in running.into_iter().filter(|one| one.declared || leftovers) {
            rows.entry((one.service.clone(), one.environment.clone(), host.clone())).or_default().push(one);
        }
    }
    let row = |((service, environment, host), mut parts): ((String, Option<String>, String), Vec<Running>)| {
        parts.sort_by(|a, b| (!a.declared, &a.part, &a.name).cmp(&(!b.declared, &b.part, &b.name)));
        let all: BTreeSet<Option<bool>> = parts.iter().map(Running::is_well).collect();
        let well = match () {
            () if all.contains(&Some(false)) => Some(false),
            () if all.contains(&None) => None,
            () => Some(true),
        };
        Row { service, environment, host, well, parts }
    };
    rows.into_iter().map(row).collect()
}

fn beyond(looked: &Looked, patterns: &[String]) -> Vec<Beyond> {
    let meant = |service: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern == service);
    let placements = looked.parsed.placements.iter().filter(|placement| meant(&placement.service));
    let one = |placement: &labwright_model::Placement| {
        let why = looking::not_looked_at(&looked.parsed, placement)?;
        Some(Beyond { service: placement.service.clone(), environment: placement.environment.clone(), why })
    };
    placements.filter_map(one).collect()
}
