//! `labwright secret generate`: makes every declared secret that is not there yet.

use std::collections::BTreeMap;

use labwright_secrets::generate::{self, Given, Made};

use super::keeper::Keeper;
use super::{Common, ask_value, generators};
use crate::error::{CliError, Exit};
use crate::render::findings::count;
use crate::secrets;
use crate::terminal::Terminal;

/// Makes the secrets that `platform.secrets.generate` declares and the store does not hold. What is there is kept.
#[derive(clap::Args)]
pub struct GenerateCommand {
    #[command(flatten)]
    common: Common,
}

impl GenerateCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        let specs = generators(&parsed);
        if specs.is_empty() {
            let error = CliError::usage("the lab declares nothing to generate");
            return Err(error.hint("for example: `platform: { secrets: { generate: { db_password: password } } }`"));
        }
        let mut keeper = self.common.keeper(&parsed, terminal)?;
        let made = missing(&specs, keeper.as_ref())?;
        if made.is_empty() {
            terminal
                .say(&format!("nothing to make: {} declared, and nothing is missing", count(specs.len(), "secret")));
            return Ok(Exit::Done);
        }
        for (name, made) in &made {
            keeper.put(name, made)?;
        }
        keeper.save()?;
        let names = made.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        terminal.say(&format!("made {names} in {}", keeper.shown()));
        Ok(Exit::Done)
    }
}

fn missing(
    specs: &BTreeMap<String, generate::Generator>,
    keeper: &dyn Keeper,
) -> Result<BTreeMap<String, Made>, CliError> {
    let existing = |name: &str| keeper.get(name).ok();
    let publics = |name: &str| keeper.publics(name);
    let mut prompt = |name: &str, message: &str| ask_value(name, message);
    let mut given = Given { existing: &existing, publics: &publics, prompt: &mut prompt };
    generate::missing(specs, &mut given, &mut rand::rng(), labwright_engine::now()).map_err(secrets::error)
}
