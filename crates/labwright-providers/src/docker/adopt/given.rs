//! Files of secrets and configs that somebody else gave a container, by whatever way: recognised by what they hold.
//! A container of Labwright's own says by its labels what it was given, and is not asked.

use std::collections::BTreeMap;

use bollard::Docker;
use labwright_plan::{ChangeKey, ProviderError, Sealed, Spec, Value};
use serde_json::Value as Json;

use super::super::{archive, form, lower};

/// Puts what is recognised into what was seen of a container, as if it were the lab's own: a file with the content that the
/// lab has stays where it is, and one with another is a difference of its content. `wanted`: what is looked for.
pub async fn recognise(
    docker: &Docker,
    container: &Json,
    wanted: &Spec,
    key: &ChangeKey,
    seen: &mut Spec,
) -> Result<(), ProviderError> {
    if !container["Config"]["Labels"][form::IMAGE_LABEL].is_null() {
        return Ok(());
    }
    let id = container["Id"].as_str().unwrap_or_default();
    let mut mounts = texts(seen, "mounts");
    if let Some(Value::Map(asked)) = wanted.get("secrets") {
        let mut found = BTreeMap::new();
        for path in asked.keys() {
            let Some(content) = archive::file(docker, id, path).await? else { continue };
            let sealed = Sealed::found(&mut content.as_slice(), key).unwrap_or_default();
            found.insert(path.clone(), Value::Secret(sealed));
            mounts.retain(|mount| !is_file_at(mount, path));
        }
        seen.insert("secrets".into(), Value::Map(found));
    }
    if let Some(Value::Map(files)) = wanted.get("files") {
        for mount in texts(wanted, "mounts").into_iter().filter(|mount| lower::is_config(mount)) {
            let path = target(&mount);
            let Some(digest) = files.get(path) else { continue };
            let Some(content) = archive::file(docker, id, path).await? else { continue };
            if lower::short(&content) == *digest {
                mounts.retain(|other| !is_file_at(other, path));
                mounts.push(mount);
            }
        }
    }
    mounts.sort();
    seen.insert("mounts".into(), mounts.into_iter().collect());
    Ok(())
}

fn texts(spec: &Spec, field: &str) -> Vec<String> {
    let all = spec.get(field).and_then(Value::list).unwrap_or_default();
    all.iter().filter_map(Value::text).map(str::to_string).collect()
}

fn target(mount: &str) -> &str {
    mount.split(':').nth(1).unwrap_or_default()
}

/// Whether a mount puts something of the host at a path.
fn is_file_at(mount: &str, path: &str) -> bool {
    mount.starts_with('/') && target(mount) == path
}
