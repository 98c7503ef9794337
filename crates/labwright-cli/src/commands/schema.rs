//! `labwright schema`: the JSON Schema of the lab file, for editors.

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// Prints the JSON Schema of the lab file.
///
/// Save it beside the lab file and name it in the first line, so that an editor completes and explains every key:
/// `# yaml-language-server: $schema=lab.schema.json`
#[derive(clap::Args)]
pub struct SchemaCommand {}

impl SchemaCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        terminal.json(&labwright_model::schema())?;
        Ok(Exit::Done)
    }
}
