//! The state of the lab as the supervisor last told it, and requests to the supervisor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use labwright_model::snapshot::up::control::{Line, Request, State, Status, Told};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::app::App;

/// How long the supervisor may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon it is tried again where it does not listen.
const AGAIN: Duration = Duration::from_millis(20);
/// Of what is said of no unit, the last are kept.
const NOTES: usize = 5;

/// How the lab is now, and how its start went.
#[derive(Default)]
pub struct Snapshot {
    /// Whether the supervisor is heard.
    pub heard: bool,
    pub state: State,
    /// By unit, milliseconds since the supervisor began. Stays as it was when everything had settled for the first time.
    pub first: BTreeMap<String, First>,
    /// When everything had settled for the first time.
    pub settled: Option<u64>,
    pub notes: Vec<String>,
}

/// How the first start of a unit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    pub began: u64,
    pub well: Option<u64>,
}

impl Snapshot {
    /// Takes in how a unit is.
    fn take(&mut self, status: Status) {
        self.note_start(&status);
        match self.state.units.iter_mut().find(|unit| unit.name == status.name) {
            Some(unit) => *unit = status,
            None => self.state.units.push(status),
        }
    }

    fn note_start(&mut self, status: &Status) {
        let (Some(began), None) = (status.began, self.settled) else { return };
        let first = self.first.entry(status.name.clone()).or_insert(First { began, well: None });
        if first.well.is_none() && status.phase.is_well() {
            first.well = status.took.map(|took| began + took);
        }
    }

    pub fn hear(&mut self, told: Told, elapsed: u64) {
        match told {
            Told::State(state) => {
                state.units.iter().for_each(|unit| self.note_start(unit));
                if state.settled {
                    self.settled.get_or_insert(elapsed);
                }
                (self.state, self.heard) = (*state, true);
            }
            Told::Unit(status) => {
                self.state.settled = false;
                self.take(*status);
            }
            Told::Settled => {
                self.state.settled = true;
                self.settled.get_or_insert(elapsed);
            }
            Told::Note { text } => {
                self.notes.push(text);
                let more = self.notes.len().saturating_sub(NOTES);
                self.notes.drain(..more);
            }
            Told::Ended => self.heard = false,
            Told::Line(_) | Told::Missed { .. } | Told::Chosen { .. } | Told::Done | Told::Refused { .. } => {}
        }
    }
}

/// A conversation with the supervisor.
pub struct Link {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Link {
    /// `None` where the supervisor does not listen.
    pub fn open(app: &App) -> Option<Link> {
        let stream = (app.connect)()?;
        stream.set_nonblocking(true).ok()?;
        let (read, write) = UnixStream::from_std(stream).ok()?.into_split();
        Some(Link { read: BufReader::new(read), write })
    }

    /// Whether it was sent.
    pub async fn ask(&mut self, request: &Request) -> bool {
        let Ok(mut text) = serde_json::to_vec(request) else { return false };
        text.push(b'\n');
        self.write.write_all(&text).await.is_ok()
    }

    /// What is told next; `None` when it has gone.
    pub async fn hear(&mut self) -> Option<Told> {
        let mut line = String::new();
        match self.read.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => serde_json::from_str(&line).ok(),
        }
    }
}

/// Follows the supervisor for as long as this process lives.
pub async fn follow(app: Arc<App>) {
    loop {
        if let Some(mut link) = Link::open(&app)
            && link.ask(&Request::Follow { own: false, lines: false }).await
        {
            while let Some(told) = link.hear().await {
                app.now.send_modify(|now| now.hear(told, app.elapsed()));
            }
            app.now.send_modify(|now| now.heard = false);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Has the supervisor do something.
///
/// # Errors
/// Why it does not, in words.
pub async fn act(app: &App, request: Request) -> Result<(), String> {
    let gone = || "the supervisor does not answer; `labwright ps` says whether it runs".to_string();
    let mut link = Link::open(app).ok_or_else(gone)?;
    let asked = async {
        link.ask(&request).await;
        loop {
            match link.hear().await {
                Some(Told::Done) => return Ok(()),
                Some(Told::Refused { reason, help }) if help.is_empty() => return Err(reason),
                Some(Told::Refused { reason, help }) => return Err(format!("{reason}; {help}")),
                Some(_) => {}
                None => return Err(gone()),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(gone()))
}

/// The last lines of a unit, as the supervisor keeps them.
pub async fn lines(app: &App, unit: &str, tail: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let Some(mut link) = Link::open(app) else { return lines };
    let asked = async {
        link.ask(&Request::Logs { units: vec![unit.to_string()], tail, follow: false }).await;
        while let Some(told) = link.hear().await {
            match told {
                Told::Line(line) => lines.push(line),
                Told::Done | Told::Refused { .. } => return,
                _ => {}
            }
        }
    };
    // What has come by then is shown.
    let _ = tokio::time::timeout(PATIENCE, asked).await;
    lines
}

#[cfg(test)]
mod tests {
    use labwright_model::snapshot::up::control::Phase;

    use super::*;

    fn status(phase: Phase, began: Option<u64>, took: Option<u64>) -> Told {
        Told::Unit(Box::new(Status {
            name: "db".into(),
            kind: "process".into(),
            phase,
            pid: None,
            port: None,
            links: Vec::new(),
            reason: String::new(),
            last: Vec::new(),
            restarts: 0,
            took,
            started: None,
            began,
            containers: Vec::new(),
        }))
    }

    #[test]
    fn a_later_restart_does_not_change_how_the_start_went() {
        let mut now = Snapshot::default();
        now.hear(status(Phase::Starting, Some(10), None), 11);
        now.hear(status(Phase::Pausing, Some(10), None), 40);
        now.hear(status(Phase::Ready, Some(240), Some(60)), 300);
        assert_eq!(now.first["db"], First { began: 10, well: Some(300) });
        now.hear(Told::Settled, 300);
        now.hear(status(Phase::Ready, Some(90_000), Some(5)), 90_005);
        assert_eq!((now.first["db"].well, now.settled), (Some(300), Some(300)));
    }
}
