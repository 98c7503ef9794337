//! What containers see of files: mounts, secrets, configs, and what stands beside the Compose file and goes to the host.
//! Files are handed in; nothing is read here.

use std::collections::BTreeSet;

use labwright_model::compose::mounts::{BindOptions, FileReference, Mount as Written, MountType};
use labwright_model::compose::resources::FileObject;
use labwright_model::compose::{Project, Service};
use labwright_model::{Parsed, Severity, Spanned, codes};

use crate::host::secret_file;

use super::super::stack::{Carried, Container, Given, Mount, Stack};
use super::Making;

/// What the engine does with a mounted path of the host where nothing else is said.
const PROPAGATION: &str = "rprivate";

/// What is said, as the error of an asset, of a path that is where the stack runs already: nothing of it goes anywhere.
pub const IN_PLACE: &str = "it is in its place";

/// What a stack reads beside its Compose file, as `Input::assets` is keyed: a path that ends with `/` is all that is below
/// it, or the one file that it is.
pub fn assets(parsed: &Parsed) -> BTreeSet<String> {
    let of = |project: &Project| -> Vec<String> {
        let mounts = project.enabled().flat_map(|(_, service)| service.volumes.iter());
        let sources = mounts.filter(|mount| mount.kind == MountType::Bind).filter_map(|mount| mount.source.as_ref());
        // What a container is given is read, wherever its stack runs; what it mounts may be in its place already.
        let files = project.configs.values().filter_map(|config| config.file.as_ref());
        let beside = |path: &&Spanned<String>| project.relative.contains(&path.value);
        let mounted = sources.filter(beside).map(|path| format!("{}/", path.value));
        mounted.chain(files.filter(beside).map(|path| path.value.clone())).collect()
    };
    parsed.projects.values().flat_map(of).collect()
}

/// Where a path beside the Compose file is on the host: as it is to the file there, so to the stack's folder.
pub fn on_host(folder: &str, from: &str, path: &str) -> String {
    let parts = |path: &str| {
        path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_string).collect::<Vec<_>>()
    };
    let (from, to) = (parts(from), parts(path));
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut place = parts(folder);
    for _ in same..from.len() {
        place.pop();
    }
    place.extend(to[same..].iter().cloned());
    format!("/{}", place.join("/"))
}

pub fn mounts(
    making: &mut Making<'_>,
    key: &str,
    service: &Spanned<Service>,
    container: &mut Container,
    stack: &mut Stack,
) {
    for mount in service.volumes.iter() {
        if let Some(mount) = one(making, key, mount, stack) {
            container.mounts.push(mount);
        }
    }
    for text in service.tmpfs.iter() {
        let (target, options) = text.value.split_once(':').unwrap_or((&text.value, ""));
        container.mounts.push(Mount::Tmpfs { target: target.into(), options: options.into() });
    }
}

fn one(making: &mut Making<'_>, key: &str, mount: &Spanned<Written>, stack: &mut Stack) -> Option<Mount> {
    let Written { kind, source, target, read_only, consistency: _, bind, volume, tmpfs, image: _ } = &mount.value;
    let at = format!("{key}.volumes");
    let (target, read_only) = (making.text(&at, target.span, &target.value), read_only.0);
    let mut options = Vec::new();
    match kind {
        MountType::Volume => {
            if let Some(volume) = volume {
                if volume.nocopy.0 {
                    options.push("nocopy".to_string());
                }
                if let Some(subpath) = &volume.subpath {
                    options.push(format!("{SUBPATH}{}", making.text(&at, subpath.span, &subpath.value)));
                }
                if !volume.labels.is_empty() {
                    let help = "say them under the project's `volumes`";
                    making.unsupported(&at, mount.span, "labels of a volume are not given where it is mounted", help);
                }
            }
            Some(Mount::Volume { source: source.as_ref().map(|name| name.value.clone()), target, read_only, options })
        }
        MountType::Bind => {
            let source = source.as_ref()?;
            let BindOptions { propagation, create_host_path, recursive, selinux } = bind.clone().unwrap_or_default();
            options.extend(propagation.map(|given| given.value).filter(|given| given != PROPAGATION));
            options.extend(selinux);
            if !create_host_path.0 {
                options.push(MUST_EXIST.into());
            }
            if recursive.is_some_and(|said| said != "enabled") {
                let help = "mount the folders that are meant one by one";
                making.unsupported(&at, mount.span, "`bind.recursive` is not supported", help);
            }
            let path = making.text(&at, source.span, &source.value);
            let path = match making.project.relative.contains(&source.value) {
                true => carried(making, &at, source, read_only, stack)?,
                false if path.starts_with('/') => path,
                false => {
                    let message = format!("`{path}` is no path that the host could know");
                    let help = "write it out, from `/` on; or start it with `./`, and it goes along with the stack";
                    making.report(Severity::Error, codes::COMPOSE_MISLEADING, &at, source.span, message, help);
                    return None;
                }
            };
            Some(Mount::Bind { source: path, target, read_only, options })
        }
        MountType::Tmpfs => {
            let size = tmpfs.as_ref().and_then(|tmpfs| tmpfs.size).map(|size| format!("size={}", size.0));
            let mode = tmpfs.as_ref().and_then(|tmpfs| tmpfs.mode).map(|mode| format!("mode={:o}", mode.0));
            let options = size.into_iter().chain(mode).collect::<Vec<_>>().join(",");
            Some(Mount::Tmpfs { target, options })
        }
        MountType::Image | MountType::Npipe | MountType::Cluster => {
            let what = match kind {
                MountType::Image => "mounting an image is not supported",
                MountType::Npipe => "a named pipe is for Windows",
                _ => "a cluster's volume is for a swarm",
            };
            making.unsupported(&at, mount.span, what, "mount a volume or a folder");
            None
        }
    }
}

/// The option of a path that the engine must not make a folder of.
pub const MUST_EXIST: &str = "must-exist";

/// The front of the option that says which folder of a volume is meant.
pub const SUBPATH: &str = "subpath=";

/// Brings a path beside the Compose file along. Returns where it is on the host.
fn carried(
    making: &mut Making<'_>,
    at: &str,
    source: &Spanned<String>,
    read_only: bool,
    stack: &mut Stack,
) -> Option<String> {
    let place = on_host(making.folder, &making.project.folder, &source.value);
    let whole = format!("{}/", source.value);
    if making.assets.get(&whole).is_some_and(|read| read.as_ref().is_err_and(|why| why == IN_PLACE)) {
        return Some(place);
    }
    let mut found = false;
    for (path, content) in making.assets.range(source.value.clone()..) {
        let below = path.strip_prefix(&whole);
        if below.is_none() && *path != source.value {
            // Names that sort between the path and what is below it, such as `conf.d` after `conf`.
            if !path.starts_with(&source.value) {
                break;
            }
            continue;
        }
        match (below, content) {
            (_, Ok(content)) => {
                found = true;
                let path = below.map_or(place.clone(), |below| format!("{place}/{below}"));
                if path.ends_with('/') {
                    continue;
                }
                let file = Carried::File { content: content.clone(), shared: !read_only };
                match stack.carried.get_mut(&path) {
                    // One that one container may write to is shared, whoever else reads it.
                    Some(Carried::File { shared, .. }) => *shared |= !read_only,
                    _ => drop(stack.carried.insert(path, file)),
                }
            }
            (_, Err(why)) if why == "no such file" => {}
            (_, Err(why)) => {
                let message = format!("cannot take `{path}` along: {why}");
                let help = "mount a volume, or a folder of the host by its whole path, or leave less in this one";
                making.report(Severity::Error, codes::COMPOSE_FILE, at, source.span, message, help);
                return None;
            }
        }
    }
    // What is not here is a folder for data, as Docker makes one; so is what holds files.
    if !found || !stack.carried.contains_key(&place) {
        stack.carried.entry(place.clone()).or_insert(Carried::Folder);
    }
    Some(place)
}

/// Secrets and configs, as files that the container is given.
pub fn given(making: &mut Making<'_>, key: &str, service: &Service, container: &mut Container) {
    let project = making.project;
    for reference in service.secrets.iter() {
        let Some(secret) = project.secrets.get(&reference.source.value) else { continue };
        let content = secret_content(project, &reference.source.value, secret);
        let target = reference.target.as_ref().map_or(&reference.source.value, |target| &target.value);
        let path = if target.starts_with('/') { target.clone() } else { format!("/run/secrets/{target}") };
        let at = format!("{key}.secrets");
        if let Some(mode) = reference.mode.map(|mode| mode.0 & 0o7777).filter(|mode| *mode != secret_file::MODE) {
            let name = &reference.source.value;
            let message =
                format!("the secret `{name}` of `{key}` has the mode {mode:04o}; here it is 0400, for its owner alone");
            let help = "leave `mode` out; it belongs to whom the container runs as, and `uid: \"NUMBER\"` says who else reads it";
            making.report(Severity::Warning, codes::COMPOSE_SECRET, &at, reference.span, message, help);
        }
        let given = Given { mode: None, ..file(making, &at, reference, content) };
        container.secrets.insert(path, given);
    }
    for reference in service.configs.iter() {
        let at = format!("{key}.configs");
        let Some(config) = project.configs.get(&reference.source.value) else { continue };
        let target = reference.target.as_ref().map_or(&reference.source.value, |target| &target.value);
        let path = if target.starts_with('/') { target.clone() } else { format!("/{target}") };
        let Some(content) = config_content(making, &at, &reference.source.value, config) else { continue };
        let given = file(making, &at, reference, content);
        container.configs.insert(path, given);
    }
}

fn file(making: &mut Making<'_>, at: &str, reference: &Spanned<FileReference>, content: String) -> Given {
    let mut number = |text: &Option<String>| {
        let number = text.as_ref()?;
        if number.parse::<u32>().is_err() {
            let help = "write the number that it has in the image: `id NAME` there says it";
            making.unsupported(at, reference.span, format!("`{number}` is no number of a user or group"), help);
        }
        number.parse().ok()
    };
    let (uid, gid) = (number(&reference.uid), number(&reference.gid));
    Given { content, uid, gid, mode: reference.mode.map(|mode| mode.0 & 0o777) }
}

/// A secret of the lab by its name; one of a file or a variable beside the Compose file by where that is. None of them is
/// read here.
fn secret_content(project: &Project, key: &str, secret: &FileObject) -> String {
    let name = match (&secret.file, &secret.environment) {
        (Some(file), _) => format!("file:{}", file.value),
        (None, Some(variable)) => {
            let folder = if project.folder.is_empty() { String::new() } else { format!("{}/", project.folder) };
            format!("file:{folder}.env#{}", variable.value)
        }
        (None, None) => secret.name.as_ref().map_or(key.to_string(), |name| name.value.clone()),
    };
    format!("${{secret.{name}}}")
}

fn config_content(making: &mut Making<'_>, at: &str, key: &str, config: &Spanned<FileObject>) -> Option<String> {
    if let Some(content) = &config.content {
        return Some(content.value.clone());
    }
    if config.external.external || config.file.is_none() {
        let help = "give it here: `file: PATH` or `content: |`";
        making.unsupported(at, config.span, format!("the config `{key}` would have to come from a swarm"), help);
        return None;
    }
    let file = config.file.as_ref()?;
    let found = match making.project.relative.contains(&file.value) {
        true => making.assets.get(&file.value).or_else(|| making.assets.get(&format!("{}/", file.value))),
        false => {
            let help = "mount it by its path under `volumes`, or put it beside the Compose file";
            making.unsupported(at, file.span, format!("the config `{key}` is a file of the host"), help);
            return None;
        }
    };
    let why = match found {
        Some(Ok(bytes)) => match String::from_utf8(bytes.clone()) {
            Ok(text) => return Some(text),
            Err(_) => "it is not text; mount it under `volumes`".to_string(),
        },
        Some(Err(why)) => why.clone(),
        None => "no such file".to_string(),
    };
    let message = format!("cannot read `{}`, the content of the config `{key}`: {why}", file.value);
    let help = "put the file there, or correct the path: it is relative to the Compose file";
    making.report(Severity::Error, codes::COMPOSE_FILE, at, file.span, message, help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_beside_the_file_are_beside_the_stack() {
        let place = |folder: &str, path: &str| on_host("/srv/labwright/wiki", folder, path);
        assert_eq!(place("wiki", "wiki/config"), "/srv/labwright/wiki/config");
        assert_eq!(place("wiki", "wiki"), "/srv/labwright/wiki");
        assert_eq!(place("a/wiki", "a/shared/x"), "/srv/labwright/shared/x");
        assert_eq!(place("", "config/x"), "/srv/labwright/wiki/config/x");
        assert_eq!(place("/home/me/lab/wiki", "/home/me/lab/wiki/c"), "/srv/labwright/wiki/c");
        assert_eq!(place("..", "../x"), "/srv/labwright/wiki/x");
    }
}
