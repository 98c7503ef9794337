//! `labwright secret doctor`: everything about the secrets that a key, a clock or the repository's history can tell.
//! What the lab file alone can tell is said by `labwright check`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use labwright_model::Parsed;
use labwright_model::lab::GenerateKind;
use labwright_model::units::Period;
use labwright_secrets::generate;

use super::in_vault::InVault;
use super::keeper::{self, Keeper, Place, place};
use super::{Common, flat, generators, history, publics, shown};
use crate::error::{CliError, Exit};
use crate::render::findings::{self, count};
use crate::secrets;
use crate::terminal::Terminal;
use crate::vault;

/// A certificate is worth a word this long before it ends.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 86_400);

const DAY: i64 = 86_400;

/// Looks the secrets over: whether they open, who else could open them, what is missing, old, or was once in the clear.
///
/// Exits with 3 when something should be done.
#[derive(clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    common: Common,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that should be done.
struct Complaint {
    about: String,
    message: String,
    help: String,
}

impl Doctor {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        if place(&self.common, &parsed, &[])? == Place::Vault {
            let (shown, count, complaints) = in_vault(&parsed)?;
            return self.tell(&complaints, &shown, &findings::count(count, "secret"), terminal);
        }
        let (path, document) = secrets::document(&parsed)?;
        let mut complaints: Vec<Complaint> = Vec::new();
        let mut complain = |about: &str, message: String, help: &str| {
            complaints.push(Complaint { about: about.into(), message, help: help.into() });
        };
        if let Some(before) = keeper::interrupted(&path)? {
            let message = format!("a rotation was cut off: {} is there", shown(&before));
            complain("store", message, "`labwright secret rotate --undo` or `--finish`");
        }
        let recipients = document.recipients().len();
        if recipients == 1 {
            let message = "one key opens it: if that is lost, so is every secret".to_string();
            complain("store", message, "make a key for a drawer, name it under `recovery`, `labwright secret rekey`");
        }
        let opened = self.common.open(&parsed, terminal)?;
        let values = opened.all().map_err(secrets::error)?;
        let kept = |name: &str| values.contains_key(name);
        for (name, spec) in generators(&parsed) {
            if !kept(&name) {
                complain(&name, "declared, and not made yet".into(), "`labwright secret generate`");
            } else if matches!(spec, generate::Generator::X509 { .. } | generate::Generator::X509Ca { .. }) {
                let mut halves = publics(&opened, &name).map_err(secrets::error)?;
                certificate(halves.remove("public"), &name, &mut complain);
            }
        }
        for (name, age, limit) in old(&parsed) {
            let message = format!("{age} days old, and the limit is {limit}");
            complain(&name, message, &format!("`labwright secret rotate {name}`"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let secret = |name: &str| parsed.store.as_ref().is_none_or(|store| store.names.contains_key(name));
        let hidden: BTreeMap<_, _> = values.into_iter().filter(|(name, _)| secret(name)).collect();
        match history::leaks(folder, &hidden) {
            Ok(Some(leaks)) => {
                for leak in leaks {
                    let message = format!("stands in the clear in `{}` of commit {}", leak.file, leak.commit);
                    complain(
                        &leak.name,
                        message,
                        &format!("it is no secret any more: `labwright secret rotate {}`", leak.name),
                    );
                }
            }
            Ok(None) => terminal.say("not a git repository: earlier revisions were not searched"),
            Err(error) => terminal.warn(&format!("cannot search earlier revisions: {error}")),
        }
        let what = format!("{}, sealed by {}", count(hidden.len(), "secret"), count(recipients, "key"));
        self.tell(&complaints, &shown(&path), &what, terminal)
    }

    fn tell(&self, complaints: &[Complaint], place: &str, what: &str, terminal: &Terminal) -> Result<Exit, CliError> {
        let exit = if complaints.is_empty() { Exit::Done } else { Exit::Findings };
        if self.json {
            let row = |complaint: &Complaint| serde_json::json!({ "about": complaint.about, "message": complaint.message, "help": complaint.help });
            let rows: Vec<_> = complaints.iter().map(row).collect();
            terminal.document(&serde_json::json!({ "complaints": rows }))?;
            return Ok(exit);
        }
        for complaint in complaints {
            terminal.data(&format!("{}: {}\n    {}\n", complaint.about, complaint.message, complaint.help));
        }
        terminal.data(&format!(
            "{place}: {what}, {}\n",
            match complaints.len() {
                0 => "nothing to do".to_string(),
                n => format!("{} to do", count(n, "thing")),
            }
        ));
        Ok(exit)
    }
}

fn certificate(certificate: Option<String>, name: &str, complain: &mut impl FnMut(&str, String, &str)) {
    let Some(certificate) = certificate else {
        return complain(name, "its certificate is not in the store".into(), "`labwright secret generate`");
    };
    let Ok(expires) = generate::expires(&certificate) else {
        return complain(name, "its certificate cannot be read".into(), &format!("`labwright secret rotate {name}`"));
    };
    let left = expires.duration_since(labwright_engine::now());
    if left.as_secs() < EXPIRES_SOON.as_secs() as i64 {
        let day = expires.strftime("%Y-%m-%d");
        let message = if left.is_negative() {
            format!("its certificate ended on {day}")
        } else {
            format!("its certificate ends on {day}")
        };
        complain(name, message, &format!("`labwright secret rotate {name}`"));
    }
}

/// A limit as people set it: months have no fixed length.
fn in_days(limit: &Period) -> String {
    match limit.0.as_secs() as i64 {
        seconds if seconds % DAY == 0 => count((seconds / DAY) as usize, "day"),
        _ => limit.to_string(),
    }
}

/// A Vault, as far as this login may look: its seal, a rotation that was cut off, what is missing and what is old.
/// Gives the place, how many secrets there are, and what should be done.
fn in_vault(parsed: &Parsed) -> Result<(String, usize, Vec<Complaint>), CliError> {
    let mut complaints: Vec<Complaint> = Vec::new();
    let mut complain = |about: &str, message: String, help: &str| {
        complaints.push(Complaint { about: about.into(), message, help: help.into() });
    };
    let server = vault::Vault::open(parsed)?;
    let shown = server.shown();
    let names = server.names().map_err(vault::error)?;
    let token = server.client.tokens().lookup_self();
    match token {
        Ok(token) if token.policies.iter().any(|policy| policy == "root") => {
            let help = "log in with a token whose policy grants the lab's folder alone, and revoke this one";
            complain("store", "you are logged in with a root token".into(), help);
        }
        Ok(_) => {}
        Err(error) => {
            let message = format!("what this login may do cannot be told: {}", error.message);
            complain("store", message, "grant it `read` on `auth/token/lookup-self`, as the policy `default` does");
        }
    }
    let mut keeper = InVault::new(server);
    if keeper.interrupted()? {
        complain("store", "a rotation was cut off".into(), "`labwright secret rotate --undo` or `--finish`");
    }
    let elsewhere = |name: &str| parsed.store.as_ref().is_some_and(|store| store.names.contains_key(name));
    for (name, spec) in generators(parsed).into_iter().filter(|(name, _)| !elsewhere(name)) {
        if !names.contains_key(&name) {
            complain(&name, "declared, and not made yet".into(), "`labwright secret generate`");
        } else if matches!(spec, generate::Generator::X509 { .. } | generate::Generator::X509Ca { .. }) {
            certificate(keeper.publics(&name).map_err(vault::error)?.remove("public"), &name, &mut complain);
        }
    }
    for secret in &parsed.secrets {
        let declared = generators(parsed).contains_key(&secret.value);
        if !names.contains_key(&secret.value) && !declared && !elsewhere(&secret.value) {
            let help = format!("`labwright secret set {}`", secret.value);
            complain(&secret.value, "the lab refers to it, and it is not there".into(), &help);
        }
    }
    let days = names.iter().map(|(name, day)| (name.as_str(), day.as_str()));
    for (name, age, limit) in older(parsed, days) {
        let message = format!("{age} days old, and the limit is {limit}");
        complain(&name, message, &format!("`labwright secret rotate {name}`"));
    }
    Ok((shown, names.len(), complaints))
}

/// Secrets of the file older than they may be: name, age in days, limit in words.
fn old(parsed: &Parsed) -> Vec<(String, i64, String)> {
    let Some(store) = &parsed.store else { return Vec::new() };
    let made = |name: &'_ String| store.made.get(&flat(name)).map(|made| made.value.as_str());
    older(parsed, store.names.keys().filter_map(|name| Some((name.as_str(), made(name)?))))
}

/// As `old`, of names with the days they were made.
fn older<'a>(parsed: &Parsed, names: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, i64, String)> {
    let Some(declared) = &parsed.lab.platform.secrets else { return Vec::new() };
    let now = labwright_engine::now();
    let mut old = Vec::new();
    for (name, made) in names {
        let own = declared.generate.get(name);
        // A certificate has an end of its own.
        if own.is_some_and(|own| matches!(own.kind, GenerateKind::Ca | GenerateKind::Certificate)) {
            continue;
        }
        let limit = own.and_then(|own| own.rotate_after).or(declared.rotate_after);
        let made = made.parse::<jiff::civil::Date>().ok();
        let (Some(limit), Some(made)) = (limit, made) else { continue };
        let Ok(made) = made.to_zoned(jiff::tz::TimeZone::UTC) else { continue };
        let age = now.duration_since(made.timestamp());
        if age.as_secs() > limit.0.as_secs() as i64 {
            old.push((name.to_string(), age.as_secs() / DAY, in_days(&limit)));
        }
    }
    old
}
