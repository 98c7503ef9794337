//! `labwright update`: lets images go that are held to a digest, so that the next plan shows what their tags stand for now.

use labwright_providers::docker;
use labwright_providers::docker::lock;

use crate::error::{CliError, Exit};
use crate::lab::{self, LabOption};
use crate::terminal::Terminal;

/// Lets go of the digests that `lab.lock` holds images to. Changes nothing on any host: the next `plan` shows what would.
#[derive(clap::Args)]
pub struct Update {
    /// Images as the lab names them; all of them when none is named.
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    lab: LabOption,
}

impl Update {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let read = lab::read(&self.lab.arg())?;
        let none =
            || CliError::usage("no image is held to a digest").hint("the first `labwright apply` writes `lab.lock`");
        let path = docker::assets(&read.parsed).pop().ok_or_else(none)?;
        let content = std::fs::read(&path).map_err(|_| none())?;
        let before = lock::read(&content).map_err(|why| CliError::usage(format!("cannot read `{path}`: {why}")))?;
        if let Some(unknown) = self.images.iter().find(|image| !before.images.contains_key(*image)) {
            let held: Vec<&str> = before.images.keys().map(String::as_str).collect();
            return Err(CliError::usage(format!("`{unknown}` is not held to a digest"))
                .hint(format!("`{path}` holds {}", held.join(", "))));
        }
        if let Some(after) = lock::without(&before, &self.images) {
            let new = format!("{path}.new");
            std::fs::write(&new, after)
                .and_then(|()| std::fs::rename(&new, &path))
                .map_err(|error| CliError::usage(format!("cannot write `{path}`: {error}")))?;
        }
        for image in before.images.keys().filter(|image| self.images.is_empty() || self.images.contains(image)) {
            terminal.data(&format!("let go: {image}\n"));
        }
        terminal.hint("`labwright plan` shows what their tags stand for now");
        Ok(Exit::Done)
    }
}
