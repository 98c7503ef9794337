//! `labwright explain`: what a finding means, an example, the way out.

use labwright_plan::check;

use crate::error::{CliError, Exit};
use crate::render::table;
use crate::terminal::Terminal;

/// Tells what a finding means, with an example and the way out.
#[derive(clap::Args)]
pub struct Explain {
    /// The code of a finding, such as LW-NET-001; without it, all codes are listed.
    code: Option<String>,
}

impl Explain {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let Some(code) = self.code else {
            let rows: Vec<Vec<String>> =
                check::titles().into_iter().map(|(code, title)| vec![code.into(), title.into()]).collect();
            terminal.data(&table::text(&["CODE", "FINDS"], &rows));
            return Ok(Exit::Done);
        };
        let Some(page) = check::explain(&code) else {
            let codes = check::all_codes();
            let near = labwright_model::finding::nearest(&code.to_ascii_uppercase(), codes.iter().copied());
            let error = CliError::usage(format!("there is no finding `{code}`"));
            return Err(error.hint(
                near.map_or("`labwright explain` lists all codes".into(), |near| format!("did you mean `{near}`?")),
            ));
        };
        terminal.data(&page);
        Ok(Exit::Done)
    }
}
