//! `labwright dns`: the lab's names, as its resolvers serve them. One file a verb.

mod export;
mod pause;
mod queries;
mod resolvers;
mod status;

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// The lab's names, as its resolvers serve them.
#[derive(clap::Args)]
pub struct DnsCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Status(status::Status),
    Queries(queries::Queries),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Refresh(pause::Refresh),
    Export(export::Export),
}

impl DnsCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Status(verb) => verb.run(terminal),
            Verb::Queries(verb) => verb.run(terminal),
            Verb::Pause(verb) => verb.run(terminal),
            Verb::Resume(verb) => verb.run(terminal),
            Verb::Refresh(verb) => verb.run(terminal),
            Verb::Export(verb) => verb.run(terminal),
        }
    }
}
