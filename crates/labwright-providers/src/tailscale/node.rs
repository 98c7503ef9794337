//! A host as a node of the tailnet: seen by `tailscale status`, joined by `tailscale up`. The key goes in by a file in memory
//! that is gone right after, never by an argument. https://tailscale.com/kb/1080/cli

use std::fs;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use labwright_plan::{
    Action, Call, Consequence, Context, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Value,
    Wanted, WayBack,
};

use crate::host::command::{SHORT, run};

/// The kind `node`; there is one of it on a host.
pub const KIND: Kind = Kind {
    name: "node",
    doc: "A host as a node of the lab's tailnet.",
    fields: &[
        field("joined", "Whether it has joined and is up.", OnChange::Update, Consequence::Hot),
        field("tags", "The tags that the tailnet's policy knows it by.", OnChange::Update, Consequence::CutsManagement),
        field(
            "login_server",
            "The coordination server that it joins by; Tailscale's own when absent.",
            OnChange::Ignore,
            Consequence::None,
        ),
        field("key", "The auth key that it joins with; needed for that alone.", OnChange::Ignore, Consequence::None),
    ],
    ownership: Ownership::Thing,
    create: Consequence::Hot,
    delete: Consequence::CutsManagement,
};

const fn field(name: &'static str, doc: &'static str, on_change: OnChange, consequence: Consequence) -> Field {
    Field { name, doc, on_change, consequence, content: false }
}

/// How long a host may take to join; `tailscale up` waits for ever by itself.
const JOINS_WITHIN: &str = "60s";
const LIMIT: Duration = Duration::from_secs(90);
/// A way back is given a minute.
const BACK_WITHIN: &str = "50s";

fn installed() -> bool {
    ["/usr/local/bin", "/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join("tailscale").is_file())
}

/// What the daemon says of itself: the fields of `ipnstate.Status` that count here.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Status {
    backend_state: String,
    #[serde(rename = "Self")]
    own: Option<Own>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Own {
    tags: Option<Vec<String>>,
}

fn status() -> Result<Status, ProviderError> {
    let output = run("tailscale", &["status", "--json", "--peers=false"], SHORT)?;
    // It ends with 1 while nobody is logged in, and tells its state all the same.
    match serde_json::from_str(&output.stdout) {
        Ok(status) => Ok(status),
        Err(_) if !output.ok() => Err(output.error().help("start its daemon: `systemctl enable --now tailscaled`")),
        Err(error) => {
            Err(ProviderError::rejected(format!("what `tailscale status --json` says cannot be understood: {error}")))
        }
    }
}

pub fn observe(_: &Wanted<'_>) -> Result<Option<Observed>, ProviderError> {
    // Its package may come with this very run.
    if !installed() {
        return Ok(None);
    }
    let status = status()?;
    if matches!(status.backend_state.as_str(), "NeedsLogin" | "NoState" | "") {
        return Ok(None);
    }
    let mut tags = status.own.and_then(|own| own.tags).unwrap_or_default();
    tags.sort_unstable();
    let joined = matches!(status.backend_state.as_str(), "Running" | "Starting");
    let spec =
        Spec::from([("joined".to_string(), joined.into()), ("tags".to_string(), tags.into_iter().collect::<Value>())]);
    Ok(Some(Observed { spec, data: None }))
}

/// Joins; a node that is only down comes up as it was.
pub fn join(context: &Context, step: &Step) -> Result<(), ProviderError> {
    if !installed() {
        return Err(ProviderError::rejected("`tailscale` is not installed there").help(
            "Debian has no package of it: add Tailscale's own archive below `files` (https://pkgs.tailscale.com/stable/#debian-bookworm), and `tailscale` to `packages`",
        ));
    }
    if step.action == Action::Update && !changes_tags(step) {
        return up(&[]);
    }
    let tags: Vec<&str> =
        step.spec.get("tags").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect();
    let key = key(context, step)?;
    let place = context.secrets_dir.join("tailscale-auth-key");
    let failed = |error: io::Error| ProviderError::rejected(format!("cannot write `{}`: {error}", place.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&context.secrets_dir).map_err(failed)?;
    // What a run that was killed may have left.
    drop(fs::remove_file(&place));
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o400).open(&place);
    let written = file.and_then(|mut file| file.write_all(key.trim().as_bytes()));
    let file = format!("--auth-key=file:{}", place.display());
    let tags = format!("--advertise-tags={}", tags.join(","));
    let server = login_server(step);
    let mut flags = vec![file.as_str(), tags.as_str()];
    flags.extend(server.as_deref());
    if step.action == Action::Update {
        flags.push("--force-reauth");
    }
    let joined = written.map_err(failed).and_then(|()| up(&flags));
    fs::remove_file(&place).map_err(failed)?;
    joined
}

/// Who coordinates the tailnet, as a flag: it has to be said again whenever a flag is.
fn login_server(step: &Step) -> Option<String> {
    let server = step.spec.get("login_server").and_then(Value::text)?;
    Some(format!("--login-server={server}"))
}

fn changes_tags(step: &Step) -> bool {
    step.changes.iter().any(|change| change.field == "tags")
}

/// The auth key that came with the run.
fn key(context: &Context, step: &Step) -> Result<impl Deref<Target = String>, ProviderError> {
    let Some(Value::Secret(key)) = step.spec.get("key") else {
        return Err(ProviderError::bug("a node without a key"));
    };
    key.reveal(&context.secrets).map_err(|secret| {
        ProviderError::rejected(format!("secret `{secret}` did not come with this run")).help("plan again")
    })
}

/// Other tags may let nobody in: then it has to log in once more, under those that it has now. The tailnet gives them where
/// the key may. The program reads the key from its standard input, which is in memory as all of this way back is.
pub fn way_back(context: &Context, step: &Step) -> Result<Option<WayBack>, ProviderError> {
    if !installed() || !changes_tags(step) {
        return Ok(None);
    }
    let tags = status()?.own.and_then(|own| own.tags).unwrap_or_default();
    let tags = format!("--advertise-tags={}", tags.join(","));
    let timeout = format!("--timeout={BACK_WITHIN}");
    let server = login_server(step);
    let mut args = vec!["up", timeout.as_str(), "--auth-key=file:/dev/stdin", tags.as_str(), "--force-reauth"];
    args.extend(server.as_deref());
    let key = key(context, step)?;
    let call = Call::new("tailscale", &args).input(key.trim());
    Ok(Some(WayBack { calls: vec![call], secret: true, outlives: true, ..WayBack::default() }))
}

fn up(flags: &[&str]) -> Result<(), ProviderError> {
    let timeout = format!("--timeout={JOINS_WITHIN}");
    let args: Vec<&str> = ["up", timeout.as_str()].iter().chain(flags).copied().collect();
    let output = run("tailscale", &args, LIMIT)?;
    if !output.ok() {
        let help = "the auth key may have expired, or may not give these tags: make a new one in the tailnet's admin console, `labwright secret set` it, and apply again";
        return Err(
            ProviderError::rejected(format!("the host did not join the tailnet: {}", output.last_words(4))).help(help)
        );
    }
    match status()?.backend_state.as_str() {
        "Running" | "Starting" => Ok(()),
        state => Err(ProviderError::rejected(format!(
            "the host joined the tailnet, and is not up in it: its state is `{state}`"
        ))
        .help("where the tailnet asks for approval of machines, approve it in the admin console, and apply again")),
    }
}

/// Leaves the tailnet: the node's key is given up.
pub fn leave() -> Result<(), ProviderError> {
    if !installed() {
        return Ok(());
    }
    run("tailscale", &["logout"], LIMIT)?.require().map(drop)
}
