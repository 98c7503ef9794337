//! Directories: that they are there, and who may enter them.
//! What is in a directory is never touched, unless the user names it to be deleted with everything in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use labwright_plan::{
    Action, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Spec, Step,
    Value, Wanted,
};

use super::atomic::is_leftover;
use super::entry::{Attributes, Entry, Permissions, What};
use super::lower::{Ground, sorted};
use super::paths::normal;
use super::replaced::make_way;
use super::session::{Here, Look, Saying, Sights, mode, text};

/// The fields that say what a path is, and who may do what with it.
pub const TYPE: Field = Field {
    name: "type",
    doc: "What is at the path: a file, a directory or a symbolic link. Anything else there has to go first.",
    on_change: OnChange::Replace,
    consequence: Consequence::DestroysData,
    content: false,
};
/// Permission bits, spelled as in the lab file.
pub const MODE: Field = permission("mode", "Permission bits, in octal.");
/// The owner, by name.
pub const OWNER: Field = permission("owner", "The user that owns it.");
/// The owning group, by name.
pub const GROUP: Field = permission("group", "The group that owns it.");

const fn permission(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence: Consequence::None, content: false }
}

/// The kind `directory`; named by the path.
pub const KIND: Kind = Kind {
    name: "directory",
    doc: "A directory. What is in it stays the user's.",
    fields: &[TYPE, MODE, OWNER, GROUP],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::None,
};

/// One resource for each declared directory.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    let one = |(path, entry): (&str, &labwright_model::Spanned<labwright_model::lab::Directory>)| {
        let mut resource = ground
            .resource("directory", &normal(path), entry.span)
            .with("type", What::Directory.word())
            .with("mode", entry.mode.to_string())
            .with_some("owner", ground.maybe(entry.owner.as_ref())?)
            .with_some("group", ground.maybe(entry.group.as_ref())?);
        resource.adopt = entry.adopt;
        Some(resource)
    };
    sorted(&ground.host.directories).into_iter().filter_map(one).collect()
}

/// What is at the path, and what would be lost with it.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let path = Path::new(wanted.id.name());
    let Some(there) = look(here, path)? else { return Ok(None) };
    let mut spec = Spec::from([("type".to_string(), Value::from(there.what.word()))]);
    if there.what == What::Directory {
        permissions_of(here, wanted, &there, sights, &mut spec)?;
    }
    Ok(Some(Observed { spec, data: data(here, path, &there) }))
}

/// What would be lost with whatever is there: the entries of a directory, less those that are the lab's own.
pub fn data(here: &Here, path: &Path, there: &Attributes) -> Option<String> {
    if there.what == What::Directory { held(here, path) } else { None }
}

/// What is at a path; that nothing is above it means that nothing is at it.
pub fn look(here: &Here, path: &Path) -> Result<Option<Attributes>, ProviderError> {
    Ok(entry(here, path)?.map(|(_, there)| there))
}

/// As `look`, with what it was seen by.
pub fn entry(here: &Here, path: &Path) -> Result<Option<(Entry, Attributes)>, ProviderError> {
    let looked = Entry::open(path).and_then(|entry| Ok(entry.look()?.map(|there| (entry, there))));
    match looked {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        looked => looked.map_err(|error| here.file_error("look at", path, &error)),
    }
}

/// Adds mode, owner and group as they are; the last two only where somebody asks.
pub fn permissions_of(
    here: &Here,
    wanted: &Wanted<'_>,
    there: &Attributes,
    sights: &Sights,
    spec: &mut Spec,
) -> Result<(), ProviderError> {
    spec.insert("mode".into(), Value::from(format!("{:04o}", there.mode)));
    for field in ["owner", "group"] {
        let Some(asked) = here.asked(wanted, field) else { continue };
        let accounts = sights.accounts(here)?;
        let name = match field {
            "owner" => accounts.user_name(there.uid, asked.text()),
            _ => accounts.group_name(there.gid, asked.text()),
        };
        spec.insert(field.into(), Value::from(name));
    }
    Ok(())
}

/// What a directory holds that is not a resource of the lab, in words; `None` where it holds nothing else.
pub fn held(here: &Here, path: &Path) -> Option<String> {
    others_in(path, |entry| entry.to_str().is_some_and(|entry| here.owns(entry)))
}

/// A folder that nobody can look into is no empty one: it may hold anything, so it is never removed by the way.
fn others_in(path: &Path, ours: impl Fn(&Path) -> bool) -> Option<String> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("what nobody can list ({error})")),
        Ok(entries) => entries,
    };
    let other = |entry: &io::Result<fs::DirEntry>| match entry {
        Ok(entry) => !is_leftover(&entry.file_name()) && !ours(&entry.path()),
        Err(_) => true,
    };
    match entries.filter(other).count() {
        0 => None,
        1 => Some("1 entry".into()),
        count => Some(format!("{count} entries")),
    }
}

/// Makes the directory, sets its permissions, or removes it where nothing is in it.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = Path::new(step.id.name());
    if step.action == Action::Delete {
        return remove(here, step, path);
    }
    let failed = |error: io::Error| here.file_error("make", path, &error);
    let entry = Entry::open(path).map_err(failed)?;
    let there = make_way(here, step, What::Directory, &entry, saying)?;
    let permissions = permissions(here, &step.spec, there.as_ref())?;
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    match there {
        None => entry.make_directory(permissions).map_err(failed),
        Some(_) => entry.adjust(permissions).map_err(|error| here.file_error("change", path, &error)),
    }
}

/// The permissions that a step asks for, given what is there. A new owner brings its own group where none is said.
pub fn permissions(here: &Here, spec: &Spec, there: Option<&Attributes>) -> Result<Permissions, ProviderError> {
    let (owner, group) = (text(spec, "owner"), text(spec, "group"));
    let accounts = if owner.is_some() || group.is_some() { here.accounts()? } else { Arc::default() };
    let uid = owner.map(|owner| accounts.uid(owner)).transpose()?;
    let changes_hands = uid.is_some() && there.map(|there| there.uid) != uid;
    let own_group = || accounts.users.iter().find(|user| Some(user.uid) == uid).map(|user| user.gid);
    let gid = match group {
        Some(group) => Some(accounts.gid(group)?),
        None if changes_hands => own_group(),
        None => None,
    };
    Ok(Permissions { mode: mode(spec), uid, gid })
}

/// Gives the lab's own files and directories to a user's or a group's new number: `field` says which of the two.
///
/// They belong to the name, not to the number; without this the next plan would find them changed by hand.
pub fn renumber(here: &Here, field: &str, name: &str, old: u32, new: u32) -> Result<(), ProviderError> {
    let theirs = here
        .context
        .applied
        .iter()
        .filter(|(id, spec)| matches!(id.kind(), "file" | "directory") && text(spec, field) == Some(name));
    for (id, _) in theirs {
        let path = Path::new(id.name());
        let Some(there) = look(here, path)? else { continue };
        let permissions = match field {
            "owner" if there.uid == old => Permissions { uid: Some(new), ..Permissions::default() },
            "group" if there.gid == old => Permissions { gid: Some(new), ..Permissions::default() },
            _ => continue,
        };
        let changed = Entry::open(path).and_then(|entry| entry.adjust(permissions));
        changed.map_err(|error| here.file_error("change", path, &error))?;
        here.touched.note(path);
    }
    Ok(())
}

fn remove(here: &Here, step: &Step, path: &Path) -> Result<(), ProviderError> {
    let Some(there) = look(here, path)? else { return Ok(()) };
    if there.what != What::Directory {
        let message = format!("`{}` is {} now, not a directory", path.display(), there.what.phrase());
        return Err(ProviderError::new(ErrorKind::Conflict, message).help("plan again"));
    }
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    let failed = |error: io::Error| match (error.kind(), held(here, path)) {
        (io::ErrorKind::DirectoryNotEmpty, held) => {
            let held = held.unwrap_or_else(|| "entries of the lab's that are still there".into());
            ProviderError::rejected(format!("`{}` holds {held}; it is not removed", path.display()))
                .help(format!("`--delete-data {}` removes it with everything in it", step.id))
        }
        _ => here.file_error("remove", path, &error),
    };
    if step.consequence != Consequence::DestroysData {
        return Entry::open(path).and_then(|entry| entry.remove_directory()).map_err(failed);
    }
    if let Some(mounted) = mounted_below(path).map_err(failed)? {
        let message = format!("`{}` is mounted in `{}`; nothing is removed", mounted.display(), path.display());
        return Err(ProviderError::rejected(message).help(format!("unmount it first: `umount {}`", mounted.display())));
    }
    fs::remove_dir_all(path).map_err(failed)
}

/// A file system that is mounted at a path or below it: deleting would go on into it.
fn mounted_below(path: &Path) -> io::Result<Option<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let point = |line: &str| line.split(' ').nth(4).map(|point| PathBuf::from(unescape_octal(point)));
    Ok(table.lines().filter_map(point).find(|point| point.starts_with(path)))
}

/// The kernel writes blanks in paths as `\040`.
fn unescape_octal(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let code = rest.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if first == b'\\' => {
                out.push(byte);
                bytes = &rest[3..];
            }
            _ => {
                out.push(first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_listed_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let held = |path: &Path| others_in(path, |entry| entry.ends_with("ours"));
        fs::write(dir.path().join("ours"), "").unwrap();
        assert_eq!(held(dir.path()), None);
        fs::write(dir.path().join("theirs"), "").unwrap();
        assert_eq!(held(dir.path()).as_deref(), Some("1 entry"));
        assert_eq!(held(&dir.path().join("gone")), None);
        // Root may list every folder; what is none answers with an error as well.
        assert!(held(&dir.path().join("theirs")).unwrap().starts_with("what nobody can list"));
    }

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescape_octal("/mnt/my\\040media\\134x"), "/mnt/my media\\x");
        assert_eq!(unescape_octal("/plain\\"), "/plain\\");
        assert_eq!(mounted_below(Path::new("/proc")).unwrap().as_deref(), Some(Path::new("/proc")));
        assert_eq!(mounted_below(Path::new("/nonexistent")).unwrap(), None);
    }
}
