//! `labwright locks`: who works on the lab where, and a safe way to end a holder that hangs.

use labwright_engine::protocol::{Broken, Lease};
use labwright_engine::{Answers, break_leases, leases};
use labwright_plan::ProviderError;
use serde_json::{Value, json};

use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg, PROVIDERS, SshArgs};
use crate::render::table;
use crate::terminal::Terminal;

/// Lists who is applying this lab on which host, and since when.
#[derive(clap::Args)]
pub struct Locks {
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    ssh: SshArgs,
    /// End the holder on this host, and look whether it is gone; exits with 5 when it is not. Safe: a run that is ended
    /// anywhere leaves a state that the next one goes on from.
    #[arg(long = "break", value_name = "HOST")]
    host: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl Locks {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let ready = lab::ready(&self.lab, terminal)?;
        let targets = ready.targets(&self.ssh, true, |host| self.host.as_deref().is_none_or(|only| only == host))?;
        if let (Some(host), true) = (&self.host, targets.is_empty()) {
            return Err(CliError::usage(format!("`{host}` is not a host of this lab that can be reached")));
        }
        let rows = match self.host {
            Some(_) => rows(break_leases(ready.name(), &targets, PROVIDERS), broken),
            None => rows(leases(ready.name(), &targets, PROVIDERS), held),
        };
        if self.json {
            let locks: Vec<&Value> = rows.iter().map(|row| &row.json).collect();
            terminal.document(&json!({ "locks": locks }))?;
        } else {
            let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells.clone()).collect();
            terminal.data(&table::text(&["HOST", "WHO", "AGE", "STATE"], &cells));
        }
        for row in &rows {
            if let Some((host, lease)) = &row.stayed {
                terminal
                    .warn(&format!("the holder on `{host}` did not end: process {}, run {}", lease.pid, lease.run.id));
                terminal.hint(&format!(
                    "look at it there: `ps -fp {}`; nothing is applied while it holds the lab",
                    lease.pid
                ));
            }
        }
        Ok(match () {
            () if rows.iter().any(|row| row.stayed.is_some()) => Exit::Partly,
            () if rows.iter().any(|row| row.unreachable) => Exit::Unreachable,
            () => Exit::Done,
        })
    }
}

/// One host, as a table and as JSON show it.
#[derive(Default)]
struct Row {
    cells: Vec<String>,
    json: Value,
    /// A holder that was to be ended and is still there.
    stayed: Option<(String, Lease)>,
    unreachable: bool,
}

fn rows<T>(answers: Answers<T>, row: impl Fn(String, T) -> Row) -> Vec<Row> {
    let one = |(host, answer): (String, Result<T, ProviderError>)| match answer {
        Ok(answer) => row(host, answer),
        Err(error) => Row {
            cells: vec![host.clone(), "-".into(), "-".into(), error.message.clone()],
            json: json!({ "host": host, "error": error }),
            unreachable: true,
            ..Row::default()
        },
    };
    answers.into_iter().map(one).collect()
}

fn cells(host: &str, lease: Option<&Lease>, state: &str) -> Vec<String> {
    match lease {
        None => vec![host.to_string(), "-".into(), "-".into(), state.to_string()],
        Some(lease) => vec![
            host.to_string(),
            lease.run.by.clone(),
            format!("{} s", lease.age),
            format!("{state}, run {}", lease.run.id),
        ],
    }
}

fn held(host: String, lease: Option<Lease>) -> Row {
    let state = if lease.is_some() { "held" } else { "free" };
    Row { cells: cells(&host, lease.as_ref(), state), json: json!({ "host": host, "lease": lease }), ..Row::default() }
}

fn broken(host: String, broken: Broken) -> Row {
    let ended = broken.is_ended();
    let state = match (&broken.was, &broken.now) {
        (None, _) => "free".to_string(),
        (Some(_), None) => "ended, and gone".to_string(),
        (Some(_), Some(now)) if ended => format!("ended; {} holds it now", now.run.by),
        (Some(_), Some(_)) => "not ended, and still held".to_string(),
    };
    Row {
        cells: cells(&host, broken.was.as_ref(), &state),
        json: json!({ "host": host, "lease": broken.was, "ended": ended, "now": broken.now }),
        stayed: broken.now.filter(|_| !ended).map(|lease| (host, lease)),
        unreachable: false,
    }
}
