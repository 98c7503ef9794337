//! `labwright supervise`: the processes behind `labwright up`, started by it.

use std::path::PathBuf;
use std::sync::Arc;

use labwright_daemons::up::{Beside, Folder, Start, guard, reach, supervise};
use labwright_server::Setting;

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;
use crate::up::take_containers_away;

/// Runs what `labwright up` hands over on standard input. Started by it, not by hand.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Supervise {
    /// The folder of the lab on this machine.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Be the process above the supervisor.
    #[arg(long)]
    guard: bool,
}

impl Supervise {
    pub fn run(self, _: &Terminal) -> Result<Exit, CliError> {
        let folder = Folder::at(&self.folder);
        let ended = match self.guard {
            true => {
                let arguments = ["supervise", "--folder", &self.folder.to_string_lossy()].map(str::to_string);
                guard(&folder, &arguments, &|| drop(take_containers_away(&folder)))
            }
            false => supervise(&folder, |start| beside(&folder, start), &|stacks, secrets, tell| {
                labwright_providers::docker::up::attend(stacks, secrets, folder.path(), tell)
            }),
        };
        ended.map_err(|error| CliError::new(Exit::Internal, error.message).hint(error.help))?;
        Ok(Exit::Done)
    }
}

/// The dashboard, in the same process: it lives as long as the supervisor, and asks it over its control socket as everybody.
fn beside(folder: &Folder, start: &Start) -> Beside {
    let Some(listen) = start.dashboard else { return Beside::default() };
    let setting = Setting {
        up: start.up.clone(),
        logs: folder.path().join("logs"),
        address: listen.address,
        gives_way: listen.gives_way,
        token: folder.token(),
    };
    let to = folder.clone();
    match labwright_server::start(setting, Arc::new(move || reach(&to))) {
        Ok(served) => Beside { dashboard: Some(served.dashboard), telemetry: served.telemetry, fault: None },
        Err(why) => Beside { fault: Some(why), ..Beside::default() },
    }
}
