//! `labwright vpn`: what people need who come in over the lab's VPN. A file for each verb.

mod client;
mod tailscale_acl;

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// The lab's VPN, as its devices see it.
#[derive(clap::Args)]
pub struct Vpn {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Client(client::ClientCommand),
    TailscaleAcl(tailscale_acl::TailscaleAcl),
}

impl Vpn {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Client(verb) => verb.run(terminal),
            Verb::TailscaleAcl(verb) => verb.run(terminal),
        }
    }
}
