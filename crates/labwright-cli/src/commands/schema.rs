//! `labwright schema`: the JSON Schema of the lab file, for editors; and of what `--json` prints, for programs.

use clap::builder::PossibleValuesParser;

use crate::error::{CliError, Exit};
use crate::schemas;
use crate::terminal::Terminal;

/// Prints the JSON Schema of the lab file, or of what a command prints with `--json`.
///
/// Save the lab file's beside the lab file and name it in the first line, so that an editor completes and explains every
/// key: `# yaml-language-server: $schema=lab.schema.json`
#[derive(clap::Args)]
pub struct SchemaCommand {
    /// The lab file, or a document by its name; `events` is one line of `apply --json`.
    #[arg(value_name = "OF", default_value = LAB, value_parser = of())]
    of: String,
}

/// The name of the lab file's own schema.
const LAB: &str = "lab";

fn of() -> PossibleValuesParser {
    PossibleValuesParser::new(std::iter::once(LAB).chain(schemas::NAMES))
}

impl SchemaCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        terminal.json(&schemas::schema(&self.of).unwrap_or_else(labwright_model::schema))?;
        Ok(Exit::Done)
    }
}
