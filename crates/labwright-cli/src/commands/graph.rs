//! `labwright graph`: the lab as a picture.

use labwright_plan::graph::{By, dot, graph, mermaid, svg};

use super::reading;
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::terminal::Terminal;

/// Draws the lab: by layer, by zone with the flows between them, or by what fails together.
///
/// Mermaid is what code forges and wikis draw, DOT what Graphviz draws; SVG is a picture that needs no other program.
#[derive(clap::Args)]
pub struct GraphCommand {
    #[command(flatten)]
    lab: LabArg,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Mermaid, value_name = "FORMAT")]
    format: Format,
    /// What boxes are grouped by.
    #[arg(long, value_enum, default_value_t = Group::Layer, value_name = "WHAT")]
    by: Group,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Mermaid,
    Dot,
    Svg,
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Group {
    /// The six layers: what stands on what.
    Layer,
    /// Zones: what may connect to what.
    Zone,
    /// Sites and failure domains: what fails together.
    Domain,
}

impl GraphCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let (by, what) = match self.by {
            Group::Layer => (By::Layer, "what stands on what"),
            Group::Zone => (By::Zone, "what may connect to what"),
            Group::Domain => (By::Domain, "what fails together"),
        };
        let graph = graph(&parsed, by);
        match self.format {
            Format::Json => terminal.document(&graph)?,
            _ if self.json => terminal.document(&graph)?,
            Format::Mermaid => terminal.data(&mermaid(&graph)),
            Format::Dot => terminal.data(&dot(&graph)),
            Format::Svg => terminal.data(&svg(&graph, &format!("Lab {}: {what}", parsed.lab.lab.value))),
        }
        Ok(Exit::Done)
    }
}
