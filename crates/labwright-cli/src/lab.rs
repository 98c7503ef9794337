//! From the command line to a lab: finds the file, reads it, checks it, lowers it, and knows the ways to its hosts.
//! The only place that opens the user's files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use labwright_engine::{Address, Target, Way};
use labwright_model::lab::Host;
use labwright_model::units::Date;
use labwright_model::{Files, Findings, MAX_FILE_BYTES, Parsed, Severity};
use labwright_plan::check::Case;
use labwright_plan::{Assets, Input, Lowered, Provider, Resource, check};
use labwright_providers::docker::IN_PLACE;

use crate::error::{CliError, Exit};
use crate::render::findings;
use crate::terminal::Terminal;

/// Every provider there is.
pub const PROVIDERS: &[&dyn Provider] = labwright_providers::ALL;

#[derive(Args, Clone, Debug)]
pub struct LabArg {
    /// The lab: a file, or a folder of files.
    #[arg(value_name = "LAB")]
    pub lab: Option<PathBuf>,
}

/// The lab as an option, for verbs whose words are something else.
#[derive(Args, Clone, Debug)]
pub struct LabOption {
    /// The lab: a file, or a folder of files; without it, `lab.yaml` here or in a folder above.
    #[arg(long = "lab", value_name = "PATH")]
    pub lab: Option<PathBuf>,
}

impl LabOption {
    pub fn arg(&self) -> LabArg {
        LabArg { lab: self.lab.clone() }
    }
}

/// The lab as a word, as most verbs take it, or as an option, as those do that stand beside this one.
#[derive(Args, Clone, Debug)]
pub struct LabEither {
    /// The lab: a file, or a folder of files; without it, `lab.yaml` here or in a folder above.
    #[arg(value_name = "LAB")]
    word: Option<PathBuf>,
    /// The same.
    #[arg(long = "lab", value_name = "PATH", conflicts_with = "word", hide = true)]
    named: Option<PathBuf>,
}

impl LabEither {
    pub fn option(&self) -> LabOption {
        LabOption { lab: self.word.clone().or_else(|| self.named.clone()) }
    }
}

#[derive(Args, Clone, Debug)]
pub struct SshArgs {
    /// Use this SSH configuration instead of your own.
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}

/// Why a file was not read, in few words.
fn unread(error: std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_string(),
        ErrorKind::PermissionDenied => "permission denied".to_string(),
        _ => error.to_string(),
    }
}

pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let length = fs::metadata(path).map_err(unread)?.len();
        if length > 16 * MAX_FILE_BYTES as u64 {
            return Err(format!("it has {} MiB, and a lab file may have {}", length >> 20, MAX_FILE_BYTES >> 20));
        }
        fs::read(path).map_err(unread)
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let paths = fs::read_dir(path).ok()?.map(|entry| entry.map(|entry| entry.path()));
        let mut files: Vec<String> = paths
            .collect::<Result<Vec<_>, _>>()
            .ok()?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"))
            // What cannot be looked at, such as a link to nowhere, is a part of the lab that says so when it is read.
            .filter(|path| fs::metadata(path).map_or(true, |found| found.is_file()))
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        files.sort();
        Some(files)
    }
}

/// What goes along with a stack is what people keep beside a Compose file: settings, not data.
const MAX_CARRIED_FILES: usize = 500;
const MAX_CARRIED_BYTES: u64 = 16 << 20;

/// The files beside the lab. A path that ends with `/` is all that is below it, or the one file that it is.
fn assets(paths: &[String], in_place: &[String]) -> BTreeMap<String, Result<Vec<u8>, String>> {
    let mut assets = BTreeMap::new();
    for path in paths {
        if path.ends_with('/') && in_place.iter().any(|folder| path.starts_with(folder)) {
            assets.insert(path.clone(), Err(IN_PLACE.into()));
            continue;
        }
        let Some(bare) = path.strip_suffix('/') else {
            assets.insert(path.clone(), one(path));
            continue;
        };
        match fs::metadata(bare) {
            Ok(found) if found.is_dir() => {
                let mut left = (MAX_CARRIED_FILES, MAX_CARRIED_BYTES);
                let read = below(bare, &mut left, &mut assets).map(|()| Vec::new());
                assets.insert(path.clone(), read);
            }
            Ok(_) => drop(assets.insert(bare.to_string(), Disk.read(bare))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assets.insert(path.clone(), Err("no such file".into()));
            }
            Err(error) => drop(assets.insert(path.clone(), Err(error.to_string()))),
        }
    }
    assets
}

/// The most that one file beside a lab may have: a list of five million names. All of it goes to a host in one piece.
const MAX_ONE_BYTES: u64 = 160 << 20;

fn one(path: &str) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map_or(0, |found| found.len());
    if length > MAX_ONE_BYTES {
        return Err(format!(
            "it has {} MiB, and a file beside a lab may have {}; put it on the host yourself, and name it by its whole path there",
            length >> 20,
            MAX_ONE_BYTES >> 20
        ));
    }
    fs::read(path).map_err(unread)
}

/// Folders of Compose files that run on this very machine where they lie: what containers write there is data.
fn in_place(parsed: &Parsed) -> Vec<String> {
    let mut folders: BTreeMap<&str, bool> = BTreeMap::new();
    for placement in &parsed.placements {
        let Some(project) = parsed.project(placement) else { continue };
        let local = |name: &str| parsed.lab.host(name).is_some_and(|host| host.local);
        let shown = if project.folder.is_empty() { "." } else { &project.folder };
        let same = placement.entry.folder.as_ref().is_some_and(|folder| {
            matches!((fs::canonicalize(&folder.value), fs::canonicalize(shown)), (Ok(one), Ok(other)) if one == other)
        });
        *folders.entry(&project.folder).or_insert(true) &= same && placement.entry.on.iter().all(|on| local(&on.value));
    }
    let kept = folders.into_iter().filter(|(_, kept)| *kept);
    kept.map(|(folder, _)| if folder.is_empty() { String::new() } else { format!("{folder}/") }).collect()
}

fn below(
    folder: &str,
    left: &mut (usize, u64),
    assets: &mut BTreeMap<String, Result<Vec<u8>, String>>,
) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(|e| e.to_string())?;
    paths.sort();
    for path in paths {
        let name = path.to_str().ok_or_else(|| format!("the name of `{}` is not UTF-8", path.display()))?;
        let found = fs::metadata(&path).map_err(|error| format!("`{name}`: {error}"))?;
        if found.is_dir() {
            below(name, left, assets)?;
        } else if found.is_file() {
            let (files, bytes) = *left;
            if files == 0 || bytes < found.len() {
                return Err(format!(
                    "it holds more than {MAX_CARRIED_FILES} files or {} MiB, which is data and not settings",
                    MAX_CARRIED_BYTES >> 20
                ));
            }
            *left = (files - 1, bytes - found.len());
            assets.insert(name.to_string(), fs::read(&path).map_err(|error| error.to_string()));
        }
    }
    Ok(())
}

/// The lab that was named, or the nearest `lab.yaml` here or above.
pub fn locate(arg: &LabArg) -> Result<String, CliError> {
    if let Some(path) = &arg.lab {
        if !path.exists() {
            let error = CliError::usage(format!("there is no `{}`", path.display()));
            return Err(
                error.hint("name a lab file or a folder of them, or leave it out to use `lab.yaml` here or above")
            );
        }
        return Ok(path.to_string_lossy().into_owned());
    }
    let here =
        std::env::current_dir().map_err(|error| CliError::usage(format!("cannot tell the current folder: {error}")))?;
    let mut prefix = PathBuf::new();
    for folder in here.ancestors() {
        if folder.join("lab.yaml").is_file() {
            return Ok(prefix.join("lab.yaml").to_string_lossy().into_owned());
        }
        prefix.push("..");
    }
    let error = CliError::usage("there is no `lab.yaml` here or in a folder above");
    Err(error
        .hint("name one: `labwright check path/to/lab.yaml`")
        .hint("or start one: it needs no more than `lab: home`"))
}

/// A lab that was read and checked.
pub struct Read {
    pub parsed: Parsed,
    /// Accepted findings taken out.
    pub findings: Findings,
}

/// Reads and checks, and judges no date: the same file has the same findings on every day.
pub fn read(arg: &LabArg) -> Result<Read, CliError> {
    read_as_of(arg, None)
}

/// All that is to be said of containers by whoever runs them; nothing where the lab could not be read whole.
pub fn of_containers(parsed: &Parsed) -> Findings {
    // What could not be read has findings of its own.
    if parsed.incomplete || parsed.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Findings::new();
    }
    let assets = assets(&labwright_providers::docker::assets(parsed), &in_place(parsed));
    labwright_providers::docker::findings(&Input::of(parsed, &assets))
}

/// Reads and checks as of a day; without one nothing is overdue.
pub fn read_as_of(arg: &LabArg, as_of: Option<Date>) -> Result<Read, CliError> {
    let parsed = parse_as_of(arg, as_of)?;
    let findings = check::check(&parsed);
    Ok(Read { parsed, findings })
}

/// Reads, and checks nothing yet.
pub fn parse_as_of(arg: &LabArg, as_of: Option<Date>) -> Result<Parsed, CliError> {
    let path = locate(arg)?;
    let mut parsed = labwright_model::parse(&path, &Disk);
    if parsed.unreadable {
        let finding = parsed.findings.first();
        let message = finding.map_or_else(|| format!("cannot read `{path}`"), |finding| finding.message.clone());
        let help = finding.map(|finding| finding.help.clone()).unwrap_or_default();
        return Err(CliError::usage(message).hint(help));
    }
    parsed.as_of = as_of;
    Ok(parsed)
}

/// Today, by UTC: what is overdue is so by days, and a lab's hosts may be in several time zones.
pub fn today() -> Date {
    Date(labwright_engine::now().to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// Says what is overdue today. `check` knows no day, so nobody else would.
pub fn tell_overdue(findings: &Findings, terminal: &Terminal) {
    for finding in findings.iter().filter(|finding| check::DATED.contains(&finding.code)) {
        terminal.warn(&format!("{} ({})", finding.message, finding.code));
    }
}

/// A lab without contradictions, lowered to resources.
pub struct Ready {
    pub parsed: Parsed,
    pub desired: Vec<Resource>,
    /// BLAKE3 over every file that the lab was read from.
    pub hash: String,
    /// What is to be told of it, none of it an error.
    pub findings: Findings,
}

/// Reads, checks and lowers. A lab with errors is shown and goes no further.
pub fn ready(arg: &LabArg, terminal: &Terminal) -> Result<Ready, CliError> {
    let parsed = parse_as_of(arg, Some(today()))?;
    let assets = assets(&labwright_providers::assets(&parsed), &in_place(&parsed));
    let Lowered { resources: desired, findings } = judge_and_lower(&parsed, &assets);
    let errors: Findings = findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect();
    if !errors.is_empty() {
        terminal.say(findings::text(&errors, &parsed, terminal.err_color, terminal.width).trim_end());
        let error = CliError::new(
            Exit::Findings,
            format!(
                "the lab contradicts itself in {}; nothing was looked at or changed",
                findings::count(errors.len(), "place")
            ),
        );
        return Err(error.hint("`labwright explain CODE` tells what a finding means"));
    }
    let sources = parsed.sources.iter().map(|source| (&*source.name, &*source.text));
    let hash = hash(sources, &assets);
    Ok(Ready { parsed, desired, hash, findings })
}

/// What a saved plan knows its lab by: 32 hexadecimal digits over its files and what lies beside them. A file that cannot be
/// read is none that is empty.
fn hash<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>, assets: &Assets) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, text) in sources {
        hasher.update(name.as_bytes()).update(&[0]).update(text.as_bytes()).update(&[0]);
    }
    for (path, content) in assets {
        hasher.update(path.as_bytes()).update(&[0]);
        match content {
            Ok(bytes) => hasher.update(bytes).update(&[0]),
            Err(why) => hasher.update(why.as_bytes()).update(&[1]),
        };
    }
    hasher.finalize().to_hex()[..32].to_string()
}

/// What the lab comes down to, with every finding; nothing where one of them is an error.
fn judge_and_lower(parsed: &Parsed, assets: &Assets) -> Lowered {
    let case = Case::of(parsed);
    let mut findings = check::judge(&case);
    let mut lowered = Lowered::default();
    if !findings.iter().any(|finding| finding.severity == Severity::Error) {
        let input = Input::going_on(case, assets);
        PROVIDERS.iter().for_each(|provider| provider.lower(&input, &mut lowered));
        findings.extend(check::lowered(parsed, std::mem::take(&mut lowered.findings)));
        labwright_model::finding::sort(&mut findings);
    }
    Lowered { resources: lowered.resources, findings }
}

impl Ready {
    pub fn name(&self) -> &str {
        &self.parsed.lab.lab
    }

    /// How long a change that may cut the way to a host waits for its confirmation.
    pub fn confirm_within(&self, host: &str) -> Duration {
        let compute = &self.parsed.lab.compute;
        let own = compute.hosts.get(host).and_then(|host| host.ssh.confirm_within.as_ref());
        own.map_or(compute.confirm_within.0, |own| own.value.0)
    }

    pub fn intermittent(&self) -> BTreeSet<String> {
        let hosts = self.parsed.lab.compute.hosts.iter();
        hosts.filter(|(_, host)| host.intermittent).map(|(name, _)| name.clone()).collect()
    }

    /// Hosts that carry a tag.
    pub fn tagged(&self, tag: &str) -> Result<BTreeSet<String>, CliError> {
        let hosts = self.parsed.lab.compute.hosts.iter();
        let tagged: BTreeSet<String> = hosts
            .filter(|(_, host)| host.tags.iter().any(|own| own.value == tag))
            .map(|(name, _)| name.clone())
            .collect();
        if tagged.is_empty() {
            return Err(
                CliError::usage(format!("no host has the tag `{tag}`")).hint("tags are given with `tags:` on a host")
            );
        }
        Ok(tagged)
    }

    /// Hosts that something was applied to from this machine, and that the lab no longer has.
    pub fn gone(&self) -> Result<Vec<String>, CliError> {
        let before = self.applied_to()?;
        let hosts = &self.parsed.lab.compute.hosts;
        let renamed = |name: &String| hosts.values().any(|host| host.renamed_from.iter().any(|old| old.value == *name));
        Ok(before.into_iter().filter(|host| !hosts.contains_key(host) && !renamed(host)).collect())
    }

    /// Hosts that something was applied to from this machine.
    fn applied_to(&self) -> Result<BTreeSet<String>, CliError> {
        labwright_engine::history::hosts(self.name()).map_err(|error| {
            CliError::usage(format!("cannot read where something of the lab was applied before: {error}"))
                .hint("without it a host that is no longer in the lab would be forgotten; move the file away to do so")
        })
    }

    /// The hosts to connect to: those with something declared, those where this machine applied something before, and,
    /// when `all`, every host that can be reached at all.
    pub fn targets(&self, ssh: &SshArgs, all: bool, wanted: impl Fn(&str) -> bool) -> Result<Vec<Target>, CliError> {
        let declared: BTreeSet<&str> = self.desired.iter().map(|resource| resource.id.host()).collect();
        let before = self.applied_to()?;
        let hosts = &self.parsed.lab.compute.hosts;
        let reachable = |name: &String, host: &Host| {
            (all && (host.local || !host.address.is_empty()))
                || declared.contains(name.as_str())
                || before.contains(name)
                || host.renamed_from.iter().any(|old| before.contains(&old.value))
        };
        let chosen = hosts.iter().filter(|(name, host)| reachable(name, host) && wanted(name));
        chosen.map(|(name, host)| target(&self.parsed, name, host, ssh)).collect()
    }
}

/// The ways to these hosts of a lab.
pub fn ways(parsed: &Parsed, names: &BTreeSet<String>, ssh: &SshArgs) -> Result<Vec<Target>, CliError> {
    let hosts = parsed.lab.compute.hosts.iter().filter(|(name, _)| names.contains(*name));
    hosts.map(|(name, host)| target(parsed, name, host, ssh)).collect()
}

fn target(parsed: &Parsed, name: &str, host: &Host, ssh: &SshArgs) -> Result<Target, CliError> {
    let was = host.renamed_from.iter().map(|old| old.value.clone()).collect();
    Ok(Target { host: name.to_string(), was, way: way(parsed, name, host, ssh)? })
}

/// The way to one host.
fn way(parsed: &Parsed, name: &str, host: &Host, ssh: &SshArgs) -> Result<Way, CliError> {
    match host.local {
        true => Ok(Way::Local),
        false => Ok(Way::Ssh(Box::new(address(parsed, name, host, ssh)?))),
    }
}

fn address(parsed: &Parsed, name: &str, host: &Host, ssh: &SshArgs) -> Result<Address, CliError> {
    let text = |value: &Option<labwright_model::Spanned<String>>| value.as_ref().map(|value| value.value.clone());
    let (port, other_ports) = ports(host);
    let jumps: Result<Vec<Vec<Address>>, CliError> = host.ssh.jump.iter().map(|jump| hops(parsed, jump, ssh)).collect();
    Ok(Address {
        name: name.to_string(),
        addresses: host.address.iter().map(|address| address.to_string()).collect(),
        user: text(&host.ssh.user),
        port,
        other_ports,
        jump: jumps?.concat(),
        identity: text(&host.ssh.identity).map(|path| expand_home(&path)),
        host_keys: host.ssh.host_key.iter().map(|key| key.value.clone()).collect(),
        known_as: Vec::new(),
        alias: None,
        config: ssh.ssh_config.clone(),
        // Only keys that the lab declares have to stand in a file.
        scratch: if host.ssh.host_key.is_empty() { scratch_path() } else { scratch()? },
    })
}

/// A hop: a host of the lab by its own way and its own hops, or `user@host:port` as it stands.
fn hops(parsed: &Parsed, hop: &str, ssh: &SshArgs) -> Result<Vec<Address>, CliError> {
    if let Some(host) = parsed.lab.host(hop) {
        let mut address = address(parsed, hop, host, ssh)?;
        let mut hops = std::mem::take(&mut address.jump);
        hops.push(address);
        return Ok(hops);
    }
    let (user, place) = hop.rsplit_once('@').map_or((None, hop), |(user, place)| (Some(user.to_string()), place));
    let (name, port) = match place.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port.parse().ok()),
        _ => (place, None),
    };
    let name = name.trim_matches(['[', ']']).to_string();
    Ok(vec![Address {
        name,
        user,
        port,
        config: ssh.ssh_config.clone(),
        scratch: scratch_path(),
        ..Address::default()
    }])
}

/// The port of a host's SSH server, and those to try if nobody answers there: the settings that the lab declares for the
/// server may say another one, which it has before they are applied or after.
fn ports(host: &Host) -> (Option<u16>, Vec<Option<u16>>) {
    let said = host.ssh.port.as_ref().map(|port| port.value);
    let declared = host.sshd.as_ref().and_then(|sshd| sshd.value.port());
    match (said, declared) {
        (said, None) => (said, Vec::new()),
        (None, declared) => (declared, vec![None]),
        (said, declared) if said == declared => (said, vec![None]),
        (said, declared) => (said, vec![declared]),
    }
}

fn expand_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_string(),
    }
}

/// Where the folder of this process is, or would be.
fn scratch_path() -> PathBuf {
    let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    base.join(format!("labwright-{}", std::process::id()))
}

/// A folder of this process for what SSH must read from a file.
fn scratch() -> Result<PathBuf, CliError> {
    let folder = scratch_path();
    let made = fs::DirBuilder::new().mode(0o700).create(&folder);
    let found = || fs::symlink_metadata(&folder).ok();
    let ours = || found().is_some_and(|found| found.is_dir() && found.uid() == own_uid() && found.mode() & 0o077 == 0);
    // It may be there from a moment ago; one that somebody else made is not trusted.
    made.or_else(|error| if ours() { Ok(()) } else { Err(error) })
        .map_err(|error| CliError::usage(format!("cannot use `{}`: {error}", folder.display())))?;
    Ok(folder)
}

/// The user that this process runs as.
fn own_uid() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
}

/// Takes the folder away again, however the command ended.
pub fn sweep() {
    let folder = scratch_path();
    if folder.is_dir() {
        // Only public keys stand there; a folder that cannot be removed is no reason to fail.
        drop(fs::remove_dir_all(folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_none_that_is_empty() {
        let of = |content: Result<Vec<u8>, String>| {
            hash([("lab.yaml", "lab: a\n")].into_iter(), &Assets::from([("motd".to_string(), content)]))
        };
        let (empty, gone, closed) =
            (of(Ok(Vec::new())), of(Err("not found".into())), of(Err("permission denied".into())));
        assert!(empty != gone && gone != closed && empty == of(Ok(Vec::new())), "{empty} {gone} {closed}");
        assert_eq!(empty.len(), 32);
    }
}
