//! `labwright check`: every finding, offline.

use std::time::{Duration, Instant};

use labwright_model::Severity;
use labwright_model::units::Date;
use labwright_plan::check::{self, Case};

use crate::error::{CliError, Exit};
use crate::lab::{LabArg, Read, of_containers, parse_as_of};
use crate::render::findings::{self, count};
use crate::terminal::Terminal;

/// Finds contradictions, offline: no host, clock or environment is asked.
///
/// Exits with 3 when a finding is at or above the threshold of `--deny`.
#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    lab: LabArg,
    /// The mildest severity that fails the check.
    #[arg(long, value_enum, default_value_t = Deny::Error, value_name = "SEVERITY")]
    deny: Deny,
    /// Judge dates too, as of this day (`2026-11-01`): which offline copies are overdue. Without it no date is judged.
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Say on stderr how long each rule took, the slowest first; `bench/check.py` reads it.
    #[arg(long, hide = true)]
    timings: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Deny {
    Error,
    Warning,
    Advice,
}

impl Check {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let lab = self.judged(terminal)?;
        let deny = match self.deny {
            Deny::Error => Severity::Error,
            Deny::Warning => Severity::Warning,
            Deny::Advice => Severity::Advice,
        };
        let denied = lab.findings.iter().any(|finding| finding.severity >= deny);
        if self.json {
            terminal.document(&findings::json(&lab.findings, &lab.parsed))?;
        } else {
            terminal.data(&findings::text(&lab.findings, &lab.parsed, terminal.out_color, terminal.width));
            let of = |severity| lab.findings.iter().filter(|finding| finding.severity == severity).count();
            let hosts = count(lab.parsed.lab.compute.hosts.len(), "host");
            let services = count(lab.parsed.lab.services.len(), "service");
            let counts = match lab.findings.len() {
                0 => "nothing to say".to_string(),
                _ => format!(
                    "{}, {}, {} advice",
                    count(of(Severity::Error), "error"),
                    count(of(Severity::Warning), "warning"),
                    of(Severity::Advice)
                ),
            };
            // A name that nobody could read is none to call it by.
            let name = match lab.parsed.incomplete && !lab.parsed.is_said(&["lab"]) {
                true => "what could be read of the lab,".to_string(),
                false => format!("lab `{}`", lab.parsed.lab.lab.value),
            };
            terminal.say(&format!("{name} with {hosts} and {services}: {counts}"));
            if let Some(first) = lab.findings.first() {
                terminal.hint(&format!("`labwright explain {}` tells what a finding means", first.code));
            }
        }
        // The process ends: a large lab is given back whole, not leaf by leaf.
        std::mem::forget(lab);
        Ok(if denied { Exit::Findings } else { Exit::Done })
    }

    fn judged(&self, terminal: &Terminal) -> Result<Read, CliError> {
        let parsed = parse_as_of(&self.lab, self.as_of)?;
        let (case, of_containers) = (Case::of(&parsed), of_containers(&parsed));
        if !self.timings {
            let findings = check::judge_with(&case, of_containers);
            drop(case);
            return Ok(Read { parsed, findings });
        }
        let mut spent: Vec<(Duration, &str)> = Vec::new();
        let findings = check::judge_watched(&case, of_containers, &mut |code, judge| {
            let begun = Instant::now();
            judge();
            spent.push((begun.elapsed(), code));
        });
        spent.sort_unstable_by(|a, b| b.cmp(a));
        for (time, code) in spent {
            terminal.say(&format!("{code}\t{:.3} ms", time.as_secs_f64() * 1e3));
        }
        drop(case);
        Ok(Read { parsed, findings })
    }
}
