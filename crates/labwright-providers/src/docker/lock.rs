//! `lab.lock`: which digest each tag stood for when it was last applied, so that it stays so until somebody means otherwise.
//! Pure: the command line reads and writes the file.

use std::collections::{BTreeMap, BTreeSet};

use labwright_plan::{Resource, ResourceId};
use serde::{Deserialize, Serialize};

use super::NAME;
use super::session::text;

/// The file's name, beside the lab file.
pub const FILE: &str = "lab.lock";

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub version: u32,
    /// Digests by the name that the lab gives.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}

/// Reads the file's content.
pub fn read(content: &[u8]) -> Result<Lock, String> {
    let lock: Lock = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    match lock.version {
        1 => Ok(lock),
        version => Err(format!("it has version {version}, and this labwright knows version 1")),
    }
}

/// The file's content after an apply of these resources; `None` where nothing in it changes. `failed`: what did not come
/// about. An image that a container did not come up with is not held to: what was held to before still is.
pub fn after(before: Option<&[u8]>, applied: &[Resource], failed: &BTreeSet<&ResourceId>) -> Option<Vec<u8>> {
    let before = before.and_then(|content| read(content).ok());
    let ours = |kind: &'static str| applied.iter().filter(move |r| r.id.provider() == NAME && r.id.kind() == kind);
    let mut images: BTreeMap<String, Option<String>> = BTreeMap::new();
    for image in ours("image").filter(|image| !image.id.name().contains('@')) {
        let name = image.id.name();
        let useless = failed.contains(&image.id)
            || ours("container").any(|container| container.after.contains(&image.id) && failed.contains(&container.id));
        let held = before.as_ref().and_then(|before| before.images.get(name).cloned());
        let digest = if useless { held } else { text(&image.spec, "digest").map(str::to_string) };
        let Some(digest) = digest else { continue };
        // Two hosts that found different things under one name, such as what each built itself, are held to neither.
        let agreed = images.entry(name.to_string()).or_insert_with(|| Some(digest.clone()));
        if agreed.as_ref() != Some(&digest) {
            *agreed = None;
        }
    }
    written(before.as_ref(), images.into_iter().filter_map(|(name, digest)| Some((name, digest?))).collect())
}

/// The file's content without these images, or without any: the next plan asks their registries.
pub fn without(before: &Lock, names: &[String]) -> Option<Vec<u8>> {
    let stays = |name: &String| !names.is_empty() && !names.contains(name);
    let images =
        before.images.iter().filter(|(name, _)| stays(name)).map(|(name, digest)| (name.clone(), digest.clone()));
    written(Some(before), images.collect())
}

fn written(before: Option<&Lock>, images: BTreeMap<String, String>) -> Option<Vec<u8>> {
    let now = Lock { version: 1, images };
    if before.map_or(now.images.is_empty(), |before| *before == now) {
        return None;
    }
    let mut content = serde_json::to_vec_pretty(&now).ok()?;
    content.push(b'\n');
    Some(content)
}

#[cfg(test)]
mod tests {
    use labwright_model::Span;

    use super::*;

    #[test]
    fn what_two_hosts_do_not_agree_on_is_not_held() {
        let image = |host: &str, name: &str, digest: &str| {
            Resource::new(ResourceId::new(host, NAME, "image", name), Span::NONE).with("digest", digest)
        };
        let all = [
            image("a", "built:1", "sha256:a"),
            image("a", "app:1", "sha256:c"),
            image("b", "built:1", "sha256:b"),
            image("b", "app:1", "sha256:c"),
        ];
        let content = after(None, &all, &BTreeSet::new()).unwrap();
        let held: Vec<(String, String)> = read(&content).unwrap().images.into_iter().collect();
        assert_eq!(held, [("app:1".to_string(), "sha256:c".to_string())]);
    }
}
