//! What two placements on one host must not share: the names of containers, and, between environments, data and networks.
//! Names carry the environment by themselves; here is what the file calls by a name of its own.

use std::collections::BTreeMap;

use labwright_model::{Finding, Findings, Parsed, codes};

use super::project::container_name;
use super::services::{self, Placed, What};
use super::stack::{Mount, Stack};
use crate::process;

/// Paths of the machine, which nobody takes for data.
const OF_THE_MACHINE: &[&str] = &["/dev", "/proc", "/sys", "/run", "/var/run", "/etc", "/lib", "/usr", "/tmp"];

/// Says what two stacks have in common and must not.
pub fn check(placed: &[Placed<'_>], findings: &mut Findings) {
    let mut known: BTreeMap<(&str, Kind, String), usize> = BTreeMap::new();
    for (n, one) in placed.iter().enumerate() {
        let What::Stack(stack) = &one.what else { continue };
        for (what, name) in names(stack) {
            let Some(first) = known.insert((one.host, what, name.clone()), n).map(|first| &placed[first]) else {
                continue;
            };
            let between = one.is_apart(first);
            let clash = match what {
                Kind::Container => !std::ptr::eq(first, one),
                Kind::Volume | Kind::Network | Kind::Path => between,
            };
            if !clash {
                continue;
            }
            let message = match (what, between) {
                (Kind::Container, false) => {
                    format!(
                        "`{}` and `{}` both have a container `{name}` on `{}`",
                        first.service, one.service, one.host
                    )
                }
                _ => format!(
                    "{} of `{}` and {} of `{}` both have the {} `{name}` of `{}`",
                    quoted(first.environment),
                    first.service,
                    quoted(one.environment),
                    one.service,
                    what.word(),
                    one.host
                ),
            };
            let help = match what {
                Kind::Path => {
                    format!("give each its own: `{name}/${{env}}`, or a volume, whose name carries the environment")
                }
                Kind::Container => {
                    "take `container_name` out: the name is made of the project's, which carries the environment".into()
                }
                _ => "take `name` out: it is made of the project's, which carries the environment".into(),
            };
            let at = format!("services.{}", one.service);
            let finding = Finding::error(codes::COMPOSE_CONTRADICTION, at, one.span, message);
            findings.push(finding.help(help).related(first.span, "the other one"));
        }
    }
}

fn quoted(environment: Option<&str>) -> String {
    environment.map_or_else(|| "no environment".into(), |name| format!("`{name}`"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Container,
    Volume,
    Network,
    Path,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Volume => "volume",
            Kind::Network => "network",
            Kind::Path => "path",
        }
    }
}

/// What a stack calls by a name of its own, and the paths of the host that it writes to.
fn names(stack: &Stack) -> Vec<(Kind, String)> {
    let mut all = Vec::new();
    for (key, container) in &stack.containers {
        all.push((Kind::Container, container_name(&stack.name, key, container.container_name.as_deref(), 1)));
    }
    let own = stack.volumes.values().filter(|volume| !volume.external).filter_map(|volume| volume.name.clone());
    all.extend(own.map(|name| (Kind::Volume, name)));
    let own = stack.networks.values().filter(|network| !network.external).filter_map(|network| network.name.clone());
    all.extend(own.map(|name| (Kind::Network, name)));
    let mut paths: Vec<String> = Vec::new();
    for mount in stack.containers.values().flat_map(|container| &container.mounts) {
        if let Mount::Bind { source, read_only: false, .. } = mount {
            let below = |folder: &&str| source == *folder || source.starts_with(&format!("{folder}/"));
            if !OF_THE_MACHINE.iter().any(below) && !paths.contains(source) {
                paths.push(source.clone());
            }
        }
    }
    all.extend(paths.into_iter().map(|path| (Kind::Path, path)));
    all
}

/// Patterns of the ids of everything that is placed in an environment, for `--only`.
pub fn of_environment(parsed: &Parsed, environment: &str) -> Vec<String> {
    let mut patterns = Vec::new();
    for placement in parsed.placements.iter().filter(|one| one.environment.as_deref() == Some(environment)) {
        match parsed.project(placement) {
            Some(project) => {
                let name = &project.name;
                let folder = services::folder(placement, project);
                for on in placement.entry.on.iter().map(|on| &on.value) {
                    patterns.push(format!("{on}/docker/container/{name}-*"));
                    patterns.extend(["file", "directory"].map(|kind| format!("{on}/host/{kind}/{folder}")));
                    patterns.extend(["volume", "network"].map(|kind| format!("{on}/docker/{kind}/{name}_*")));
                    let own = project.services.0.values().filter_map(|service| service.container_name.as_ref());
                    patterns.extend(own.map(|own| format!("{on}/docker/container/{}", own.value)));
                }
            }
            None if placement.entry.run.is_some() => {
                let unit = process::unit_name(placement);
                patterns.extend(placement.entry.on.iter().map(|on| format!("{}/host/unit/{unit}", on.value)));
            }
            None => {}
        }
    }
    patterns
}
