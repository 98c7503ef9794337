//! What is taken out of a tree before it is typed: extensions, keys of old, and keys that are not supported.
//! The lists here are the whole of what the Compose Specification has and this does not do.

use std::sync::Arc;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::tree::{Key, Kind, Node};

/// Keys of a service, with what to do instead.
pub const SERVICE: &[(&str, &str)] = &[
    ("blkio_config", "limit input and output on the host"),
    ("cpu_count", "it is for Windows; use `cpus`"),
    ("cpu_percent", "it is for Windows; use `cpus`"),
    ("credential_spec", "it is for Windows; remove it"),
    ("isolation", "it is for Windows; remove it"),
    ("models", "run the model as a service of its own"),
    ("post_start", "put the command into the image's entrypoint, or a service that depends on this one"),
    ("pre_start", "use a service of its own and `depends_on` with `service_completed_successfully`"),
    ("pre_stop", "let the program do it when it gets `stop_signal`"),
    ("provider", "only containers are run"),
    ("pull_refresh_after", "use `pull_policy: every_24h`"),
    ("use_api_socket", "mount the socket: `/var/run/docker.sock:/var/run/docker.sock:ro`"),
    ("volume_driver", "name the driver under the project's `volumes`"),
    ("volumes_from", "list the volumes in both services"),
];

/// Keys at the top of a file.
pub const TOP: &[(&str, &str)] = &[("models", "run the model as a service of its own")];

/// Keys of `build`.
pub const BUILD: &[(&str, &str)] = &[
    ("entitlements", "build the image elsewhere"),
    ("isolation", "it is for Windows; remove it"),
    ("no_cache_filter", "use `no_cache`"),
    ("provenance", "build the image elsewhere"),
    ("sbom", "build the image elsewhere"),
];

/// Keys of a secret or config.
pub const FILE_OBJECT: &[(&str, &str)] =
    &[("driver", "use `file` or `environment`"), ("driver_opts", "use `file` or `environment`")];

/// Keys of `deploy` that only a swarm heeds.
pub const SWARM: &[&str] = &["endpoint_mode", "rollback_config"];

/// Maps whose keys are names of the user's, in which `x-…` is a name like any other.
const NAMES: &[&str] = &[
    "services",
    "networks",
    "volumes",
    "configs",
    "secrets",
    "environment",
    "labels",
    "annotations",
    "args",
    "sysctls",
    "options",
    "driver_opts",
    "depends_on",
    "ulimits",
    "extra_hosts",
    "storage_opt",
    "additional_contexts",
    "aux_addresses",
];

fn without_extensions(node: &Arc<Node>, names: bool) -> Arc<Node> {
    match &node.kind {
        Kind::Map(entries) => {
            let kept = entries.iter().filter(|(key, _)| names || !key.text.starts_with("x-"));
            let inner = |(key, node): &(Key, Arc<Node>)| {
                (key.clone(), without_extensions(node, !names && NAMES.contains(&key.text.as_str())))
            };
            Arc::new(Node { kind: Kind::Map(kept.map(inner).collect()), span: node.span })
        }
        Kind::List(items) if items.iter().any(|item| matches!(item.kind, Kind::Map(_))) => {
            let items = items.iter().map(|item| without_extensions(item, false)).collect();
            Arc::new(Node { kind: Kind::List(items), span: node.span })
        }
        _ => node.clone(),
    }
}

/// Where findings of the screening stand.
pub struct Screen<'a> {
    pub at: &'a str,
    pub findings: &'a mut Findings,
}

impl Screen<'_> {
    /// A project's tree of which every key is either supported or a mistake.
    pub fn project(&mut self, root: &Arc<Node>) -> Arc<Node> {
        let root = without_extensions(root, false);
        let root = self.without(&root, "", TOP);
        self.each(&root, |screen, key, node| match key {
            "version" => {
                let message = "`version` has no effect any more";
                let finding =
                    Finding::advice(codes::COMPOSE_LEGACY, format!("{}.version", screen.at), node.span, message);
                screen.findings.push(finding.help("remove the line"));
                None
            }
            "services" => Some(screen.each(node, |screen, name, node| Some(screen.service(name, node)))),
            "secrets" | "configs" => {
                let at = |name: &str| format!("{key}.{name}");
                Some(screen.each(node, |screen, name, node| Some(screen.without(node, &at(name), FILE_OBJECT))))
            }
            _ => Some(node.clone()),
        })
    }

    pub fn service(&mut self, name: &str, node: &Arc<Node>) -> Arc<Node> {
        let at = format!("services.{name}");
        let node = self.without(node, &at, SERVICE);
        self.each(&node, |screen, key, node| match key {
            "deploy" => Some(screen.deploy(&at, node)),
            "build" => Some(screen.without(node, &format!("{at}.build"), BUILD)),
            _ => Some(node.clone()),
        })
    }

    fn deploy(&mut self, at: &str, node: &Arc<Node>) -> Arc<Node> {
        let at = format!("{at}.deploy");
        self.each(node, |screen, key, node| match key {
            key if SWARM.contains(&key) => screen.swarm(&format!("{at}.{key}"), key, node),
            "mode" if node.text() != Some("replicated") => screen.swarm(&format!("{at}.mode"), "mode", node),
            "resources" => Some(screen.each(node, |screen, key, node| match key {
                "reservations" => Some(screen.each(node, |screen, key, node| match key {
                    "generic_resources" => screen.swarm(&format!("{at}.resources.reservations.{key}"), key, node),
                    _ => Some(node.clone()),
                })),
                _ => Some(node.clone()),
            })),
            _ => Some(node.clone()),
        })
    }

    fn swarm(&mut self, at: &str, key: &str, node: &Node) -> Option<Arc<Node>> {
        let message = format!("only a swarm heeds `deploy.{key}`; it is left out");
        let finding = Finding::warning(codes::COMPOSE_SWARM, format!("{}.{at}", self.at), node.span, message);
        self.findings.push(finding.help("remove it"));
        None
    }

    /// A map whose entries went through `keep`.
    fn each(
        &mut self,
        node: &Arc<Node>,
        mut keep: impl FnMut(&mut Self, &str, &Arc<Node>) -> Option<Arc<Node>>,
    ) -> Arc<Node> {
        let Kind::Map(entries) = &node.kind else { return node.clone() };
        let entries = entries.iter().filter_map(|(key, node)| Some((key.clone(), keep(self, &key.text, node)?)));
        Arc::new(Node { kind: Kind::Map(entries.collect()), span: node.span })
    }

    /// A map without keys that are not supported, each of which is reported.
    fn without(&mut self, node: &Arc<Node>, at: &str, unsupported: &[(&str, &str)]) -> Arc<Node> {
        let Kind::Map(entries) = &node.kind else { return node.clone() };
        let mut kept = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let Some((_, instead)) = unsupported.iter().find(|(name, _)| *name == key.text) else {
                kept.push((key.clone(), node.clone()));
                continue;
            };
            let at = [self.at, at, &key.text].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
            let message = format!("`{}` is not supported", key.text);
            self.findings.push(Finding::error(codes::COMPOSE_UNSUPPORTED, at, key.span, message).help(*instead));
        }
        Arc::new(Node { kind: Kind::Map(kept), span: node.span })
    }
}
