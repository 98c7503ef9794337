//! `labwright logs`: what services say, from all their containers and hosts, in the order of time.

use std::io::IsTerminal;

use labwright_engine::{Said, StopLogs};
use labwright_plan::{Line, LineSource, LogsAsk, Part};
use serde_json::json;

use super::looking;
use crate::error::{CliError, Exit};
use crate::lab::{LabOption, PROVIDERS, SshArgs};
use crate::terminal::{Ink, Terminal, ink};

/// Shows what services say: all their containers, on all their hosts, in the order of time.
///
/// With `--follow` it goes on until you end it (Ctrl-C): over restarts, over replacements, and when a host goes away, with
/// the others. Exits with 6 when a host did not answer, with 5 when something that is asked for is not there.
#[derive(clap::Args)]
pub struct Logs {
    /// A service, `SERVICE@ENVIRONMENT` or `SERVICE/CONTAINER`; several go together.
    #[arg(value_name = "SERVICE", required_unless_present = "here")]
    services: Vec<String>,
    /// Those of the lab as `labwright up` runs it on this machine; of all services where none is named.
    #[arg(long, conflicts_with_all = ["on", "since", "ssh_config"])]
    here: bool,
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
    /// Nothing from before: a time ago (`10m`, `2h`, `1d`), or a time (`2026-11-20T14:00:00Z`).
    #[arg(long, value_name = "WHEN", value_parser = looking::ago)]
    since: Option<i64>,
    /// The last lines of each container only.
    #[arg(long, short = 'n', value_name = "LINES")]
    tail: Option<u64>,
    /// Only what runs on this host.
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// Begin each line with its time, as the host's clock had it.
    #[arg(long, short)]
    timestamps: bool,
    /// Only what was said, without who said it.
    #[arg(long)]
    no_prefix: bool,
    #[command(flatten)]
    lab: LabOption,
    #[command(flatten)]
    ssh: SshArgs,
    /// Print one object of JSON for each line.
    #[arg(long)]
    json: bool,
}

const INKS: [Ink; 4] = [Ink::Cyan, Ink::Green, Ink::Yellow, Ink::Bold];

impl Logs {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        if self.here {
            let logs = super::here::Logs {
                services: &self.services,
                follow: self.follow,
                tail: self.tail,
                prefix: !self.no_prefix,
                timestamps: self.timestamps,
                json: self.json,
            };
            return logs.run(&self.lab, terminal);
        }
        let looked = looking::read(&self.lab, terminal)?;
        let mut parts: Vec<Part> = Vec::new();
        for service in &self.services {
            for part in looked.named(service)? {
                let here = self.on.as_ref().is_none_or(|on| part.id.host() == on);
                if here && !parts.iter().any(|known| known.id == part.id) {
                    parts.push(part);
                }
            }
        }
        if let (Some(on), true) = (&self.on, parts.is_empty()) {
            return Err(CliError::usage(format!("nothing of that runs on `{on}`")));
        }
        let targets = looked.targets(&parts, &self.ssh)?;
        let stop = StopLogs::default();
        stop_on_signals(&stop)?;
        let ask = LogsAsk { follow: self.follow, since: self.since, tail: self.tail };
        let style = Style::over(&parts, &self, terminal);
        let mut exit = Exit::Done;
        if self.json {
            terminal.json_begin(&json!({ "parts": parts.iter().map(|part| style.about(part)).collect::<Vec<_>>() }));
        }
        let mut hear = |said: Said| match said {
            Said::Line(part, line) => self.tell(&part, &line, &style, terminal),
            Said::NoLog(part, error) => {
                exit = if exit == Exit::Done { Exit::Partly } else { exit };
                terminal.warn(&format!("no log of `{}` on `{}`: {}", part.id.name(), part.id.host(), error.message));
                if !error.help.is_empty() {
                    terminal.hint(&error.help);
                }
            }
            Said::Away(host, error) => {
                exit = Exit::Unreachable;
                terminal.warn(&format!("`{host}` is away: {}", error.message));
                terminal.hint(if self.follow { "its log goes on here when it is back" } else { &error.help });
            }
            Said::Back(host) => terminal.warn(&format!("`{host}` is back")),
        };
        labwright_engine::logs(&targets, &parts, &ask, PROVIDERS, &stop, &mut hear);
        Ok(exit)
    }

    fn tell(&self, part: &Part, line: &Line, style: &Style, terminal: &Terminal) {
        let at = || jiff::Timestamp::from_nanosecond(line.at.into()).map(|at| format!("{at:.3}")).unwrap_or_default();
        if self.json {
            let mut object = style.about(part);
            object["at"] = json!(jiff::Timestamp::from_nanosecond(line.at.into()).unwrap_or_default().to_string());
            object["source"] = json!(line.source);
            object["text"] = json!(line.text);
            return terminal.json_line(&object);
        }
        let time = if self.timestamps { at() + " " } else { String::new() };
        let prefix = if self.no_prefix { String::new() } else { style.prefix(part) };
        match line.source {
            LineSource::Note => {
                terminal.say(&format!("{time}{prefix}{}", ink(terminal.err_color, Ink::Dim, &line.text)));
            }
            _ => {
                let text = if style.shown { harmless(&line.text) } else { line.text.clone() };
                terminal.data(&format!("{time}{prefix}{text}\n"));
            }
        }
    }
}

/// How lines are told apart.
struct Style {
    /// Whether they come from several hosts.
    hosts: bool,
    width: usize,
    color: bool,
    /// Whether somebody's terminal shows them.
    shown: bool,
    order: Vec<String>,
}

impl Style {
    fn over(parts: &[Part], _: &Logs, terminal: &Terminal) -> Style {
        let hosts = parts.iter().any(|part| part.id.host() != parts[0].id.host());
        let mut style = Style {
            hosts,
            width: 0,
            color: terminal.out_color,
            shown: std::io::stdout().is_terminal(),
            order: parts.iter().map(|part| part.id.to_string()).collect(),
        };
        style.width = parts.iter().map(|part| style.name(part).chars().count()).max().unwrap_or_default();
        style
    }

    fn name(&self, part: &Part) -> String {
        let name = format!("{}/{}", looking::address(part), part.name);
        if self.hosts { format!("{} {name}", part.id.host()) } else { name }
    }

    fn prefix(&self, part: &Part) -> String {
        let number = self.order.iter().position(|id| *id == part.id.as_str()).unwrap_or_default();
        let name = format!("{:<width$} |", self.name(part), width = self.width);
        ink(self.color, INKS[number % INKS.len()], &name).into_owned() + " "
    }

    fn about(&self, part: &Part) -> serde_json::Value {
        json!({
            "service": part.service, "environment": part.environment, "part": part.name, "host": part.id.host(),
            "name": part.id.name(),
        })
    }
}

/// What a program says may hold words for the terminal, which must not come from somewhere else.
fn harmless(text: &str) -> String {
    console::strip_ansi_codes(text).chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

/// Ctrl-C ends the reading, and everything that was opened for it is closed.
fn stop_on_signals(stop: &StopLogs) -> Result<(), CliError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(CliError::bug)?;
    let stop = stop.clone();
    std::thread::spawn(move || {
        for (number, signal) in signals.forever().enumerate() {
            stop.ask();
            if number > 0 {
                std::process::exit(128 + signal);
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let then = looking::ago("1h").unwrap();
        let hour = labwright_engine::now().as_nanosecond() as i64 - then;
        assert!((3_600_000_000_000..3_700_000_000_000).contains(&hour), "{hour}");
        assert_eq!(looking::ago("1970-01-01T00:00:01Z"), Ok(1_000_000_000));
        assert!(looking::ago("1d").is_ok() && looking::ago("90s").is_ok() && looking::ago("soon").is_err());
    }

    #[test]
    fn nothing_that_moves_a_cursor_reaches_a_terminal() {
        assert_eq!(harmless("\u{1b}[2J\u{1b}[31mred\u{1b}[0m\tplain\u{7}\r"), "red\tplain");
    }
}
