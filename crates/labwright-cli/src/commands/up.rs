//! `labwright up`: the whole lab on this machine.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use labwright_daemons::up::Listen;
use labwright_model::snapshot::up::control::{Phase, Request, Told};

use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::terminal::Terminal;
use crate::up::view::{self, View};
use crate::up::{Link, ask, here, is_path};

/// Runs the lab on this machine: every host becomes this one, every service starts as soon as what it needs is well.
///
/// Processes (`run:`) are started as yours, names and doors are served at ports above 1024, and what cannot be here is left
/// out, with the reason. What stands in for a service here is said by its own `up:`. Ctrl-C stops everything in reverse order;
/// a second one kills. With `--wait` it goes on in the background: exits with 0 once everything is well, with 7 and what is
/// not where something will not be, with 5 where something that is wanted had to be left out.
#[derive(clap::Args)]
pub struct Up {
    /// Services to run, with what they need; all of them when absent. A path names the lab: `up examples/starter`.
    #[arg(value_name = "SERVICE")]
    words: Vec<String>,
    /// The lab: a file, or a folder of files; without it, `lab.yaml` here or in a folder above.
    #[arg(long = "lab", value_name = "PATH")]
    lab: Option<std::path::PathBuf>,
    /// The environment whose services run; the first of the lab's when absent.
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Go on in the background, and return once everything is as well as it gets.
    #[arg(long)]
    wait: bool,
    /// Go on in the background, and return at once.
    #[arg(long, short, conflicts_with = "wait")]
    detach: bool,
    /// How long to wait with `--wait`.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Where the dashboard listens: `off`, a port of this machine, or an address and a port (`0.0.0.0:8600`). Whoever comes from
    /// elsewhere is asked for a token then: `labwright open --print` prints an address with it.
    #[arg(long, value_name = "LISTEN", default_value = "8600", value_parser = dashboard)]
    dashboard: Dashboard,
    /// Print what services say, a line each with its name in front, and draw nothing. So it is in a pipe, too.
    #[arg(long)]
    plain: bool,
    /// Print every event as JSON, one object a line.
    #[arg(long, conflicts_with = "plain")]
    json: bool,
}

/// Where a dashboard is, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dashboard(Option<Listen>);

fn dashboard(text: &str) -> Result<Dashboard, String> {
    if text == "off" {
        return Ok(Dashboard(None));
    }
    if let Ok(port) = text.parse::<u16>() {
        // The port that is meant where nobody says one gives way to whoever has it.
        let gives_way = port == labwright_server::PORT || port == 0;
        return Ok(Dashboard(Some(Listen { address: (Ipv4Addr::LOCALHOST, port).into(), gives_way })));
    }
    let address =
        text.parse().map_err(|_| "write `off`, a port, or an address and a port: `0.0.0.0:8600`".to_string())?;
    Ok(Dashboard(Some(Listen { address, gives_way: false })))
}

/// What comes in while a lab is followed.
enum Input {
    Told(Box<Told>),
    Gone,
    Signal,
}

/// How often a drawing is renewed at most.
const FRAME: Duration = Duration::from_millis(60);

impl Up {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let (paths, services): (Vec<String>, Vec<String>) = self.words.iter().cloned().partition(|word| is_path(word));
        let lab = match (&self.lab, paths.as_slice()) {
            (None, []) => None,
            (Some(lab), []) => Some(lab.clone()),
            (None, [path]) => Some(path.into()),
            _ => return Err(CliError::usage("one lab is run at a time; name one")),
        };
        let here = here(&LabArg { lab }, terminal)?;
        if let Some(link) = Link::to(&here.folder) {
            return self.again(link, &here.parsed.lab.lab, &services, terminal);
        }
        here.clean(terminal)?;
        let (up, stacks) = here.place(&services, self.environment.as_deref())?;
        if !self.json {
            view::left_out(terminal, &up.left_out, &up.notes);
        }
        let partly = up.left_out.iter().any(|left| left.fault);
        if up.units.is_empty() {
            let error = CliError::new(Exit::Partly, "nothing of this lab runs here");
            return Err(error.hint("a process under `services` does: `app: { run: [PROGRAM, ARGUMENT] }`"));
        }
        if self.json {
            terminal.json_begin(&serde_json::json!({ "begin": { "verb": "up", "lab": up.lab } }));
        }
        let notes = up.notes.clone();
        let link = here.start(up, stacks, self.dashboard.0, terminal)?;
        if self.detach {
            let lab = self.called();
            terminal.say(&format!(
                "starting in the background: `labwright ps{lab}` shows how it is, `labwright down{lab}` ends it"
            ));
            return Ok(Exit::Done);
        }
        let exit = self.follow(link, !self.wait, &notes, terminal)?;
        Ok(if exit == Exit::Done && partly && self.wait { Exit::Partly } else { exit })
    }

    /// What has to be typed behind another verb to speak of the same lab.
    fn called(&self) -> String {
        let word = self.words.iter().find(|word| is_path(word)).cloned();
        let lab = word.or_else(|| self.lab.as_ref().map(|lab| lab.display().to_string()));
        lab.map_or_else(String::new, |lab| format!(" {lab}"))
    }

    /// It is up already: that is told, and nothing is started twice.
    fn again(&self, mut link: Link, name: &str, services: &[String], terminal: &Terminal) -> Result<Exit, CliError> {
        let state = link.state()?;
        if let Some(service) = services.iter().find(|service| state.units.iter().all(|unit| unit.name != **service)) {
            let error = CliError::usage(format!("lab `{name}` is up already, without `{service}`"));
            return Err(error.hint(
                "`labwright ps` shows what runs; `labwright down` ends it, and `labwright up` starts all of it",
            ));
        }
        if self.wait {
            return self.follow(link, false, &state.notes, terminal);
        }
        terminal.say(&format!("lab `{name}` is up already (process {})", state.pid));
        view::table(&state, terminal.out_color, terminal.width)
            .iter()
            .for_each(|line| terminal.data(&format!("{line}\n")));
        terminal.hint(
            "`labwright logs --here` follows it, `labwright down` ends it; then `labwright up` takes what has changed",
        );
        Ok(if state.units.iter().all(|unit| unit.phase.is_well()) { Exit::Done } else { Exit::Unhealthy })
    }

    fn follow(&self, mut link: Link, own: bool, notes: &[String], terminal: &Terminal) -> Result<Exit, CliError> {
        let live = terminal.watched && !self.plain && !self.json && std::io::stderr().is_terminal();
        let lines = !live && own;
        link.ask(&Request::Follow { own, lines })?;
        let writer = link.writer()?;
        let (send, inputs) = mpsc::channel();
        signals(send.clone())?;
        std::thread::spawn(move || {
            while let Some(told) = link.hear() {
                if send.send(Input::Told(Box::new(told))).is_err() {
                    return;
                }
            }
            drop(send.send(Input::Gone));
        });
        let deadline = (!own).then(|| Instant::now() + Duration::from_secs(self.timeout));
        let (view, seen) = (View::default(), BTreeMap::new());
        let (lab, notes) = (self.called(), notes.to_vec());
        let mut follower = Follower { view, live, lines, json: self.json, seen, lab, notes, terminal };
        let (mut signals, mut draw_at, mut ended) = (0, None, false);
        loop {
            let until = [deadline, draw_at].into_iter().flatten().min();
            let next = match until {
                Some(until) => inputs.recv_timeout(until.saturating_duration_since(Instant::now())),
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Input::Told(told)) => {
                    let settled = *told == Told::Settled
                        || matches!(&*told, Told::State(state) if state.settled && !state.ending);
                    ended |= *told == Told::Ended;
                    follower.hear(*told);
                    if live && draw_at.is_none() {
                        draw_at = Some(Instant::now() + FRAME);
                    }
                    if settled {
                        follower.settled(own);
                        draw_at = None;
                        if !own {
                            return Ok(follower.verdict());
                        }
                    }
                }
                Ok(Input::Signal) if !own => {
                    terminal.say("it goes on in the background: `labwright down` ends it");
                    return Ok(Exit::Unhealthy);
                }
                Ok(Input::Signal) => {
                    signals += 1;
                    let (request, said) = match signals {
                        1 => (Request::Down, "stopping everything in order; once more to kill it"),
                        _ => (Request::Kill, "killing what is left"),
                    };
                    follower.say(said);
                    ask(&writer, &request)?;
                }
                Ok(Input::Gone) | Err(RecvTimeoutError::Disconnected) => {
                    if live {
                        follower.view.draw(terminal);
                    }
                    if ended {
                        return Ok(Exit::Done);
                    }
                    let error = CliError::new(Exit::Internal, "the supervisor was killed");
                    return Err(error.hint("what it had started was ended with it; `labwright up` starts it anew"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        follower.say(&format!("not everything was well within {} s", self.timeout));
                        follower.settled(own);
                        return Ok(Exit::Unhealthy);
                    }
                    follower.view.draw(terminal);
                    draw_at = None;
                }
            }
        }
    }
}

struct Follower<'a> {
    view: View,
    live: bool,
    lines: bool,
    json: bool,
    /// What was said last of each, so that a change of a detail is no line of its own.
    seen: BTreeMap<String, Phase>,
    /// The lab as the next verb has to name it, with a space before it; nothing where it is found by itself.
    lab: String,
    /// What was said of the lab before it was started.
    notes: Vec<String>,
    terminal: &'a Terminal,
}

impl Follower<'_> {
    fn say(&mut self, text: &str) {
        if self.json {
            return;
        }
        if self.live {
            self.view.draw(self.terminal);
            self.view.leave();
        }
        self.terminal.say(text);
    }

    fn hear(&mut self, told: Told) {
        if self.json {
            self.terminal.json_line(&told);
        }
        match told {
            Told::State(state) => {
                let link = state.dashboard.clone().filter(|_| self.lines && self.view.state.dashboard.is_none());
                self.view.state = *state;
                if let Some(link) = link {
                    self.say(&format!("dashboard: {link}"));
                }
            }
            Told::Settled => self.view.state.settled = true,
            Told::Unit(unit) => {
                let news = self.seen.insert(unit.name.clone(), unit.phase) != Some(unit.phase);
                if news && !self.live && !self.json {
                    self.terminal.say(&view::change(&unit, self.terminal.err_color));
                }
                self.view.take(*unit);
            }
            Told::Line(line) if self.lines && !self.json => view::line(&self.view, &line, self.terminal),
            Told::Note { text } => self.say(&format!("note: {text}")),
            Told::Missed { lines } => {
                self.say(&format!("{lines} lines came too fast to be shown; they stand in the logs"))
            }
            _ => {}
        }
    }

    /// Every service is well, or will not be before something changes.
    fn settled(&mut self, own: bool) {
        if self.json {
            return;
        }
        if self.live {
            self.view.draw(self.terminal);
            self.view.leave();
        }
        let (state, color) = (&self.view.state, self.terminal.err_color);
        let unwell = view::unwell(state, color);
        if !unwell.is_empty() {
            self.terminal.say(unwell.trim_end());
        }
        for note in state.notes.iter().filter(|note| !self.notes.contains(note)) {
            self.terminal.say(&format!("note: {note}"));
        }
        let links = view::links(state, color);
        if !links.is_empty() {
            self.terminal.say(links.trim_end());
        }
        let well = state.units.iter().filter(|unit| unit.phase.is_well()).count();
        let then = match own {
            true => "Ctrl-C stops it".to_string(),
            false => format!("it runs in the background: `labwright ps{0}`, `labwright down{0}`", self.lab),
        };
        self.terminal.say(&format!("{well} of {} are well; {then}", state.units.len()));
    }

    fn verdict(&self) -> Exit {
        match self.view.state.units.iter().all(|unit| unit.phase.is_well()) {
            true => Exit::Done,
            false => Exit::Unhealthy,
        }
    }
}

/// Signals become inputs. Where nobody takes them any more, they end the program as ever.
fn signals(send: mpsc::Sender<Input>) -> Result<(), CliError> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(CliError::bug)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if send.send(Input::Signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    });
    Ok(())
}
