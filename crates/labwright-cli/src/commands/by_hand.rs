//! `labwright stop` and `labwright start`: services of a lab that is up on this machine, by hand, and waited for.

use std::time::{Duration, Instant};

use labwright_model::snapshot::up::control::{Phase, Request, Status, Told};

use super::here::answered;
use crate::error::{CliError, Exit};
use crate::lab::LabOption;
use crate::terminal::Terminal;
use crate::up::view::{self, View};
use crate::up::{Link, known, not_up};

/// Stops services of a lab that is up on this machine, those first that stand on others, and waits until they have ended.
///
/// They stay so until `labwright start`. What needs one of them and is not named goes on, and is told. Exits with 2 when there
/// is no such service, with 7 when one has not ended in time, or when the lab is not up.
#[derive(clap::Args)]
pub struct Stop {
    /// The services.
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// Stop all that needs them as well.
    #[arg(long)]
    dependents: bool,
    #[command(flatten)]
    then: Then,
}

/// Starts services of a lab that is up on this machine, with what they need and was stopped, and waits until they are well.
///
/// What runs already stays as it is. Exits with 2 when there is no such service, with 7 when one does not become well, and says
/// why, or when the lab is not up.
#[derive(clap::Args)]
pub struct Start {
    /// The services.
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    #[command(flatten)]
    then: Then,
}

/// How long is waited, and for which lab.
#[derive(clap::Args)]
struct Then {
    /// Return at once, without waiting for what comes of it.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    #[command(flatten)]
    lab: LabOption,
}

impl Stop {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let mut heard = Heard::of(&self.then.lab)?;
        let before: Vec<(String, Phase)> =
            heard.view.state.units.iter().map(|unit| (unit.name.clone(), unit.phase)).collect();
        let request = Request::Stop { units: self.services.clone(), dependents: self.dependents };
        let chosen = heard.ask(&request, terminal)?;
        if self.then.no_wait {
            return Ok(Exit::Done);
        }
        let is_named = |unit: &Status| self.services.contains(&unit.name);
        let is_chosen = |unit: &Status| chosen.contains(&unit.name);
        let over = |view: &View, _| {
            let mut chosen = view.state.units.iter().filter(|unit| is_chosen(unit));
            chosen.all(|unit| unit.phase == Phase::Stopped).then_some(())
        };
        let done = heard.until(self.then.timeout, over)?;
        let was = |name: &str| before.iter().find(|(unit, _)| unit == name).map(|(_, phase)| *phase);
        for unit in heard.view.state.units.iter().filter(|unit| unit.phase == Phase::Stopped) {
            match was(&unit.name) {
                Some(Phase::Stopped) if is_named(unit) => terminal.say(&format!("{} was stopped already", unit.name)),
                Some(Phase::Stopped) => {}
                _ => terminal.say(&view::change(unit, terminal.err_color)),
            }
        }
        if done.is_some() {
            return Ok(Exit::Done);
        }
        let units = heard.view.state.units.iter();
        let left = units.filter(|unit| is_chosen(unit) && unit.phase != Phase::Stopped);
        let left: Vec<String> = left.map(|unit| unit.name.clone()).collect();
        Err(late(&left, self.then.timeout, "ended").hint("`labwright ps` shows how it goes on"))
    }
}

impl Start {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let mut heard = Heard::of(&self.then.lab)?;
        heard.ask(&Request::Start { units: self.services.clone() }, terminal)?;
        if self.then.no_wait {
            return Ok(Exit::Done);
        }
        let is_named = |unit: &Status| self.services.contains(&unit.name);
        let over = |view: &View, settled: bool| {
            let mut named = view.state.units.iter().filter(|unit| is_named(unit));
            let well = named.clone().all(|unit| unit.phase.is_well());
            (well || settled || named.any(|unit| unit.phase == Phase::Failed)).then_some(well)
        };
        let well = heard.until(self.then.timeout, over)?;
        let mut state = heard.view.state;
        for unit in state.units.iter().filter(|unit| is_named(unit) && unit.phase.is_well()) {
            terminal.say(&view::change(unit, terminal.err_color));
        }
        if well == Some(true) {
            return Ok(Exit::Done);
        }
        let left: Vec<String> = state
            .units
            .iter()
            .filter(|unit| is_named(unit) && !unit.phase.is_well())
            .map(|unit| unit.name.clone())
            .collect();
        state.units.retain(|unit| is_named(unit) || unit.phase == Phase::Failed);
        terminal.say(view::unwell(&state, terminal.err_color).trim_end());
        let error = match well {
            None => late(&left, self.then.timeout, "well"),
            Some(_) => CliError::new(Exit::Unhealthy, format!("does not become well: `{}`", left.join("`, `"))),
        };
        Err(error.hint("`labwright logs --here SERVICE` shows all that it said, `labwright ps` how the others are"))
    }
}

fn late(names: &[String], seconds: u64, what: &str) -> CliError {
    CliError::new(Exit::Unhealthy, format!("not {what} within {seconds} s: `{}`", names.join("`, `")))
}

/// A lab that is up, heard from before anything is asked of it: no change is missed.
struct Heard {
    link: Link,
    view: View,
}

impl Heard {
    fn of(lab: &LabOption) -> Result<Heard, CliError> {
        let (folder, name) = known(lab)?;
        let mut link = Link::to(&folder).ok_or_else(|| not_up(&name))?;
        link.ask(&Request::Follow { own: false, lines: false })?;
        match link.hear() {
            Some(Told::State(state)) => Ok(Heard { link, view: View::of(*state) }),
            _ => Err(away()),
        }
    }

    fn ask(&mut self, request: &Request, terminal: &Terminal) -> Result<Vec<String>, CliError> {
        self.link.ask(request)?;
        answered(&mut self.link, &mut self.view, terminal)
    }

    /// Hears on until something is so; `None`: it was not in time. Whoever decides is told whether nothing is under way any more.
    fn until<T>(&mut self, seconds: u64, is_so: impl Fn(&View, bool) -> Option<T>) -> Result<Option<T>, CliError> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut settled = false;
        loop {
            if let Some(so) = is_so(&self.view, settled) {
                return Ok(Some(so));
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.link.hear_within(left)? {
                None => return Ok(None),
                Some(Told::Unit(unit)) => self.view.take(*unit),
                Some(Told::State(state)) if state.ending => {
                    return Err(CliError::new(
                        Exit::Unhealthy,
                        "everything is being ended: `labwright down`, or Ctrl-C where it was started",
                    ));
                }
                Some(Told::Ended) => return Err(away()),
                Some(Told::Settled) => settled = true,
                Some(_) => {}
            }
        }
    }
}

fn away() -> CliError {
    CliError::new(Exit::Unreachable, "the supervisor went away before it was done")
        .hint("`labwright ps` says whether the lab is up")
}
