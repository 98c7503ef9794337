//! Mounted file systems, as systemd units: at boot, or on first use.
//! Writes no `/etc/fstab`, formats nothing, and does not say what is exported elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use labwright_model::Spanned;
use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Refusal, Resource, Spec, Step,
    Value, Wanted,
};

use super::content;
use super::directory::look;
use super::entry::{Entry, What};
use super::file::{put, remove as remove_file};
use super::lower::{Ground, sorted};
use super::paths::{self, normal};
use super::session::{Here, Look, Saying, Sights};
use super::systemd::{self, UNITS, escape_path};
use super::waiting::{Goal, Pending, wait};

/// The kind `mount`; named by the path.
pub const KIND: Kind = Kind {
    name: "mount",
    doc: "A mounted file system, as a systemd mount unit.",
    fields: &[
        Field { content: true, ..field("mount", "The mount unit.", Consequence::Downtime) },
        Field {
            content: true,
            ..field("automount", "The automount unit, for a mount on first use.", Consequence::Restart)
        },
        field("active", "That it is mounted, or waits for its first use.", Consequence::Hot),
        field("enabled", "That it is so after a boot.", Consequence::None),
    ],
    ownership: Ownership::Thing,
    create: Consequence::Hot,
    delete: Consequence::Downtime,
};

const fn field(name: &'static str, doc: &'static str, consequence: Consequence) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence, content: false }
}

/// One resource for each declared mount, with its units written out.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    sorted(&ground.host.mounts).into_iter().filter_map(|(path, mount)| one(ground, path, mount)).collect()
}

fn one(ground: &Ground<'_>, path: &str, entry: &Spanned<labwright_model::lab::Mount>) -> Option<Resource> {
    let (mount, path) = (&entry.value, normal(path).into_owned());
    let nfs = ground.maybe(mount.nfs.as_ref())?;
    let device = ground.maybe(mount.device.as_ref())?;
    let fstype = ground.maybe(mount.fstype.as_ref())?;
    let options = ground.maybe(mount.options.as_ref())?;
    let resource = ground.resource("mount", &path, entry.span);
    let (what, fstype) = match (nfs, device) {
        (Some(export), _) => (export_address(ground, &export), Some("nfs".to_string())),
        (None, Some(device)) => (device, fstype),
        // Refused at plan time, with the reason.
        (None, None) => return Some(resource),
    };
    let remote = fstype.as_deref().is_some_and(|fstype| REMOTE.contains(&fstype));
    let automount = if mount.automount { Value::Text(automount_unit(&path, remote)) } else { Value::Null };
    Some(
        resource
            .with("mount", mount_unit(&path, &what, fstype.as_deref(), options.as_deref(), remote))
            .with("automount", automount)
            .with("active", true)
            .with("enabled", true),
    )
}

/// File systems that need the network.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs"];

/// The export with its host's first address, so that mounting does not wait for name resolution.
fn export_address(ground: &Ground<'_>, export: &str) -> String {
    let Some((host, path)) = export.split_once(":/") else { return export.to_string() };
    let address = ground.parsed.lab.host(host).and_then(|host| host.address.first());
    match address.map(|address| address.value) {
        Some(address) if address.is_ipv6() => format!("[{address}]:/{path}"),
        Some(address) => format!("{address}:/{path}"),
        None => export.to_string(),
    }
}

fn mount_unit(path: &str, what: &str, fstype: Option<&str>, options: Option<&str>, remote: bool) -> String {
    let line =
        |key: &str, value: Option<&str>| value.map_or(String::new(), |value| format!("{key}={}\n", literal(value)));
    format!(
        "[Unit]\nDescription={}\n\n[Mount]\n{}{}{}{}TimeoutSec=30\n\n[Install]\nWantedBy={}\n",
        literal(&format!("{what} on {path}")),
        line("What", Some(what)),
        line("Where", Some(path)),
        line("Type", fstype),
        line("Options", options),
        target(remote),
    )
}

fn automount_unit(path: &str, remote: bool) -> String {
    let path = literal(path);
    let target = target(remote);
    format!(
        "[Unit]\nDescription={path} on first use\n\n[Automount]\nWhere={path}\nTimeoutIdleSec=600\n\n[Install]\nWantedBy={target}\n"
    )
}

fn target(remote: bool) -> &'static str {
    if remote { "remote-fs.target" } else { "local-fs.target" }
}

/// A value of a unit file that stands for itself.
fn literal(text: &str) -> String {
    text.trim().replace('%', "%%").replace('\n', " ")
}

/// Why this cannot be mounted anywhere; `None`: it can.
pub fn fault(resource: &Resource) -> Option<Refusal> {
    let name = resource.id.name();
    paths::fault(name).or_else(|| {
        (!resource.spec.contains_key("mount")).then(|| Refusal {
            reason: format!("the mount `{name}` does not say what is mounted"),
            help: "give it `nfs: host:/path` or `device: /dev/…`".into(),
        })
    })
}

/// The names of the two units of a path.
pub fn unit_names(path: &str) -> [String; 2] {
    let name = escape_path(path);
    [format!("{name}.mount"), format!("{name}.automount")]
}

fn file_of(unit: &str) -> PathBuf {
    Path::new(UNITS).join(unit)
}

/// The unit files, and what systemd says of them. A file system that something else mounted there is present too.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let [mount, automount] = unit_names(wanted.id.name());
    let states = sights.units.as_ref().map_err(Clone::clone)?;
    let mut spec = Spec::new();
    for (field, unit) in [("mount", &mount), ("automount", &automount)] {
        let path = file_of(unit);
        if look(here, &path)?.is_some_and(|there| there.what == What::File) {
            let content = Entry::open(&path).and_then(|entry| content::of(&mut entry.read()?));
            spec.insert(field.into(), content.map_err(|error| here.file_error("read", &path, &error))?);
        }
    }
    // Where there is an automount unit, that is what waits at boot; the mount follows from it.
    let state = states.get(if spec.contains_key("automount") { &automount } else { &mount })?;
    spec.insert("active".into(), Value::Bool(state.runs()));
    spec.insert("enabled".into(), Value::Bool(state.starts_at_boot()));
    let mounted = states.get(&mount)?.runs() || states.get(&automount)?.runs();
    let present = mounted || spec.contains_key("mount") || spec.contains_key("automount");
    Ok(present.then_some(Observed { spec, data: None }))
}

/// Writes the units and mounts, or unmounts and removes them. The mount point itself stays.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let only = here.lock_systemd();
    let [mount, automount] = unit_names(step.id.name());
    here.touched.note(Path::new(UNITS));
    if step.action == Action::Delete {
        for unit in [&automount, &mount] {
            take_away(here, unit)?;
        }
        return systemd::daemon_reload();
    }
    has_program(step)?;
    let on_use = step.spec.get("automount").is_some_and(|value| *value != Value::Null);
    if on_use && !Path::new("/dev/autofs").exists() {
        let message = format!("`{}` cannot be mounted on first use: there is no `/dev/autofs`", step.id.name());
        return Err(ProviderError::rejected(message).help("leave `automount` out; most containers cannot do it"));
    }
    let before = systemd::show(&[mount.clone(), automount.clone()])?;
    let mut changed = put(here, step, &file_of(&mount), "mount", saying)?;
    if on_use {
        changed |= put(here, step, &file_of(&automount), "automount", saying)?;
    } else {
        take_away(here, &automount)?;
    }
    let (wanted, other) = if on_use { (&automount, &mount) } else { (&mount, &automount) };
    if !before.get(wanted)?.starts_at_boot() {
        systemd::set_enabled("enable", wanted)?;
    }
    if before.get(other)?.starts_at_boot() && on_use {
        systemd::set_enabled("disable", other)?;
    }
    systemd::daemon_reload()?;
    if changed && before.get(&mount)?.runs() {
        saying.say("unmounting what was mounted before");
        systemd::stop(&mount)?;
    }
    let verb = if changed { "restart" } else { "start" };
    systemd::begin(verb, wanted)?;
    // A server that does not answer keeps only its own mounts waiting.
    drop(only);
    let pending = Pending { id: step.id.clone(), unit: wanted.clone(), goal: Goal::Runs };
    wait(&[pending], saying.progress).pop().unwrap_or(Ok(()))
}

/// Stops, disables and removes a unit of ours; one that is not there is gone.
fn take_away(here: &Here, unit: &str) -> Result<(), ProviderError> {
    let file = file_of(unit);
    if look(here, &file)?.is_none() {
        return Ok(());
    }
    systemd::stop(unit)?;
    systemd::set_enabled("disable", unit)?;
    remove_file(here, &file, What::File)
}

/// `mount` calls a program for some types; without it the message would speak of a bad superblock.
fn has_program(step: &Step) -> Result<(), ProviderError> {
    let unit = step.spec.get("mount").and_then(Value::content).unwrap_or_default();
    let text = String::from_utf8_lossy(unit);
    let fstype = text.lines().find_map(|line| line.strip_prefix("Type=")).unwrap_or_default();
    let package = match fstype {
        "nfs" | "nfs4" => "nfs-common",
        "cifs" | "smb3" => "cifs-utils",
        _ => return Ok(()),
    };
    let program = Path::new("/sbin").join(format!("mount.{fstype}"));
    match program.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ProviderError::rejected(format!(
            "`{}` cannot be mounted: `{}` is not there",
            step.id.name(),
            program.display()
        ))
        .help(format!("add `{package}` to `packages` of the host"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_mount_unit_says_everything_literally() {
        let unit = mount_unit("/mnt/100%", "10.0.0.5:/volume1/media", Some("nfs"), Some("ro,soft"), true);
        expect![[r"
            [Unit]
            Description=10.0.0.5:/volume1/media on /mnt/100%%

            [Mount]
            What=10.0.0.5:/volume1/media
            Where=/mnt/100%%
            Type=nfs
            Options=ro,soft
            TimeoutSec=30

            [Install]
            WantedBy=remote-fs.target
        "]]
        .assert_eq(&unit);
        assert_eq!(unit_names("/mnt/my media"), ["mnt-my\\x20media.mount", "mnt-my\\x20media.automount"]);
    }
}
