//! What is about to be overwritten and was not written by us: kept, so that a hand edit is never lost.
//! Keeps no history: what labwright wrote itself is in the lab file.

use std::io;
use std::path::{Path, PathBuf};

use labwright_plan::{Action, ErrorKind, ProviderError, ResourceId, Step, Value};

use super::content;
use super::entry::{Attributes, Entry, Permissions, What};
use super::session::{Here, Saying};

/// Copies a file to the state directory unless it is exactly what the last apply made it. Says so.
///
/// `field` is the field of the resource that holds the file's content.
pub fn save(
    here: &Here,
    id: &ResourceId,
    field: &str,
    entry: &Entry,
    saying: &Saying<'_>,
) -> Result<(), ProviderError> {
    let failed = |error: io::Error| here.file_error("read", entry.path(), &error);
    let digest = content::digest(&mut entry.read().map_err(failed)?).map_err(failed)?;
    let applied = here.applied(id).and_then(|spec| spec.get(field)).and_then(Value::digest);
    if applied.as_ref() == Some(&digest) || digest.bytes == 0 {
        return Ok(());
    }
    let folder = here.context.state_dir.join("replaced");
    let kept = folder.join(kept_name(&digest.blake3, entry.path()));
    let failed = |error: io::Error| here.file_error("write", &kept, &error);
    make_folder(&folder).map_err(failed)?;
    let copy = Entry::open(&kept).map_err(failed)?;
    let permissions = Permissions { mode: Some(0o600), ..Permissions::default() };
    copy.write(&mut entry.read().map_err(failed)?, permissions).map_err(failed)?;
    here.touched.note(&folder);
    saying.say(&format!(
        "`{}` held something that labwright did not write; a copy is in `{}`",
        entry.path().display(),
        kept.display()
    ));
    Ok(())
}

fn kept_name(blake3: &str, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(100).collect();
    format!("{}-{name}", &blake3[..16.min(blake3.len())]).into()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Sees to it that nothing of another type is in the way: `None` where nothing is there any more or yet.
///
/// Another type goes only by a step that says "replace", and never a directory that holds anything. Files and links stay
/// until the new thing takes their name, unless that is a directory, which cannot.
pub fn make_way(
    here: &Here,
    step: &Step,
    wanted: What,
    entry: &Entry,
    saying: &Saying<'_>,
) -> Result<Option<Attributes>, ProviderError> {
    let path = entry.path().display();
    let looked = entry.look().map_err(|error| here.file_error("look at", entry.path(), &error))?;
    let Some(there) = looked else { return Ok(None) };
    if there.what == wanted {
        return Ok(Some(there));
    }
    let is = there.what.phrase();
    if step.action != Action::Replace {
        let message = format!("`{path}` is {is} now, not {}", wanted.phrase());
        return Err(
            ProviderError::new(ErrorKind::Conflict, message).help("plan again: replacing it has to be approved")
        );
    }
    match there.what {
        What::Directory => {
            let removed = entry.remove_directory();
            removed.map_err(|error| match error.kind() {
                io::ErrorKind::DirectoryNotEmpty => {
                    let held = super::directory::held(here, entry.path()).unwrap_or_else(|| "entries".into());
                    ProviderError::rejected(format!("`{path}` is a directory and holds {held}; it is not replaced"))
                        .help(format!("move `{path}` away if you mean it, then apply again"))
                }
                _ => here.file_error("replace", entry.path(), &error),
            })?;
        }
        What::File => save(here, &step.id, "content", entry, saying)?,
        What::Symlink => {
            let target = entry.target().map_err(|error| here.file_error("read", entry.path(), &error))?;
            saying.say(&format!("`{path}` was a link to `{}`", String::from_utf8_lossy(&target)));
        }
        What::Other => {
            return Err(ProviderError::rejected(format!("`{path}` is {is}; it is not replaced"))
                .help(format!("remove `{path}` by hand if nothing uses it, then apply again")));
        }
    }
    if wanted == What::Directory && there.what != What::Directory {
        entry.remove().map_err(|error| here.file_error("replace", entry.path(), &error))?;
    }
    Ok(None)
}
