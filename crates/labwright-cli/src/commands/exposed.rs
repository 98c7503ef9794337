//! `labwright exposed`: everything that strangers can reach.

use labwright_plan::network::Matrix;
use labwright_plan::network::exposed::exposed;
use serde_json::json;

use super::reading::{self, Format};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::network as words;
use crate::terminal::Terminal;

/// Tells everything that can be reached from the internet, over the VPN, and by guests and devices; and why.
///
/// Judged from the lab file. A tunnel is on the list although nothing listens for it: it goes out, and the internet comes
/// in through it.
#[derive(clap::Args)]
pub struct ExposedCommand {
    #[command(flatten)]
    lab: LabArg,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

impl ExposedCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let matrix = Matrix::of(&parsed);
        let exposed = exposed(&matrix);
        match self.format {
            Format::Json => terminal.document(&json!({ "exposed": exposed }))?,
            _ if self.json => terminal.document(&json!({ "exposed": exposed }))?,
            Format::Markdown => terminal.data(&words::exposed_markdown(&exposed)),
            Format::Table => terminal.data(&words::exposed(&exposed, terminal.out_color, terminal.width)),
        }
        Ok(Exit::Done)
    }
}
