//! Where words go: data to standard output, everything else to standard error.
//! Knows widths and colours, and nothing of what is said.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{CliError, Exit};
use crate::schemas::VERSION;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

pub struct Terminal {
    /// Colour on standard output, and on standard error.
    pub out_color: bool,
    pub err_color: bool,
    /// Columns that text is fitted to.
    pub width: usize,
    /// Whether somebody watches standard error.
    pub watched: bool,
    running: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

/// Text in an ink, where there is colour.
pub fn ink(color: bool, ink: Ink, text: &str) -> Cow<'_, str> {
    if !color {
        return Cow::Borrowed(text);
    }
    let code = match ink {
        Ink::Bold => 1,
        Ink::Dim => 2,
        Ink::Red => 31,
        Ink::Green => 32,
        Ink::Yellow => 33,
        Ink::Cyan => 36,
    };
    Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
}

#[derive(serde::Serialize)]
struct Document<'a, T> {
    version: u32,
    #[serde(flatten)]
    value: &'a T,
}

impl Terminal {
    pub fn new(color: Color) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let colored = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain && !dumb,
        };
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Terminal {
            out_color: colored(io::stdout().is_terminal()),
            err_color: colored(io::stderr().is_terminal()),
            width: columns.unwrap_or(80).clamp(60, 200),
            watched: io::stderr().is_terminal(),
            running: AtomicBool::new(false),
        }
    }

    /// Writes data. A reader that went away (`| head`) ends the program quietly, but never in the middle of a run.
    pub fn data(&self, text: &str) {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Err(_) if self.running.load(Ordering::Acquire) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(Exit::Done as i32),
            Err(_) => std::process::exit(Exit::Internal as i32),
            Ok(()) => {}
        }
    }

    /// From here on a change of the world is under way: what cannot be said must not stop it.
    pub fn run_begins(&self) {
        self.running.store(true, Ordering::Release);
    }

    pub fn json(&self, value: &impl serde::Serialize) -> Result<(), CliError> {
        let mut text = serde_json::to_string_pretty(value).map_err(CliError::bug)?;
        text.push('\n');
        self.data(&text);
        Ok(())
    }

    /// A document of JSON: the value's own keys behind the version of its form.
    pub fn document(&self, value: &impl serde::Serialize) -> Result<(), CliError> {
        self.json(&Document { version: VERSION, value })
    }

    /// The first line of a stream: from it a reader knows the form of all lines.
    pub fn json_begin(&self, value: &impl serde::Serialize) {
        self.json_line(&Document { version: VERSION, value });
    }

    /// One line of JSON: an event.
    pub fn json_line(&self, value: &impl serde::Serialize) {
        if let Ok(mut text) = serde_json::to_string(value) {
            text.push('\n');
            self.data(&text);
        }
    }

    /// Says something to the person. Nobody listening is not an error.
    pub fn say(&self, text: &str) {
        let mut err = io::stderr().lock();
        drop(err.write_all(format!("{text}\n").as_bytes()));
    }

    pub fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", ink(self.err_color, Ink::Yellow, "warning:")));
    }

    pub fn hint(&self, text: &str) {
        self.say(&format!("{} {text}", ink(self.err_color, Ink::Cyan, "hint:")));
    }

    pub fn fail(&self, error: &CliError) -> Exit {
        self.say(&format!("{} {}", ink(self.err_color, Ink::Red, "error:"), error.message));
        for hint in &error.hints {
            self.hint(hint);
        }
        error.exit
    }
}
