//! What the containers of a service say, in Compose's own syntax.
//! Reads what is there, in the lab file and in Compose files beside it.

use labwright_model::lab::Service;
use serde_json::Value;

/// One container of a service.
pub struct Container<'a> {
    pub name: &'a str,
    body: &'a Value,
}

pub fn containers(service: &Service) -> impl Iterator<Item = Container<'_>> {
    service.containers.0.as_object().into_iter().flatten().map(|(name, body)| Container { name, body })
}

/// What a container mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted<'a> {
    /// A volume that Docker keeps under a name.
    Volume(&'a str),
    /// A path of the host.
    Path,
}

impl<'a> Container<'a> {
    pub fn image(&self) -> Option<Image<'a>> {
        Image::parse(self.body.get("image")?.as_str()?)
    }

    pub fn is_privileged(&self) -> bool {
        self.body.get("privileged") == Some(&Value::Bool(true))
    }

    /// Whether it has the socket that Docker is commanded through.
    pub fn mounts_docker(&self) -> bool {
        let volumes = self.body.get("volumes").and_then(Value::as_array).into_iter().flatten();
        let source = |volume: &'a Value| match volume {
            Value::String(short) => short.split(':').next(),
            long => long.get("source")?.as_str(),
        };
        volumes.filter_map(source).any(|source| source.ends_with("/docker.sock"))
    }

    /// The texts under a key, which may be one.
    pub fn texts(&self, key: &str) -> impl Iterator<Item = String> {
        let items = match self.body.get(key) {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let text = |item: &Value| match item {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        items.into_iter().filter_map(text)
    }

    pub fn has_healthcheck(&self) -> bool {
        self.body.get("healthcheck").is_some_and(|check| check.get("disable") != Some(&Value::Bool(true)))
    }

    /// What it mounts and can write to. The host's own devices and sockets are no data, nor is what is named a cache.
    pub fn writable(&self) -> impl Iterator<Item = Mounted<'a>> {
        self.body.get("volumes").and_then(Value::as_array).into_iter().flatten().filter_map(mounted)
    }

    /// The variables of its environment, as a map or as a list of `NAME=value`.
    pub fn environment(&self) -> Vec<(&'a str, &'a str)> {
        match self.body.get("environment") {
            Some(Value::Object(entries)) => {
                entries.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
            }
            Some(Value::Array(lines)) => lines.iter().filter_map(|line| line.as_str()?.split_once('=')).collect(),
            _ => Vec::new(),
        }
    }

    /// The names that other containers may know it by.
    pub fn names(&self) -> Vec<&'a str> {
        let text = |key: &str| self.body.get(key).and_then(Value::as_str);
        let networks = self.body.get("networks").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
        let aliases = networks.filter_map(|network| network.get("aliases")?.as_array()).flatten();
        let links = self.body.get("links").and_then(Value::as_array).into_iter().flatten();
        let linked = links.filter_map(|link| link.as_str()?.rsplit(':').next());
        let own = [Some(self.name), text("container_name"), text("hostname")].into_iter().flatten();
        own.chain(aliases.filter_map(Value::as_str)).chain(linked).collect()
    }
}

fn mounted(volume: &Value) -> Option<Mounted<'_>> {
    let (source, read_only, bind) = match volume {
        Value::String(short) => {
            let mut parts = short.split(':');
            let (source, _target) = (parts.next()?, parts.next()?);
            let read_only = parts.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
            (source, read_only, source.starts_with(['/', '.', '~', '$']))
        }
        _ => {
            let kind = volume.get("type").and_then(Value::as_str).unwrap_or("volume");
            if !matches!(kind, "volume" | "bind") {
                return None;
            }
            let source = volume.get("source")?.as_str()?;
            (source, volume.get("read_only") == Some(&Value::Bool(true)), kind == "bind")
        }
    };
    let of_the_system = ["/var/run", "/run", "/dev", "/sys", "/proc", "/etc/localtime", "/etc/timezone"];
    let is_scratch = |word: &str| matches!(word, "cache" | "tmp" | "temp" | "sock" | "socket" | "sockets" | "run");
    match bind {
        _ if read_only || source.is_empty() => None,
        true if of_the_system.iter().any(|system| source.starts_with(system)) => None,
        true => Some(Mounted::Path),
        false if source.split(|c: char| !c.is_alphanumeric()).any(is_scratch) => None,
        false => Some(Mounted::Volume(source)),
    }
}

/// The name of an image, taken apart: `registry/repository:tag@digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    pub text: &'a str,
    pub repository: &'a str,
    pub tag: Option<&'a str>,
    pub has_digest: bool,
}

/// Tags that are moved to whatever was built last. `stable` of one day is not `stable` of the next.
const MOVING: &[&str] = &[
    "latest",
    "stable",
    "main",
    "master",
    "mainline",
    "edge",
    "nightly",
    "rolling",
    "develop",
    "development",
    "dev",
    "beta",
    "testing",
    "unstable",
    "canary",
    "snapshot",
    "current",
    "release",
    "lts",
    "alpine",
    "slim",
];

impl<'a> Image<'a> {
    fn parse(text: &'a str) -> Option<Image<'a>> {
        // Compose puts its own variables in later: what the name will be is not known here.
        if text.trim().is_empty() || text.contains('$') {
            return None;
        }
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        // A registry's port is no tag.
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[last..].find(':') {
            Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
            None => (name, None),
        };
        Some(Image { text, repository, tag, has_digest: digest.is_some() })
    }

    /// Whether what the name stands for changes by itself. A tag with a digit in it is taken for a version.
    pub fn is_moving(&self) -> bool {
        let word = |tag: &str| tag.split(['-', '_', '.']).next().is_some_and(|first| MOVING.contains(&first));
        let moves = |tag: &str| !tag.contains(|c: char| c.is_ascii_digit()) && word(tag);
        !self.has_digest && self.tag.is_none_or(moves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        let image = |text| Image::parse(text).unwrap();
        for text in ["nginx", "nginx:latest", "host:5000/app", "a/b:main", "a:latest-alpine", "x/y:release"] {
            assert!(image(text).is_moving(), "{text}");
        }
        for text in ["nginx:1", "host:5000/app:2026.3", "a@sha256:0", "a:latest@sha256:0", "a:main-3f2a1c", "a:prod"] {
            assert!(!image(text).is_moving(), "{text}");
        }
        assert_eq!(image("host:5000/app:2").repository, "host:5000/app");
        assert_eq!((Image::parse("app:${TAG}"), Image::parse(" ")), (None, None));
    }

    #[test]
    fn what_is_mounted() {
        let volumes = serde_json::json!({ "volumes": [
            "data:/d", "./config:/c", "lists:/l:ro", "/var/run/docker.sock:/s", "model-cache:/m", "/anonymous",
            { "type": "volume", "source": "long", "target": "/x" }, { "type": "bind", "source": "/srv", "target": "/y" },
            { "type": "tmpfs", "target": "/t" }, 7
        ] });
        let container = Container { name: "c", body: &volumes };
        let mounted: Vec<Mounted<'_>> = container.writable().collect();
        assert_eq!(mounted, [Mounted::Volume("data"), Mounted::Path, Mounted::Volume("long"), Mounted::Path]);
    }
}
