//! What the daemon of a host is told to do, over its control socket: it says itself whether it can.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use labwright_model::snapshot::control::{FOLDER, Reply, Request, SOCKET, Status};
use labwright_model::snapshot::{self, Snapshot};
use labwright_plan::{
    Action, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, Progress, ProviderError, Spec, Step,
    Value,
};

use super::Look;
use super::program::{self, OTHER, THIS, VERSION};

/// The kind `daemon`.
pub const KIND: Kind = Kind {
    name: "daemon",
    doc: "The daemon of a host, `labwright serve`. It is told over its control socket, and no connection is cut for that.",
    fields: &[
        Field {
            name: "serves",
            doc: "What it does, by role.",
            on_change: OnChange::Update,
            consequence: Consequence::Hot,
            content: true,
        },
        VERSION,
    ],
    ownership: Ownership::Setting,
    create: Consequence::Hot,
    delete: Consequence::None,
};

/// Its only name.
pub const NAME: &str = "labwright-serve";

/// How long a unit that was started just now may take until its socket is there.
const START: Duration = Duration::from_secs(15);
/// How long it may take over a snapshot: it signs a certificate for each name.
const PATIENCE: Duration = Duration::from_secs(60);

fn socket() -> PathBuf {
    Path::new("/run").join(FOLDER).join(SOCKET)
}

fn failed(kind: ErrorKind, what: String) -> ProviderError {
    ProviderError::new(kind, what)
        .help("`journalctl -u labwright-serve -n 50` and `systemctl status labwright-serve` on the host say more")
}

fn ask(request: &Request) -> Result<Reply, ProviderError> {
    let asked = || -> std::io::Result<Reply> {
        let mut stream = UnixStream::connect(socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    asked()
        .map_err(|error| failed(ErrorKind::Unreachable, format!("failed to speak to the daemon of this host: {error}")))
}

fn status() -> Result<Status, ProviderError> {
    match ask(&Request::Status)? {
        Reply::Status(status) => Ok(*status),
        other => Err(ProviderError::bug(format!("the daemon answered {other:?} to a question for its status"))),
    }
}

fn text(wanted: &snapshot::Wanted) -> String {
    serde_json::to_string_pretty(wanted).unwrap_or_default() + "\n"
}

/// What a daemon is told, as a field holds it.
pub fn serves(wanted: &snapshot::Wanted) -> Value {
    Value::Text(text(wanted))
}

pub fn observe() -> Look {
    // Before its unit ran for the first time there is nothing to ask.
    if !socket().exists() {
        return Ok(None);
    }
    let status = match status() {
        Ok(status) => status,
        // It is there and stopped: the unit is started first, and then it is told.
        Err(_) if UnixStream::connect(socket()).is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    let own = program::digest(&program::own()).unwrap_or_default();
    let mut spec = Spec::from([("version".into(), if status.program == own { THIS } else { OTHER }.into())]);
    if let Some(Snapshot { lab, host, roles, .. }) = status.snapshot {
        spec.insert("serves".into(), serves(&snapshot::Wanted { lab, host, roles }));
    }
    Ok(Some(Observed { spec, data: None }))
}

pub fn apply(step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
    if step.action == Action::Delete {
        return Ok(());
    }
    let mut now = started()?;
    let own = program::digest(&program::own()).unwrap_or_default();
    if now.program != own {
        progress.say(&step.id, "the new program takes over from the old one");
        now = upgraded(&now, &own)?;
    }
    let Some(text) = step.spec.get("serves").and_then(Value::text) else { return Ok(()) };
    let wanted: snapshot::Wanted = serde_json::from_str(text)
        .map_err(|error| ProviderError::bug(format!("what the daemon is to do did not come as JSON: {error}")))?;
    let served = now.snapshot.as_ref().map(|served| served.generation);
    let snapshot = Snapshot {
        version: snapshot::VERSION,
        generation: served.unwrap_or(0) + 1,
        lab: wanted.lab,
        host: wanted.host,
        roles: wanted.roles,
    };
    match ask(&Request::Apply { snapshot: Box::new(snapshot) })? {
        Reply::Applied { .. } | Reply::AlreadyAt { .. } => Ok(()),
        Reply::Refused { reason } => {
            let message = format!("the daemon cannot serve that, and goes on with what it has: {reason}");
            Err(ProviderError::rejected(message).help("mend it and apply again"))
        }
        Reply::Stale { have } => Err(ProviderError::new(
            ErrorKind::Conflict,
            format!("somebody else told the daemon something newer meanwhile, generation {have}"),
        )
        .help("plan again")),
        other => Err(ProviderError::bug(format!("the daemon answered {other:?} to a snapshot"))),
    }
}

/// The status of a daemon whose unit was started, perhaps just now.
fn started() -> Result<Status, ProviderError> {
    let until = Instant::now() + START;
    loop {
        match status() {
            Ok(status) => return Ok(status),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Has the daemon replaced by the program that stands there now.
fn upgraded(before: &Status, own: &str) -> Result<Status, ProviderError> {
    if let Reply::Refused { reason } = ask(&Request::Upgrade)? {
        return Err(failed(ErrorKind::Rejected, format!("the daemon could not start the new program: {reason}")));
    }
    let until = Instant::now() + START;
    loop {
        match status() {
            Ok(now) if now.pid != before.pid && now.program == own => return Ok(now),
            _ if Instant::now() >= until => {
                let message = "the new program did not take over; the old one goes on";
                return Err(failed(ErrorKind::Timeout, message.into()));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
