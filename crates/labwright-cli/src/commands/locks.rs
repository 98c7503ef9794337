//! `labwright locks`: who works on the lab where, and a safe way to end a holder that hangs.

use labwright_engine::{break_leases, leases};

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
    /// End the holder on this host. Safe: a run that is ended anywhere leaves a state that the next one goes on from.
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
        let answers = match self.host {
            Some(_) => break_leases(ready.name(), &targets, PROVIDERS),
            None => leases(ready.name(), &targets, PROVIDERS),
        };
        lab::sweep();
        let unreachable = answers.iter().any(|(_, answer)| answer.is_err());
        if self.json {
            let one = |(host, answer): &(String, Result<_, labwright_plan::ProviderError>)| match answer {
                Ok(lease) => serde_json::json!({ "host": host, "lease": lease }),
                Err(error) => serde_json::json!({ "host": host, "error": error }),
            };
            terminal.json(&serde_json::json!({ "locks": answers.iter().map(one).collect::<Vec<_>>() }))?;
        } else {
            let row = |(host, answer): &(
                String,
                Result<Option<labwright_engine::protocol::Lease>, labwright_plan::ProviderError>,
            )| match answer {
                Ok(None) => vec![host.clone(), "-".into(), "-".into(), "free".into()],
                Ok(Some(lease)) => {
                    let word = if self.host.is_some() { "ended" } else { "held" };
                    vec![
                        host.clone(),
                        lease.run.by.clone(),
                        format!("{} s", lease.age),
                        format!("{word}, run {}", lease.run.id),
                    ]
                }
                Err(error) => vec![host.clone(), "-".into(), "-".into(), error.message.clone()],
            };
            terminal.data(&table::text(&["HOST", "WHO", "AGE", "STATE"], &answers.iter().map(row).collect::<Vec<_>>()));
        }
        Ok(if unreachable { Exit::Unreachable } else { Exit::Done })
    }
}
