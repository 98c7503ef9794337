//! ifupdown, which Debian's installer sets up: a file of our own in `/etc/network/interfaces.d`, with the interface's only
//! stanzas. Those of others are commented out, and what they say beyond addresses is kept. interfaces(5).

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use labwright_plan::{Call, ProviderError};

use super::{Setup, live, way};
use crate::host::command::{SHORT, run};
use crate::host::entry::{Entry, Permissions};
use crate::host::errors::has_ended;
use crate::host::session::{Here, Saying};

const MAIN: &str = "/etc/network/interfaces";
const FOLDER: &str = "/etc/network/interfaces.d";
const OUT: &str = "# labwright: ";
const KEPT: &str = "    # Kept from ";
/// A lease may take its time.
const IFUP: Duration = Duration::from_secs(90);

pub fn installed() -> bool {
    ["/usr/sbin/ifup", "/sbin/ifup"].iter().any(|path| Path::new(path).is_file())
}

/// Names of files there hold no dots.
fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("labwright-{}", name.replace('.', "_")))
}

fn read(path: &Path) -> Result<Option<String>, ProviderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProviderError::rejected(format!("cannot read `{}`: {error}", path.display()))),
    }
}

/// Whether the main file reads our folder.
pub fn reads_folder() -> Result<bool, ProviderError> {
    let main = read(Path::new(MAIN))?.unwrap_or_default();
    let reads = |line: &str| {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let of_ours = |word: &str| {
            let whole = if word.starts_with('/') { word.to_string() } else { format!("/etc/network/{word}") };
            whole.trim_end_matches(['*', '/']) == FOLDER
        };
        matches!(verb, "source" | "source-directory" | "source-dir") && words.any(of_ours)
    };
    Ok(main.lines().any(reads))
}

/// Files of others that may have stanzas: the main one, and those beside ours.
fn others(name: &str) -> Result<Vec<(PathBuf, String)>, ProviderError> {
    let mut paths = vec![PathBuf::from(MAIN)];
    if reads_folder()? {
        let failed = |error| ProviderError::rejected(format!("cannot look into `{FOLDER}`: {error}"));
        let entries = match fs::read_dir(FOLDER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?,
        };
        let mut beside: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        beside.sort();
        // A folder is none of these; what cannot be looked at may be one, and reading it says why it cannot.
        paths.extend(beside.into_iter().filter(|beside| *beside != path(name) && !beside.is_dir()));
    }
    let mut found = Vec::new();
    for path in paths {
        if let Some(text) = read(&path)? {
            found.push((path, text));
        }
    }
    Ok(found)
}

/// Whether a line begins something of its own, and so ends the stanza before it.
fn begins(line: &str) -> bool {
    let verb = line.split_whitespace().next().unwrap_or_default();
    verb.starts_with("allow-")
        || matches!(
            verb,
            "iface"
                | "auto"
                | "mapping"
                | "source"
                | "source-directory"
                | "source-dir"
                | "no-auto-down"
                | "no-scripts"
                | "template"
                | "rename"
        )
}

/// For each line, whether it is part of a stanza of this interface. `\` at its end makes two lines one.
fn of_interface<'a>(text: &'a str, name: &str) -> Vec<(&'a str, bool)> {
    let (mut inside, mut continued) = (false, false);
    let mark = |line: &'a str| {
        let comment = line.trim_start().starts_with('#');
        if !continued && !comment && begins(line) {
            let mut words = line.split_whitespace();
            inside = words.next() == Some("iface") && words.next() == Some(name);
        }
        continued = !comment && line.ends_with('\\');
        (line, inside && !comment && !line.trim().is_empty())
    };
    text.lines().map(mark).collect()
}

pub fn declares(name: &str) -> Result<bool, ProviderError> {
    let ours = read(&path(name))?.is_some();
    Ok(ours || others(name)?.iter().any(|(_, text)| of_interface(text, name).iter().any(|(_, inside)| *inside)))
}

/// The lab's part of the file: one stanza for each address, the last of which is left open for what is kept.
fn head(name: &str, setup: &Setup) -> String {
    let mut text = format!("# Written by labwright from the lab file; changes made here are undone.\nauto {name}\n");
    let mut stanzas = Vec::new();
    for six in [true, false] {
        let (addresses, gateway) = setup.family(six);
        for (n, address) in addresses.iter().enumerate() {
            let mut stanza =
                format!("\niface {name} {} static\n    address {address}\n", if six { "inet6" } else { "inet" });
            if let Some(gateway) = gateway.filter(|_| n == 0) {
                let _ = writeln!(stanza, "    gateway {gateway}");
            }
            stanzas.push(stanza);
        }
    }
    if stanzas.is_empty() {
        stanzas.push(format!("\niface {name} inet manual\n"));
    }
    stanzas.iter().for_each(|stanza| text.push_str(stanza));
    if !setup.dns.is_empty() {
        let _ = writeln!(text, "    dns-nameservers {}", setup.dns.join(" "));
    }
    for (net, via) in &setup.routes {
        let (via, metric) = way(via);
        let metric = metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
        let _ = writeln!(text, "    up ip route replace {net} via {via} dev {name}{metric} proto static");
    }
    text
}

/// Whether the file says exactly this, and no other has the interface.
pub fn has(name: &str, setup: &Setup) -> Result<bool, ProviderError> {
    let Some(text) = read(&path(name))? else { return Ok(false) };
    let ours = text.strip_prefix(&head(name, setup)).is_some_and(|rest| rest.is_empty() || rest.starts_with(KEPT));
    let alone = || -> Result<bool, ProviderError> {
        Ok(others(name)?.iter().all(|(_, text)| of_interface(text, name).iter().all(|(_, inside)| !inside)))
    };
    Ok(ours && reads_folder()? && alone()?)
}

/// What a stanza says that is not ours to say.
fn is_kept(line: &str, dns: bool) -> bool {
    let option = line.split_whitespace().next().unwrap_or_default();
    let own = matches!(
        option,
        "iface"
            | "address"
            | "netmask"
            | "broadcast"
            | "network"
            | "gateway"
            | "hostname"
            | "leasetime"
            | "client"
            | "vendor"
    );
    !(own || option.is_empty() || dns && option == "dns-nameservers")
}

pub fn write(here: &Here, name: &str, setup: &Setup, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = path(name);
    if !reads_folder()? {
        return Err(ProviderError::rejected(format!("`{MAIN}` does not read `{FOLDER}`, so nothing there counts"))
            .help(format!("put `source {FOLDER}/*` into `{MAIN}`, as Debian has it")));
    }
    let dns = !setup.dns.is_empty();
    let mut text = head(name, setup);
    if let Some(at) = read(&path)?.and_then(|old| Some(old[old.find(KEPT)?..].to_string())) {
        text.push_str(&at);
    }
    let mut changed = Vec::new();
    for (other, old) in others(name)? {
        let marked = of_interface(&old, name);
        if marked.iter().all(|(_, inside)| !inside) {
            continue;
        }
        let kept: Vec<&str> =
            marked.iter().filter(|(line, inside)| *inside && is_kept(line, dns)).map(|(line, _)| line.trim()).collect();
        if !kept.is_empty() {
            let _ = writeln!(text, "{KEPT}{}.", other.display());
            kept.iter().for_each(|line| {
                let _ = writeln!(text, "    {line}");
            });
        }
        let new: String =
            marked.iter().map(|(line, inside)| format!("{}{line}\n", if *inside { OUT } else { "" })).collect();
        changed.push((other, new));
    }
    let put = |path: &Path, text: &str| {
        if let Some(folder) = path.parent() {
            here.touched.note(folder);
        }
        let entry = Entry::open(path).map_err(|error| here.file_error("write", path, &error))?;
        let there = entry.look().map_err(|error| here.file_error("look at", path, &error))?;
        let permissions = there.map_or(Permissions { mode: Some(0o644), ..Permissions::default() }, |there| {
            Permissions { mode: Some(there.mode), uid: Some(there.uid), gid: Some(there.gid) }
        });
        entry.write(&mut text.as_bytes(), permissions).map_err(|error| here.file_error("write", path, &error))
    };
    put(&path, &text)?;
    for (other, new) in changed {
        put(&other, &new)?;
        saying.say(&format!(
            "what `{}` says of `{name}` is commented out there: `{}` counts now",
            other.display(),
            path.display()
        ));
    }
    Ok(())
}

/// Every file that has the interface now, and ours.
pub fn files(name: &str) -> Result<Vec<PathBuf>, ProviderError> {
    let has = |(_, text): &(PathBuf, String)| of_interface(text, name).iter().any(|(_, inside)| *inside);
    let others = others(name)?.into_iter().filter(has).map(|(path, _)| path);
    Ok(std::iter::once(path(name)).chain(others).collect())
}

/// The client that renews a lease: it would bring its address back.
///
/// # Errors
/// Whether one runs cannot be told.
fn lease_client(name: &str) -> Result<Option<PathBuf>, ProviderError> {
    client_of(format!("/run/dhclient.{name}.pid").into())
}

fn client_of(path: PathBuf) -> Result<Option<PathBuf>, ProviderError> {
    let text = |path: &Path| match fs::read_to_string(path) {
        Err(error) if has_ended(&error) => Ok(None),
        text => text.map(Some).map_err(|error| {
            let message = format!(
                "cannot tell whether a DHCP client would bring its address back: `{}`: {error}",
                path.display()
            );
            ProviderError::rejected(message).help("`pgrep -a dhclient` on the host shows what runs")
        }),
    };
    let Some(pid) = text(&path)? else { return Ok(None) };
    let command = text(Path::new(&format!("/proc/{}/comm", pid.trim())))?;
    Ok(command.is_some_and(|command| command.trim() == "dhclient").then_some(path))
}

/// By `ip`, and without the client that would bring a lease back.
pub fn make(name: &str, setup: &Setup) -> Result<(), ProviderError> {
    if let Some(pid) = lease_client(name)? {
        run("dhclient", &["-x", "-pf", &pid.to_string_lossy(), name], SHORT)?.require()?;
    }
    live::set(name, setup)
}

/// Where a lease was, its client comes back with the old files; all else `ip` sets.
pub fn back(name: &str) -> Result<Vec<Call>, ProviderError> {
    let again = |_| {
        let limit = IFUP.as_secs().min(50).to_string();
        Call::new("timeout", &[&limit, "ifup", "--force", name]).may_fail()
    };
    Ok(lease_client(name)?.map(again).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_client_that_cannot_be_seen_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dhclient.eth0.pid");
        assert_eq!(client_of(file.clone()).unwrap(), None);
        fs::write(&file, "4194304\n").unwrap();
        assert_eq!(client_of(file).unwrap(), None, "no process has that number");
        let error = client_of(dir.path().into()).unwrap_err();
        assert!(error.message.contains("bring its address back"), "{}", error.message);
    }

    /// As Debian's installer writes it, with what people add.
    const INSTALLED: &str = "# This file describes the network interfaces\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n# The primary network interface\nallow-hotplug eth0\niface eth0 inet static\n\taddress 10.0.0.5/24\n\tgateway 10.0.0.1\n\t# dns-* options are implemented by the resolvconf package, if installed\n\tdns-nameservers 10.0.0.2\n\tmtu 9000\n\tpost-up ip route add 10.4.0.0/16 \\\n\t    via 10.0.0.9\niface eth0 inet6 auto\n\niface eth0.10 inet manual\n";

    #[test]
    fn only_the_interfaces_own_stanzas_are_found() {
        let inside: Vec<&str> = of_interface(INSTALLED, "eth0")
            .into_iter()
            .filter(|(_, inside)| *inside)
            .map(|(line, _)| line.trim())
            .collect();
        assert_eq!(
            inside,
            [
                "iface eth0 inet static",
                "address 10.0.0.5/24",
                "gateway 10.0.0.1",
                "dns-nameservers 10.0.0.2",
                "mtu 9000",
                "post-up ip route add 10.4.0.0/16 \\",
                "via 10.0.0.9",
                "iface eth0 inet6 auto",
            ]
        );
        let kept: Vec<&str> = inside.iter().copied().filter(|line| is_kept(line, true)).collect();
        assert_eq!(kept, ["mtu 9000", "post-up ip route add 10.4.0.0/16 \\", "via 10.0.0.9"]);
        assert!(of_interface(INSTALLED, "eth1").iter().all(|(_, inside)| !inside));
    }

    #[test]
    fn stanzas_say_each_address_once_and_the_last_takes_what_is_kept() {
        let setup = Setup {
            addresses: vec!["10.0.0.7/24".into(), "10.0.0.8/24".into(), "fd00::7/64".into()],
            gateway: vec!["10.0.0.1".into(), "fe80::1".into()],
            routes: [("10.9.0.0/16".to_string(), "10.0.0.254 metric 5".to_string())].into(),
            dns: vec!["10.0.0.2".into()],
        };
        expect_test::expect![[r#"
            # Written by labwright from the lab file; changes made here are undone.
            auto eth0

            iface eth0 inet6 static
                address fd00::7/64
                gateway fe80::1

            iface eth0 inet static
                address 10.0.0.7/24
                gateway 10.0.0.1

            iface eth0 inet static
                address 10.0.0.8/24
                dns-nameservers 10.0.0.2
                up ip route replace 10.9.0.0/16 via 10.0.0.254 dev eth0 metric 5 proto static
        "#]]
        .assert_eq(&head("eth0", &setup));
    }
}
