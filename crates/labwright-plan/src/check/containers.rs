//! The containers of services as they run, typed, wherever they are written: in the lab file or in a Compose file beside it.
//! Answers questions of rules, `assess` and the documentation; judges nothing.

use std::collections::BTreeSet;

use labwright_model::compose::mounts::{Mount, MountType};
use labwright_model::compose::service::NetworkMode;
use labwright_model::{Parsed, Placement, Span, Spanned, compose};

use super::image::Image;
use super::services::told::place_in;

/// One container of a placed service.
#[derive(Clone, Copy)]
pub struct Container<'a> {
    pub placement: &'a Placement,
    pub name: &'a str,
    /// What is said of it, every short form made long, variables of files included.
    pub says: &'a Spanned<compose::Service>,
}

/// The containers of a placed service that run; none where nothing can be said of them.
pub fn containers<'a>(parsed: &'a Parsed, placement: &'a Placement) -> impl Iterator<Item = Container<'a>> {
    let enabled = parsed.project(placement).into_iter().flat_map(compose::Project::enabled);
    enabled.map(move |(name, says)| Container { placement, name, says })
}

/// Every container of the lab once: what an environment shares with its service is told where the service says it.
pub fn all(parsed: &Parsed) -> Vec<Container<'_>> {
    let mut seen: BTreeSet<(&str, &str, Span)> = BTreeSet::new();
    let mut all = Vec::new();
    for placement in &parsed.placements {
        // What stands in one place is one thing, however often it is placed.
        all.extend(containers(parsed, placement).filter(|one| {
            placement.environment.is_none() || seen.insert((placement.service.as_str(), one.name, one.says.span))
        }));
    }
    all
}

/// What a container mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted<'a> {
    /// A volume that Docker keeps under a name.
    Volume(&'a str),
    /// A path of the host, or of the folder that the containers are described in: where it is, and where it is seen.
    Path(&'a str, &'a str),
}

impl<'a> Container<'a> {
    pub fn image(&self) -> Option<Image<'a>> {
        Image::parse(&self.says.value.image.as_ref()?.value)
    }

    /// The program's name as its image has it; empty where it is built, or not known.
    pub fn program(&self) -> &'a str {
        self.image().map_or("", |image| image.program())
    }

    pub fn network_mode(&self) -> Option<&'a NetworkMode> {
        self.says.value.network_mode.as_ref().map(|mode| &mode.value)
    }

    /// Whether it has a network of its own, so that ports can be published from it.
    pub fn has_own_network(&self) -> bool {
        matches!(self.network_mode(), None | Some(NetworkMode::Bridge))
    }

    /// Whether it has the socket that Docker is commanded through.
    pub fn mounts_docker(&self) -> bool {
        let sources = self.says.value.volumes.iter().filter_map(|mount| mount.value.source.as_ref());
        sources.into_iter().any(|source| source.ends_with("/docker.sock"))
    }

    pub fn has_healthcheck(&self) -> bool {
        self.says.value.healthcheck.as_ref().is_some_and(|check| {
            let none = check.test.as_ref().is_some_and(|test| test.0.first().is_some_and(|word| word == "NONE"));
            !check.disable.0 && !none
        })
    }

    /// What it mounts and can write to. The host's own devices and sockets are no data, nor is what is named a cache.
    pub fn writable(&self) -> impl Iterator<Item = Mounted<'a>> + use<'a> {
        self.says.value.volumes.iter().filter_map(|mount| mounted(&mount.value))
    }

    /// The variables that have a value, those of files included.
    pub fn environment(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let all = self.says.value.environment.iter();
        all.filter_map(|(name, value)| Some((name.as_str(), value.value.as_deref()?)))
    }

    /// The names that other containers may know it by.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let says = &self.says.value;
        let networks = says.networks.0.values().filter_map(|network| network.value.as_ref());
        let aliases = networks.flat_map(|network| network.aliases.iter()).map(|alias| alias.value.as_str());
        let linked = says.links.iter().filter_map(|link| link.value.rsplit(':').next());
        let given = [&says.container_name, &says.hostname].into_iter().flatten().map(|name| name.value.as_str());
        std::iter::once(self.name).chain(given).chain(aliases).chain(linked)
    }

    /// Where something of it stands: `["network_mode"]`.
    pub fn span(&self, parsed: &Parsed, key: &[&str]) -> Span {
        place_in(parsed, self.placement, &[&["containers", self.name], key].concat())
    }

    /// Its path in the lab file.
    pub fn at(&self, parsed: &Parsed) -> String {
        let service = &self.placement.service;
        match &self.placement.environment {
            Some(environment) if self.is_of_environment(parsed, environment) => {
                format!("services.{service}.environments.{environment}.containers.{}", self.name)
            }
            _ => format!("services.{service}.containers.{}", self.name),
        }
    }

    /// Whether its environment has containers that differ from the service's.
    fn is_of_environment(&self, parsed: &Parsed, environment: &str) -> bool {
        let service = parsed.lab.services.get(&self.placement.service);
        let differs = service.and_then(|service| service.environments.get(environment));
        differs.is_some_and(|differs| ["containers", "compose"].iter().any(|key| differs.value.0.get(*key).is_some()))
    }
}

fn mounted(mount: &Mount) -> Option<Mounted<'_>> {
    let of_the_system = ["/var/run", "/run", "/dev", "/sys", "/proc", "/etc/localtime", "/etc/timezone"];
    let is_scratch = |word: &str| matches!(word, "cache" | "tmp" | "temp" | "sock" | "socket" | "sockets" | "run");
    let source = mount.source.as_ref().map(|source| source.value.as_str()).filter(|source| !source.is_empty())?;
    match mount.kind {
        _ if mount.read_only.0 => None,
        MountType::Bind if of_the_system.iter().any(|system| source.starts_with(system)) => None,
        MountType::Bind => Some(Mounted::Path(source, &mount.target.value)),
        MountType::Volume if source.split(|c: char| !c.is_alphanumeric()).any(is_scratch) => None,
        MountType::Volume => Some(Mounted::Volume(source)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::found;

    #[test]
    fn what_is_mounted() {
        let (parsed, _) = found(
            r#"
services:
  a:
    containers:
      c:
        image: x:1
        healthcheck: { test: [NONE] }
        volumes:
          - data:/d
          - ./config:/c
          - lists:/l:ro
          - /var/run/docker.sock:/s
          - model-cache:/m
          - /anonymous
          - { type: volume, source: long, target: /x }
          - { type: bind, source: /srv, target: /y }
          - { type: tmpfs, target: /t }
"#,
        );
        let container = containers(&parsed, &parsed.placements[0]).next().unwrap();
        let mounted: Vec<Mounted<'_>> = container.writable().collect();
        let (config, srv) = (Mounted::Path("config", "/c"), Mounted::Path("/srv", "/y"));
        assert_eq!(mounted, [Mounted::Volume("data"), config, Mounted::Volume("long"), srv]);
        assert!(container.mounts_docker() && !container.has_healthcheck());
    }
}
