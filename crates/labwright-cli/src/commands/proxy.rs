//! `labwright proxy`: the doors of the lab, for other proxies and for a look.

use labwright_daemons::proxy::export;
use labwright_model::snapshot;

use crate::error::{CliError, Exit};
use crate::lab::{LabArg, read};
use crate::terminal::Terminal;

/// The lab's doors: what its reverse proxy does, for another proxy to do.
#[derive(clap::Args)]
pub struct Proxy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Export(Export),
}

/// Prints the doors as the configuration of another proxy. Pure: no host is asked, and no secret is in it.
#[derive(clap::Args)]
struct Export {
    /// Whose configuration.
    #[arg(value_enum, value_name = "PROXY")]
    to: To,
    #[command(flatten)]
    lab: LabArg,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum To {
    /// A Caddyfile.
    Caddy,
    /// A file for Traefik's file provider.
    Traefik,
    /// Labwright's own snapshot, as the daemon gets it.
    Snapshot,
}

impl Proxy {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Export(export) => export.run(terminal),
        }
    }
}

impl Export {
    fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let lab = read(&self.lab)?;
        let host = host(&lab.parsed)?;
        let proxy = snapshot::proxy::proxy(&lab.parsed, &host);
        match self.to {
            To::Caddy => terminal.data(&export::caddy(&proxy)),
            To::Traefik => terminal.data(&export::traefik(&proxy)),
            To::Snapshot => terminal.json(&proxy)?,
        }
        Ok(Exit::Done)
    }
}

/// The first host that runs the lab's proxy.
pub fn host(parsed: &labwright_model::Parsed) -> Result<String, CliError> {
    let none = || {
        CliError::usage("this lab has no reverse proxy that Labwright leads names through")
            .hint("name the host that runs it: `platform: { reverse_proxy: HOST }`")
    };
    let proxy = snapshot::proxy::routed(parsed).ok_or_else(none)?;
    proxy.on.first().map(|on| on.value.clone()).ok_or_else(none)
}
