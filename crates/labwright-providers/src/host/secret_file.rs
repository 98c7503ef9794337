//! Files with secrets in them: the content is in memory alone, readable by its owner alone, and the path is a link to it.
//! Keeps nothing on a disk: after a reboot the content is made again from what was sealed to this host.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use labwright_plan::{Observed, ProviderError, ResourceId, Sealed, Spec, Step, Value, Wanted};

use super::directory::{look, permissions, permissions_of};
use super::entry::{Entry, Permissions, What};
use super::replaced::make_way;
use super::secret_boot;
use super::session::{Here, Look, Saying, Sights};

/// The field `kept` of such a file.
pub const IN_MEMORY: &str = "in memory";
/// Nobody but its owner ever reads it, and nobody writes it in place.
pub const MODE: u32 = 0o400;
/// Folders that others may pass through and not look into.
const FOLDER_MODE: u32 = 0o711;
/// File systems that are memory and never reach a disk of their own; linux/magic.h.
const IN_MEMORY_TYPES: &[i64] = &[0x0102_1994, 0x8584_58f6];

/// Where the content of a path is kept.
fn place(here: &Here, path: &Path) -> PathBuf {
    here.context.secrets_dir.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a path is a link to where its content is kept.
pub fn is_kept(here: &Here, path: &Path) -> bool {
    Entry::open(path).is_ok_and(|entry| is_kept_at(here, &entry))
}

/// As `is_kept`, of an entry that is open already.
pub fn is_kept_at(here: &Here, entry: &Entry) -> bool {
    entry.target().is_ok_and(|target| target == place(here, entry.path()).as_os_str().as_bytes())
}

/// What is kept for a path that is such a link.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let place = place(here, Path::new(wanted.id.name()));
    let mut spec = Spec::from([("type".to_string(), Value::from(What::File.word()))]);
    // A link to nothing: the memory was lost with a reboot. It is ours and not as wanted.
    let Some(there) = look(here, &place)?.filter(|there| there.what == What::File) else {
        return Ok(Some(Observed { spec, data: None }));
    };
    permissions_of(here, wanted, &there, sights, &mut spec)?;
    let failed = |error: io::Error| here.file_error("read", &place, &error);
    if is_memory(&place).map_err(failed)? {
        spec.insert("kept".into(), IN_MEMORY.into());
    }
    let content = Entry::open(&place).and_then(|entry| Sealed::found(&mut entry.read()?, &here.context.change_key.0));
    spec.insert("content".into(), Value::Secret(content.map_err(failed)?));
    Ok(Some(Observed { spec, data: None }))
}

/// Writes the content into memory, and puts the link in place.
pub fn put(here: &Here, step: &Step, path: &Path, content: &Sealed, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let begun = !is_kept(here, path);
    write(here, &step.id, &step.spec, content)?;
    let linked = link(here, step, path, saying);
    if linked.is_err() && begun {
        // Nothing leads to it: it would stay until the next boot. The first error is the one to tell.
        drop(forget(here, path));
    }
    linked?;
    secret_boot::see_to_it(here)
}

fn link(here: &Here, step: &Step, path: &Path, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let failed = |error: io::Error| here.file_error("write", path, &error);
    let entry = Entry::open(path).map_err(failed)?;
    // A plain file that held the secret until now is not copied away: that would keep it on the disk.
    let plain = entry.look().map_err(failed)?.is_some_and(|there| there.what == What::File);
    if !plain {
        make_way(here, step, What::Symlink, &entry, saying)?;
    }
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    entry.link(&place(here, path).to_string_lossy()).map_err(failed)
}

/// Writes one file's content into memory.
pub fn write(here: &Here, id: &ResourceId, spec: &Spec, content: &Sealed) -> Result<(), ProviderError> {
    let path = Path::new(id.name());
    let permissions = Permissions { mode: Some(MODE), ..permissions(here, spec, None)? };
    put_in(here, &place(here, path), content, id.name(), permissions)
}

/// Writes content into a file in memory that belongs to these numbers, whether or not the host knows them. `what`: what
/// the content is for, for errors.
pub fn put_at(
    here: &Here,
    place: &Path,
    content: &Sealed,
    what: &str,
    uid: u32,
    gid: u32,
) -> Result<(), ProviderError> {
    put_in(here, place, content, what, Permissions { mode: Some(MODE), uid: Some(uid), gid: Some(gid) })
}

fn put_in(
    here: &Here,
    place: &Path,
    content: &Sealed,
    what: &str,
    permissions: Permissions,
) -> Result<(), ProviderError> {
    let revealed = content.reveal(&here.context.secrets).map_err(|name| {
        ProviderError::rejected(format!("secret `{name}` of `{what}` did not come with this run")).help("plan again")
    })?;
    make_folders(here, place)?;
    let failed = |error: io::Error| here.file_error("write", place, &error);
    Entry::open(place).and_then(|entry| entry.write(&mut revealed.as_bytes(), permissions)).map_err(failed)
}

/// Removes the content of a path, if any is kept.
pub fn forget(here: &Here, path: &Path) -> Result<(), ProviderError> {
    if !here.keeps() {
        return Ok(());
    }
    let place = place(here, path);
    match fs::remove_file(&place) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(here.file_error("remove", &place, &error))
        }
        _ => Ok(()),
    }
}

/// Puts a plain file in the place of the link. Nothing of what was kept is copied away: that would put it on the disk.
pub fn end(here: &Here, step: &Step, path: &Path) -> Result<(), ProviderError> {
    let content = step.spec.get("content").and_then(Value::content).unwrap_or_default();
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    let permissions = permissions(here, &step.spec, None)?;
    let written = Entry::open(path).and_then(|entry| entry.write(&mut &content[..], permissions));
    written.map_err(|error| here.file_error("write", path, &error))?;
    forget(here, path)?;
    secret_boot::tidy(here, path)
}

/// Removes the link and what is kept for it.
pub fn remove(here: &Here, path: &Path) -> Result<(), ProviderError> {
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    Entry::open(path).and_then(|entry| entry.remove()).map_err(|error| here.file_error("remove", path, &error))?;
    forget(here, path)?;
    secret_boot::tidy(here, path)
}

/// The folders above a place, from the lab's own down, and that all of it is memory.
fn make_folders(here: &Here, place: &Path) -> Result<(), ProviderError> {
    let folder = place.parent().unwrap_or(place);
    let failed = |error: io::Error| here.file_error("make", folder, &error);
    // Somebody else may have been first where everybody may make folders.
    let base = here.context.secrets_dir.parent().and_then(Path::parent).unwrap_or(folder);
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(base).map_err(failed)?;
    let there = fs::symlink_metadata(base).map_err(failed)?;
    if !there.is_dir() || there.uid() != rustix::process::geteuid().as_raw() || there.mode() & 0o022 != 0 {
        let message = format!("`{}` was made by somebody else, so no secret is written there", base.display());
        return Err(
            ProviderError::rejected(message).help(format!("look at it, then remove it: `ls -ld {0}`", base.display()))
        );
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    if is_memory(folder).map_err(failed)? {
        return Ok(());
    }
    let message = format!("`{}` is not in memory, and no secret is written to a disk", folder.display());
    Err(ProviderError::rejected(message).help("mount a tmpfs on `/run`, as every init system does"))
}

fn is_memory(path: &Path) -> io::Result<bool> {
    Ok(IN_MEMORY_TYPES.contains(&rustix::fs::statfs(path)?.f_type))
}

/// Puts back what a reboot took: everything that was applied and is kept in memory.
pub fn restore(here: &Here) -> Result<usize, ProviderError> {
    let mut restored = 0;
    for (id, spec) in here.context.applied.iter() {
        if let ("file", Some(Value::Secret(content))) = (id.kind(), spec.get("content")) {
            write(here, id, spec, content)?;
            restored += 1;
        }
    }
    Ok(restored)
}
