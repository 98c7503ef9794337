//! Systemd units: their files, whether they start at boot, whether they run, and when they have to start anew.
//! Owns no drop-ins, and never the file of a unit that comes from a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use labwright_model::Spanned;
use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, Progress, ProviderError, Refusal, Resource,
    Sealed, Spec, Step, Value, Wanted,
};

use super::content;
use super::directory::look;
use super::entry::{Entry, What};
use super::file::{put, remove as remove_file};
use super::lower::{Ground, sorted};
use super::paths::{Mentions, normal};
use super::session::{Here, Look, Saying, Sights};
use super::systemd::{self, State, States, UNITS, is_template};
use super::unit_environment;
use super::waiting::{Goal, Pending, wait};

/// The kind `unit`.
pub const KIND: Kind = Kind {
    name: "unit",
    doc: "A systemd unit. Without content it comes from a package, and only its state is the lab's.",
    fields: &[
        Field {
            name: "content",
            doc: "The unit file.",
            on_change: OnChange::Update,
            consequence: Consequence::Restart,
            content: true,
        },
        field("enabled", "Whether it starts at boot.", Consequence::None),
        field("running", "Whether it runs now.", Consequence::Restart),
        field(
            "inputs",
            "The files that it was last started with; it starts anew when one changes.",
            Consequence::Restart,
        ),
    ],
    ownership: Ownership::Thing,
    create: Consequence::Hot,
    delete: Consequence::Downtime,
};

const fn field(name: &'static str, doc: &'static str, consequence: Consequence) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence, content: false }
}

const TYPES: &[&str] = &["service", "socket", "timer", "path", "target", "mount", "automount", "swap", "slice"];

/// `lowered` is what else the host shall have: a unit runs anew when a file that it reads does.
pub fn lower(ground: &Ground<'_>, lowered: &[Resource]) -> Vec<Resource> {
    sorted(&ground.host.units).into_iter().filter_map(|(name, unit)| one(ground, name, unit, lowered)).collect()
}

fn one(
    ground: &Ground<'_>,
    name: &str,
    entry: &Spanned<labwright_model::lab::Unit>,
    lowered: &[Resource],
) -> Option<Resource> {
    let unit = &entry.value;
    let content = ground.maybe(unit.content.as_ref())?;
    let restart_on = unit
        .restart_on
        .iter()
        .map(|path| Some(normal(&ground.text(path)?).into_owned()))
        .collect::<Option<Vec<_>>>()?;
    let restart_on: Vec<String> = restart_on.into_iter().chain(unit_environment::paths(name, unit)).collect();
    let inputs = (unit.running == Some(true)).then(|| inputs(content.as_deref(), &restart_on, lowered));
    let mut resource = ground
        .resource("unit", name, entry.span)
        .with_some("content", content)
        .with_some("enabled", unit.enabled)
        .with_some("running", unit.running)
        .with_some("inputs", inputs.map(Value::Map));
    resource.adopt = unit.adopt;
    Some(resource)
}

fn inputs(content: Option<&str>, restart_on: &[String], lowered: &[Resource]) -> BTreeMap<String, Value> {
    let mentions = Mentions::of(content.unwrap_or_default());
    let is_read = |path: &str| mentions.has(path) || restart_on.iter().any(|listed| listed == path);
    let files = lowered.iter().filter(|resource| resource.id.kind() == "file" && is_read(resource.id.name()));
    let digest = |file: &Resource| {
        let value = match file.spec.get("content")? {
            Value::Secret(sealed) => Value::Secret(sealed.clone()),
            content => Value::Digest(content.digest()?),
        };
        Some((file.id.name().to_string(), value))
    };
    files.filter_map(digest).collect()
}

/// Why this is no unit that can be managed; `None`: it is.
pub fn fault(resource: &Resource) -> Option<Refusal> {
    let name = resource.id.name();
    let refusal = |reason: String, help: &str| Some(Refusal { reason, help: help.into() });
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '\\' | '@' | '-');
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    if !TYPES.contains(&kind) {
        return refusal(
            format!("`{name}` does not say what kind of unit it is"),
            "end it with `.service`, `.timer`, …",
        );
    }
    if stem.is_empty() || !name.chars().all(plain) || name.len() > 255 {
        return refusal(format!("`{name}` is not a unit's name"), "use letters, digits, `-`, `_`, `.`, `:`, `@`");
    }
    if is_template(name) && resource.spec.contains_key("running") {
        let help = "leave `running` out, and declare an instance of it as a unit of its own, without content";
        return refusal(format!("`{name}` is a template, and a template does not run"), help);
    }
    None
}

fn path_of(name: &str) -> PathBuf {
    Path::new(UNITS).join(name)
}

/// The unit's own file, and what systemd says of the unit.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let name = wanted.id.name();
    let state = sights.units.as_ref().map_err(Clone::clone)?.get(name)?;
    let path = path_of(name);
    let there = look(here, &path)?;
    let owns_file = here.asked(wanted, "content").is_some();
    // A unit of that name from elsewhere would be overridden: that is taking over, not making.
    let elsewhere = state.exists() && !state.fragment.is_empty() && Path::new(&state.fragment) != path;
    let present = if owns_file { there.is_some() || elsewhere } else { state.exists() };
    if !present {
        return Ok(None);
    }
    let mut spec = Spec::from([
        ("enabled".to_string(), Value::Bool(state.starts_at_boot())),
        ("running".to_string(), Value::Bool(state.runs())),
    ]);
    if owns_file && there.is_some_and(|there| there.what == What::File) {
        let content = Entry::open(&path).and_then(|entry| content::of(&mut entry.read()?));
        spec.insert("content".into(), content.map_err(|error| here.file_error("read", &path, &error))?);
    }
    if let Some(inputs) = started_with(here.applied(wanted.id), wanted.spec, &spec) {
        spec.insert("inputs".into(), inputs);
    }
    Ok(Some(Observed { spec, data: None }))
}

/// The files that the unit was started with, as far as anybody knows; `None`: not those that are wanted.
///
/// systemd does not know it, so it is what was last applied. What was never labwright's to run is taken to run with what
/// is wanted, so that taking over restarts nothing.
fn started_with(applied: Option<&Spec>, wanted: &Spec, seen: &Spec) -> Option<Value> {
    let wanted_inputs = || wanted.get("inputs").map(without_hashes);
    let Some(applied) = applied else { return wanted_inputs() };
    let same = |a: Option<&Value>, b: Option<&Value>| matches!((a, b), (Some(a), Some(b)) if a.same(b));
    if applied.is_empty() {
        // Made by a run that was killed before it could say how far it came.
        return None;
    }
    if applied.get("running") != Some(&Value::Bool(true)) {
        return wanted_inputs();
    }
    // A run was killed, or a hand was at work, between writing this very file and starting the unit anew.
    let (content, was) = (seen.get("content"), applied.get("content"));
    if same(content, wanted.get("content")) && was.is_some() && !same(content, was) {
        return None;
    }
    applied.get("inputs").cloned()
}

/// Inputs that are taken as wanted, whatever the secrets in them are: a plan knows their hashes, a look before it does not.
fn without_hashes(inputs: &Value) -> Value {
    match inputs {
        Value::Map(files) => {
            Value::Map(files.iter().map(|(path, file)| (path.clone(), without_hashes(file))).collect())
        }
        Value::Secret(sealed) => Value::Secret(Sealed { hash: None, ..sealed.clone() }),
        other => other.clone(),
    }
}

/// Makes units what they shall be: all files, then what starts at boot, then one reload, then what runs.
pub fn bring(here: &Here, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
    let only = here.lock_systemd();
    let every = |error: &ProviderError| steps.iter().map(|_| Err(error.clone())).collect();
    let names: Vec<String> = steps.iter().map(|step| step.id.name().to_string()).collect();
    let before = match systemd::show(&names) {
        Ok(states) => states,
        Err(error) => return every(&error),
    };
    here.touched.note(Path::new(UNITS));
    let mut results: Vec<Result<bool, ProviderError>> =
        steps.iter().map(|step| write(here, step, &Saying { id: &step.id, progress })).collect();
    for (step, result) in steps.iter().zip(&mut results) {
        if let Ok(written) = *result {
            let state = before.get(step.id.name());
            *result = state.and_then(|state| enable(step, state, written)).map(|()| written);
        }
    }
    let after = systemd::daemon_reload().and_then(|()| systemd::show(&names));
    let after = match after {
        Ok(states) => states,
        Err(error) => return every(&error),
    };
    let mut pending: Vec<(usize, Pending)> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        if let Ok(written) = results[i] {
            match run(step, written, &before, &after) {
                Ok(goal) => {
                    let unit = |goal| Pending { id: step.id.clone(), unit: step.id.name().to_string(), goal };
                    pending.extend(goal.map(|goal| (i, unit(goal))));
                }
                Err(error) => results[i] = Err(error),
            }
        }
    }
    // Whatever is waited for now, others may go on with theirs.
    drop(only);
    let waited_for: Vec<Pending> = pending.iter().map(|(_, unit)| unit.clone()).collect();
    for ((i, _), answer) in pending.iter().zip(wait(&waited_for, progress)) {
        results[*i] = answer.map(|()| false);
    }
    results.into_iter().map(|result| result.map(drop)).collect()
}

/// Writes the unit file, if it is the lab's. Returns whether it changed.
fn write(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<bool, ProviderError> {
    if !step.spec.contains_key("content") {
        return Ok(false);
    }
    let path = path_of(step.id.name());
    // A link here is a mask or an alias. That it goes was decided with the content that is not there.
    let is_link = look(here, &path)?.is_some_and(|there| there.what == What::Symlink);
    let action = if is_link { Action::Replace } else { step.action };
    put(here, &Step { action, ..step.clone() }, &path, "content", saying)
}

fn enable(step: &Step, state: &State, written: bool) -> Result<(), ProviderError> {
    let name = step.id.name();
    match step.spec.get("enabled") {
        // What the old file asked for at boot is not what the new one asks for.
        Some(Value::Bool(true)) if written && state.starts_at_boot() => systemd::set_enabled("reenable", name),
        Some(Value::Bool(true)) if !state.starts_at_boot() => {
            systemd::set_enabled("enable", name).map_err(|error| match state.exists() || written {
                true => error,
                false => missing(name),
            })
        }
        Some(Value::Bool(false)) if state.starts_at_boot() => systemd::set_enabled("disable", name),
        _ => Ok(()),
    }
}

/// Starts, restarts or stops the unit where that is needed. Returns what to wait for.
fn run(step: &Step, written: bool, before: &States, after: &States) -> Result<Option<Goal>, ProviderError> {
    let name = step.id.name();
    let (before, after) = (before.get(name)?, after.get(name)?);
    if !after.exists() {
        return Err(missing(name));
    }
    if matches!(after.load.as_str(), "bad-setting" | "error") {
        let message = format!("systemd cannot read `{name}` ({})", after.load);
        return Err(
            ProviderError::rejected(message).help(format!("`systemd-analyze verify {name}` on the host says why"))
        );
    }
    if step.spec.get("enabled") == Some(&Value::Bool(true)) && !after.starts_at_boot() {
        let message = format!("`{name}` cannot start at boot: it is `{}`", after.file);
        return Err(ProviderError::rejected(message)
            .help("give it an `[Install]` section with `WantedBy=multi-user.target`, or leave `enabled` out"));
    }
    // A unit that a package has just started is as good as started by us, unless it reads a file of the lab's.
    let fresh = |after: &Value| step.action == Action::Create && matches!(after, Value::Map(map) if map.is_empty());
    let other_inputs = step.changes.iter().any(|change| change.field == "inputs" && !fresh(&change.after));
    let (verb, goal) = match step.spec.get("running") {
        Some(Value::Bool(true)) if before.runs() && (written || other_inputs) => ("restart", Goal::Runs),
        Some(Value::Bool(true)) if !after.runs() => ("start", Goal::Runs),
        Some(Value::Bool(false)) if after.runs() || after.active == "activating" => ("stop", Goal::Stopped),
        _ => return Ok(None),
    };
    systemd::begin(verb, name).map(|()| Some(goal))
}

/// Units whose package has another name; for the rest the unit's own is the best guess.
const PACKAGES: &[(&str, &str)] = &[
    ("bind9", "bind9"),
    ("chronyd", "chrony"),
    ("docker", "docker.io"),
    ("libvirtd", "libvirt-daemon-system"),
    ("mysql", "default-mysql-server"),
    ("named", "bind9"),
    ("nfs-server", "nfs-kernel-server"),
    ("nmbd", "samba"),
    ("smbd", "samba"),
    ("ssh", "openssh-server"),
    ("sshd", "openssh-server"),
    ("wg-quick", "wireguard-tools"),
];

fn missing(name: &str) -> ProviderError {
    let stem = name.split(['.', '@']).next().unwrap_or(name);
    let package = PACKAGES.iter().find(|(unit, _)| *unit == stem).map_or(stem, |(_, package)| package);
    ProviderError::rejected(format!("there is no unit `{name}` on this host")).help(format!(
        "declare the package that brings it, perhaps `{package}`, under `packages`; or give the unit a `content`"
    ))
}

/// Stops and removes units whose files are the lab's; the others stay as they are.
pub fn remove(here: &Here, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
    let _only = here.lock_systemd();
    here.touched.note(Path::new(UNITS));
    let one = |step: &&Step| {
        let name = step.id.name();
        let path = path_of(name);
        let owns_file = step.spec.is_empty() || step.spec.contains_key("content");
        if !owns_file {
            progress.say(&step.id, "it comes from a package and stays as it is");
            return Ok(());
        }
        if look(here, &path)?.is_none() {
            return Ok(());
        }
        if !is_template(name) {
            systemd::stop(name)?;
        }
        systemd::set_enabled("disable", name)?;
        remove_file(here, &path, What::File)
    };
    let results: Vec<Result<(), ProviderError>> = steps.iter().map(one).collect();
    match systemd::daemon_reload() {
        Ok(()) => results,
        Err(error) => results.into_iter().map(|result| result.and(Err(error.clone()))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use labwright_model::Span;
    use labwright_plan::{Digest, ResourceId};

    use super::*;

    fn spec(fields: &[(&str, Value)]) -> Spec {
        fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    fn inputs_of(content: &str) -> Value {
        Value::Map(BTreeMap::from([("/etc/app.env".to_string(), Value::Digest(Digest::of(content.as_bytes())))]))
    }

    #[test]
    fn taking_over_restarts_nothing_and_a_killed_run_is_made_good() {
        let wanted = spec(&[("content", "new".into()), ("running", true.into()), ("inputs", inputs_of("b"))]);
        let seen = spec(&[("content", "new".into())]);
        let started = |applied: Option<&Spec>| started_with(applied, &wanted, &seen);
        assert_eq!(started(None), Some(inputs_of("b")));
        assert_eq!(started(Some(&spec(&[("content", "new".into())]))), Some(inputs_of("b")));
        let applied = |content: &str, inputs: &str| {
            spec(&[("content", content.into()), ("running", true.into()), ("inputs", inputs_of(inputs))])
        };
        assert_eq!(started(Some(&applied("new", "a"))), Some(inputs_of("a")));
        assert_eq!(started(Some(&applied("old", "b"))), None);
        assert_eq!(started(Some(&Spec::new())), None);
    }

    #[test]
    fn names_that_are_no_units_are_refused() {
        let fault = |name: &str| {
            let resource = Resource::new(ResourceId::new("web", "host", "unit", name), Span::NONE);
            super::fault(&resource.with("running", true)).map(|refusal| refusal.reason)
        };
        for name in ["app.service", "backup@nas.timer", "mnt-my\\x20media.mount"] {
            assert_eq!(fault(name), None, "{name}");
        }
        assert_eq!(fault("app").as_deref(), Some("`app` does not say what kind of unit it is"));
        assert_eq!(fault("../app.service").as_deref(), Some("`../app.service` is not a unit's name"));
        assert_eq!(fault("app@.service").as_deref(), Some("`app@.service` is a template, and a template does not run"));
    }
}
