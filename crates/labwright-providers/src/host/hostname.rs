//! The name that a host gives itself: in the kernel, in `/etc/hostname`, and in its own line of `/etc/hosts`.
//! Names nothing in DNS, and changes no other line of `/etc/hosts`.

use std::fs;
use std::io;
use std::path::Path;

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Refusal, Resource, Spec, Step,
    Value, Wanted,
};

use super::entry::{Entry, Permissions};
use super::lower::Ground;
use super::paths::normal;
use super::session::{Here, Look, text};

/// The kind `hostname`; there is one of it.
pub const KIND: Kind = Kind {
    name: "hostname",
    doc: "The name that the host gives itself.",
    fields: &[
        field("hostname", "The name."),
        field("persisted", "That it has this name after a boot as well."),
        field("hosts", "That `/etc/hosts` knows the name, so that the host finds itself without DNS."),
    ],
    ownership: Ownership::Setting,
    create: Consequence::Hot,
    delete: Consequence::None,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence: Consequence::Hot, content: false }
}

const HOSTNAME: &str = "/etc/hostname";
const HOSTS: &str = "/etc/hosts";
/// Debian's address for a host's own name.
const OWN: &str = "127.0.1.1";

/// The host name, where one is declared.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    let Some(hostname) = &ground.host.hostname else { return Vec::new() };
    let Some(name) = ground.text(hostname) else { return Vec::new() };
    // Whoever declares the whole file has the last word on each of its lines.
    let hosts_is_declared = ground.host.files.keys().any(|path| normal(path) == HOSTS);
    let resource =
        ground.resource("hostname", "hostname", hostname.span).with("hostname", name).with("persisted", true);
    vec![resource.with_some("hosts", (!hosts_is_declared).then_some(true))]
}

/// Why this cannot be a host's name; `None`: it can.
pub fn fault(resource: &Resource) -> Option<Refusal> {
    let name = text(&resource.spec, "hostname").unwrap_or_default();
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() > 64 || !name.split('.').all(label)).then(|| Refusal {
        reason: format!("`{name}` cannot be a host name"),
        help: "use letters, digits and `-`, at most 64 in all".into(),
    })
}

/// The kernel's name, and whether the two files agree with what is wanted.
pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let live = live();
    let name = here.asked(wanted, "hostname").and_then(Value::text).unwrap_or(&live);
    let persisted = read(here, HOSTNAME)?.trim() == name;
    let hosts = knows(&read(here, HOSTS)?, name);
    let spec = Spec::from([
        ("hostname".to_string(), Value::from(live.as_str())),
        ("persisted".to_string(), Value::Bool(persisted)),
        ("hosts".to_string(), Value::Bool(hosts)),
    ]);
    Ok(Some(Observed { spec, data: None }))
}

fn live() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read(here: &Here, path: &str) -> Result<String, ProviderError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(here.file_error("read", Path::new(path), &error)),
    }
}

/// Writes the files, then names the running system.
pub fn apply(here: &Here, step: &Step) -> Result<(), ProviderError> {
    if step.action == Action::Delete {
        return Ok(());
    }
    let name = text(&step.spec, "hostname").ok_or_else(|| ProviderError::bug("a host name's step without a name"))?;
    let old = live();
    here.touched.note(Path::new("/etc"));
    if step.spec.contains_key("hosts") {
        let hosts = read(here, HOSTS)?;
        write(here, HOSTS, &hosts, &in_step(&hosts, &old, name))?;
    }
    write(here, HOSTNAME, &read(here, HOSTNAME)?, &format!("{name}\n"))?;
    if old != name {
        rustix::system::sethostname(name.as_bytes()).map_err(|errno| {
            ProviderError::rejected(format!("cannot set the host name to `{name}`: {}", io::Error::from(errno)))
                .help("in a container, the machine that the container runs on may have to allow it")
        })?;
    }
    Ok(())
}

fn write(here: &Here, path: &str, old: &str, new: &str) -> Result<(), ProviderError> {
    if old == new {
        return Ok(());
    }
    let failed = |error: io::Error| here.file_error("write", Path::new(path), &error);
    let entry = Entry::open(Path::new(path)).map_err(failed)?;
    let there = entry.look().map_err(failed)?;
    let permissions = there.map_or(Permissions { mode: Some(0o644), ..Permissions::default() }, |there| Permissions {
        mode: Some(there.mode),
        uid: Some(there.uid),
        gid: Some(there.gid),
    });
    entry.write(&mut new.as_bytes(), permissions).map_err(failed)
}

/// Whether any line of `/etc/hosts` gives the name an address.
fn knows(hosts: &str, name: &str) -> bool {
    hosts.lines().any(|line| names(line).skip(1).any(|word| word == name))
}

/// The words of a line, less its comment: an address, then names.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// `/etc/hosts` with the host's own line for its new name: the old name there goes, further names stay.
fn in_step(hosts: &str, old: &str, new: &str) -> String {
    let is_own = |line: &&str| names(line).next() == Some(OWN);
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    if knows(hosts, new)
        && !hosts.lines().filter(is_own).any(|line| names(line).skip(1).any(|word| word == old && old != new))
    {
        return hosts.to_string();
    }
    let own = hosts.lines().find(is_own).unwrap_or_default();
    let (old_short, new_short) = (short(old), short(new));
    let goes = |word: &&str| {
        let first = short(word);
        first != old_short && first != new_short
    };
    let mut line = vec![OWN.to_string(), new.to_string()];
    // With its domain first and then alone, as Debian's installer writes it.
    if new != new_short {
        line.push(new_short.clone());
    }
    line.extend(names(own).skip(1).filter(goes).map(str::to_string));
    let line = line.join("\t");
    if own.is_empty() {
        // After the line of 127.0.0.1, where people look for it.
        let mut lines: Vec<&str> = hosts.lines().collect();
        let at = lines.iter().position(|line| names(line).next() == Some("127.0.0.1")).map_or(0, |at| at + 1);
        lines.insert(at, &line);
        return lines.join("\n") + "\n";
    }
    hosts.lines().map(|other| if other == own { line.as_str() } else { other }).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_line_is_kept_in_step() {
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\told.lab.home old alias # mine\n::1 localhost\n";
        let renamed = in_step(hosts, "old", "new");
        assert_eq!(renamed, "127.0.0.1\tlocalhost\n127.0.1.1\tnew\talias\n::1 localhost\n");
        assert_eq!(in_step(&renamed, "new", "new"), renamed);
        assert_eq!(in_step(&renamed, "old", "new"), renamed);
        assert!(knows(&renamed, "new") && !knows(&renamed, "old") && !knows(hosts, "mine"));
    }

    #[test]
    fn a_line_is_made_where_nothing_knows_the_name() {
        assert_eq!(in_step("127.0.0.1 localhost\n", "x", "web"), "127.0.0.1 localhost\n127.0.1.1\tweb\n");
        assert_eq!(in_step("", "x", "web.lab.home"), "127.0.1.1\tweb.lab.home\tweb\n");
        assert_eq!(in_step("10.0.0.5 web\n", "x", "web"), "10.0.0.5 web\n");
    }

    #[test]
    fn names_that_no_host_can_have_are_refused() {
        let fault = |name: &str| {
            let id = labwright_plan::ResourceId::new("web", "host", "hostname", "hostname");
            super::fault(&Resource::new(id, labwright_model::Span::NONE).with("hostname", name)).is_some()
        };
        assert!(!fault("docker-01") && !fault("web.lab.home"));
        for name in ["", "-web", "web-", "we b", "web.", "web_1", &"a".repeat(65)] {
            assert!(fault(name), "{name}");
        }
    }
}
