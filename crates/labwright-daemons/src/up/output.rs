//! What units say: lines from their pipes, the last of them in memory, all of them in a file that does not grow for ever,
//! and each of them to whoever listens. A flood, a full disk or a slow listener holds nobody up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use labwright_model::snapshot::up::control::{Line, Source, Told};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedSender;

/// What is kept of each unit in memory.
const KEPT_BYTES: usize = 48 << 10;
const KEPT_LINES: usize = 400;
/// A longer line becomes several.
const LONGEST: usize = 8 << 10;
/// A file of lines that is larger becomes the one before, and the one before that is gone.
const FILE_BYTES: u64 = 8 << 20;
/// How soon a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Lines that wait for one listener; more are counted instead.
const WAITING: usize = 4096;

/// Whoever follows.
#[derive(Default)]
pub struct Bus {
    listeners: RefCell<Vec<Listener>>,
}

struct Listener {
    connection: u64,
    tell: Tell,
    /// `None`: no lines. Empty: those of all units.
    lines: Option<Vec<String>>,
    changes: bool,
}

/// A way to one listener, which knows how much waits there.
#[derive(Clone)]
pub struct Tell {
    send: UnboundedSender<Told>,
    waiting: Rc<Cell<usize>>,
    missed: Rc<Cell<u64>>,
}

impl Tell {
    pub fn new(send: UnboundedSender<Told>, waiting: Rc<Cell<usize>>) -> Tell {
        Tell { send, waiting, missed: Rc::default() }
    }

    /// Tells something that must not be lost.
    pub fn say(&self, told: Told) {
        self.waiting.set(self.waiting.get() + 1);
        let _ = self.send.send(told);
    }

    fn line(&self, line: &Line) {
        if self.waiting.get() > WAITING {
            return self.missed.set(self.missed.get() + 1);
        }
        if self.missed.get() > 0 {
            self.say(Told::Missed { lines: self.missed.take() });
        }
        self.say(Told::Line(line.clone()));
    }
}

impl Bus {
    pub fn follow(&self, connection: u64, tell: Tell, lines: Option<Vec<String>>, changes: bool) {
        self.listeners.borrow_mut().push(Listener { connection, tell, lines, changes });
    }

    pub fn forget(&self, connection: u64) {
        self.listeners.borrow_mut().retain(|listener| listener.connection != connection);
    }

    pub fn tell(&self, told: &Told) {
        for listener in self.listeners.borrow().iter().filter(|listener| listener.changes) {
            listener.tell.say(told.clone());
        }
    }

    /// The end is told to everybody.
    pub fn end(&self) {
        self.listeners.borrow().iter().for_each(|listener| listener.tell.say(Told::Ended));
    }

    fn lines(&self, lines: &[Line]) {
        for listener in self.listeners.borrow().iter() {
            let Some(units) = &listener.lines else { continue };
            for line in lines.iter().filter(|line| units.is_empty() || units.contains(&line.unit)) {
                listener.tell.line(line);
            }
        }
    }
}

/// What one unit has said.
pub struct Log {
    unit: String,
    bus: Rc<Bus>,
    kept: VecDeque<Line>,
    bytes: usize,
    path: PathBuf,
    file: Option<File>,
    written: u64,
    again: Option<Instant>,
}

impl Log {
    pub fn new(unit: &str, path: PathBuf, bus: Rc<Bus>) -> Log {
        let kept = VecDeque::new();
        Log { unit: unit.to_string(), bus, kept, bytes: 0, path, file: None, written: 0, again: None }
    }

    pub fn add(&mut self, texts: Vec<(Source, String)>) {
        let at = jiff::Timestamp::now().as_millisecond();
        let line = |(source, text)| Line { unit: self.unit.clone(), at, source, text };
        let lines: Vec<Line> = texts.into_iter().map(line).collect();
        self.bus.lines(&lines);
        self.write(&lines);
        for line in lines {
            self.bytes += line.text.len();
            self.kept.push_back(line);
            while self.kept.len() > KEPT_LINES || self.bytes > KEPT_BYTES {
                let Some(first) = self.kept.pop_front() else { break };
                self.bytes -= first.text.len();
            }
        }
    }

    pub fn kept(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.kept.iter()
    }

    /// The last lines as a person reads them.
    pub fn last(&self, count: usize) -> Vec<String> {
        let said = self.kept.iter().filter(|line| line.source != Source::Note);
        let mut last: Vec<String> = said.rev().take(count).map(|line| line.text.clone()).collect();
        last.reverse();
        last
    }

    fn write(&mut self, lines: &[Line]) {
        if self.again.is_some_and(|again| Instant::now() < again) {
            return;
        }
        let mut text = String::new();
        for line in lines {
            let at = jiff::Timestamp::from_millisecond(line.at).unwrap_or_default();
            let source = match line.source {
                Source::Out => "out",
                Source::Err => "err",
                Source::Log => "log",
                Source::Note => "---",
            };
            text.push_str(&format!("{at:.3} {source} {}\n", line.text));
        }
        let written = self.open().and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => {
                self.written += text.len() as u64;
                if self.again.take().is_some() {
                    tracing::info!(unit = self.unit, "its log is written again");
                }
            }
            Err(error) => {
                if self.again.is_none() {
                    let text = format!("the log of `{}` cannot be written: {error}; it goes on without", self.unit);
                    tracing::warn!(text);
                    self.bus.tell(&Told::Note { text });
                }
                self.file = None;
                self.again = Some(Instant::now() + AGAIN);
            }
        }
    }

    fn open(&mut self) -> std::io::Result<&File> {
        if self.file.is_some() && self.written > FILE_BYTES {
            self.file = None;
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.written = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file.as_ref().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

/// Bytes that become lines.
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        let mut left = bytes;
        while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            self.grow(&left[..end], lines);
            lines.push(readable(&self.rest));
            self.rest.clear();
            left = &left[end + 1..];
        }
        self.grow(left, lines);
    }

    fn grow(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        let mut left = bytes;
        while self.rest.len() + left.len() > LONGEST {
            let (now, later) = left.split_at(LONGEST - self.rest.len());
            self.rest.extend_from_slice(now);
            lines.push(readable(&self.rest));
            self.rest.clear();
            left = later;
        }
        self.rest.extend_from_slice(left);
    }
}

/// A line as a terminal may be shown it: no byte of it moves a cursor or changes a setting.
fn readable(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    if !text.contains(|c: char| c.is_control() && c != '\t') {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut left = text.chars().peekable();
    while let Some(c) = left.next() {
        match c {
            // Colours and the like (ECMA-48, 5.4) are left out, not shown as rubbish.
            '\u{1b}' if left.peek() == Some(&'[') => {
                left.next();
                while left.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
            }
            '\t' => out.push('\t'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A line that came as text, as a terminal may be shown it.
pub fn plain(text: &str) -> String {
    readable(text.as_bytes())
}

/// Reads a pipe to its end.
pub async fn read(pipe: OwnedFd, source: Source, log: Rc<RefCell<Log>>) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(pipe) else { return };
    let mut lines = Lines { rest: Vec::new() };
    let mut bytes = vec![0; 4 << 10];
    loop {
        let count = match pipe.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let mut new = Vec::new();
        lines.add(&bytes[..count], &mut new);
        if !new.is_empty() {
            log.borrow_mut().add(new.into_iter().map(|line| (source, line)).collect());
        }
        // What says much is read in larger pieces; a hundred that say little need no more than this.
        if count == bytes.len() && bytes.len() < 64 << 10 {
            bytes = vec![0; 64 << 10];
        }
        // However much one says, the others have their turn.
        tokio::task::yield_now().await;
    }
    if !lines.rest.is_empty() {
        log.borrow_mut().add(vec![(source, readable(&lines.rest))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines { rest: Vec::new() }, Vec::new());
        pieces.iter().for_each(|piece| lines.add(piece, &mut out));
        out.push(readable(&lines.rest));
        out
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        assert_eq!(lines(&[b"one\r\ntw", b"o\n\nthr", b"ee"]), ["one", "two", "", "three"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let long = vec![b'x'; 3 * LONGEST + 5];
        let lengths: Vec<usize> = lines(&[&long]).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, LONGEST, 5]);
    }

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_obey() {
        assert_eq!(
            lines(&[b"\x1b[31mred\x1b[0m\x1b]0;title\x07 \xff\x00 a\tb"]),
            ["red\u{fffd}]0;title\u{fffd} \u{fffd}\u{fffd} a\tb"]
        );
    }

    #[test]
    fn a_flood_is_bounded_and_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new("loud", folder.path().join("loud.log"), Rc::default());
        for _ in 0..3000 {
            log.add((0..10).map(|_| (Source::Out, "y".repeat(1000))).collect());
        }
        assert!(log.bytes <= KEPT_BYTES && log.kept.len() <= KEPT_LINES);
        let sizes: Vec<u64> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < FILE_BYTES + (64 << 10)), "{sizes:?}");
    }
}
