//! `labwright dns`: the lab's names, as its resolvers serve them. One file a verb.

mod export;

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
    Export(export::Export),
}

impl DnsCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Export(verb) => verb.run(terminal),
        }
    }
}
