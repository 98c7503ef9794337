//! What the daemon of a host is told to do, over its control socket: it says itself whether it can.

use std::io::{BufRead, BufReader, ErrorKind as ErrorIs, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use labwright_model::snapshot::control::{FOLDER, Reply, Request, SOCKET, Status};
use labwright_model::snapshot::{self, Snapshot};
use labwright_plan::{
    Action, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Value,
};

use super::Look;

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
        told("authority", "The certificate of the lab's own authority, where it signs with one. Only looked at."),
    ],
    ownership: Ownership::Setting,
    create: Consequence::Hot,
    delete: Consequence::None,
};

const fn told(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Ignore, consequence: Consequence::None, content: false }
}

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

pub fn ask(request: &Request) -> Result<Reply, ProviderError> {
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

/// What a daemon that runs says of itself; `None`: none runs.
pub fn running() -> Result<Option<Status>, ProviderError> {
    match listens(&socket())? {
        true => status().map(Some),
        false => Ok(None),
    }
}

/// Whether anybody listens at a socket. Before its unit ran for the first time there is nothing to ask, and what is stopped
/// is started first; anything else that stands in the way says nothing about whether a daemon runs.
fn listens(socket: &Path) -> Result<bool, ProviderError> {
    match UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorIs::NotFound | ErrorIs::ConnectionRefused) => Ok(false),
        Err(error) => {
            let message = format!("cannot tell whether the daemon of this host runs: `{}`: {error}", socket.display());
            Err(ProviderError::new(ErrorKind::Unreachable, message).help(format!(
                "`ls -l {}` shows what stands there; `systemctl status labwright-serve` says whether it runs",
                socket.display()
            )))
        }
    }
}

/// Whether a daemon runs that is not of this program.
pub fn is_other(own: &str) -> Result<bool, ProviderError> {
    Ok(running()?.is_some_and(|status| status.program != own))
}

pub fn observe() -> Look {
    let Some(status) = running()? else { return Ok(None) };
    // One that was never told anything is as good as none: its unit may have been started in this very run.
    let Some(Snapshot { lab, host, roles, .. }) = status.snapshot else { return Ok(None) };
    let mut spec = Spec::from([("serves".to_string(), serves(&snapshot::Wanted { lab, host, roles }))]);
    if let Some(authority) = status.authority {
        spec.insert("authority".into(), authority.into());
    }
    Ok(Some(Observed { spec, data: None }))
}

pub fn apply(step: &Step) -> Result<(), ProviderError> {
    if step.action == Action::Delete {
        return Ok(());
    }
    let now = started()?;
    let text = step.spec.get("serves").and_then(Value::text).unwrap_or_default();
    let wanted: snapshot::Wanted = serde_json::from_str(text)
        .map_err(|error| ProviderError::bug(format!("what the daemon is to do did not come as JSON: {error}")))?;
    let served = now.snapshot.as_ref().map_or(0, |served| served.generation);
    let snapshot = Snapshot {
        version: snapshot::VERSION,
        generation: served.max(now.generation) + 1,
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

/// Has a running daemon of another program replaced by the one that stands there now. Without a daemon there is nothing
/// to do.
pub fn upgrade(own: &str) -> Result<(), ProviderError> {
    let Some(before) = running()?.filter(|status| status.program != own) else { return Ok(()) };
    if let Reply::Refused { reason } = ask(&Request::Upgrade)? {
        return Err(failed(ErrorKind::Rejected, format!("the daemon could not start the new program: {reason}")));
    }
    let until = Instant::now() + START;
    loop {
        match status() {
            Ok(now) if now.pid != before.pid && now.program == own => return Ok(()),
            _ if Instant::now() >= until => {
                let message = "the new program did not take over; the old one goes on";
                return Err(failed(ErrorKind::Timeout, message.into()));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn only_a_socket_that_nobody_listens_at_is_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert!(!listens(&path("absent")).unwrap());
        let listening = UnixListener::bind(path("there")).unwrap();
        assert!(listens(&path("there")).unwrap());
        drop(listening);
        assert!(!listens(&path("there")).unwrap(), "left by one that ended");
        // Somebody else's socket, and a way there that is none: neither says that no daemon runs.
        let _other = UnixDatagram::bind(path("other")).unwrap();
        for unclear in [path("other"), path("there/control")] {
            let error = listens(&unclear).unwrap_err();
            assert!(error.message.contains("cannot tell whether the daemon of this host runs"), "{error:?}");
            assert!(error.message.contains(&unclear.display().to_string()), "{error:?}");
        }
    }
}
