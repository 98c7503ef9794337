//! `labwright import`: what runs already, as entries of the lab. Never rewrites a file of the user's.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_engine::Way;
use labwright_model::compose::{Environment, Project, Reading};
use labwright_model::{Parsed, Severity, Span, codes};
use labwright_plan::{Found, FoundAsk};
use labwright_providers::docker::adopt::{Known, of_project};
use serde_json::{Value, json};

use super::looking;
use crate::error::{CliError, Exit};
use crate::lab::{self, Disk, LabOption, PROVIDERS, SshArgs};
use crate::render::findings::count;
use crate::render::yaml;
use crate::terminal::Terminal;

/// Writes entries of the lab for what runs already; the next `apply` takes it over without a restart.
///
/// Prints them; with `--write`, puts each into a new file beside the lab file. No file of yours is changed.
#[derive(clap::Args)]
pub struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(clap::Subcommand)]
enum From {
    Compose(Compose),
    Docker(Docker),
}

/// From a folder with a Compose file, here.
#[derive(clap::Args)]
struct Compose {
    /// The folder, or the Compose file.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The service's name; the folder's without it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The host that it runs on; the lab's only Docker host without it.
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// Where its folder is on that host, where it runs there already.
    #[arg(long, value_name = "PATH")]
    folder: Option<String>,
    #[command(flatten)]
    out: Out,
    #[command(flatten)]
    lab: LabOption,
}

/// From the containers of a host's Docker engine: whole stacks by Compose's labels, and containers by themselves.
#[derive(clap::Args)]
struct Docker {
    /// The host, by its name in the lab.
    #[arg(value_name = "HOST")]
    host: String,
    /// Only these, by name.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Copy the Compose files, and what they read, into a folder beside the lab file; with `--write`.
    #[arg(long, requires = "write")]
    copy: bool,
    #[command(flatten)]
    out: Out,
    #[command(flatten)]
    lab: LabOption,
    #[command(flatten)]
    ssh: SshArgs,
}

#[derive(clap::Args)]
struct Out {
    /// Put each entry into a new file beside the lab file.
    #[arg(long)]
    write: bool,
}

impl Import {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.from {
            From::Compose(from) => from.run(terminal),
            From::Docker(from) => from.run(terminal),
        }
    }
}

/// The lab that entries are for.
struct Into<'a> {
    parsed: &'a Parsed,
    /// The folder of its first file, as the user writes it.
    folder: PathBuf,
    write: bool,
    lab: &'a LabOption,
}

impl<'a> Into<'a> {
    fn of(parsed: &'a Parsed, out: &Out, lab: &'a LabOption) -> Into<'a> {
        let first = parsed.sources.get(0).map(|source| PathBuf::from(&source.name)).unwrap_or_default();
        let folder = first.parent().map(Path::to_path_buf).unwrap_or_default();
        Into { parsed, folder, write: out.write, lab }
    }

    /// The only host that runs containers, where there is one.
    fn only_docker_host(&self) -> Option<String> {
        let hosts = &self.parsed.lab.compute;
        match (
            hosts.docker_hosts.iter().collect::<Vec<_>>().as_slice(),
            hosts.hosts.iter().collect::<Vec<_>>().as_slice(),
        ) {
            ([one], _) => Some(one.value.clone()),
            ([], [(one, _)]) => Some((*one).clone()),
            _ => None,
        }
    }

    /// Prints the entries, or writes them; tells what is to be known.
    fn deliver(&self, found: &[Found], terminal: &Terminal) -> Result<Exit, CliError> {
        let taken = |name: &str| self.parsed.lab.services.iter().any(|(known, _)| known == name);
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut written = Vec::new();
        let mut exit = Exit::Done;
        for one in found {
            let path = self.folder.join(format!("{}.yaml", one.name));
            if taken(&one.name) || !names.insert(&one.name) {
                terminal
                    .warn(&format!("`{}` ({}) is left out: the lab has a service of that name", one.name, one.from));
                terminal.hint(&format!(
                    "to have it all the same, write it by hand with another name and `project: {}`",
                    one.name
                ));
                exit = Exit::Partly;
                continue;
            }
            let text = text(one);
            match self.write {
                false => terminal.data(&text),
                true => {
                    new_file(&path, text.as_bytes(), 0o644)?;
                    terminal.data(&format!("{}\n", path.display()));
                    written.push(path);
                }
            }
            for note in &one.notes {
                terminal.say(&format!("{}: {note}", one.name));
            }
        }
        self.tell_of_includes(&written, terminal)?;
        if !names.is_empty() {
            terminal.hint("`labwright plan` shows what would be taken over; what fits is adopted as it runs");
        }
        Ok(exit)
    }

    /// A file that the lab does not read yet needs a line that only its owner writes.
    fn tell_of_includes(&self, written: &[PathBuf], terminal: &Terminal) -> Result<(), CliError> {
        if written.is_empty() {
            return Ok(());
        }
        let again = lab::read(&self.lab.arg())?.parsed;
        let read = |path: &PathBuf| again.sources.iter().any(|source| same(Path::new(&source.name), path));
        let missing: Vec<String> = written
            .iter()
            .filter(|path| !read(path))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        if !missing.is_empty() {
            let first = self.parsed.sources.get(0).map(|source| source.name.as_str()).unwrap_or_default();
            terminal
                .hint(&format!("the lab does not read it yet: add `include: [{}]` to `{first}`", missing.join(", ")));
        }
        Ok(())
    }
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Writes a file that is not there yet.
fn new_file(path: &Path, content: &[u8], mode: u32) -> Result<(), CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::usage(format!("`{}` is there already, and is not written over", path.display()))
                .hint("remove it first, or leave out `--write` to see the entry")
        }
        _ => CliError::usage(format!("cannot write `{}`: {error}", path.display())),
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).map_err(failed)
}

/// The entry as it stands in a lab file.
fn text(found: &Found) -> String {
    let mut entry = serde_json::Map::new();
    entry.insert(found.name.clone(), Value::Object(found.entry.clone()));
    // A comment ends with its line, whatever a path on the host is called.
    let comment = |text: &str| format!("# {}\n", text.replace(char::is_control, " "));
    let notes: String = found.notes.iter().map(|note| comment(note)).collect();
    let taken = comment(&format!("Taken from {}.", found.from));
    format!("{taken}{notes}services:\n{}", accepted(&yaml::block(&entry, 2)))
}

/// An entry, with what runs already accepted: what it has in a variable is a secret in the engine's records now, and no
/// container is made anew for taking it over.
fn accepted(entry: &str) -> String {
    let mut out = String::new();
    let mut environment: Option<usize> = None;
    for line in entry.lines() {
        let depth = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("environment:") {
            environment = Some(depth);
        } else if environment.is_some_and(|around| depth <= around) {
            environment = None;
        }
        if environment.is_some() && line.replace("$${", "").contains("${secret.") {
            out.push_str(&format!(
                "{:depth$}# labwright: allow {} because it runs like this; better is NAME_FILE, where the image knows it\n",
                "",
                codes::SECRET_VARIABLE
            ));
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

impl Compose {
    fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let looked = looking::read(&self.lab, terminal)?;
        let into = Into::of(&looked.parsed, &self.out, &self.lab);
        let path = compose_file(&self.dir)?;
        let shown = path.to_string_lossy().into_owned();
        let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let whole =
            dir.canonicalize().map_err(|error| CliError::usage(format!("cannot read `{}`: {error}", dir.display())))?;
        let name =
            self.name.clone().or_else(|| Some(whole.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
        let (mut sources, mut allows, mut findings) = (Default::default(), Vec::new(), Default::default());
        let mut reading = Reading {
            files: &Disk,
            environment: &Environment::default(),
            sources: &mut sources,
            allows: &mut allows,
            findings: &mut findings,
            at: &["services", &name, "compose"],
            placed: None,
        };
        let project = Project::read(&name, &[&shown], Span::NONE, &mut reading);
        let Some(project) = project else {
            let why = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
            return Err(CliError::usage(format!("cannot read `{shown}`: {why}")));
        };
        let on = self.on.clone().or_else(|| into.only_docker_host());
        if let Some(on) = on.as_ref().filter(|on| into.parsed.lab.host(on).is_none()) {
            return Err(CliError::usage(format!("`{on}` is not a host of this lab")));
        }
        let is_here = on.as_ref().and_then(|on| into.parsed.lab.host(on)).is_some_and(|host| host.local);
        // Where the lab's host is this machine, the folder is where it is.
        let folder = self.folder.clone().or_else(|| is_here.then(|| whole.to_string_lossy().into_owned()));
        let mut found = of_project(&project, &Known { on, folder, ..Known::default() });
        if let Some(name) = &self.name {
            found.name.clone_from(name);
            // What it is called must not change with the entry's name: what runs is known by it.
            found.entry.shift_insert(0, "project".into(), json!(project.name));
        }
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        if errors > 0 {
            found.notes.push(format!("its Compose file has {}: `labwright check` shows them", count(errors, "fault")));
        }
        found.from = whole.display().to_string();
        found.entry.shift_insert(0, "compose".into(), json!(relative(&into.folder, &path)));
        into.deliver(&[found], terminal)
    }
}

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

fn compose_file(dir: &Path) -> Result<PathBuf, CliError> {
    if dir.is_file() {
        return Ok(dir.to_path_buf());
    }
    let found = NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| match dir.is_dir() {
        true => CliError::usage(format!("`{}` holds no Compose file", dir.display()))
            .hint(format!("it is called one of {}", NAMES.join(", "))),
        false => CliError::usage(format!("there is no `{}`", dir.display())),
    })
}

/// A path as it is written in a file of `folder`.
fn relative(folder: &Path, path: &Path) -> String {
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_path_buf() };
    let (Ok(from), Ok(to)) = (here(folder).canonicalize(), path.canonicalize()) else {
        return path.display().to_string();
    };
    let same = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    // Two folders with nothing in common but the root are no neighbours.
    if same <= 1 {
        return to.display().to_string();
    }
    let ups = from.components().count() - same;
    let mut out = PathBuf::new();
    (0..ups).for_each(|_| out.push(".."));
    out.extend(to.components().skip(same));
    out.display().to_string()
}

impl Docker {
    fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let looked = looking::read(&self.lab, terminal)?;
        let into = Into::of(&looked.parsed, &self.out, &self.lab);
        let Some(host) = looked.parsed.lab.host(&self.host) else {
            let known: Vec<&str> = looked.parsed.lab.compute.hosts.keys().map(String::as_str).collect();
            return Err(CliError::usage(format!("`{}` is not a host of this lab", self.host))
                .hint(format!("there are {}", known.join(", "))));
        };
        let target = lab::ways(&looked.parsed, &BTreeSet::from([self.host.clone()]), &self.ssh)?.remove(0);
        let ask = FoundAsk {
            engine: host.docker_socket.as_ref().map(|socket| socket.value.clone()),
            host: self.host.clone(),
            copy: self.copy,
            known: looked.parts.iter().filter(|part| part.id.host() == self.host).map(|part| part.id.clone()).collect(),
        };
        let mut all = labwright_engine::found(&target, &ask, PROVIDERS)?;
        // Their names become names of files here.
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(odd) = all.iter().find(|found| !plain(&found.name)) {
            return Err(CliError::bug(format!("`{}` cannot be the name of a service", odd.name.escape_debug())));
        }
        if !self.only.is_empty() {
            if let Some(unknown) = self.only.iter().find(|name| !all.iter().any(|found| found.name == **name)) {
                let known: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
                return Err(CliError::usage(format!(
                    "nothing called `{unknown}` runs on `{}` that the lab does not have",
                    self.host
                ))
                .hint(format!("there are {}", known.join(", "))));
            }
            all.retain(|found| self.only.contains(&found.name));
        }
        if all.is_empty() {
            terminal.say(&format!("nothing runs on `{}` that the lab does not have", self.host));
            return Ok(Exit::Done);
        }
        for found in all.iter_mut().filter(|found| !found.files.is_empty()) {
            self.place(found, &into, matches!(target.way, Way::Local))?;
        }
        into.deliver(&all, terminal)
    }

    /// Where the lab finds a Compose file of the host.
    fn place(&self, found: &mut Found, into: &Into<'_>, here: bool) -> Result<(), CliError> {
        let Some(first) = found.files.first().cloned() else { return Ok(()) };
        let folder = into.folder.join(&found.name);
        let mut says = |path: String| drop(found.entry.shift_insert(0, "compose".into(), json!(path)));
        if !self.copy {
            if here {
                says(relative(&into.folder, Path::new(&first.path)));
            } else {
                says(format!("{}/{}", found.name, first.beside));
                found.notes.push(format!(
                    "its files are on the host: `labwright import docker {} --only {} --write --copy` brings them, or put `{}` there",
                    self.host, found.name, first.path
                ));
            }
            return Ok(());
        }
        let taken = into.parsed.lab.services.iter().any(|(known, _)| *known == found.name);
        if taken || into.folder.join(format!("{}.yaml", found.name)).exists() {
            return Ok(());
        }
        if folder.exists() {
            return Err(CliError::usage(format!("`{}` is there already, and is not written into", folder.display()))
                .hint("move it away, or leave out `--copy`"));
        }
        says(format!("{}/{}", found.name, first.beside));
        for file in &found.files {
            let Some(content) = &file.content else { continue };
            let content = BASE64.decode(content).map_err(|_| CliError::bug("a file came garbled"))?;
            // What comes from a host is put below the folder and nowhere else.
            let inside =
                Path::new(&file.beside).components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !inside {
                continue;
            }
            let path = folder.join(&file.beside);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)
                    .map_err(|error| CliError::usage(format!("cannot make `{}`: {error}", parent.display())))?;
            }
            new_file(&path, &content, 0o600)?;
        }
        found.notes.push(format!("its files were copied to `{}`, readable by you alone", folder.display()));
        Ok(())
    }
}
