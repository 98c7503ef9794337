//! `labwright agent`: the host side, started over SSH by the tool itself.

use std::io;

use labwright_engine::agent::guard::{self, Fired};
use labwright_engine::protocol::Verdict;

use crate::error::{CliError, Exit};
use crate::lab::PROVIDERS;
use crate::terminal::Terminal;

/// The host side of a run, on standard input and output. Started by labwright itself.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Agent {
    /// Put back the secrets that a reboot took from memory, and end. Started at boot.
    #[arg(long)]
    unseal: bool,
    /// Take back this change, unless it was confirmed. Started by the host's own timer.
    #[arg(long, value_name = "TICKET", conflicts_with = "unseal")]
    revert: Option<String>,
    /// Wait first, for as long as the change may take to be confirmed.
    #[arg(long, requires = "revert")]
    watch: bool,
    /// The host starts: nothing has read anything yet.
    #[arg(long, requires = "revert", conflicts_with = "watch")]
    boot: bool,
    /// The connection that the agent was started over, as SSH tells it.
    #[arg(long, value_name = "CONNECTION", default_value = "")]
    via: String,
}

impl Agent {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        if self.unseal {
            let restored = labwright_engine::agent::unseal(PROVIDERS).map_err(|error| {
                CliError::new(Exit::Partly, format!("failed to unseal the secrets of this host: {}", error.message))
                    .hint(error.help)
            })?;
            terminal.say(&format!("{restored} of this host's secrets are in memory again"));
            return Ok(Exit::Done);
        }
        if let Some(ticket) = &self.revert {
            return self.take_back(ticket, terminal);
        }
        let out = io::BufWriter::with_capacity(1 << 16, io::stdout());
        let served = labwright_engine::agent::serve(io::stdin(), out, PROVIDERS, &self.via);
        served.map_err(|error| {
            CliError::new(Exit::Internal, format!("the other end of the link is not a labwright: {error}"))
        })?;
        Ok(Exit::Done)
    }

    fn take_back(&self, ticket: &str, terminal: &Terminal) -> Result<Exit, CliError> {
        let fired = match (self.watch, self.boot) {
            (true, _) => Fired::Watcher,
            (_, true) => Fired::Boot,
            _ => Fired::Timer,
        };
        match guard::fire(&labwright_engine::agent::state_dir(), ticket, fired) {
            Verdict::Reverted { because } => {
                terminal.say(&format!("taken back: {because}"));
                Ok(Exit::Done)
            }
            Verdict::Stuck { because } => {
                Err(CliError::new(Exit::Partly, format!("failed to take back a change: {because}"))
                    .hint("it is tried again at the next start of this host"))
            }
            Verdict::Confirmed | Verdict::Superseded | Verdict::Pending | Verdict::Unknown => {
                terminal.say("nothing is left to take back");
                Ok(Exit::Done)
            }
        }
    }
}
