//! `labwright reach`: whether one may open a connection to another, and what would turn it.

use labwright_plan::network::Matrix;
use labwright_plan::network::answer::{Answer, Nobody, Sought, somebody, target};
use serde_json::json;

use super::reading::{self, Format};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::network as words;
use crate::terminal::Terminal;

/// Tells whether FROM may open a connection to TO: by which flow, through which hops, and the nearest change that would
/// turn the answer. A service behind the reverse proxy is meant by its name there, unless a port is asked about.
///
/// Judged from the lab file; no packet is sent, and whether a machine is up is not known (`labwright rehearse` really
/// connects). Exits with 0 when it is allowed, with 3 when it is denied.
#[derive(clap::Args)]
pub struct Reach {
    /// Who opens it: a zone (any device in it), a host, a service (its hosts), an address, or `internet`.
    #[arg(value_name = "FROM")]
    from: String,
    /// Who takes it, with or without a port: `proxy-01:443`, `dns-01:53/udp`, `proxy-01:https`, `mon-01:icmp`.
    #[arg(value_name = "TO[:PORT]")]
    to: String,
    #[command(flatten)]
    lab: LabArg,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

impl Reach {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let matrix = Matrix::of(&parsed);
        let (name, asked) = target(&self.to).map_err(|why| refused(&self.to, why))?;
        let from = somebody(&matrix, &self.from, Sought::AtHome).map_err(|why| refused(&self.from, why))?;
        let sought = if asked.is_empty() { Sought::ByName } else { Sought::AtHome };
        let to = somebody(&matrix, name, sought).map_err(|why| refused(name, why))?;
        let answers: Vec<Answer> = from
            .iter()
            .flat_map(|from| to.iter().map(|to| matrix.answer(from, to, &asked)).collect::<Vec<_>>())
            .collect();
        let allowed = answers.iter().all(|answer| answer.allowed);
        match self.format {
            Format::Json => terminal.document(&json!({ "allowed": allowed, "answers": answers }))?,
            _ if self.json => terminal.document(&json!({ "allowed": allowed, "answers": answers }))?,
            Format::Markdown => terminal.data(&words::answers_markdown(&answers)),
            Format::Table => terminal.data(&words::answers(&answers, terminal.out_color, terminal.width)),
        }
        Ok(if allowed { Exit::Done } else { Exit::Findings })
    }
}

/// A name that is nobody, in words.
pub fn refused(name: &str, why: Nobody) -> CliError {
    match why {
        Nobody::Unknown { near } => {
            let error = CliError::usage(format!("nobody in the lab is named `{name}`"));
            match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("name a zone, a host, a service, an address, or `internet`"),
            }
        }
        Nobody::Ambiguous(ways) => {
            let ways: Vec<String> = ways.iter().map(|way| format!("`{way}`")).collect();
            CliError::usage(format!("`{name}` is the name of several things"))
                .hint(format!("write {}", ways.join(" or ")))
        }
        Nobody::Port { near } => {
            let error = CliError::usage(format!("`{name}` does not end with a port"));
            match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("write `HOST:443`, `HOST:53/udp`, `HOST:https` or `HOST:icmp`"),
            }
        }
        Nobody::Zoneless(interface) => CliError::usage(format!(
            "`{name}` is an address of WireGuard `{interface}`, and no zone of the lab is that VPN"
        ))
        .hint(format!("give it one: `network: {{ zones: {{ vpn: {{ subnet: …, interface: {interface} }} }} }}`")),
        Nobody::Homeless => CliError::usage(format!("`{name}` runs on no host of the lab"))
            .hint("a service that somebody else runs is on the internet: ask for `internet`"),
    }
}
