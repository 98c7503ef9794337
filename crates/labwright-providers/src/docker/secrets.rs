//! Files with secrets in them, as containers see them: in memory alone, and readable by whoever the container runs as.
//! Each stands under the keyed hash of what it holds, so that a container and its successor have their own, and the one
//! that comes back finds what it had.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bollard::Docker;
use labwright_plan::{Context, ProviderError, Sealed, Spec, Value};
use serde::{Deserialize, Serialize};

use super::engine::found;
use super::session::text;
use super::{archive, form};
use crate::host::secret_boot;
use crate::host::secret_file;
use crate::host::session::Here as Host;

/// Where they are, below the lab's own folder in memory and, for whom they belong to, below Labwright's on the disk.
const FOLDER: &str = "docker";
const ROOT: Owner = Owner { uid: 0, gid: 0 };

/// Whom a file belongs to, as numbers: the container's, which the host need not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// Files of one container, by their path on the host.
type Owners = BTreeMap<PathBuf, Owner>;

fn folder(context: &Context, name: &str) -> PathBuf {
    context.secrets_dir.join(FOLDER).join(name)
}

fn record(context: &Context, name: &str) -> PathBuf {
    context.state_dir.join(FOLDER).join(format!("{name}.json"))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::rejected(format!("cannot {what} `{}`: {error}", path.display()))
        .help("the secrets of a container stand there; is the disk full, or the folder somebody else's?")
}

fn sealed(spec: &Spec) -> impl Iterator<Item = (&str, &Sealed)> {
    let Some(Value::Map(secrets)) = spec.get("secrets") else { return Vec::new().into_iter() };
    let all = secrets.iter().filter_map(|(path, value)| match value {
        Value::Secret(sealed) => Some((path.as_str(), sealed)),
        _ => None,
    });
    all.collect::<Vec<_>>().into_iter()
}

/// Where each file with a secret in it is on the host, by its path inside.
fn places(context: &Context, name: &str, spec: &Spec) -> BTreeMap<String, PathBuf> {
    let folder = folder(context, name);
    let place =
        |path: &str, hash: &str| folder.join(format!("{}.{}", path.replace('/', "_"), &hash[..hash.len().min(16)]));
    let hashes = form::hashes(spec).unwrap_or_default();
    hashes.into_iter().map(|(path, hash)| (path.to_string(), place(path, hash))).collect()
}

/// Writes the files that a container is to have. Nobody but root can read them until `hand_over`. Returns where they are,
/// by their paths inside.
pub fn write(context: &Context, name: &str, spec: &Spec) -> Result<BTreeMap<String, String>, ProviderError> {
    let places = places(context, name, spec);
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let host = Host::new(context);
    let known = owners(context, name)?;
    for (path, content) in sealed(spec) {
        let place = places.get(path).ok_or_else(|| {
            ProviderError::bug(format!("nobody said what the secret at `{path}` of `{name}` hashes to"))
        })?;
        // One that is there already may be in use: it keeps whom it belongs to.
        let owner = known.get(place).copied().unwrap_or(ROOT);
        secret_file::put_at(&host, place, content, &format!("{name}:{path}"), owner.uid, owner.gid)?;
    }
    secret_boot::see_to_it(&host)?;
    Ok(places.into_iter().map(|(path, place)| (path, place.display().to_string())).collect())
}

/// A container's environment, as the engine takes it: what the lab says of secrets in it was a finding.
pub fn environment(context: &Context, name: &str, spec: &Spec) -> Result<Vec<String>, ProviderError> {
    let Some(Value::Map(all)) = spec.get("environment") else { return Ok(Vec::new()) };
    let one = |(variable, value): (&String, &Value)| match value {
        Value::Secret(sealed) => {
            let revealed = sealed.reveal(&context.secrets).map_err(|secret| {
                let message = format!("secret `{secret}` of `{name}` did not come with this run");
                ProviderError::rejected(message).help("plan again")
            })?;
            Ok(format!("{variable}={}", revealed.as_str()))
        }
        plain => Ok(format!("{variable}={}", plain.text().unwrap_or_default())),
    };
    all.iter().map(one).collect()
}

/// Gives the files to whoever the container runs as, unless the lab says whom they belong to.
pub async fn hand_over(
    context: &Context,
    docker: &Docker,
    name: &str,
    id: &str,
    spec: &Spec,
    image: &str,
) -> Result<(), ProviderError> {
    let places = places(context, name, spec);
    if places.is_empty() {
        return Ok(());
    }
    let image = found("look at image", image, docker.inspect_image(image).await)?;
    let image = image.map(|image| super::engine::json(&image)).unwrap_or_default();
    let options = spec.get("options").map(super::engine::json).unwrap_or_default();
    let user = options["user"].as_str().or(image["Config"]["User"].as_str()).unwrap_or_default();
    let (uid, gid) = numbers(docker, id, user).await?;
    let mut all = owners(context, name)?;
    for (path, place) in places {
        let said = match spec.get("owners") {
            Some(Value::Map(said)) => said.get(&path).and_then(Value::text).unwrap_or_default(),
            _ => "",
        };
        let mut parts = said.split(':');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let owner = Owner {
            uid: part().and_then(|uid| uid.parse().ok()).unwrap_or(uid),
            gid: part().and_then(|gid| gid.parse().ok()).unwrap_or(gid),
        };
        give(&place, owner).map_err(|error| failed("give away", &place, &error))?;
        all.insert(place, owner);
    }
    keep(context, name, &all)
}

fn give(place: &Path, owner: Owner) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    chown(place, Some(owner.uid), Some(owner.gid))?;
    fs::set_permissions(place, fs::Permissions::from_mode(secret_file::MODE))
}

/// The numbers of a user as an image or a project names it: `1000`, `1000:1000`, `node`, `node:node`. A name is looked up
/// in the container's own files; one that is not there has root's, and the container itself will say what it lacks.
///
/// # Errors
/// The engine does not hand those files out.
pub async fn numbers(docker: &Docker, id: &str, user: &str) -> Result<(u32, u32), ProviderError> {
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    if user.is_empty() {
        return Ok((0, 0));
    }
    let passwd = if group.is_some() && user.parse::<u32>().is_ok() {
        String::new()
    } else {
        lines(docker, id, "/etc/passwd").await?
    };
    let found = entry(&passwd, user, if user.parse::<u32>().is_ok() { 2 } else { 0 });
    let uid = user.parse().ok().or_else(|| found.as_ref()?.get(2)?.parse().ok()).unwrap_or(0);
    let own = || found.as_ref().and_then(|entry| entry.get(3)?.parse().ok()).unwrap_or(0);
    let gid = match group {
        None => own(),
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => {
                let groups = lines(docker, id, "/etc/group").await?;
                entry(&groups, group, 0).and_then(|entry| entry.get(2)?.parse().ok()).unwrap_or_else(own)
            }
        },
    };
    Ok((uid, gid))
}

/// The line of a file like `/etc/passwd` that has a value in a column.
fn entry(text: &str, value: &str, column: usize) -> Option<Vec<String>> {
    let mut lines = text.lines().map(|line| line.split(':').map(str::to_string).collect::<Vec<_>>());
    lines.find(|entry| entry.get(column).is_some_and(|found| found == value))
}

/// The lines of a file of a container. One that is not there has none.
async fn lines(docker: &Docker, id: &str, path: &str) -> Result<String, ProviderError> {
    let content = archive::file(docker, id, path).await?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Whom the files of a container belong to. Nobody knows is not that they are root's: their container could not read them.
fn owners(context: &Context, name: &str) -> Result<Owners, ProviderError> {
    let path = record(context, name);
    let kept = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Owners::new()),
        kept => kept.map_err(|error| failed("read", &path, &error))?,
    };
    serde_json::from_slice(&kept).map_err(|error| {
        let message = format!("`{}`, which says whose the secrets of `{name}` are, is broken: {error}", path.display());
        ProviderError::rejected(message).help("move it away, and apply again: it is written anew with the container")
    })
}

fn keep(context: &Context, name: &str, owners: &Owners) -> Result<(), ProviderError> {
    let path = record(context, name);
    let written = || {
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(owners)?)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &path)
    };
    written().map_err(|error| failed("write", &path, &error))
}

/// Takes away what no container of this name needs any more: all of it where there is none (`spec` is `None`).
pub fn sweep(context: &Context, name: &str, spec: Option<&Spec>) -> Result<(), ProviderError> {
    let folder = folder(context, name);
    let needed: BTreeSet<PathBuf> =
        spec.map(|spec| places(context, name, spec).into_values().collect()).unwrap_or_default();
    let there = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        found => found
            .and_then(|found| found.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
            .map_err(|error| failed("look into", &folder, &error))?,
    };
    for path in there.iter().filter(|path| !needed.contains(*path)) {
        fs::remove_file(path).map_err(|error| failed("remove", path, &error))?;
    }
    if !needed.is_empty() {
        let mut owners = owners(context, name)?;
        owners.retain(|place, _| needed.contains(place));
        return keep(context, name, &owners);
    }
    for gone in [fs::remove_dir(&folder), fs::remove_file(record(context, name))] {
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &folder, &error)),
            _ => {}
        }
    }
    if there.is_empty() {
        return Ok(());
    }
    secret_boot::tidy(&Host::new(context), &folder)
}

/// Puts back what a reboot took, before the engine starts any container. Returns how many files.
pub fn restore(context: &Context) -> Result<usize, ProviderError> {
    let mut restored = 0;
    let host = Host::new(context);
    let ours = context.applied.iter().filter(|(id, _)| id.provider() == super::NAME && id.kind() == "container");
    for (id, spec) in ours {
        let (places, owners) = (places(context, id.name(), spec), owners(context, id.name())?);
        for (path, content) in sealed(spec) {
            let Some(place) = places.get(path) else { continue };
            let owner = owners.get(place).copied().unwrap_or(ROOT);
            let what = format!("{}:{path}", id.name());
            secret_file::put_at(&host, place, content, &what, owner.uid, owner.gid)?;
            restored += 1;
        }
    }
    Ok(restored)
}

/// Whether a container's spec has files with secrets in them that a reboot takes.
pub fn any(spec: &Spec) -> bool {
    sealed(spec).next().is_some() && text(spec, "service").is_some()
}
