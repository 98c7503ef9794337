//! What is wrong with a project as a whole: names that nothing declares, and values that contradict one another.
//! Looks at one project alone; what it asks of its hosts is judged by the rules of `labwright-plan`.

use std::collections::{HashMap, HashSet};

use super::Project;
use super::mounts::MountType;
use super::ports::Port;
use super::service::{NetworkMode, Service};
use crate::codes;
use crate::finding::{Finding, Findings, Severity, nearest};
use crate::span::{Span, Spanned};

struct Check<'a> {
    project: &'a Project,
    at: &'a str,
    findings: &'a mut Findings,
}

/// A service and a port that it publishes.
type Publisher<'a> = (&'a str, &'a Spanned<Port>);

/// Reports everything that is wrong with the project as a whole.
pub fn check(project: &Project, at: &str, findings: &mut Findings) {
    let mut check = Check { project, at, findings };
    for (name, service) in project.services.iter() {
        check.image(name, service);
        check.names(name, service);
        check.contradictions(name, service);
        check.legacy(name, service);
    }
    check.shared();
    check.circles();
    check.resources();
}

impl Check<'_> {
    fn report(&mut self, severity: Severity, code: &'static str, at: &str, span: Span, message: String, help: String) {
        let finding = Finding::error(code, format!("{}.{at}", self.at), span, message).help(help);
        self.findings.push(Finding { severity, ..finding });
    }

    fn error(&mut self, code: &'static str, at: &str, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.report(Severity::Error, code, at, span, message.into(), help.into());
    }

    fn image(&mut self, name: &str, service: &Spanned<Service>) {
        let at = format!("services.{name}");
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            let message = format!("`{name}` cannot be the name of a service");
            let help = "use letters, digits, `.`, `_` and `-`";
            self.error(codes::WRONG_VALUE, &at, service.span, message, help);
        }
        match (&service.image, &service.build) {
            (None, None) => {
                let message = format!("the service `{name}` has no image");
                self.error(codes::MISSING_KEY, &at, service.span, message, "add `image: NAME:TAG`");
            }
            (None, Some(build)) => {
                let message = format!("the image of `{name}` would have to be built, and images are built elsewhere");
                let help =
                    "build and push it where your other images are built, and name it: `image: REGISTRY/NAME:TAG`";
                self.error(codes::COMPOSE_BUILD, &format!("{at}.build"), build.span, message, help);
            }
            (Some(image), Some(build)) => {
                let message = format!("`build` is left out: `{}` must be in a registry already", image.value);
                let help = "images are built elsewhere; the rest of the service is as it says".to_string();
                self.report(Severity::Advice, codes::COMPOSE_BUILD, &format!("{at}.build"), build.span, message, help);
            }
            (Some(_), None) => {}
        }
    }

    /// Reports a name that is not among those that the project declares.
    fn declared<'n>(
        &mut self,
        kind: &str,
        name: &str,
        span: Span,
        at: &str,
        known: impl Iterator<Item = &'n String> + Clone,
    ) {
        if known.clone().any(|known| known == name) {
            return;
        }
        let help = match nearest(name, known.map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if kind == "service" => "name a service of this project".to_string(),
            None => format!("declare it at the top level: `{kind}s: {{ {name}: {{}} }}`"),
        };
        self.error(codes::COMPOSE_UNDECLARED, at, span, format!("there is no {kind} `{name}` in this project"), help);
    }

    fn names(&mut self, name: &str, service: &Service) {
        let project = self.project;
        let at = |key: &str| format!("services.{name}.{key}");
        for (network, entry) in &service.networks.0 {
            self.declared("network", network, entry.span, &at("networks"), project.networks.keys());
        }
        for mount in service.volumes.iter().filter(|mount| mount.kind == MountType::Volume) {
            if let Some(source) = &mount.source {
                self.declared("volume", source, source.span, &at("volumes"), project.volumes.keys());
            }
        }
        for secret in service.secrets.iter() {
            self.declared("secret", &secret.source, secret.source.span, &at("secrets"), project.secrets.keys());
        }
        for config in service.configs.iter() {
            self.declared("config", &config.source, config.source.span, &at("configs"), project.configs.keys());
        }
        let shared = match service.network_mode.as_ref().map(|mode| &mode.value) {
            Some(NetworkMode::Service(other)) => Some(other),
            _ => None,
        };
        for (other, dependency) in &service.depends_on.0 {
            if shared == Some(other) && !project.services.contains_key(other) {
                let message =
                    format!("there is no service `{other}` in this project whose network `{name}` could share");
                let help = match nearest(other, project.services.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        "where the gateway is another service of the lab, take `network_mode` out and name it there: \
                             `egress: SERVICE`"
                            .to_string()
                    }
                };
                self.error(codes::COMPOSE_UNDECLARED, &at("network_mode"), dependency.span, message, help);
            } else if dependency.required.0 {
                self.declared("service", other, dependency.span, &at("depends_on"), project.services.keys());
            }
        }
    }

    fn contradictions(&mut self, name: &str, service: &Service) {
        let at = |key: &str| format!("services.{name}.{key}");
        if let Some(mode) = &service.network_mode {
            if let Some((_, network)) = service.networks.0.first() {
                let message = format!("`{name}` has `network_mode: {}` and `networks`", mode.value);
                self.error(codes::COMPOSE_CONTRADICTION, &at("networks"), network.span, message, "keep one of the two");
            }
            let owner = match &mode.value {
                NetworkMode::Service(owner) => Some(format!("the service `{owner}`")),
                NetworkMode::Container(owner) => Some(format!("the container `{owner}`")),
                _ => None,
            };
            if let (Some(owner), Some(port)) = (owner, service.ports.first()) {
                let message = format!("`{name}` has the network of {owner}, so it cannot publish ports itself");
                let help = format!("move the port to {owner}");
                self.error(codes::COMPOSE_CONTRADICTION, &at("ports"), port.span, message, help);
            }
        }
        let scale = service.scale.as_ref();
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas.as_ref());
        if let Some(many) = scale.or(replicas) {
            if many.0 < 0 {
                self.error(
                    codes::WRONG_VALUE,
                    &at("scale"),
                    many.span,
                    "a service cannot run less than never",
                    "write 0 or more",
                );
            }
            if let Some(container) = service.container_name.as_ref().filter(|_| many.0 > 1) {
                let message = format!("{} containers cannot all be named `{}`", many.0, container.value);
                let help = "remove `container_name`";
                self.error(codes::COMPOSE_CONTRADICTION, &at("container_name"), container.span, message, help);
            }
        }
        let resources = service.deploy.as_ref().map(|deploy| &deploy.resources);
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        let mut differs = |key: &str, other: &str, differs: bool, span: Option<Span>| {
            if let (true, Some(span)) = (differs, span) {
                let message = format!("`{key}` and `{other}` say different things");
                self.error(codes::COMPOSE_CONTRADICTION, &at(key), span, message, "keep one of the two");
            }
        };
        if let Some(limits) = limits {
            let cpus = service.cpus.as_ref().zip(limits.cpus.as_ref());
            let memory = service.mem_limit.as_ref().zip(limits.memory.as_ref());
            let pids = service.pids_limit.as_ref().zip(limits.pids.as_ref());
            differs(
                "cpus",
                "deploy.resources.limits.cpus",
                cpus.is_some_and(|(a, b)| a != b),
                cpus.map(|(a, _)| a.span),
            );
            let path = "deploy.resources.limits.memory";
            differs("mem_limit", path, memory.is_some_and(|(a, b)| a != b), memory.map(|(a, _)| a.span));
            let path = "deploy.resources.limits.pids";
            differs("pids_limit", path, pids.is_some_and(|(a, b)| a != b), pids.map(|(a, _)| a.span));
        }
        let mut mounted: HashSet<&str> = HashSet::new();
        let folders = service.tmpfs.iter().map(|entry| (entry.split(':').next().unwrap_or_default(), entry.span));
        let mounts = service.volumes.iter().map(|mount| (mount.target.value.as_str(), mount.span));
        for (target, span) in folders.chain(mounts) {
            if !mounted.insert(target) {
                let message = format!("two things are mounted at `{target}`");
                self.error(codes::COMPOSE_CONTRADICTION, &at("volumes"), span, message, "keep one of the two");
            }
        }
    }

    fn legacy(&mut self, name: &str, service: &Service) {
        for (key, list) in [("links", &service.links), ("external_links", &service.external_links)] {
            if let Some(first) = list.first() {
                let message = format!("`{key}` is a form of old: containers of one network find one another by name");
                let help = "remove it, and put both into one network; further names are `aliases` there".to_string();
                let at = format!("services.{name}.{key}");
                self.report(Severity::Advice, codes::COMPOSE_LEGACY, &at, first.span, message, help);
            }
        }
    }

    /// Things of the host that only one service can have.
    fn shared(&mut self) {
        let project = self.project;
        let mut names: HashMap<&str, Span> = HashMap::new();
        let mut ports: HashMap<(u16, &str), Vec<Publisher<'_>>> = HashMap::new();
        // Services of profiles may be meant as alternatives.
        for (name, service) in project.services.iter().filter(|(_, service)| service.profiles.is_empty()) {
            if let Some(container) = &service.container_name
                && let Some(first) = names.insert(container, container.span)
            {
                let message = format!("two containers cannot both be named `{}`", container.value);
                self.error(
                    codes::COMPOSE_CONTRADICTION,
                    &format!("services.{name}.container_name"),
                    container.span,
                    message,
                    "rename one of them, or remove both names",
                );
                if let Some(last) = self.findings.pop() {
                    self.findings.push(last.related(first, "first used here"));
                }
            }
            for port in service.ports.iter() {
                let Some((first, _)) = port.published_range().filter(|(first, last)| first == last && *first > 0)
                else {
                    continue;
                };
                let taken = ports.entry((first, &port.protocol)).or_default();
                let address = |port: &Port| port.host_ip.as_ref().map(|address| address.value.clone());
                let clash = taken.iter().find(|(_, other)| {
                    let (a, b) = (address(port), address(other));
                    a == b || a.is_none() || b.is_none()
                });
                if let Some((other, at)) = clash {
                    let message = format!("`{name}` and `{other}` both publish port {first}/{}", port.protocol);
                    let finding = Finding::error(
                        codes::COMPOSE_CONTRADICTION,
                        format!("{}.services.{name}.ports", self.at),
                        port.span,
                        message,
                    );
                    self.findings.push(
                        finding
                            .help("give one of them another port of the host")
                            .related(at.span, "first published here"),
                    );
                }
                taken.push((name, port));
            }
        }
    }

    /// Services that wait for one another for ever.
    fn circles(&mut self) {
        let services = &self.project.services;
        let mut done: HashSet<&str> = HashSet::new();
        for start in services.keys() {
            // A walk with a stack of its own: a chain of ten thousand services would exhaust the thread's.
            let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
            let next = |name: &str| -> Vec<&str> {
                services
                    .get(name)
                    .map_or(Vec::new(), |service| service.depends_on.0.keys().map(String::as_str).collect())
            };
            let mut on_path: HashSet<&str> = HashSet::new();
            if done.contains(start.as_str()) {
                continue;
            }
            path.push((start, next(start)));
            on_path.insert(start);
            while let Some((name, rest)) = path.last_mut() {
                let Some(other) = rest.pop() else {
                    done.insert(name);
                    on_path.remove(name);
                    path.pop();
                    continue;
                };
                if on_path.contains(other) {
                    let names: Vec<&str> =
                        path.iter().map(|(name, _)| *name).skip_while(|name| *name != other).collect();
                    let last = names.last().copied().unwrap_or(other);
                    let span = services.get(last).and_then(|service| Some(service.depends_on.0.get(other)?.span));
                    let circle = names.iter().chain([&other]).copied().collect::<Vec<_>>().join("` → `");
                    self.error(
                        codes::COMPOSE_CONTRADICTION,
                        &format!("services.{last}.depends_on"),
                        span.unwrap_or(Span::NONE),
                        format!("services wait for one another in a circle: `{circle}`"),
                        "remove one of these dependencies",
                    );
                } else if !done.contains(other) && services.contains_key(other) {
                    let more = next(other);
                    on_path.insert(other);
                    path.push((other, more));
                }
            }
        }
    }

    fn resources(&mut self) {
        let project = self.project;
        for (kind, objects) in [("configs", &project.configs), ("secrets", &project.secrets)] {
            for (name, object) in objects.iter() {
                let at = format!("{kind}.{name}");
                let given = [&object.file, &object.environment, &object.content].into_iter().flatten();
                // What a variable of a config holds was put into its content.
                let given = given.count() - usize::from(object.environment.is_some() && object.content.is_some());
                let help = "write `file: PATH`, `environment: NAME` or `external: true`";
                if given > 1 {
                    let message = format!("`{name}` has its content from several places");
                    self.error(codes::COMPOSE_CONTRADICTION, &at, object.span, message, "keep one of them");
                } else if given == 0 && !object.external.external {
                    self.error(codes::MISSING_KEY, &at, object.span, format!("`{name}` has no content"), help);
                }
                if kind == "secrets" && object.content.is_some() {
                    let message = format!("the secret `{name}` stands in the file in the clear");
                    self.error(codes::WRONG_VALUE, &at, object.span, message, help);
                }
            }
        }
        for (name, volume) in project.volumes.iter() {
            let more = volume.driver.is_some() || !volume.driver_opts.is_empty() || !volume.labels.is_empty();
            if volume.external.external && more {
                let message = format!("the volume `{name}` is made by somebody else, so it cannot be described here");
                self.error(
                    codes::COMPOSE_CONTRADICTION,
                    &format!("volumes.{name}"),
                    volume.span,
                    message,
                    "keep `external` and `name` alone",
                );
            }
        }
        for (name, network) in project.networks.iter() {
            let more = network.driver.is_some() || !network.driver_opts.is_empty() || !network.labels.is_empty();
            if network.external.external && (more || !network.ipam.config.is_empty() || network.internal.0) {
                let message = format!("the network `{name}` is made by somebody else, so it cannot be described here");
                self.error(
                    codes::COMPOSE_CONTRADICTION,
                    &format!("networks.{name}"),
                    network.span,
                    message,
                    "keep `external` and `name` alone",
                );
            }
        }
    }
}
