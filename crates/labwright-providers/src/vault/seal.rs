//! The seal of a server that another one opens: in place, read by the server, and proven by a restart.
//! Gives no key share and initialises nothing: where a person is needed, it says so.

use std::time::{Duration, Instant};

use labwright_plan::{
    Change, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, Progress, ProviderError, Spec, Step,
    Value, Wanted,
};
use labwright_secrets::vault::SealStatus;

use super::access::{error, nobody};
use super::session::{Here, Look};
use super::{ADDRESS, CA};
use crate::host::session::text;
use crate::host::systemd;

/// The kind `seal`, named by the systemd unit of the server.
pub const KIND: Kind = Kind {
    name: "seal",
    doc: "The seal of a Vault that another one opens. It is proven by restarting the server and finding it unsealed.",
    fields: &[
        field("type", "What opens it: `transit`."),
        field("sealed", "Whether it is closed."),
        field("inputs", "What it was last restarted with: its configuration and its token."),
        Field { on_change: OnChange::Ignore, ..field("unsealer", "The address of the server that opens it.") },
        ADDRESS,
        CA,
    ],
    ownership: Ownership::Setting,
    create: Consequence::Restart,
    delete: Consequence::None,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence: Consequence::Restart, content: false }
}

/// As long as a server may take to start and to ask the other one. One that is refused says so much earlier.
const LIMIT: Duration = Duration::from_secs(45);
/// A server that was refused asks again after a few seconds; one answer more is enough to believe it.
const DOUBT: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(200);

/// A server that is open is closed for a moment, and for good if the other one does not open it again.
pub fn price(changes: &[Change]) -> Consequence {
    match changes.iter().any(|change| change.field == "sealed") {
        true => Consequence::Restart,
        false => Consequence::Downtime,
    }
}

pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let unit = wanted.id.name();
    let status = match nobody(wanted.spec)?.sys().seal_status() {
        Ok(status) => Some(status),
        // A server that was never started has no state; one that runs and does not answer has, and nobody knows it.
        Err(fault) => match systemd::show(&[unit.to_string()])?.get(unit)?.runs() {
            true => return Err(error(fault)),
            false => None,
        },
    };
    let opened = status.as_ref().is_some_and(|status| status.kind == "transit" && !status.sealed);
    if !opened {
        opener(wanted.spec, unit)?;
    }
    let mut spec = Spec::new();
    if let Some(status) = status {
        spec.insert("type".into(), Value::Text(status.kind));
        spec.insert("sealed".into(), Value::Bool(status.sealed));
    }
    if let Some(inputs) = here.context.applied.get(wanted.id).and_then(|applied| applied.get("inputs")) {
        spec.insert("inputs".into(), inputs.clone());
    }
    Ok(Some(Observed { spec, data: None }))
}

/// That the server which opens this one could do so now: without it a restart would only close what is open.
fn opener(spec: &Spec, unit: &str) -> Result<(), ProviderError> {
    let Some(address) = text(spec, "unsealer") else { return Ok(()) };
    let mut reached = Spec::from([("address".to_string(), Value::from(address))]);
    reached.extend(spec.get("ca").map(|ca| ("ca".to_string(), ca.clone())));
    let unable = |why: String, help: String| {
        let message = format!("`{unit}` is not unsealed, and `{address}`, which unseals it, {why}");
        Err(ProviderError::new(ErrorKind::Unreachable, message).help(help))
    };
    match nobody(&reached)?.sys().health() {
        Ok(health) if health.sealed => {
            unable("is sealed itself".into(), "unseal that one first: `vault operator unseal` there".into())
        }
        Ok(_) => Ok(()),
        Err(error) => unable(format!("does not answer: {}", error.message), error.help.unwrap_or_default()),
    }
}

/// Restarts the server and waits until it is open, or until it is known that it will not be.
pub fn apply(here: &Here, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
    let unit = step.id.name();
    opener(&step.spec, unit)?;
    let client = nobody(&step.spec)?;
    progress
        .say(&step.id, &format!("restarting `{unit}`, and waiting until it is unsealed, up to {} s", LIMIT.as_secs()));
    systemd::daemon_reload()?;
    systemd::restart(unit)?;
    let (begun, mut answered) = (Instant::now(), None::<Instant>);
    loop {
        let status = client.sys().seal_status();
        if status.as_ref().is_ok_and(|status| status.kind == "transit" && status.initialized && !status.sealed) {
            return Ok(());
        }
        if status.is_ok() {
            answered.get_or_insert_with(Instant::now);
        }
        let failed = systemd::show(&[unit.to_string()])?.get(unit)?.failed();
        let settled = answered.is_some_and(|since| since.elapsed() > patience(status.as_ref().ok()));
        if failed || settled || begun.elapsed() > LIMIT {
            let status = status.map_err(error);
            return Err(scrubbed(here, explained(unit, &step.spec, status.as_ref(), failed)));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a server says once is enough, unless it is about another that it asks again.
fn patience(status: Option<&SealStatus>) -> Duration {
    match status {
        Some(status) if status.kind == "transit" && status.initialized => DOUBT,
        _ => Duration::from_secs(1),
    }
}

fn explained(unit: &str, spec: &Spec, status: Result<&SealStatus, &ProviderError>, failed: bool) -> ProviderError {
    let config = spec.get("inputs").and_then(|inputs| match inputs {
        Value::Map(files) => files.keys().find(|name| name.starts_with('/')).cloned(),
        _ => None,
    });
    let config = config.unwrap_or_default();
    let folder = config.rsplit_once('/').map_or("", |(folder, _)| folder);
    let said = systemd::last_words(unit);
    let said = if said.is_empty() { String::new() } else { format!("; its log ends:\n{said}") };
    match status {
        Ok(status) if !status.initialized => ProviderError::rejected(format!(
            "`{unit}` has its seal, and is not initialised: there is nothing yet that could be unsealed"
        ))
        .help("initialise it, and keep the recovery keys: `vault operator init`; then apply again"),
        Ok(status) if status.migration => {
            ProviderError::rejected(format!("`{unit}` waits for its key shares to move to the seal `transit`"))
                .help("`vault operator unseal -migrate` on it, once for each share; then apply again")
        }
        Ok(status) if status.kind != "transit" => ProviderError::rejected(format!(
            "`{unit}` was restarted, and its seal is still `{}`: it does not read `{config}`",
            status.kind
        ))
        .help(format!("let it read the folder: `vault server -config={folder}`")),
        Ok(_) => ProviderError::rejected(format!("`{unit}` was restarted, and stays sealed{said}"))
            .help("what its log says is about the other server: its address, the key, the policy, or the token"),
        Err(_) if failed => ProviderError::rejected(format!("`{unit}` did not start{said}"))
            .help(format!("`systemctl status {unit}` on the host; its configuration is in `{folder}`")),
        Err(error) => ProviderError::new(error.kind, format!("{}{said}", error.message)).help(error.help.clone()),
    }
}

/// Takes out of a server's own words whatever came as a secret.
fn scrubbed(here: &Here, mut error: ProviderError) -> ProviderError {
    for name in here.context.secrets.names() {
        if let Some(value) = here.context.secrets.get(name).map(str::trim).filter(|value| value.len() > 3) {
            error.message = error.message.replace(value, "…");
        }
    }
    error
}
