//! Files: content, permissions, owner. Whoever reads one sees the old file or the new one, never half of either.
//! Follows no link at the path itself, and leaves extended attributes alone only where the content stays.

use std::io::{self, Read};
use std::path::Path;

use labwright_model::units::Mode;
use labwright_model::{Finding, Findings, Spanned};
use labwright_plan::{
    Action, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Sealed, Spec,
    Step, Value, Wanted,
};

use super::content;
use super::directory::{self, GROUP, MODE, OWNER, TYPE, look, permissions, permissions_of};
use super::entry::{Attributes, Entry, Permissions, What};
use super::lower::{Ground, NO_SUCH_ASSET, asset, sorted};
use super::paths::normal;
use super::replaced::{make_way, save};
use super::secret_file;
use super::session::{Here, Look, Saying, Sights};

/// The kind `file`; named by the path.
pub const KIND: Kind = Kind {
    name: "file",
    doc: "A file. Of a file without declared content only the permissions are the lab's.",
    fields: &[CONTENT, TYPE, KEPT, SHARED, MODE, OWNER, GROUP],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::None,
};

const CONTENT: Field = Field {
    name: "content",
    doc: "What stands in it.",
    on_change: OnChange::Update,
    consequence: Consequence::None,
    content: true,
};

const KEPT: Field = Field {
    name: "kept",
    doc: "Where a file with secrets in it is kept: `in memory`, with a link to it at the path.",
    on_change: OnChange::Update,
    consequence: Consequence::None,
    content: false,
};

const SHARED: Field = Field {
    name: "shared",
    doc: "Whether something on the host may write to it as well: what that wrote stays until the lab has new content.",
    on_change: OnChange::Ignore,
    consequence: Consequence::None,
    content: false,
};

/// One resource for each declared file; a source that cannot be read is a finding.
pub fn lower(ground: &Ground<'_>, findings: &mut Findings) -> Vec<Resource> {
    sorted(&ground.host.files).into_iter().filter_map(|(path, file)| one(ground, path, file, findings)).collect()
}

fn one(
    ground: &Ground<'_>,
    path: &str,
    file: &Spanned<labwright_model::lab::File>,
    findings: &mut Findings,
) -> Option<Resource> {
    let content = match (&file.content, &file.source) {
        (Some(content), _) => Some(ground.content(content)),
        (None, Some(source)) => {
            let asset = asset(ground.parsed, source)?;
            match ground.assets.get(&asset) {
                Some(Ok(bytes)) => Some(content::value(bytes.clone())),
                missing => {
                    let why = match missing {
                        Some(Err(why)) => why.as_str(),
                        _ => "it was not read",
                    };
                    findings.push(no_such_asset(ground, path, &asset, why, source));
                    return None;
                }
            }
        }
        (None, None) => None,
    };
    let secret = matches!(content, Some(Value::Secret(_)));
    let mut resource = ground
        .resource("file", &normal(path), file.span)
        .with_some("kept", secret.then_some(secret_file::IN_MEMORY))
        .with_some("content", content)
        .with("type", What::File.word())
        .with("mode", file.mode.as_ref().map_or(Mode(0o644), |mode| mode.value).to_string())
        .with_some("owner", ground.maybe(file.owner.as_ref())?)
        .with_some("group", ground.maybe(file.group.as_ref())?);
    resource.adopt = file.adopt;
    Some(resource)
}

fn no_such_asset(ground: &Ground<'_>, path: &str, asset: &str, why: &str, source: &Spanned<String>) -> Finding {
    let message = format!("cannot read `{asset}`, the source of `{path}`: {why}");
    ground
        .error(NO_SUCH_ASSET, &format!("files.{path}.source"), source.span, message)
        .help("put the file there, or correct the path: it is relative to the file that `source` stands in")
}

/// What is at the path; its content only where somebody asks for it.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let path = Path::new(wanted.id.name());
    let Some((entry, there)) = directory::entry(here, path)? else { return Ok(None) };
    // A link of ours is a file with a secret in it, whatever is to become of it.
    if there.what == What::Symlink && secret_file::is_kept(here, path) {
        return secret_file::observe(here, wanted, sights);
    }
    let secret = matches!(here.asked(wanted, "content"), Some(Value::Secret(_)));
    let mut spec = Spec::from([("type".to_string(), Value::from(there.what.word()))]);
    if there.what == What::File {
        permissions_of(here, wanted, &there, sights, &mut spec)?;
        if here.asked(wanted, "content").is_some() {
            // What only its owner may read stays here: its digest is enough to tell whether it changed.
            let private = there.mode & 0o044 == 0;
            let content = entry.read().and_then(|mut file| match private {
                _ if secret => Ok(Value::Secret(Sealed::found(&mut file, &here.context.change_key.0)?)),
                true => content::digest(&mut file).map(Value::Digest),
                false => content::of(&mut file),
            });
            match content {
                Ok(content) => drop(spec.insert("content".into(), theirs(here, wanted, content)?)),
                // Removed between the two looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(here.file_error("read", path, &error)),
            }
        }
    }
    Ok(Some(Observed { spec, data: directory::data(here, path, &there) }))
}

/// Of a file that others may write to: what they wrote is as good as what the lab has, until the lab has something new.
/// Where both wrote, nobody but a person can tell which counts.
fn theirs(here: &Here, wanted: &Wanted<'_>, found: Value) -> Result<Value, ProviderError> {
    let (Some(Value::Bool(true)), Some(ours)) = (wanted.spec.get("shared"), wanted.spec.get("content")) else {
        return Ok(found);
    };
    let before = here.applied(wanted.id).and_then(|applied| applied.get("content"));
    match before {
        Some(before) if before.same(ours) => Ok(ours.clone()),
        Some(before) if !before.same(&found) && !ours.same(&found) => {
            let path = wanted.id.name();
            let message = format!("`{path}` was written to on the host, and has new content in the lab as well");
            let error = ProviderError::new(ErrorKind::Conflict, message);
            Err(error.help(format!("put what is to count into the lab's file, and remove `{path}` on the host")))
        }
        _ => Ok(found),
    }
}

/// Writes, mends or removes the file.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = Path::new(step.id.name());
    if step.action == Action::Delete {
        return match secret_file::is_kept(here, path) {
            true => secret_file::remove(here, path),
            false => remove(here, path, What::File),
        };
    }
    if let Some(Value::Secret(content)) = step.spec.get("content") {
        return secret_file::put(here, step, path, content, saying);
    }
    let entry = Entry::open(path).map_err(|error| here.file_error("write", path, &error))?;
    if secret_file::is_kept_at(here, &entry) {
        return secret_file::end(here, step, path);
    }
    put_at(here, step, &entry, "content", saying)?;
    // It may have held a secret until now.
    secret_file::forget(here, path)
}

/// Makes the file at `path` what the step says, with `field` as its content. Returns whether the content changed.
pub fn put(here: &Here, step: &Step, path: &Path, field: &str, saying: &Saying<'_>) -> Result<bool, ProviderError> {
    let entry = Entry::open(path).map_err(|error| here.file_error("write", path, &error))?;
    put_at(here, step, &entry, field, saying)
}

/// As `put`, of an entry that is open already.
fn put_at(here: &Here, step: &Step, entry: &Entry, field: &str, saying: &Saying<'_>) -> Result<bool, ProviderError> {
    let path = entry.path();
    let failed = |error: io::Error| here.file_error("write", path, &error);
    let there = make_way(here, step, What::File, entry, saying)?;
    let permissions = permissions(here, &step.spec, there.as_ref())?;
    let content = match step.spec.get(field) {
        Some(value) => Some(value.content().ok_or_else(|| {
            ProviderError::bug(format!("the content of `{}` did not come with its step", path.display()))
        })?),
        // Without declared content only what is missing is made, and it is empty.
        None if there.is_none() => Some(&b""[..]),
        None => None,
    };
    here.touched.note_beside(entry);
    let same = match (&there, content) {
        (Some(there), Some(content)) => is_same(entry, there, content).map_err(failed)?,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if same {
        entry.adjust(permissions).map_err(|error| here.file_error("change", path, &error))?;
        return Ok(false);
    }
    if there.is_some() {
        save(here, &step.id, field, entry, saying)?;
    }
    // A new file takes the old one's place: whatever nobody declared stays as it was.
    let kept = there.map_or(permissions, |there| Permissions {
        mode: permissions.mode.or(Some(there.mode)),
        uid: permissions.uid.or(Some(there.uid)),
        gid: permissions.gid.or(Some(there.gid)),
    });
    entry.write(&mut content.unwrap_or_default(), kept).map_err(failed)?;
    Ok(true)
}

fn is_same(entry: &Entry, there: &Attributes, content: &[u8]) -> io::Result<bool> {
    if there.size != content.len() as u64 {
        return Ok(false);
    }
    let (mut file, mut buffer, mut rest) = (entry.read()?, vec![0; 64 << 10], content);
    loop {
        let read = file.read(&mut buffer)?;
        match rest.strip_prefix(&buffer[..read]) {
            Some(_) if read == 0 => return Ok(rest.is_empty()),
            Some(after) => rest = after,
            None => return Ok(false),
        }
    }
}

/// Removes a file or a link; that it is gone already is success.
pub fn remove(here: &Here, path: &Path, what: What) -> Result<(), ProviderError> {
    let Some(there) = look(here, path)? else { return Ok(()) };
    if there.what != what {
        let message = format!("`{}` is {} now, not {}", path.display(), there.what.phrase(), what.phrase());
        return Err(ProviderError::new(ErrorKind::Conflict, message).help("plan again"));
    }
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    Entry::open(path).and_then(|entry| entry.remove()).map_err(|error| here.file_error("remove", path, &error))
}
