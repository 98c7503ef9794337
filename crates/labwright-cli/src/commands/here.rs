//! The verbs of a lab that is up on this machine: `down`, `ps`, `restart`, `open`; and what its logs say.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use labwright_model::snapshot::up::control::{Line, Request, Source, State, Told};
use labwright_server::token;
use serde_json::json;

use crate::error::{CliError, Exit};
use crate::lab::{LabEither, LabOption};
use crate::terminal::Terminal;
use crate::up::view::{self, View};
use crate::up::{Link, clean, is_path, known, log_file, not_up};

/// Ends what `labwright up` runs on this machine: in reverse order, and its data stays.
///
/// Also ends what a run has left that was killed.
#[derive(clap::Args)]
pub struct Down {
    #[command(flatten)]
    lab: LabEither,
    /// Kill everything at once.
    #[arg(long)]
    kill: bool,
}

impl Down {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let (folder, name) = known(&self.lab.option())?;
        let Some(mut link) = Link::to(&folder) else {
            clean(&folder, terminal)?;
            terminal.say(&format!("lab `{name}` is not up on this machine"));
            return Ok(Exit::Done);
        };
        // Its file may call it something else by now.
        let state = link.state()?;
        let volumes = state.units.iter().any(|unit| !unit.containers.is_empty());
        let name = state.lab;
        link.ask(&if self.kill { Request::Kill } else { Request::Down })?;
        loop {
            match link.hear() {
                Some(Told::Done | Told::Ended) => break,
                Some(_) => {}
                None => {
                    return Err(CliError::new(Exit::Internal, "the supervisor was killed while it ended everything")
                        .hint("`labwright down` once more ends what is left"));
                }
            }
        }
        // It is gone when its guard is: the next `up` has nothing to wait for.
        clean(&folder, terminal)?;
        terminal.say(&format!("lab `{name}` is down; its data stands in `{}`", folder.path().join("data").display()));
        if volumes {
            let mark = folder.mark();
            terminal.say(&format!(
                "so do the volumes of its containers: `docker volume ls --filter label=dev.labwright.up={mark}`"
            ));
        }
        Ok(Exit::Done)
    }
}

/// Shows what `labwright up` runs on this machine: each with its port and process, for a debugger to attach to.
///
/// Exits with 7 when something is not well, or when the lab is not up.
#[derive(clap::Args)]
pub struct Ps {
    #[command(flatten)]
    lab: LabEither,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl Ps {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let (folder, name) = known(&self.lab.option())?;
        let state = Link::to(&folder).ok_or_else(|| not_up(&name))?.state()?;
        let well = state.units.iter().all(|unit| unit.phase.is_well());
        if self.json {
            terminal.document(&state)?;
        } else {
            let lines = view::table(&state, terminal.out_color, terminal.width);
            terminal.data(&format!("{}\n", lines.join("\n")));
            terminal.data(&view::links(&state, terminal.out_color));
            view::left_out(terminal, &state.left_out, &[]);
        }
        Ok(if well { Exit::Done } else { Exit::Unhealthy })
    }
}

/// Ends services of a lab that is up on this machine, and starts them again.
#[derive(clap::Args)]
pub struct Restart {
    /// The services.
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    #[command(flatten)]
    lab: LabOption,
}

impl Restart {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let (folder, name) = known(&self.lab)?;
        let mut link = Link::to(&folder).ok_or_else(|| not_up(&name))?;
        link.ask(&Request::Restart { units: self.services.clone() })?;
        answered(&mut link, &mut View::default(), terminal)?;
        terminal.say(&format!("restarting `{}`: `labwright ps` shows how it goes", self.services.join("`, `")));
        Ok(Exit::Done)
    }
}

/// Waits for the answer to a request that only does something; what is told before it is shown.
/// Returns which units it is about, where that is told.
pub fn answered(link: &mut Link, view: &mut View, terminal: &Terminal) -> Result<Vec<String>, CliError> {
    let mut chosen = Vec::new();
    loop {
        match link.hear() {
            Some(Told::Chosen { units }) => chosen = units,
            Some(Told::Unit(unit)) => view.take(*unit),
            Some(Told::Note { text }) => terminal.say(&text),
            Some(Told::Done) => return Ok(chosen),
            Some(Told::Refused { reason, help }) => return Err(CliError::usage(reason).hint(help)),
            Some(_) => {}
            None => return Err(CliError::new(Exit::Unreachable, "the supervisor went away before it answered")),
        }
    }
}

/// Opens the dashboard of a lab that is up on this machine in your browser, or one of its services, and prints the address.
///
/// Where the dashboard is reached from other machines, the address holds its token: whoever has it may see and restart everything.
#[derive(clap::Args)]
pub struct Open {
    /// The service; the dashboard when absent. A path names the lab: `open examples/starter`.
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    #[command(flatten)]
    lab: LabOption,
    /// Print the address, and open nothing.
    #[arg(long)]
    print: bool,
}

impl Open {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let path = self.service.as_deref().filter(|word| is_path(word) && self.lab.lab.is_none());
        let lab =
            path.map_or_else(|| LabOption { lab: self.lab.lab.clone() }, |path| LabOption { lab: Some(path.into()) });
        let (folder, name) = known(&lab)?;
        let state = Link::to(&folder).ok_or_else(|| not_up(&name))?.state()?;
        let link = match self.service.as_deref().filter(|_| path.is_none()) {
            Some(service) => of_service(&state, service)?,
            None => of_dashboard(&state, token(&folder.token()))?,
        };
        terminal.data(&format!("{link}\n"));
        if self.print {
            return Ok(Exit::Done);
        }
        let program = std::env::var_os("BROWSER").unwrap_or_else(|| "xdg-open".into());
        let opened =
            Command::new(&program).arg(&link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if let Err(error) = opened {
            terminal.warn(&format!(
                "`{}` cannot be started: {error}; open the address yourself",
                program.to_string_lossy()
            ));
        }
        Ok(Exit::Done)
    }
}

fn of_service(state: &State, service: &str) -> Result<String, CliError> {
    let unit = state.units.iter().find(|unit| unit.name == service).ok_or_else(|| {
        let known: Vec<&str> = state.units.iter().map(|unit| unit.name.as_str()).collect();
        CliError::usage(format!("there is no `{service}` here")).hint(format!("here are `{}`", known.join("`, `")))
    })?;
    // Names below `localhost` are this machine to every browser; the lab's own need its resolver.
    let link = unit.links.iter().find(|link| link.contains("localhost")).or(unit.links.first());
    link.cloned().ok_or_else(|| {
        CliError::usage(format!("`{service}` has no address to open")).hint("a service has one by its `url`")
    })
}

fn of_dashboard(state: &State, token: Option<String>) -> Result<String, CliError> {
    let link = state.dashboard.as_ref().ok_or_else(|| {
        CliError::usage(format!("lab `{}` is up without a dashboard", state.lab))
            .hint("`labwright down`, and `labwright up` without `--dashboard off`")
    })?;
    Ok(token.map_or_else(|| link.clone(), |token| format!("{link}?token={token}")))
}

/// What is asked of the logs of a lab that is up on this machine.
pub struct Logs<'a> {
    pub services: &'a [String],
    pub follow: bool,
    pub tail: Option<u64>,
    pub prefix: bool,
    pub timestamps: bool,
    pub json: bool,
}

impl Logs<'_> {
    pub fn run(&self, lab: &LabOption, terminal: &Terminal) -> Result<Exit, CliError> {
        let (folder, name) = known(lab)?;
        let tail = self.tail.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let Some(mut link) = Link::to(&folder) else {
            if self.services.is_empty() || self.follow {
                return Err(not_up(&name));
            }
            for service in self.services {
                let path = log_file(&folder, service);
                let file = std::fs::File::open(&path).map_err(|error| {
                    CliError::usage(format!("there is no log of `{service}`: `{}`: {error}", path.display()))
                        .hint("the lab is not up on this machine: `labwright up`")
                })?;
                let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
                lines
                    .iter()
                    .skip(lines.len().saturating_sub(tail))
                    .for_each(|line| terminal.data(&format!("{line}\n")));
            }
            return Ok(Exit::Done);
        };
        let mut view = View::of(link.state()?);
        view.state.units.retain(|unit| self.services.is_empty() || self.services.contains(&unit.name));
        if self.json {
            let parts: Vec<_> = view.state.units.iter().map(|unit| part(&unit.name)).collect();
            terminal.json_begin(&json!({ "parts": parts }));
        }
        link.ask(&Request::Logs { units: self.services.to_vec(), tail, follow: self.follow })?;
        loop {
            match link.hear() {
                Some(Told::Line(line)) => self.tell(&view, &line, terminal),
                Some(Told::Missed { lines }) => terminal.warn(&format!("{lines} lines came too fast to be shown")),
                Some(Told::Refused { reason, help }) => return Err(CliError::usage(reason).hint(help)),
                Some(Told::Done | Told::Ended) | None => return Ok(Exit::Done),
                Some(_) => {}
            }
        }
    }

    fn tell(&self, view: &View, line: &Line, terminal: &Terminal) {
        let at = jiff::Timestamp::from_millisecond(line.at).unwrap_or_default();
        if self.json {
            let mut object = part(&line.unit);
            object["at"] = json!(at.to_string());
            object["source"] = json!(match line.source {
                Source::Out => "stdout",
                Source::Err => "stderr",
                Source::Log => "log",
                Source::Note => "note",
            });
            object["text"] = json!(line.text);
            return terminal.json_line(&object);
        }
        let time = if self.timestamps { format!("{at:.3} ") } else { String::new() };
        let prefix = if self.prefix { view.prefix(line, terminal.out_color) + " " } else { String::new() };
        match line.source {
            Source::Note => terminal.say(&format!("{time}{prefix}{}", line.text)),
            Source::Out | Source::Err | Source::Log => terminal.data(&format!("{time}{prefix}{}\n", line.text)),
        }
    }
}

/// A unit as the logs of hosts name theirs: its host is this machine.
fn part(unit: &str) -> serde_json::Value {
    json!({ "service": unit, "environment": null, "part": unit, "host": "localhost", "name": unit })
}
