//! What an engine runs: projects of Compose by its labels, with their files where they still lie on the host, and containers
//! by themselves. Reads on the host, and passes on no value that could be a secret but in files that were asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use labwright_model::compose::{Environment, Project, Reading};
use labwright_model::{Files, Severity, Span};
use labwright_plan::{Found, FoundAsk, FoundFile, ProviderError, check};
use serde_json::Value as Json;

use super::super::engine::{json, told};
use super::super::image::Images;
use super::super::replace;
use super::super::session::text;
use super::super::{container, form};
use super::entry::{Known, of_project};
use super::rebuilt;

/// A file that goes along is one of settings.
const MAX_FILE: u64 = 1 << 20;
const MAX_ALL: usize = 16 << 20;

/// Everything that runs and is not the lab's.
pub async fn here(docker: &Docker, ask: &FoundAsk) -> Result<Vec<Found>, ProviderError> {
    let options = ListContainersOptions { all: true, ..Default::default() };
    let listed =
        docker.list_containers(Some(options)).await.map_err(|error| told("list containers of", "the engine", error))?;
    let images = Images::new(docker);
    let mut projects: BTreeMap<String, Vec<(Json, Json)>> = BTreeMap::new();
    let mut lone = Vec::new();
    for id in listed.into_iter().filter_map(|listed| listed.id) {
        let Some(inspect) = container::inspect(docker, &id).await? else { continue };
        let name = name_of(&inspect);
        let label = |name: &str| inspect["Config"]["Labels"][name].as_str().filter(|text| !text.is_empty());
        // What Labwright made, what it left half-way, and what somebody runs just once is not taken over.
        let ours = label(form::IMAGE_LABEL).is_some() || replace::is_interim(&name);
        if ours || label("com.docker.compose.oneoff") == Some("True") || is_known(&inspect, ask) {
            continue;
        }
        let image = images.here(inspect["Image"].as_str().unwrap_or_default()).await?.unwrap_or_default();
        match label("com.docker.compose.project") {
            Some(project) => projects.entry(project.to_string()).or_default().push((inspect, image)),
            None if inspect["State"]["Running"] == true => lone.push((inspect, image)),
            None => {}
        }
    }
    let networks = owners(docker).await?;
    let mut found = Vec::new();
    for (project, containers) in projects {
        if containers.iter().any(|(inspect, _)| inspect["State"]["Running"] == true) {
            found.push(of_containers(&project, &containers, &networks, ask));
        }
    }
    found.extend(lone.iter().map(|one| rebuilt::lone(one, ask)));
    Ok(found)
}

fn name_of(inspect: &Json) -> String {
    inspect["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_string()
}

/// Whether the lab says something of a container already.
fn is_known(inspect: &Json, ask: &FoundAsk) -> bool {
    let label =
        |name: &str| inspect["Config"]["Labels"][format!("com.docker.compose.{name}")].as_str().unwrap_or_default();
    let made = format!("{}-{}-{}", label("project"), label("service"), label("container-number"));
    let name = name_of(inspect);
    ask.known.iter().any(|id| id.kind() == "container" && (id.name() == name || id.name() == made))
}

/// Networks by their names, with the projects that made them.
async fn owners(docker: &Docker) -> Result<BTreeMap<String, String>, ProviderError> {
    let networks = docker.list_networks(None::<ListNetworksOptions>).await;
    let networks = networks.map_err(|error| told("list networks of", "the engine", error))?;
    let owner = |network: &Json| {
        let project = network["Labels"]["com.docker.compose.project"].as_str()?;
        Some((network["Name"].as_str()?.to_string(), project.to_string()))
    };
    Ok(networks.iter().filter_map(|network| owner(&json(network))).collect())
}

/// A project as its files say it, or, where they are gone or say something else, as its containers are.
fn of_containers(
    project: &str,
    containers: &[(Json, Json)],
    networks: &BTreeMap<String, String>,
    ask: &FoundAsk,
) -> Found {
    let label = |name: &str| {
        let labels = containers
            .iter()
            .map(|(inspect, _)| &inspect["Config"]["Labels"][format!("com.docker.compose.project.{name}")]);
        labels.into_iter().find_map(|label| label.as_str()).unwrap_or_default().to_string()
    };
    let folder = label("working_dir");
    let whole = |path: &str| if path.starts_with('/') { path.to_string() } else { format!("{folder}/{path}") };
    let files: Vec<String> = label("config_files").split(',').filter(|path| !path.is_empty()).map(whole).collect();
    let known = Known { on: Some(ask.host.clone()), folder: Some(folder.clone()), networks: networks.clone() };
    let because = match read(project, &files, &folder) {
        Ok((read, touched)) => {
            let running: BTreeSet<&str> = containers
                .iter()
                .filter_map(|(i, _)| i["Config"]["Labels"]["com.docker.compose.service"].as_str())
                .collect();
            let mut found = of_project(&read, &known);
            found.from = folder.clone();
            found.files = beside(&read, &files, &touched, &folder, ask, &mut found.notes);
            let off: Vec<&str> =
                read.enabled().map(|(key, _)| key.as_str()).filter(|key| !running.contains(key)).collect();
            if !off.is_empty() {
                found.notes.push(format!("in its files and not running: {}; an apply starts it", off.join(", ")));
            }
            return found;
        }
        Err(because) => because,
    };
    let mut found = rebuilt::project(project, containers, ask);
    found.from = if folder.is_empty() { format!("project {project}") } else { folder };
    found.notes.insert(0, format!("put together from its containers: {because}"));
    found
}

/// Which files were read, and nothing else of the host.
struct Recorded(RefCell<BTreeSet<String>>);

impl Files for Recorded {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_string(),
            _ => error.to_string(),
        })?;
        if !found.is_file() || found.len() > MAX_FILE {
            return Err("it is no file of settings".into());
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        self.0.borrow_mut().insert(path.to_string());
        Ok(bytes)
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

/// The project of files on this host, as the lab would read it.
fn read(name: &str, files: &[String], folder: &str) -> Result<(Project, BTreeSet<String>), String> {
    let Some(first) = files.first() else { return Err("nothing says where its files are".into()) };
    let disk = Recorded(RefCell::default());
    let mut environment = Environment::default();
    environment.0.insert("COMPOSE_PROJECT_NAME".into(), name.to_string());
    let (mut sources, mut allows, mut findings) = (Default::default(), Vec::new(), Default::default());
    let mut reading = Reading {
        files: &disk,
        environment: &environment,
        sources: &mut sources,
        allows: &mut allows,
        findings: &mut findings,
        at: &["services", name, "compose"],
        placed: None,
    };
    // The lab names one file; an override beside it is read with it.
    let one = Project::read(name, &[first], Span::NONE, &mut reading);
    let read = disk.0.borrow().clone();
    if let Some(other) = files.iter().find(|file| !read.contains(*file)) {
        return Err(match Path::new(other).try_exists() {
            Ok(true) => format!(
                "`{other}` was read over its first file (`-f`), and a lab names one; write `include:` in one of your own"
            ),
            Ok(false) => format!("`{other}` is no longer there"),
            Err(error) => format!("`{other}` cannot be looked at: {error}"),
        });
    }
    let project = one.ok_or_else(|| format!("`{first}` cannot be read"))?;
    if !first.starts_with(&format!("{}/", folder.trim_end_matches('/'))) {
        return Err(format!("its files are not in its folder `{folder}`"));
    }
    match findings.iter().find(|finding| finding.severity == Severity::Error) {
        Some(fault) => Err(format!("in `{first}`, {}", fault.message)),
        None => Ok((project, read)),
    }
}

/// What belongs to the files: what was read with them, and settings that containers mount.
fn beside(
    project: &Project,
    files: &[String],
    touched: &BTreeSet<String>,
    folder: &str,
    ask: &FoundAsk,
    notes: &mut Vec<String>,
) -> Vec<FoundFile> {
    let mut paths: Vec<String> = files.iter().take(1).cloned().collect();
    let given = project.configs.values().chain(project.secrets.values()).filter_map(|object| object.file.as_ref());
    let mounted =
        project.enabled().flat_map(|(_, service)| service.volumes.iter()).filter_map(|mount| mount.source.as_ref());
    let mounted = mounted.filter(|source| project.relative.contains(&source.value));
    let more = touched.iter().cloned().chain(given.chain(mounted).map(|path| path.value.clone()));
    for path in more.collect::<BTreeSet<String>>() {
        match std::fs::metadata(&path) {
            Ok(there) if there.is_file() && !paths.contains(&path) => paths.push(path),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                notes.push(format!("`{path}` cannot be looked at, and does not go along: {error}"));
            }
            _ => {}
        }
    }
    let top = format!("{}/", folder.trim_end_matches('/'));
    let mut left = MAX_ALL;
    let mut found = Vec::new();
    for path in paths {
        let Some(beside) = path.strip_prefix(&top).map(str::to_string) else {
            notes.push(format!("`{path}` lies outside its folder: put it where the lab finds it"));
            continue;
        };
        let content = ask.copy.then(|| std::fs::read(&path).ok().filter(|content| content.len() <= left)).flatten();
        if let Some(content) = &content {
            left -= content.len();
            let secrets = clear(content);
            if !secrets.is_empty() {
                notes.push(format!("`{beside}` holds {} in the clear: keep it out of version control, or keep them as secrets of the lab", secrets.join(", ")));
            }
        } else if ask.copy {
            notes.push(format!("`{path}` is too large to go along, or cannot be read"));
        }
        found.push(FoundFile { path, beside, content: content.map(|content| BASE64.encode(content)) });
    }
    found
}

/// The names in a file of variables, or in a Compose file, whose values are secrets.
fn clear(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    let of_line = |line: &str| {
        let (name, value) = line.split_once('=').or_else(|| line.split_once(": "))?;
        let name = name.trim_matches([' ', '-', '"', '\'', '\t']);
        check::secret_in_the_clear(name, value.trim_matches([' ', '"', '\''])).map(|_| name.to_string())
    };
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(of_line)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// A text of a container's specification.
pub fn field<'a>(spec: &'a labwright_plan::Spec, name: &str) -> &'a str {
    text(spec, name).unwrap_or_default()
}
