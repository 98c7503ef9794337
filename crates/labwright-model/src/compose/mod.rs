//! Compose files as typed values: what they say, where they say it, and what is wrong with them.
//! Starts nothing and reads no process environment: files come through `Files`, variables are handed in.
//!
//! `load` turns paths into one tree (`include`, `extends`, overrides, variables), `screen` takes out what is not
//! supported, the declarations in `service`, `deploy`, `mounts`, `ports` and `resources` type the rest, `complete` fills
//! in what follows, and `consistency` judges the whole. `canonical` shows a project as `docker compose config` does.

mod canonical;
mod complete;
mod consistency;
pub mod deploy;
mod environment;
mod interpolate;
mod load;
mod merge;
pub mod mounts;
pub mod ports;
pub mod resources;
mod screen;
pub mod service;
pub mod values;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use environment::{Environment, variable};
pub use resources::{FileObject, Network, Volume};
pub use service::Service;

use crate::allow::Allow;
use crate::codes;
use crate::decode::{Decoder, Foreign, FromNode, Table, section};
use crate::finding::{Finding, Findings};
use crate::load::{Files, beside};
use crate::resolve::Placement;
use crate::span::{Sources, Span, Spanned};
use crate::tree::{Key, Kind, Node};
use load::{Loader, Origin, folder_of, joined};
use screen::Screen;

/// One Compose project, every short form made long.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Made of lowercase letters, digits, `-` and `_`.
    pub name: String,
    /// The folder that its relative paths were relative to.
    pub folder: String,
    /// All services, those of profiles that are off included.
    pub services: Table<Service>,
    pub networks: Table<Network>,
    pub volumes: Table<Volume>,
    pub configs: Table<FileObject>,
    pub secrets: Table<FileObject>,
    /// The profiles that `COMPOSE_PROFILES` turns on.
    pub profiles: Vec<String>,
    /// Its values may hold references of the lab (`${secret.x}`), because they stand in the lab file itself;
    /// `reference::parts` splits them.
    pub inline: bool,
    /// The variables of its `.env` and `env_file` files, each with its own line.
    pub variables: Vec<(String, Spanned<String>)>,
    /// Paths that were written relative to a file of the project: they are beside it, and not on the host.
    pub relative: BTreeSet<String>,
    /// Everything as it was written, with all files put together.
    pub(crate) tree: Option<Arc<Node>>,
}

section! {
    /// What stands at the top of a Compose file.
    pub struct Root {
        /// The project's name.
        name: Option<Spanned<String>>,
        /// Its services.
        services: Table<Service>,
        /// Its networks.
        networks: Table<Network>,
        /// Its volumes.
        volumes: Table<Volume>,
        /// Its configs.
        configs: Table<FileObject>,
        /// Its secrets.
        secrets: Table<FileObject>,
        /// Further files.
        include: Foreign,
    }
}

/// What a project is read with, and where what is found goes.
pub struct Reading<'a> {
    pub files: &'a dyn Files,
    /// Variables that go before those of `.env`.
    pub environment: &'a Environment,
    /// The files that were read are added; spans index into it.
    pub sources: &'a mut Sources,
    /// Acceptances of findings, in comments of the files.
    pub allows: &'a mut Vec<Allow>,
    pub findings: &'a mut Findings,
    /// Where the project stands in the lab: `["services", "wiki", "compose"]`.
    pub at: &'a [&'a str],
    /// The environment of the lab that it is placed in: its name says so, so that nothing of it is shared with another.
    pub placed: Option<&'a str>,
}

const DEFAULT_NAMES: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

impl Project {
    /// Reads the project of one file or of several, the later ones over the earlier ones, as `docker compose -f` does.
    /// A single file of one of the usual names is read with the override file beside it. `from` is the place that names
    /// the files; `name` counts where neither they nor `COMPOSE_PROJECT_NAME` give one. `None`: nothing could be read.
    pub fn read(name: &str, paths: &[&str], from: Span, reading: &mut Reading<'_>) -> Option<Project> {
        let mut paths: Vec<String> = paths.iter().map(|path| path.to_string()).collect();
        paths.extend(beside_override(&paths, reading.files));
        let folder = folder_of(paths.first()?).to_string();
        let at = reading.at.join(".");
        let (sources, allows) = (&mut *reading.sources, &mut *reading.allows);
        let mut loader = Loader::new(reading.files, sources, allows, reading.findings, at);
        let more = loader.variables(&joined(&folder, ".env"), from, false, reading.environment);
        let mut environment = reading.environment.clone().or(more.0);
        let name = project_name(name, &paths, reading.files, &environment);
        let name = reading.placed.map_or(name.clone(), |placed| normal_name(&format!("{name}-{placed}")));
        environment.0.insert("COMPOSE_PROJECT_NAME".into(), name.clone());
        let profiles = environment.get("COMPOSE_PROFILES").unwrap_or_default();
        let profiles = profiles.split(',').map(str::trim).filter(|profile| !profile.is_empty());
        let profiles = profiles.map(str::to_string).collect();
        let origin = Arc::new(Origin { folder: folder.clone(), environment: Arc::new(environment) });
        let paths: Vec<(String, Span)> = paths.into_iter().map(|path| (path, from)).collect();
        let tree = loader.files(&paths, &origin)?;
        let root = typed(&tree, reading.at, loader.findings);
        let mut project = Project { name, folder, profiles, tree: Some(tree), ..Project::of(root) };
        complete::complete(&mut project, &origin, &mut loader);
        project.variables = std::mem::take(&mut loader.set);
        project.relative = std::mem::take(&mut loader.relative);
        consistency::check(&project, &loader.at, loader.findings);
        Some(project)
    }

    /// Reads services that stand in the lab file itself, by name. What they use they declare by using it.
    /// `service`: the lab's, with what stands under `containers`, `networks` and `volumes`.
    pub(crate) fn read_inline(name: &str, service: &Arc<Node>, folder: &str, reading: &mut Reading<'_>) -> Project {
        let parts = [("services", "containers"), ("networks", "networks"), ("volumes", "volumes")];
        let part = |(inside, here): (&str, &str)| {
            let node = service.get(here).filter(|node| !node.is_null())?;
            Some((Key { text: inside.into(), span: node.span }, interpolate::dollars(node)))
        };
        let tree = Arc::new(Node { kind: Kind::Map(parts.into_iter().filter_map(part).collect()), span: service.span });
        // The path of a service in the lab has no `services` of its own below `containers`.
        let mut found = Findings::new();
        let root = typed(&tree, reading.at, &mut found);
        let name = reading.placed.map_or(name.to_string(), |placed| format!("{name}-{placed}"));
        let mut project =
            Project { name: normal_name(&name), folder: folder.to_string(), inline: true, ..Project::of(root) };
        let origin = Arc::new(Origin { folder: folder.to_string(), environment: Arc::default() });
        let at = reading.at.join(".");
        let (sources, allows) = (&mut *reading.sources, &mut *reading.allows);
        let mut loader = Loader::new(reading.files, sources, allows, &mut found, at.clone());
        complete::declare(&mut project);
        complete::complete(&mut project, &origin, &mut loader);
        project.variables = std::mem::take(&mut loader.set);
        project.relative = std::mem::take(&mut loader.relative);
        consistency::check(&project, &at, &mut found);
        let prefix = format!("{at}.services.");
        for mut finding in found {
            if let Some(rest) = finding.at.strip_prefix(&prefix) {
                finding.at = format!("{at}.{rest}");
            }
            reading.findings.push(finding);
        }
        project
    }

    fn of(root: Root) -> Project {
        let Root { name: _, services, networks, volumes, configs, secrets, include: _ } = root;
        Project { services, networks, volumes, configs, secrets, ..Project::default() }
    }

    /// The services that run: those of no profile, and those of a profile that is on.
    pub fn enabled(&self) -> impl Iterator<Item = (&String, &Spanned<Service>)> {
        self.services.iter().filter(|(_, service)| {
            service.profiles.is_empty()
                || self.profiles.iter().any(|on| on == "*" || service.profiles.iter().any(|own| own.value == *on))
        })
    }
}

fn typed(tree: &Arc<Node>, at: &[&str], findings: &mut Findings) -> Root {
    let tree = Screen { at: &at.join("."), findings }.project(tree);
    let mut decoder = Decoder::new(findings);
    decoder.under(at, |decoder| Root::from_node(&tree, decoder)).unwrap_or_default()
}

/// The override file that lies beside a single file of a usual name.
fn beside_override(paths: &[String], files: &dyn Files) -> Option<String> {
    let [only] = paths else { return None };
    let name = only.rsplit('/').next().filter(|name| DEFAULT_NAMES.contains(name))?;
    let stem = name.split('.').next()?;
    let candidates = ["yml", "yaml"].map(|ending| beside(only, &format!("{stem}.override.{ending}")));
    candidates.into_iter().find(|path| files.read(path).is_ok())
}

/// A name as Compose makes it of any text.
fn normal_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(*c);
    lower.chars().filter(allowed).collect::<String>().trim_start_matches(['-', '_']).to_string()
}

/// `COMPOSE_PROJECT_NAME`, else the `name` of the last file that has one, else the one that was handed in. The name is
/// itself a variable in the files, so it is looked for before they are read.
fn project_name(name: &str, paths: &[String], files: &dyn Files, environment: &Environment) -> String {
    if let Some(given) = environment.get("COMPOSE_PROJECT_NAME").filter(|given| !given.is_empty()) {
        return normal_name(given);
    }
    let of_file = |path: &String| {
        let text = String::from_utf8(files.read(path).ok()?).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("name:"))?;
        // Read by the same reader as the whole file, so that quotes and comments mean the same.
        let tree = crate::tree::read(0, &format!("name:{line}"), &mut Findings::new(), &mut Vec::new());
        let given = tree.root?.get("name")?.text()?.to_string();
        let lookup = |name: &str| environment.get(name).map(str::to_string);
        let given = interpolate::substitute(&given, &lookup, &mut Vec::new()).ok()?;
        Some(normal_name(&given)).filter(|name| !name.is_empty())
    };
    paths.iter().rev().find_map(of_file).unwrap_or_else(|| normal_name(name))
}

/// The projects of a lab's services as they are placed, by `key`. A lab without such services pays nothing. `nodes`: what
/// the service of each placement says that has its containers in itself. What a Compose file says is put into its placement's `containers` too, so
/// that whoever looks at containers sees them wherever they are written.
pub(crate) fn of_lab(
    placements: &mut [Placement],
    nodes: &[Option<Arc<Node>>],
    files: &dyn Files,
    sources: &mut Sources,
    allows: &mut Vec<Allow>,
    findings: &mut Findings,
) -> BTreeMap<String, Project> {
    let mut projects = BTreeMap::new();
    for (placement, node) in placements.iter_mut().zip(nodes) {
        let mut environment = Environment::default();
        if let Some(project) = &placement.entry.project {
            environment.0.insert("COMPOSE_PROJECT_NAME".into(), project.value.clone());
        }
        let (name, placed) = (placement.service.clone(), placement.environment.clone());
        let (mut found, mut accepted) = (Findings::new(), Vec::new());
        let mut reading = Reading {
            files,
            environment: &environment,
            sources: &mut *sources,
            allows: &mut accepted,
            findings: &mut found,
            at: &["services", &name, "compose"],
            placed: placed.as_deref(),
        };
        let project = if let Some(compose) = &placement.entry.compose {
            let lab_file = reading.sources.get(compose.span.file).map(|source| source.name.clone()).unwrap_or_default();
            let path = beside(&lab_file, compose);
            Project::read(&name, &[&path], compose.span, &mut reading)
        } else if let Some(service) = node
            && let Some(node) = service.get("containers")
        {
            let at = ["services", &name, "containers"];
            reading.at = &at;
            if matches!(node.kind, Kind::Map(_)) {
                let lab_file =
                    reading.sources.get(node.span.file).map(|source| source.name.clone()).unwrap_or_default();
                let called = placement.entry.project.as_ref().map_or(&name, |project| &project.value);
                Some(Project::read_inline(called, service, folder_of(&lab_file), &mut reading))
            } else {
                let message = format!("`containers` must be a map of services, found {}", node.kind_name());
                let finding = Finding::error(codes::WRONG_VALUE, at.join("."), node.span, message);
                reading.findings.push(finding.help("write `containers: { web: { image: … } }`"));
                None
            }
        } else {
            continue;
        };
        // One file that two environments place is read twice and told once.
        found
            .retain(|new| !findings.iter().any(|old| old.code == new.code && old.span == new.span && old.at == new.at));
        findings.append(&mut found);
        accepted.retain(|new| !allows.contains(new));
        allows.append(&mut accepted);
        if let Some(project) = project {
            if !project.inline {
                placement.entry.containers = project.as_written();
            }
            projects.insert(key(&name, placed.as_deref()), project);
        }
    }
    projects
}

/// How `Parsed::projects` calls the project of a placed service.
pub fn key(service: &str, environment: Option<&str>) -> String {
    match environment {
        Some(environment) => format!("{service}@{environment}"),
        None => service.to_string(),
    }
}

impl Project {
    /// The services that run, as the lab file would have them: what is written, and the environment with that of files.
    fn as_written(&self) -> Foreign {
        let written = self.tree.as_ref().and_then(|tree| tree.get("services"));
        let one = |(name, service): (&String, &Spanned<Service>)| {
            let mut json = written.and_then(|services| services.get(name)).map(|node| crate::decode::json(node))?;
            let environment = service.environment.iter();
            let environment: serde_json::Map<String, serde_json::Value> =
                environment.filter_map(|(name, value)| Some((name.clone(), value.value.clone()?.into()))).collect();
            if let (serde_json::Value::Object(fields), false) = (&mut json, environment.is_empty()) {
                fields.insert("environment".into(), environment.into());
            }
            Some((name.clone(), json))
        };
        Foreign(serde_json::Value::Object(self.enabled().filter_map(one).collect()))
    }

    /// Where something of a service stands in the Compose files: `["web", "ports", "0"]`. As far as they go.
    pub fn span_of(&self, path: &[&str]) -> Option<Span> {
        if let [service, "environment", variable, ..] = path
            && let Some(value) = self.services.get(*service).and_then(|service| service.environment.get(*variable))
            && !value.span.is_none()
        {
            return Some(value.span);
        }
        let mut node = self.tree.as_ref()?.get("services")?;
        for part in path {
            let inner = match &node.kind {
                Kind::List(items) => part.parse::<usize>().ok().and_then(|number| items.get(number)),
                _ => node.get(part),
            };
            match inner {
                Some(inner) => node = inner,
                None => break,
            }
        }
        Some(node.span)
    }

    /// The secrets of the lab that it mounts, with the place that names each.
    pub fn lab_secrets(&self) -> impl Iterator<Item = Spanned<String>> + '_ {
        let of_lab = self.secrets.iter().filter(|(_, secret)| secret.external.external);
        of_lab.map(|(key, secret)| {
            let name = secret.name.as_ref().map_or(key.clone(), |name| name.value.clone());
            Spanned::new(name, secret.span)
        })
    }
}
