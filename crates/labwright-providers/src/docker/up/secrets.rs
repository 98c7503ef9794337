//! Files with secrets in them for containers of a lab that is up: in memory, in a folder that is its user's alone.
//! Unlike on a host nothing of them is kept for a reboot: who starts the lab anew opens the store anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use bollard::Docker;
use labwright_plan::{ProviderError, Spec, Value};

use super::super::secrets::numbers;
use super::Made;
use super::attend::Hub;

fn folder(hub: &Hub, container: &str) -> PathBuf {
    hub.stacks.secrets.join(container)
}

fn failed(path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::rejected(format!("a secret cannot be put at `{}`: {error}", path.display()))
}

/// Writes the files of a container, which nobody else can read, and adds them to what it mounts. Returns where they are.
pub fn write(hub: &Hub, made: &Made, spec: &mut Spec) -> Result<Vec<PathBuf>, ProviderError> {
    let mut places = Vec::new();
    if made.secrets.is_empty() {
        return Ok(places);
    }
    if hub.stacks.secrets.as_os_str().is_empty() {
        return Err(ProviderError::rejected(
            "it has secrets, and there is no folder in memory for them: XDG_RUNTIME_DIR is not set (log in anew, or set it)",
        ));
    }
    let folder = folder(hub, &made.name);
    // One that was killed may have left some.
    drop(fs::remove_dir_all(&folder));
    let made_folder = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made_folder.map_err(|error| failed(&folder, &error))?;
    let mut mounts = BTreeMap::new();
    for (inside, sealed) in &made.secrets {
        let content = sealed.reveal(&hub.context.secrets).map_err(|name| {
            ProviderError::rejected(format!(
                "it needs the secret `{name}`, which could not be read; say what it is here: `up: {{ environment: {{ … }} }}`"
            ))
        })?;
        let place = folder.join(inside.trim_start_matches('/').replace('/', "_"));
        let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o400).open(&place);
        file.and_then(|mut file| file.write_all(content.as_bytes())).map_err(|error| failed(&place, &error))?;
        mounts.insert(inside.clone(), place.display().to_string());
        places.push(place);
    }
    if let Some(Value::List(all)) = spec.get_mut("mounts") {
        all.extend(mounts.into_iter().map(|(inside, place)| Value::from(format!("{place}:{inside}:ro"))));
    }
    Ok(places)
}

/// Lets whoever the container runs as read them, and nobody else. Only root can give files away: without it, a container that
/// runs as somebody else gets none.
pub async fn hand_over(docker: &Docker, id: &str, user: &str, places: &[PathBuf]) -> Result<(), ProviderError> {
    if places.is_empty() {
        return Ok(());
    }
    let (uid, gid) = numbers(docker, id, user).await?;
    for place in places {
        let own = fs::metadata(place).map(|found| found.uid()).map_err(|error| failed(place, &error))?;
        if uid == own || uid == 0 {
            continue;
        }
        chown(place, Some(uid), Some(gid)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ProviderError::rejected(format!(
                "it runs as user {uid}, and only root can give that user a secret that nobody else reads"
            ))
            .help("run it as root (`sudo labwright up`), or leave the service out here: `up: { skip: true }`"),
            _ => failed(place, &error),
        })?;
    }
    Ok(())
}

/// Takes away those of one container.
pub fn forget(hub: &Hub, container: &str) {
    if !hub.stacks.secrets.as_os_str().is_empty() {
        drop(fs::remove_dir_all(folder(hub, container)));
    }
}
