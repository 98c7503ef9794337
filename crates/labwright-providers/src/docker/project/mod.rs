//! From a Compose project to a stack: each thing that the project says is carried out, or is a finding.
//! Pure; every key of a service is taken apart by name, so that a new one cannot go by unseen.

mod files;
mod settings;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::compose::deploy::RestartCondition;
use labwright_model::compose::service::{self, NetworkMode, PullPolicy, Restart};
use labwright_model::compose::{Project, Service, ports, values};
use labwright_model::{Finding, Findings, Severity, Span, Spanned, codes, reference};
use serde_json::{Value as Json, json};

use super::stack::{Attachment, Condition, Container, Healthcheck, Port, Stack};

pub use files::{IN_PLACE, MUST_EXIST, SUBPATH, assets, on_host};

/// What a project is made a stack with.
pub struct Making<'a> {
    pub project: &'a Project,
    /// Where it stands in the lab: `services.wiki.compose`.
    pub at: String,
    /// Files beside the lab file, as `Input::assets`.
    pub assets: &'a BTreeMap<String, Result<Vec<u8>, String>>,
    /// The folder on the host that relative paths are relative to.
    pub folder: &'a str,
    pub findings: &'a mut Findings,
}

impl Making<'_> {
    fn report(&mut self, severity: Severity, code: &'static str, key: &str, span: Span, message: String, help: &str) {
        let path = if self.project.inline { key.to_string() } else { format!("services.{key}") };
        let finding = Finding::error(code, format!("{}.{path}", self.at), span, message).help(help);
        self.findings.push(Finding { severity, ..finding });
    }

    fn unsupported(&mut self, key: &str, span: Span, message: impl Into<String>, help: &str) {
        self.report(Severity::Error, codes::COMPOSE_UNSUPPORTED, key, span, message.into(), help);
    }

    /// What only a swarm heeds, with the way to it below its service: `["web", "deploy", "placement"]`.
    fn swarm(&mut self, path: &[&str], what: &str) {
        let (key, span) = (path.join("."), self.place(path));
        let message = format!("only a swarm heeds `{what}`; it is left out");
        self.report(Severity::Warning, codes::COMPOSE_SWARM, &key, span, message, "remove it");
    }

    /// Where something of a service stands in its file, as far as that is known.
    fn place(&self, path: &[&str]) -> Span {
        let service = || self.project.services.get(*path.first()?).map(|service| service.span);
        self.project.span_of(path).or_else(service).unwrap_or(Span::NONE)
    }

    /// A text as it is meant. In the lab file it may hold references; a secret in one would be there for all to read.
    fn text(&mut self, key: &str, span: Span, text: &str) -> String {
        if !self.project.inline {
            return text.to_string();
        }
        if !reference::secrets(text).is_empty() {
            let message = format!("a secret in `{}` can be read by everybody who may ask the engine", last(key));
            let help = "give it as a file: a variable whose name ends in `_FILE`, or `secrets: [NAME]`, which is \
                        `/run/secrets/NAME` inside";
            self.report(Severity::Error, codes::COMPOSE_SECRET, key, span, message, help);
            return String::new();
        }
        reference::unescape(text)
    }

    /// As `text`, for every text in a value.
    fn texts(&mut self, key: &str, span: Span, value: Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.text(key, span, &text)),
            Json::Array(items) => items.into_iter().map(|item| self.texts(key, span, item)).collect(),
            Json::Object(fields) => fields.into_iter().map(|(name, v)| (name, self.texts(key, span, v))).collect(),
            other => other,
        }
    }

    fn words(&mut self, key: &str, span: Span, words: Option<&values::Command>) -> Option<Vec<String>> {
        words.map(|words| words.0.iter().map(|word| self.text(key, span, word)).collect())
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The stack of a project: its services that run, and what they share.
pub fn stack(making: &mut Making<'_>) -> Stack {
    let project = making.project;
    let mut stack = Stack { name: project.name.clone(), folder: making.folder.to_string(), ..Stack::default() };
    shared::into(making, &mut stack);
    for (key, service) in project.enabled() {
        let container = container(making, key, service, &mut stack);
        stack.containers.insert(key.clone(), container);
    }
    check_shared_namespaces(making, &stack);
    stack
}

/// What a service calls for must run.
fn check_shared_namespaces(making: &mut Making<'_>, stack: &Stack) {
    let project = making.project;
    for (key, service) in project.enabled() {
        let needed = service.depends_on.0.iter().filter(|(_, dependency)| dependency.required.0);
        for (other, dependency) in needed.filter(|(other, _)| !stack.containers.contains_key(*other)) {
            let Some(off) = project.services.get(other) else { continue };
            let profiles: Vec<&str> = off.profiles.iter().map(|profile| profile.value.as_str()).collect();
            let message = format!("`{key}` depends on `{other}`, which is in a profile that is off");
            let help = format!(
                "turn it on in the `.env` beside the Compose file: `COMPOSE_PROFILES={}`; or say `required: false`",
                profiles.first().copied().unwrap_or_default()
            );
            let at = format!("{key}.depends_on");
            making.report(Severity::Error, codes::COMPOSE_CONTRADICTION, &at, dependency.span, message, &help);
        }
    }
}

/// The name of a container in the engine.
pub fn container_name(stack: &str, key: &str, own: Option<&str>, number: u32) -> String {
    own.map_or_else(|| format!("{stack}-{key}-{number}"), str::to_string)
}

fn container(making: &mut Making<'_>, key: &str, service: &Spanned<Service>, stack: &mut Stack) -> Container {
    let (span, project) = (service.span, making.project);
    let at = |field: &str| format!("{key}.{field}");
    let spanned = |text: &Option<Spanned<String>>| text.as_ref().map(|text| (text.value.clone(), text.span));
    let mut container = Container {
        container_name: spanned(&service.container_name)
            .map(|(name, span)| making.text(&at("container_name"), span, &name)),
        image: spanned(&service.image).map(|(image, span)| making.text(&at("image"), span, &image)).unwrap_or_default(),
        command: making.words(&at("command"), span, service.command.as_ref()),
        entrypoint: making.words(&at("entrypoint"), span, service.entrypoint.as_ref()),
        replicas: replicas(making, key, service),
        healthcheck: service.healthcheck.as_ref().map(|check| healthcheck(making, &at("healthcheck"), span, check)),
        restart: restart(making, key, service),
        ports: service.ports.iter().map(|port| published(port)).collect(),
        ..Container::default()
    };
    environment(making, key, service, &mut container);
    for (name, value) in service.labels.iter() {
        let value = making.text(&at("labels"), value.span, value.value.as_deref().unwrap_or_default());
        container.labels.insert(name.clone(), value);
    }
    for (other, dependency) in &service.depends_on.0 {
        let condition = match dependency.condition {
            service::Condition::Started => Condition::Started,
            service::Condition::Healthy => Condition::Healthy,
            service::Condition::Completed => Condition::Completed,
        };
        if project.enabled().any(|(name, _)| name == other) {
            container.depends_on.insert(other.clone(), condition);
            if dependency.restart.0 {
                container.beside.insert(other.clone());
            }
        }
    }
    networks(making, key, service, &mut container);
    files::mounts(making, key, service, &mut container, stack);
    files::given(making, key, service, &mut container);
    container.settings = settings::of(making, key, service, &mut container.beside);
    if let Some(policy) = &service.pull_policy
        && !matches!(policy.value, PullPolicy::Missing | PullPolicy::Never | PullPolicy::Build)
    {
        let message =
            format!("`pull_policy: {}` fetches nothing by itself: images are held to their digests", policy.value);
        let help = "`labwright update`, and an apply, fetch what their tags stand for then";
        making.report(Severity::Advice, codes::COMPOSE_LEGACY, &at("pull_policy"), policy.span, message, help);
    }
    container
}

/// How many containers of a service run.
pub fn many(service: &Service) -> u32 {
    let of_deploy = service.deploy.as_ref().and_then(|deploy| deploy.replicas.as_ref());
    let said = service.scale.as_ref().or(of_deploy);
    said.map_or(1, |many| u32::try_from(many.value.0).unwrap_or(1).min(1000))
}

fn replicas(making: &mut Making<'_>, key: &str, service: &Service) -> u32 {
    let count = many(service);
    let fixed = service.ports.iter().find(|port| {
        port.published_range().is_some_and(|(first, last)| first > 0 && u32::from(last - first) + 1 < count)
    });
    if let Some(port) = fixed.filter(|_| count > 1) {
        let message = format!("{count} containers of `{key}` cannot all have the one port that it publishes");
        let help = "leave out the port of the host, or give a range of as many: `8080-8082:80`";
        making.report(Severity::Error, codes::COMPOSE_CONTRADICTION, &format!("{key}.ports"), port.span, message, help);
    }
    count
}

fn published(port: &ports::Port) -> Port {
    Port {
        address: port.host_ip.as_ref().map(|address| address.value.clone()),
        published: port.published.as_ref().map(|published| published.value.clone()),
        target: port.target,
        protocol: port.protocol.clone(),
    }
}

fn healthcheck(making: &mut Making<'_>, at: &str, span: Span, check: &service::Healthcheck) -> Healthcheck {
    let service::Healthcheck { test, interval, timeout, retries, start_period, start_interval, disable } = check;
    let nanos = |time: &Option<values::Time>| time.map(|time| i64::try_from(time.0.as_nanos()).unwrap_or(i64::MAX));
    let test = match (disable.0, test) {
        (true, _) => vec!["NONE".to_string()],
        (false, Some(test)) => test.0.iter().map(|word| making.text(at, span, word)).collect(),
        (false, None) => Vec::new(),
    };
    Healthcheck {
        test,
        interval: nanos(interval),
        timeout: nanos(timeout),
        start_period: nanos(start_period),
        start_interval: nanos(start_interval),
        retries: retries.map(|retries| retries.0),
    }
}

/// What `deploy` says goes over what `restart` says, as in Compose.
fn restart(making: &mut Making<'_>, key: &str, service: &Service) -> Option<String> {
    let plain = service.restart.as_ref().map(|restart: &Spanned<Restart>| restart.value.to_string());
    let Some(policy) = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) else { return plain };
    for (said, name) in [(policy.delay.is_some(), "delay"), (policy.window.is_some(), "window")] {
        if said {
            making.swarm(&[key, "deploy", "restart_policy", name], &format!("deploy.restart_policy.{name}"));
        }
    }
    let most = policy.max_attempts.map_or(0, |most| most.0);
    Some(match policy.condition {
        Some(RestartCondition::None) => "no".into(),
        Some(RestartCondition::OnFailure) if most > 0 => format!("on-failure:{most}"),
        Some(RestartCondition::OnFailure) => "on-failure".into(),
        Some(RestartCondition::Any) => "always".into(),
        None => return plain.or(Some("always".into())),
    })
}

/// The environment. A secret under a name that ends in `_FILE` becomes a file, and the variable its path.
fn environment(making: &mut Making<'_>, key: &str, service: &Service, container: &mut Container) {
    for (name, value) in service.environment.iter() {
        // A variable without any value is not set.
        let Some(text) = &value.value else { continue };
        if !making.project.inline || reference::secrets(text).is_empty() {
            let text = making.text(key, value.span, text);
            container.environment.insert(name.clone(), text);
        } else if let Some(short) = name.strip_suffix("_FILE") {
            let path = format!("/run/secrets/{}", short.to_ascii_lowercase());
            let given = super::stack::Given { content: text.clone(), ..Default::default() };
            container.secrets.insert(path.clone(), given);
            container.environment.insert(name.clone(), path);
        } else {
            let message = format!(
                "`{name}` of `{key}` is a secret in an environment: `docker inspect` shows it, and the engine keeps it on its disk"
            );
            let help = format!(
                "where the image knows `{name}_FILE`, write `{name}_FILE: \"{text}\"`: it becomes a file in memory; where \
                 it knows no other way, accept it on the line above: `# labwright: allow {} because …`",
                codes::SECRET_VARIABLE
            );
            let at = format!("{key}.environment.{name}");
            // The engine writes it to its disk. Some images know no other way: it is made all the same, so that whoever
            // accepts the finding by word has it.
            making.report(Severity::Error, codes::SECRET_VARIABLE, &at, value.span, message, &help);
            container.secret_environment.insert(name.clone(), text.clone());
        }
    }
}

fn networks(making: &mut Making<'_>, key: &str, service: &Service, container: &mut Container) {
    let stack = making.project.name.clone();
    let project = making.project;
    let name = |other: &str| {
        let own = project.services.get(other).and_then(|other| other.container_name.as_ref());
        container_name(&stack, other, own.map(|own| own.value.as_str()), 1)
    };
    if let Some(mode) = &service.network_mode {
        container.network_mode = Some(match &mode.value {
            NetworkMode::Host => "host".into(),
            NetworkMode::None => "none".into(),
            NetworkMode::Bridge => "bridge".into(),
            NetworkMode::Service(other) => {
                container.beside.insert(other.clone());
                format!("container:{}", name(other))
            }
            NetworkMode::Container(other) => format!("container:{other}"),
            NetworkMode::Named(network) => network.clone(),
        });
        return;
    }
    let mut links: Vec<String> = Vec::new();
    for link in service.links.iter() {
        let (other, alias) = link.value.split_once(':').unwrap_or((&link.value, &link.value));
        links.push(format!("{}:{alias}", name(other)));
    }
    for link in service.external_links.iter() {
        let (other, alias) = link.value.split_once(':').unwrap_or((&link.value, &link.value));
        links.push(format!("{other}:{alias}"));
    }
    for (number, (network, said)) in service.networks.0.iter().enumerate() {
        let mut attachment = Attachment::default();
        if !links.is_empty() {
            attachment.settings.insert("Links".into(), json!(links));
        }
        if let (0, Some(address)) = (number, &service.mac_address) {
            attachment.settings.insert("MacAddress".into(), json!(address));
        }
        if let Some(said) = &said.value {
            endpoint(making, (key, network), said, &mut attachment);
        }
        container.networks.insert(network.clone(), attachment);
    }
}

fn endpoint(
    making: &mut Making<'_>,
    (key, network): (&str, &str),
    said: &service::ServiceNetwork,
    attachment: &mut Attachment,
) {
    let service::ServiceNetwork {
        aliases,
        driver_opts,
        gw_priority,
        interface_name,
        ipv4_address,
        ipv6_address,
        link_local_ips,
        mac_address,
        priority,
    } = said;
    attachment.aliases = aliases.iter().map(|alias| alias.value.clone()).collect::<BTreeSet<_>>();
    let mut set = |name: &str, value: Json| drop(attachment.settings.insert(name.to_string(), value));
    let address = |address: &Spanned<String>| json!(address.value);
    ipv4_address.iter().for_each(|given| set("IPv4Address", address(given)));
    ipv6_address.iter().for_each(|given| set("IPv6Address", address(given)));
    if !link_local_ips.is_empty() {
        set("LinkLocalIPs", link_local_ips.iter().map(|given| json!(given.value)).collect());
    }
    mac_address.iter().for_each(|given| set("MacAddress", json!(given)));
    gw_priority.iter().for_each(|given| set("GwPriority", json!(given.0)));
    let mut options: serde_json::Map<String, Json> = driver_opts
        .iter()
        .map(|(name, value)| (name.clone(), json!(value.value.as_deref().unwrap_or_default())))
        .collect();
    if let Some(name) = interface_name {
        options.insert("com.docker.network.endpoint.ifname".into(), json!(name));
    }
    if !options.is_empty() {
        set("DriverOpts", Json::Object(options));
    }
    if priority.is_some_and(|priority| priority.0 != 0) {
        let help = "say which network leads out: `gw_priority: 1`";
        let message = "engines of today no longer heed `priority` of a network";
        let path = [key, "networks", network, "priority"];
        let span = making.place(&path);
        making.report(Severity::Warning, codes::COMPOSE_LEGACY, &path.join("."), span, message.into(), help);
    }
}
