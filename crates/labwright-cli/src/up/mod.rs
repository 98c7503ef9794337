//! From a lab file to a lab that runs on this machine: where its folder is, what is placed there, the way to whoever
//! supervises it. What is shown of it is in `view.rs`.

pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use labwright_daemons::up::{Folder, Listen, READY, Start, ports, reach, sweep};
use labwright_model::here::{Ask, Ports};
use labwright_model::snapshot::up::control::{Request, State, Told};
use labwright_model::snapshot::up::{Up, What, place};
use labwright_model::{Findings, Parsed, Severity, reference};
use labwright_providers::docker;
use labwright_providers::docker::up::Stacks;

use crate::error::{CliError, Exit};
use crate::lab::{Disk, LabArg, LabOption, locate, read_as_of, today};
use crate::render::findings;
use crate::secrets;
use crate::terminal::Terminal;

/// A lab, and its folder on this machine.
pub struct Here {
    /// The lab as the user would type it.
    pub path: String,
    pub parsed: Parsed,
    pub folder: Folder,
    /// The folder of the lab file, absolute.
    pub beside: String,
}

/// A lab that contradicts itself goes no further, here as anywhere.
pub fn here(arg: &LabArg, terminal: &Terminal) -> Result<Here, CliError> {
    let path = locate(arg)?;
    let read = read_as_of(arg, Some(today()))?;
    let errors: Findings =
        read.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect();
    if !errors.is_empty() {
        terminal.say(findings::text(&errors, &read.parsed, terminal.err_color, terminal.width).trim_end());
        let places = findings::count(errors.len(), "place");
        let error =
            CliError::new(Exit::Findings, format!("the lab contradicts itself in {places}; nothing was started"));
        return Err(error.hint("`labwright explain CODE` tells what a finding means"));
    }
    let (folder, beside) = folder(&path, &read.parsed.lab.lab)?;
    Ok(Here { path, parsed: read.parsed, folder, beside })
}

/// The folder of a lab on this machine, for verbs that need no more than that: a lab that is up can be ended whatever has
/// become of its file.
pub fn known(option: &LabOption) -> Result<(Folder, String), CliError> {
    let path = locate(&option.arg())?;
    let parsed = labwright_model::parse(&path, &Disk);
    let name = parsed.lab.lab.value.clone();
    Ok((folder(&path, &name)?.0, name))
}

fn folder(path: &str, name: &str) -> Result<(Folder, String), CliError> {
    let full = fs::canonicalize(path).map_err(|error| CliError::usage(format!("cannot find `{path}`: {error}")))?;
    let beside = if full.is_dir() { full.clone() } else { full.parent().unwrap_or(Path::new("/")).to_path_buf() };
    let folder = Folder::of(&labwright_engine::agent::state_dir(), name, &beside);
    let running = if reach(&folder).is_some() { None } else { renamed(&folder) };
    Ok((running.unwrap_or(folder), beside.to_string_lossy().into_owned()))
}

/// The folder of the same lab under the name that it had when it was started, where it still runs: its file may say another
/// one now, or nothing that can be read.
fn renamed(folder: &Folder) -> Option<Folder> {
    let (_, hash) = folder.path().file_name()?.to_str()?.rsplit_once('-')?;
    let others = fs::read_dir(folder.path().parent()?).ok()?.flatten();
    let same = others.filter(|other| other.file_name().to_string_lossy().ends_with(&format!("-{hash}")));
    same.map(|other| Folder::at(other.path())).find(|other| reach(other).is_some())
}

/// A word that names a lab and no service: `examples/starter`, `lab.yaml`, `.`.
pub fn is_path(word: &str) -> bool {
    word.contains('/') || word.starts_with('.') || word.ends_with(".yaml") || word.ends_with(".yml")
}

impl Here {
    /// What runs here: the lab read again with every host placed on this machine.
    pub fn place(&self, only: &[String], environment: Option<&str>) -> Result<(Up, Option<Stacks>), CliError> {
        let mut ask = Ask { environment: environment.map(str::to_string), only: only.to_vec(), ..Ask::default() };
        (ask.taken, ask.passing) = (ports::listening(), ports::passing());
        // Where nothing is made of containers nobody is asked for an engine.
        let image =
            |placement: &labwright_model::Placement| placement.entry.up.as_ref().is_some_and(|up| up.image.is_some());
        let any = !self.parsed.projects.is_empty() || self.parsed.placements.iter().any(image);
        let engine = if any { docker::up::engine() } else { Err("nobody needs one".to_string()) };
        ask.no_engine = engine.as_ref().err().cloned();
        let (parsed, ports) = labwright_model::parse_here(&self.path, &Disk, &ask);
        if let Some(environment) = environment
            && !parsed.lab.environments.iter().any(|known| known.value == environment)
        {
            let known: Vec<&str> = parsed.lab.environments.iter().map(|known| known.value.as_str()).collect();
            let error = CliError::usage(format!("the lab has no environment `{environment}`"));
            return Err(error.hint(match known.is_empty() {
                true => "it has none at all; leave `--env` out".to_string(),
                false => format!("it has `{}`", known.join("`, `")),
            }));
        }
        for name in only {
            if !self.parsed.lab.services.contains_key(name) {
                let names = self.parsed.lab.services.keys().map(String::as_str);
                let near = labwright_model::finding::nearest(name, names);
                let error = CliError::usage(format!("the lab has no service `{name}`"));
                return Err(error.hint(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`labwright show model` shows what it has".to_string(),
                }));
            }
        }
        let mut up = place(&parsed, &ports, &self.beside);
        let stacks = match engine {
            Ok(socket) => self.containers(&parsed, &mut up, &ports, &ask, &socket)?,
            // Why there is none stands at each service that is left out.
            Err(_) => None,
        };
        Ok((up, stacks))
    }

    /// What the containers are made from that run here; `None` where none do.
    fn containers(
        &self,
        parsed: &Parsed,
        up: &mut Up,
        ports: &Ports,
        ask: &Ask,
        socket: &str,
    ) -> Result<Option<Stacks>, CliError> {
        if !up.units.iter().any(|unit| matches!(unit.what, What::Containers(_))) {
            return Ok(None);
        }
        let mark = self.folder.mark();
        let path = labwright_model::beside(&self.path, docker::lock::FILE);
        // A lock that cannot be read is not an empty one: images would no longer be those that the lab holds to.
        let broken = |why: String| {
            CliError::usage(format!("cannot read `{path}`: {why}"))
                .hint("take it from your version control; without the file, tags are asked for anew")
        };
        let pinned = match fs::read(&path) {
            Ok(content) => docker::lock::read(&content).map_err(broken)?.images,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::default(),
            Err(error) => return Err(broken(error.to_string())),
        };
        let mut claimed: BTreeSet<u16> = ports.relays.values().map(|(port, _)| *port).collect();
        let mut claim = |from| {
            let port = ports.claim(from, &claimed, ask);
            claimed.insert(port);
            (port, ask.taken.get(&from).cloned())
        };
        let (stacks, notes) = docker::up::lower(docker::up::Ask {
            parsed,
            up,
            socket,
            mark: &mark,
            own: self.folder.path(),
            secrets: &in_memory(&mark),
            pinned: &pinned,
            relays: &ports.relays,
            claim: &mut claim,
        });
        up.notes.extend(notes);
        Ok(Some(stacks))
    }

    /// The values of the secrets that what runs here refers to.
    fn secrets(&self, up: &Up, stacks: Option<&Stacks>, terminal: &Terminal) -> BTreeMap<String, String> {
        let environments = up.units.iter().filter_map(|unit| match &unit.what {
            What::Process(process) => Some(&process.environment),
            _ => None,
        });
        let values: Vec<&String> = environments.flat_map(BTreeMap::values).collect();
        let mut names: BTreeSet<&str> = values.iter().flat_map(|value| reference::secrets(value)).collect();
        names.extend(stacks.into_iter().flat_map(Stacks::secrets));
        if names.is_empty() {
            return BTreeMap::new();
        }
        let values = secrets::of_lab(&self.parsed, &names, terminal);
        values.into_iter().map(|(name, value)| (name, value.to_string())).collect()
    }

    /// Starts a supervisor, and waits until it answers.
    pub fn start(
        &self,
        up: Up,
        stacks: Option<Stacks>,
        dashboard: Option<Listen>,
        terminal: &Terminal,
    ) -> Result<Link, CliError> {
        let serve =
            |error: labwright_daemons::serve::ServeError| CliError::new(Exit::Internal, error.message).hint(error.help);
        self.folder.prepare().map_err(serve)?;
        let secrets = self.secrets(&up, stacks.as_ref(), terminal);
        let failed =
            |error: std::io::Error| CliError::new(Exit::Internal, format!("failed to start the supervisor: {error}"));
        if let Some(stacks) = &stacks {
            // Whoever comes after a run that was killed finds its containers by this.
            fs::write(self.folder.path().join(ENGINE), &stacks.socket).map_err(failed)?;
        }
        let containers = stacks.map(|stacks| serde_json::to_value(stacks).map_err(CliError::bug)).transpose()?;
        let said = self.folder.path().join("supervisor.log");
        let log = fs::File::create(&said).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["supervise", "--guard", "--folder"]).arg(self.folder.path());
        // Keys of whoever starts it are none of what runs.
        for name in
            ["SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "VAULT_TOKEN", "LABWRIGHT_UP", "LABWRIGHT_UP_UNIT", "NOTIFY_SOCKET"]
        {
            command.env_remove(name);
        }
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(failed)?;
        let start = Start { up, secrets, dashboard, containers };
        let text = zeroize::Zeroizing::new(serde_json::to_vec(&start).map_err(CliError::bug)?);
        if let Some(mut stdin) = child.stdin.take() {
            // One that ended already says why itself.
            drop(stdin.write_all(&text));
        }
        let mut first = String::new();
        if let Some(stdout) = child.stdout.take() {
            drop(BufReader::new(stdout.take(100)).read_line(&mut first));
        }
        // It is its own process from here on, and waited for so that its name does not stay behind.
        std::thread::spawn(move || child.wait());
        match (first.trim_end() == READY, Link::to(&self.folder)) {
            (true, Some(link)) => Ok(link),
            _ => {
                let text = fs::read_to_string(&said).unwrap_or_default();
                let why: Vec<&str> = text.lines().rev().take(5).collect();
                let why: Vec<&str> = why.into_iter().rev().collect();
                Err(CliError::new(Exit::Internal, format!("the supervisor did not start: {}", why.join("; ")))
                    .hint(format!("what it said stands in `{}`", said.display())))
            }
        }
    }

    /// Ends what a run has left that was killed together with its guard; tells what that was.
    pub fn clean(&self, terminal: &Terminal) -> Result<(), CliError> {
        clean(&self.folder, terminal)
    }
}

/// As `Here::clean`.
pub fn clean(folder: &Folder, terminal: &Terminal) -> Result<(), CliError> {
    if !folder.path().is_dir() {
        return Ok(());
    }
    // Whoever is ending has its time to do so in order.
    let lock = folder.lock("guard.lock").map_err(|error| CliError::usage(error.message).hint(error.help))?;
    let ended = sweep(&folder.mark());
    let containers = take_containers_away(folder);
    drop(lock);
    match containers {
        Ok(names) if !names.is_empty() => {
            let all: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            terminal
                .warn(&format!("the last run was killed; removed the containers that it had left: {}", all.join(", ")));
        }
        Ok(_) => {}
        Err(why) => terminal.warn(&format!("the last run may have left containers, and nobody can look: {why}")),
    }
    if !ended.is_empty() {
        let all: Vec<String> = ended.keys().map(|unit| format!("`{unit}`")).collect();
        terminal.warn(&format!("the last run was killed; ended what it had left: {}", all.join(", ")));
    }
    Ok(())
}

/// The file that says which engine has containers of a lab, as long as there may be some.
const ENGINE: &str = "engine";

/// Removes the containers and networks of a run that has ended, however that was. Returns the names of the containers.
pub fn take_containers_away(folder: &Folder) -> Result<Vec<String>, String> {
    let path = folder.path().join(ENGINE);
    let socket = match fs::read_to_string(&path) {
        Ok(socket) => socket,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
    };
    let gone = docker::up::sweep(socket.trim(), &folder.mark()).map_err(|error| error.message)?;
    // Secrets that could not be taken away are told, and the file stays, so that the next `up` or `down` tries again.
    let cleared = |removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("cannot clear what `{}` stands for: {error}", path.display()))
        }
        _ => Ok(()),
    };
    cleared(fs::remove_dir_all(in_memory(&folder.mark())))?;
    cleared(fs::remove_file(&path))?;
    Ok(gone)
}

/// Where files with secrets go for a run: a folder in memory that is its user's alone; nothing where there is none.
fn in_memory(mark: &str) -> PathBuf {
    let of_user = || std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let base = if rustix::process::geteuid().is_root() { Some(PathBuf::from("/run")) } else { of_user() };
    base.map(|base| base.join("labwright/up").join(mark)).unwrap_or_default()
}

/// A conversation with a supervisor.
pub struct Link {
    write: UnixStream,
    read: BufReader<UnixStream>,
}

impl Link {
    /// `None`: nobody supervises this lab.
    pub fn to(folder: &Folder) -> Option<Link> {
        let write = reach(folder)?;
        let read = BufReader::new(write.try_clone().ok()?);
        Some(Link { write, read })
    }

    pub fn ask(&mut self, request: &Request) -> Result<(), CliError> {
        ask(&self.write, request)
    }

    /// What is told next; `None`: it has gone.
    pub fn hear(&mut self) -> Option<Told> {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => serde_json::from_str(&line).ok(),
        }
    }

    /// As `hear`, for so long; `None`: nothing was told in time.
    pub fn hear_within(&mut self, time: std::time::Duration) -> Result<Option<Told>, CliError> {
        if time.is_zero() {
            return Ok(None);
        }
        self.write.set_read_timeout(Some(time)).map_err(CliError::bug)?;
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Ok(0) | Err(_) => Ok(Some(Told::Ended)),
            Ok(_) => serde_json::from_str(&line).map(Some).map_err(CliError::bug),
        }
    }

    /// How everything is.
    pub fn state(&mut self) -> Result<State, CliError> {
        self.ask(&Request::State)?;
        loop {
            match self.hear() {
                Some(Told::State(state)) => return Ok(*state),
                Some(_) => {}
                None => return Err(CliError::new(Exit::Unreachable, "the supervisor went away while it was asked")),
            }
        }
    }

    pub fn writer(&self) -> Result<UnixStream, CliError> {
        self.write.try_clone().map_err(CliError::bug)
    }
}

pub fn ask(mut to: &UnixStream, request: &Request) -> Result<(), CliError> {
    let mut text = serde_json::to_vec(request).map_err(CliError::bug)?;
    text.push(b'\n');
    to.write_all(&text)
        .map_err(|error| CliError::new(Exit::Unreachable, format!("the supervisor does not hear: {error}")))
}

/// A verb that is for a lab that is up, without one.
pub fn not_up(name: &str) -> CliError {
    CliError::new(Exit::Unhealthy, format!("lab `{name}` is not up on this machine")).hint("start it: `labwright up`")
}

/// Where a unit's log stands, for a lab that is not up any more.
pub fn log_file(folder: &Folder, unit: &str) -> PathBuf {
    folder.log(unit)
}
