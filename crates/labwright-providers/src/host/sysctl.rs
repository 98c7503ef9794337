//! Kernel parameters: now, and after every boot.
//! Asks no `sysctl` program, and touches no file of anybody else's in `/etc/sysctl.d`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use labwright_model::Spanned;
use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Refusal, Resource, Spec, Step,
    Value, Wanted,
};

use super::entry::{Entry, Permissions, What};
use super::file::remove;
use super::lower::{Ground, sorted};
use super::session::{Here, Look, text};

/// The kind `sysctl`; named by the key.
pub const KIND: Kind = Kind {
    name: "sysctl",
    doc: "A kernel parameter.",
    fields: &[
        Field {
            name: "value",
            doc: "Its value, with single blanks between the parts of one that has several.",
            on_change: OnChange::Update,
            consequence: Consequence::Hot,
            content: false,
        },
        Field {
            name: "persisted",
            doc: "That it has this value after a boot as well.",
            on_change: OnChange::Update,
            consequence: Consequence::None,
            content: false,
        },
    ],
    ownership: Ownership::Setting,
    create: Consequence::Hot,
    delete: Consequence::None,
};

/// One resource for each declared parameter.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    let one = |(key, entry): (&str, &Spanned<labwright_model::lab::Sysctl>)| {
        let value = plain(&ground.text(&entry.value.value)?);
        Some(ground.resource("sysctl", key, entry.span).with("value", value).with("persisted", true))
    };
    sorted(&ground.host.sysctl).into_iter().filter_map(one).collect()
}

/// Values of several parts are printed with tabs and taken with any blanks.
fn plain(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why this is no kernel parameter's name; `None`: it is.
pub fn fault(key: &str) -> Option<Refusal> {
    let path = relative(key);
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_plain);
    let good = path.contains('/') && path.split('/').all(part);
    (!good).then(|| Refusal {
        reason: format!("`{key}` is not a kernel parameter's name"),
        help: "write it as `sysctl -a` prints it: `net.ipv4.ip_forward`".into(),
    })
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '@')
}

/// The path below `/proc/sys`. As in `sysctl`, the first separator says which of `.` and `/` separates.
fn relative(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('.') => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_string(),
    }
}

fn live(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(relative(key))
}

/// One file for each key, so that one that is no longer declared leaves the others alone.
fn file_of(key: &str) -> PathBuf {
    Path::new("/etc/sysctl.d").join(format!("60-labwright-{}.conf", key.replace('/', ".")))
}

fn line(key: &str, value: &str) -> String {
    format!("{key} = {value}\n")
}

/// Whether a file is there and holds exactly this.
fn has(file: &Path, line: &str) -> io::Result<bool> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        bytes => Ok(bytes? == line.as_bytes()),
    }
}

/// The value in the kernel, and whether the file for the next boot has what is wanted.
pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let key = wanted.id.name();
    let value = match fs::read_to_string(live(key)) {
        Ok(value) => plain(&value),
        // It may come with a module that a package of the same run brings.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(here.file_error("read", &live(key), &error)),
    };
    let asked = here.asked(wanted, "value").and_then(Value::text).unwrap_or(&value);
    let file = file_of(key);
    let persisted = has(&file, &line(key, asked)).map_err(|error| here.file_error("read", &file, &error))?;
    let spec =
        Spec::from([("persisted".to_string(), Value::Bool(persisted)), ("value".to_string(), Value::Text(value))]);
    Ok(Some(Observed { spec, data: None }))
}

/// Sets the value, reads it back, and only then writes it down for the next boot.
pub fn apply(here: &Here, step: &Step) -> Result<(), ProviderError> {
    let key = step.id.name();
    let (live, file) = (live(key), file_of(key));
    if step.action == Action::Delete {
        return remove(here, &file, What::File);
    }
    let value =
        text(&step.spec, "value").ok_or_else(|| ProviderError::bug(format!("the step of `{key}` names no value")))?;
    let now = fs::read_to_string(&live).map_err(|error| refused(here, key, value, &live, &error))?;
    if plain(&now) != value {
        fs::write(&live, value).map_err(|error| refused(here, key, value, &live, &error))?;
        let now = plain(&fs::read_to_string(&live).map_err(|error| refused(here, key, value, &live, &error))?);
        if now != value {
            return Err(ProviderError::rejected(format!("the kernel made `{now}` of `{value}` for `{key}`"))
                .help(format!("declare what it takes: `{key}: {now}`")));
        }
    }
    let failed = |error: io::Error| here.file_error("write", &file, &error);
    here.touched.note(Path::new("/etc/sysctl.d"));
    let permissions = Permissions { mode: Some(0o644), ..Permissions::default() };
    Entry::open(&file).and_then(|entry| entry.write(&mut line(key, value).as_bytes(), permissions)).map_err(failed)
}

fn refused(here: &Here, key: &str, value: &str, live: &Path, error: &io::Error) -> ProviderError {
    match error.kind() {
        io::ErrorKind::NotFound => ProviderError::rejected(format!("the kernel has no parameter `{key}`")).help(
            "`sysctl -a` on the host lists them; it may come with a kernel module, or be out of reach in a container",
        ),
        io::ErrorKind::InvalidInput => {
            ProviderError::rejected(format!("the kernel does not take `{value}` for `{key}`"))
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ProviderError::rejected(format!("`{key}` cannot be set: `/proc/sys` is read-only there"))
                .help("in a container, set it on the machine that the container runs on")
        }
        _ => here.file_error("write", live, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_not_one_that_lacks_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("60-labwright-a.conf");
        assert!(!has(&file, "a = 1\n").unwrap());
        fs::write(&file, b"\xff").unwrap();
        assert!(!has(&file, "a = 1\n").unwrap());
        fs::write(&file, "a = 1\n").unwrap();
        assert!(has(&file, "a = 1\n").unwrap());
        assert!(has(dir.path(), "a = 1\n").is_err());
    }

    #[test]
    fn keys_lead_below_proc_sys_and_nowhere_else() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
            ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
        ] {
            assert_eq!(live(key), Path::new(path));
            assert_eq!(fault(key), None);
        }
        for key in ["swappiness", "vm..swappiness", "vm/../../etc/passwd", "/etc/passwd", "vm.swap piness", ""] {
            assert!(fault(key).is_some(), "{key}");
        }
        assert_eq!(file_of("net/ipv4/x"), Path::new("/etc/sysctl.d/60-labwright-net.ipv4.x.conf"));
    }

    #[test]
    fn blanks_make_no_difference() {
        assert_eq!(plain("4096\t131072\t6291456\n"), "4096 131072 6291456");
    }
}
