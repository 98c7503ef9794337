//! SSH keys that may log in as a user, in that user's `.ssh/authorized_keys`.
//! Never goes through a link: the folder is the user's, who could lead root anywhere with one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use labwright_model::{Finding, Findings, Span, Spanned};
use labwright_plan::{
    Action, Change, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Spec, Step,
    Value, Wanted,
};

use super::accounts::User;
use super::entry::{Entry, Permissions, What};
use super::lower::{Ground, NOT_A_PUBLIC_KEY, sorted};
use super::public_key::{self, Fault};
use super::replaced;
use super::session::{Here, Look, Saying, Sights};

/// The kind `authorized_keys`; named by the user.
pub const KIND: Kind = Kind {
    name: "authorized_keys",
    doc: "The SSH keys that may log in as a user.",
    fields: &[
        Field {
            name: "keys",
            doc: "The keys. Where they are exclusive, every other key goes.",
            on_change: OnChange::Update,
            consequence: Consequence::Hot,
            content: false,
        },
        Field {
            name: "exclusive",
            doc: "Whether no other keys may stand beside them.",
            on_change: OnChange::Ignore,
            consequence: Consequence::None,
            content: false,
        },
    ],
    ownership: Ownership::Thing,
    create: Consequence::Hot,
    delete: Consequence::CutsManagement,
};

/// Taking away a key that could log in may take away the very key that labwright logs in with.
pub fn price(resource: &Resource, changes: &[Change]) -> Consequence {
    let exclusive = resource.spec.get("exclusive") == Some(&Value::Bool(true));
    let takes_one = |change: &Change| {
        let after = change.after.list().unwrap_or_default();
        change.field == "keys" && change.before.list().unwrap_or_default().iter().any(|key| !after.contains(key))
    };
    match exclusive && changes.iter().any(takes_one) {
        true => Consequence::CutsManagement,
        false => Consequence::None,
    }
}

/// What the lab says of one user's keys, from `users:` and `authorized_keys:` together.
struct Declared<'a> {
    keys: Vec<&'a Spanned<String>>,
    exclusive: bool,
    adopt: bool,
    span: Span,
    at: String,
}

/// One resource for each user that any key is declared for; whatever is no public key is a finding.
pub fn lower(ground: &Ground<'_>, findings: &mut Findings) -> Vec<Resource> {
    let mut declared: BTreeMap<&str, Declared<'_>> = BTreeMap::new();
    for (name, user) in sorted(&ground.host.users) {
        if !user.keys.is_empty() {
            let (keys, at) = (user.keys.iter().collect(), format!("users.{name}.keys"));
            declared.insert(name, Declared { keys, exclusive: true, adopt: user.adopt, span: user.span, at });
        }
    }
    for (name, entry) in sorted(&ground.host.authorized_keys) {
        // Keys that stand beside others take nothing from anybody, so no word is needed for them.
        let new = || Declared {
            keys: Vec::new(),
            exclusive: false,
            adopt: !entry.exclusive,
            span: entry.span,
            at: format!("authorized_keys.{name}"),
        };
        let declared = declared.entry(name).or_insert_with(new);
        declared.keys.extend(entry.keys.iter());
        declared.exclusive |= entry.exclusive;
    }
    declared.into_iter().filter_map(|(name, declared)| one(ground, name, &declared, findings)).collect()
}

fn one(ground: &Ground<'_>, name: &str, declared: &Declared<'_>, findings: &mut Findings) -> Option<Resource> {
    let before = findings.len();
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for key in &declared.keys {
        match public_key::lines(&ground.text(key)?) {
            Ok(lines) => keys.extend(lines),
            Err(fault) => findings.push(finding(ground, name, declared, key.span, fault)),
        }
    }
    let mut resource = ground
        .resource("authorized_keys", name, declared.span)
        .with("keys", keys.into_iter().collect::<Value>())
        .with("exclusive", declared.exclusive);
    resource.adopt = declared.adopt;
    let says_something = declared.exclusive || !declared.keys.is_empty();
    (findings.len() == before && says_something).then_some(resource)
}

/// The text itself is never shown: it may be a secret, in the wrong place already.
fn finding(ground: &Ground<'_>, name: &str, declared: &Declared<'_>, span: Span, fault: Fault) -> Finding {
    let (message, help) = match fault {
        Fault::Private => (
            format!("a PRIVATE key stands among the public keys of `{name}`"),
            "take it out of the file and out of its history, and make a new pair with `ssh-keygen -t ed25519`: whoever \
             read this file has it; what belongs here is the line in the `.pub` file",
        ),
        Fault::NoKey => (
            format!("what stands among the keys of `{name}` is not an SSH public key"),
            "paste the whole line of a `.pub` file: `ssh-ed25519 AAAA… comment`",
        ),
    };
    ground.error(NOT_A_PUBLIC_KEY, &declared.at, span, message).help(help)
}

/// The keys in the file: all of them where they are exclusive, else those that are asked about.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let accounts = sights.accounts(here)?;
    let Some(user) = accounts.user(wanted.id.name()) else { return Ok(None) };
    let asked: BTreeSet<&str> =
        here.asked(wanted, "keys").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect();
    let exclusive = here.asked(wanted, "exclusive") == Some(&Value::Bool(true));
    let text = match read(here, user)? {
        Some(text) => text,
        // No file and no keys are the same to whoever wants that nobody logs in.
        None if exclusive && asked.is_empty() => String::new(),
        None => return Ok(None),
    };
    let there: BTreeSet<&str> = public_key::entries(&text).filter(|line| exclusive || asked.contains(line)).collect();
    // Keys of others that may stay are not ours to be found.
    if !exclusive && there.is_empty() && !asked.is_empty() {
        return Ok(None);
    }
    let spec = Spec::from([
        ("keys".to_string(), there.into_iter().collect::<Value>()),
        ("exclusive".to_string(), Value::Bool(exclusive)),
    ]);
    Ok(Some(Observed { spec, data: None }))
}

/// The user's keys as they stand in the file; `None` where there is no file.
pub fn read(here: &Here, user: &User) -> Result<Option<String>, ProviderError> {
    let ssh = Path::new(&user.home).join(".ssh");
    let path = ssh.join("authorized_keys");
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => None,
        _ => Some(here.file_error("read", &path, &error)),
    };
    let opened = Entry::open(&ssh).and_then(|ssh| ssh.enter("authorized_keys")).and_then(|entry| entry.read());
    let mut text = Vec::new();
    match opened.and_then(|mut file| file.read_to_end(&mut text)).map_err(failed) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error),
    }
}

/// Where a user's keys stand, for a step; `None` where there is no such user.
pub fn path(here: &Here, step: &Step) -> Result<Option<PathBuf>, ProviderError> {
    let accounts = here.accounts()?;
    Ok(accounts.user(step.id.name()).map(|user| Path::new(&user.home).join(".ssh/authorized_keys")))
}

/// Writes the file with the keys in it, or takes the lab's keys out of it.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let accounts = here.accounts()?;
    let Some(user) = accounts.user(name) else {
        if step.action == Action::Delete {
            return Ok(());
        }
        return Err(ProviderError::rejected(format!("there is no user `{name}` on this host"))
            .help("declare it under `users`, or declare the package that brings it"));
    };
    let old = read(here, user)?;
    let ours = |spec: Option<&Spec>| keys(spec.and_then(|spec| spec.get("keys")));
    let new = if step.action == Action::Delete {
        let gone = ours(here.applied(&step.id));
        without(old.as_deref().unwrap_or_default(), &gone)
    } else {
        let exclusive = step.spec.get("exclusive") == Some(&Value::Bool(true));
        // Keys that the lab gave before and no longer declares are not somebody else's.
        let base = without(old.as_deref().unwrap_or_default(), &ours(here.applied(&step.id)));
        merge(&base, &ours(Some(&step.spec)), exclusive)
    };
    if old.as_deref().unwrap_or_default() == new {
        return Ok(());
    }
    write(here, user, &new, step, saying)
}

fn write(here: &Here, user: &User, text: &str, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = Path::new(&user.home).join(".ssh");
    let failed = |error: std::io::Error| here.file_error("write", &path.join("authorized_keys"), &error);
    let theirs = |mode: u32| Permissions { mode: Some(mode), uid: Some(user.uid), gid: Some(user.gid) };
    let ssh = Entry::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            ProviderError::rejected(format!("the home of `{}`, `{}`, is not there", user.name, user.home))
                .help(format!("declare the directory `{}`, owned by `{}`", user.home, user.name))
        }
        _ => failed(error),
    })?;
    match ssh.look().map_err(failed)?.map(|there| there.what) {
        None => ssh.make_directory(theirs(0o700)).map_err(failed)?,
        Some(What::Directory) => ssh.adjust(theirs(0o700)).map_err(failed)?,
        Some(_) => {}
    }
    let file = ssh.enter("authorized_keys").map_err(failed)?;
    let there = file.look().map_err(failed)?;
    if there.is_some_and(|there| there.what == What::File) && loses_lines(here, user, text, step)? {
        replaced::save(here, &step.id, "content", &file, saying)?;
    }
    here.touched.note(&path);
    if text.is_empty() {
        return file.remove().map_err(failed);
    }
    file.write(&mut text.as_bytes(), theirs(0o600)).map_err(failed)
}

/// Whether a key goes that the lab did not give.
fn loses_lines(here: &Here, user: &User, new: &str, step: &Step) -> Result<bool, ProviderError> {
    let old = read(here, user)?.unwrap_or_default();
    let applied = here.applied(&step.id).map(|spec| keys(spec.get("keys"))).unwrap_or_default();
    let stays: BTreeSet<&str> = public_key::entries(new).filter_map(public_key::key).collect();
    let ours: BTreeSet<&str> = applied.iter().filter_map(|line| public_key::key(line)).collect();
    Ok(public_key::entries(&old).filter_map(public_key::key).any(|key| !stays.contains(key) && !ours.contains(key)))
}

fn keys(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).map(str::to_string).collect()
}

/// The file with these keys in it: in place of older lines of the same keys, and beside others unless they are exclusive.
fn merge(old: &str, wanted: &[String], exclusive: bool) -> String {
    let old = if exclusive { "" } else { old };
    let mut text = without(old, wanted);
    for line in wanted {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The file without any line of these keys. Comments and lines that sshd would not read stay as they are.
fn without(old: &str, gone: &[String]) -> String {
    let gone: BTreeSet<&str> = gone.iter().filter_map(|line| public_key::key(line)).collect();
    let stays = |line: &&str| public_key::key(line).is_none_or(|key| !gone.contains(key));
    old.lines().filter(stays).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod price_tests {
    use labwright_plan::ResourceId;

    use super::*;

    #[test]
    fn taking_a_key_away_is_dearer_than_adding_one() {
        let keys = |keys: &[&str]| keys.iter().copied().collect::<Value>();
        let change = |before, after| [Change { field: "keys".into(), before, after }];
        let resource = |exclusive: bool| {
            Resource::new(ResourceId::new("web", "host", "authorized_keys", "root"), Span::NONE)
                .with("exclusive", exclusive)
        };
        let taken = change(keys(&["a", "b"]), keys(&["b"]));
        assert_eq!(price(&resource(true), &taken), Consequence::CutsManagement);
        assert_eq!(price(&resource(false), &taken), Consequence::None);
        assert_eq!(price(&resource(true), &change(keys(&["a"]), keys(&["a", "b"]))), Consequence::None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::public_key::{ED25519, OTHER};

    #[test]
    fn other_keys_stay_unless_the_keys_are_exclusive() {
        let wanted = [format!("{ED25519} stian@laptop")];
        let old = format!("# by hand\n{OTHER} somebody\n");
        assert_eq!(merge(&old, &wanted, false), format!("{old}{ED25519} stian@laptop\n"));
        assert_eq!(merge(&old, &wanted, true), format!("{ED25519} stian@laptop\n"));
        assert_eq!(merge("", &wanted, false), format!("{ED25519} stian@laptop\n"));
        assert_eq!(merge(OTHER, &wanted, false), format!("{OTHER}\n{ED25519} stian@laptop\n"));
    }

    #[test]
    fn a_key_has_one_line_whatever_its_options_were() {
        let wanted = [format!("restrict {ED25519} new")];
        let old = format!("{ED25519} old\n{OTHER} x\n");
        assert_eq!(merge(&old, &wanted, false), format!("{OTHER} x\nrestrict {ED25519} new\n"));
        let merged = merge(&old, &wanted, false);
        assert_eq!(merge(&merged, &wanted, false), merged);
    }

    #[test]
    fn only_the_labs_keys_are_taken_out() {
        let old = format!("{OTHER} x\nnonsense\n{ED25519} ours\n");
        assert_eq!(without(&old, &[ED25519.to_string()]), format!("{OTHER} x\nnonsense\n"));
    }
}
