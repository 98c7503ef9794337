//! `labwright vpn tailscale-acl`: the tailnet's access policy, from the same flows as every firewall.

use labwright_plan::network::{Matrix, tailscale};

use crate::commands::reading;
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::terminal::Terminal;

/// Prints the access policy of the lab's tailnet, as its admin console takes it.
///
/// People of the tailnet may what the VPN's zone may; each host that joins has a tag of its own name, and the other hosts are
/// named by their addresses, for whoever routes to them. What no flow allows is denied.
#[derive(clap::Args)]
pub struct TailscaleAcl {
    #[command(flatten)]
    lab: LabArg,
}

impl TailscaleAcl {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let policy = tailscale::policy(&Matrix::of(&parsed))
            .ok_or_else(|| CliError::usage("the lab has no tailnet").hint("declare it: `edge: { vpn: tailscale }`"))?;
        terminal.json(&policy)?;
        Ok(Exit::Done)
    }
}
