//! `labwright flows`: who may open which connection to whom, why, and what enforces it.

use labwright_model::Parsed;
use labwright_plan::network::answer::{Sought, somebody};
use labwright_plan::network::flows::flows;
use labwright_plan::network::nft;
use labwright_plan::network::work_order::{markdown, work_order};
use labwright_plan::network::{Matrix, Party};

use super::reach::refused;
use super::reading::{self, Format};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::network as words;
use crate::terminal::Terminal;

/// Prints the matrix: every way that is open, by pairs of zones, with the flow or the need that it comes from.
///
/// What is not listed is denied, inside a zone too. Ways that something in the lab needs and that only a flow of their own
/// would open stand below, and so does what nothing enforces: a router that labwright does not set is given its rules as a
/// work order (`--export`).
#[derive(clap::Args)]
pub struct FlowsCommand {
    #[command(flatten)]
    lab: LabArg,
    /// Only what comes from here: a zone, a host, a service, an address, or `internet`.
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Only what leads here.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// The rules that a router needs which labwright does not set, as a work order.
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with_all = ["from", "to", "ruleset"])]
    export: Option<Export>,
    /// The ruleset that a host loads, as nftables reads it.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["from", "to", "json", "format"])]
    ruleset: Option<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Export {
    Markdown,
    Json,
}

impl FlowsCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let matrix = Matrix::of(&parsed);
        if let Some(host) = &self.ruleset {
            terminal.data(&ruleset(&parsed, &matrix, host)?);
            return Ok(Exit::Done);
        }
        match self.export {
            Some(Export::Json) => {
                terminal.document(&work_order(&matrix))?;
                return Ok(Exit::Done);
            }
            Some(Export::Markdown) if self.json => {
                terminal.document(&work_order(&matrix))?;
                return Ok(Exit::Done);
            }
            Some(Export::Markdown) => {
                terminal.data(&markdown(&work_order(&matrix)));
                return Ok(Exit::Done);
            }
            None => {}
        }
        let filter = |name: &Option<String>| name.as_deref().map(|name| one(&matrix, name)).transpose();
        let flows = flows(&matrix, filter(&self.from)?, filter(&self.to)?);
        match self.format {
            Format::Json => terminal.document(&flows)?,
            _ if self.json => terminal.document(&flows)?,
            Format::Markdown => terminal.data(&words::flows_markdown(&flows)),
            Format::Table => {
                terminal.data(&words::flows(&flows, terminal.out_color, terminal.width));
                terminal.say(&words::flows_summary(&flows));
                for hint in words::flows_hints(&flows) {
                    terminal.hint(&hint);
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn one(matrix: &Matrix<'_>, name: &str) -> Result<Party, CliError> {
    let found = somebody(matrix, name, Sought::AtHome).map_err(|why| refused(name, why))?;
    match found.as_slice() {
        [one] => Ok(one.party),
        _ => Err(CliError::usage(format!("`{name}` runs on several hosts")).hint("name one of the hosts")),
    }
}

fn ruleset(parsed: &Parsed, matrix: &Matrix<'_>, host: &str) -> Result<String, CliError> {
    nft::ruleset(matrix, host).ok_or_else(|| {
        let names = parsed.lab.compute.hosts.keys().map(String::as_str);
        let near = labwright_model::finding::nearest(host, names).map(|near| format!("did you mean `{near}`?"));
        CliError::usage(format!("there is no host `{host}`")).hint(near.unwrap_or_default())
    })
}
