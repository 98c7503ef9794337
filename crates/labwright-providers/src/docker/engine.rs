//! One way to the engine: its API over the unix socket, asked and waited for.
//! Knows no kind; what the engine says no with becomes an error that says what to type.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use labwright_plan::{ErrorKind, ProviderError};
use serde::Serialize;
use serde_json::Value as Json;

/// Where Debian's `docker.io` and Docker's own packages listen.
pub const SOCKET: &str = "/var/run/docker.sock";
/// No answer may take longer: stopping a container waits for its grace period.
const LIMIT_SECONDS: u64 = 600;

/// The versions that were agreed on with engines, by their sockets. The engine starts two programs to tell its own, which a
/// session that comes back for every step would wait for each time.
pub type Known = Mutex<BTreeMap<String, ClientVersion>>;

/// Connects, agrees on a version of the API, and runs `work` to its end on this thread.
pub fn with<T>(socket: &str, work: impl AsyncFnOnce(&Docker) -> Result<T, ProviderError>) -> Result<T, ProviderError> {
    with_known(socket, &Known::default(), work)
}

/// As `with`, with the version that was agreed on before, while the engine still takes it.
pub fn with_known<T>(
    socket: &str,
    known: &Known,
    work: impl AsyncFnOnce(&Docker) -> Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ProviderError::rejected(format!("cannot start talking to the Docker engine: {error}")))?;
    // What nobody may look at is told by connecting to it.
    if matches!(Path::new(socket).try_exists(), Ok(false)) {
        let message = format!("there is no Docker engine at `{socket}`");
        return Err(ProviderError::new(ErrorKind::Unreachable, message).help(
            "install it: `packages: [docker.io]` on the host; or start it: `systemctl start docker`; or say where \
             it listens: `docker_socket: …`",
        ));
    }
    runtime.block_on(async {
        let failed = |error| told("talk to the Docker engine", socket, error);
        let before = known.lock().unwrap_or_else(PoisonError::into_inner).get(socket).copied();
        if let Some(version) = before {
            let docker = Docker::connect_with_unix(socket, LIMIT_SECONDS, &version).map_err(failed)?;
            // Another engine may have taken its place: one that is too new for that version, or too old, says so here.
            if docker.ping().await.is_ok() {
                return work(&docker).await;
            }
        }
        let docker = Docker::connect_with_unix(socket, LIMIT_SECONDS, API_DEFAULT_VERSION).map_err(failed)?;
        let docker = docker.negotiate_version().await.map_err(failed)?;
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(socket.to_string(), docker.client_version());
        work(&docker).await
    })
}

/// What the engine answers a question with: nothing there is an answer.
pub fn found<T>(
    doing: &str,
    what: &str,
    answer: Result<T, bollard::errors::Error>,
) -> Result<Option<T>, ProviderError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(told(doing, what, error)),
    }
}

/// The HTTP status of an answer that is an error.
pub fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// An error of the engine, in words that help.
pub fn told(doing: &str, what: &str, error: bollard::errors::Error) -> ProviderError {
    use bollard::errors::Error;
    let (kind, said) = match &error {
        Error::DockerResponseServerError { status_code, message } => {
            let kind = match status_code {
                401 | 403 => ErrorKind::Auth,
                409 => ErrorKind::Conflict,
                _ => ErrorKind::Rejected,
            };
            (kind, message.trim().to_string())
        }
        Error::DockerStreamError { error } => (ErrorKind::Rejected, error.clone()),
        Error::RequestTimeoutError => (ErrorKind::Timeout, format!("no answer within {LIMIT_SECONDS} s")),
        Error::IOError { .. } | Error::HyperResponseError { .. } | Error::HyperLegacyError { .. } => {
            (ErrorKind::Unreachable, format!("the Docker engine does not answer: {}", chain(&error)))
        }
        other => (ErrorKind::Rejected, chain(other)),
    };
    let said = said.trim_start_matches("Error response from daemon: ").to_string();
    let help = advice(kind, &said);
    ProviderError::new(kind, format!("cannot {doing} `{what}`: {said}")).help(help)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

fn advice(kind: ErrorKind, said: &str) -> &'static str {
    match kind {
        ErrorKind::Unreachable => "is it running? `systemctl status docker`",
        ErrorKind::Auth => "run as root, or as a user that may use the engine's socket",
        _ if said.contains("port is already allocated") || said.contains("address already in use") => {
            "another program has that port: `ss -ltnp` says which; choose another in `ports`"
        }
        _ if said.contains("cannot assign requested address") => {
            "the host does not have that address: correct it in `ports`"
        }
        _ if said.contains("no space left") => "make room: `docker system df` says what takes it",
        // An engine has about thirty networks by itself, and each service has one.
        _ if said.contains("non-overlapping IPv") || said.contains("pools have been fully subnetted") => {
            "the engine has no address pool left: `docker network prune` takes away networks that nothing is in; for more, put \
             `\"default-address-pools\": [{\"base\": \"10.200.0.0/16\", \"size\": 26}]` into /etc/docker/daemon.json and \
             restart it"
        }
        _ if said.contains("volume is in use") => "remove the containers that use it first",
        _ => "",
    }
}

/// A part of the engine's own types as JSON, which is what everything here reads.
pub fn json(value: &impl Serialize) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}
