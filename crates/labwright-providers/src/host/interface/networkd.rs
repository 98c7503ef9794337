//! systemd-networkd: one file for the interface, before all others that could match it. What the file that counted until now
//! says beyond addresses and routes, as VLANs or an MTU, is kept. systemd.network(5).

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use labwright_plan::{Call, ProviderError};

use super::{Setup, live, way};
use crate::host::command::{SHORT, run};
use crate::host::entry::{Entry, Permissions};
use crate::host::session::{Here, Saying};

const FOLDER: &str = "/etc/systemd/network";
const KEPT: &str = "\n# Kept from ";

/// Files are read in the order of their names, wherever they stand, and the first that matches counts. netplan's begin with 10.
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("05-labwright-{name}.network"))
}

/// The part of the file that is the lab's.
fn head(name: &str, setup: &Setup) -> String {
    let mut text = format!(
        "# Written by labwright from the lab file; changes made here are undone.\n[Match]\nName={name}\n\n[Network]\n"
    );
    let lines = [("Address", &setup.addresses), ("Gateway", &setup.gateway), ("DNS", &setup.dns)];
    for (key, value) in lines.into_iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
        let _ = writeln!(text, "{key}={value}");
    }
    for (net, via) in &setup.routes {
        let (via, metric) = way(via);
        let _ = write!(text, "\n[Route]\nDestination={net}\nGateway={via}\n");
        if let Some(metric) = metric {
            let _ = writeln!(text, "Metric={metric}");
        }
    }
    text
}

/// Whether the file says exactly this, and is the one that counts.
pub fn has(name: &str, setup: &Setup) -> Result<bool, ProviderError> {
    let path = path(name);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        text => text.map_err(|error| ProviderError::rejected(format!("cannot read `{}`: {error}", path.display())))?,
    };
    let ours = text.strip_prefix(&head(name, setup)).is_some_and(|rest| rest.is_empty() || rest.starts_with(KEPT));
    Ok(ours && counts(name)?.as_deref() == Some(&*path))
}

/// The file that networkd sets the interface up by.
fn counts(name: &str) -> Result<Option<PathBuf>, ProviderError> {
    let output = run("networkctl", &["status", "--no-pager", "--lines=0", name], SHORT)?;
    if !output.ok() {
        return Err(output.error().help("`systemctl status systemd-networkd` on the host says more"));
    }
    let file = output.stdout.lines().find_map(|line| line.trim().strip_prefix("Network File:"));
    Ok(file.map(str::trim).filter(|file| file.starts_with('/')).map(PathBuf::from))
}

pub fn write(here: &Here, name: &str, setup: &Setup, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = path(name);
    let mut text = head(name, setup);
    match counts(name)? {
        Some(file) if file == path => {
            let old = fs::read_to_string(&path).map_err(|error| here.file_error("read", &path, &error))?;
            if let Some(at) = old.find(KEPT) {
                text.push_str(&old[at..]);
            }
        }
        Some(file) => {
            let kept = kept(&whole(&file)?, !setup.dns.is_empty());
            if !kept.is_empty() {
                let _ = write!(text, "{KEPT}{}.\n{kept}", file.display());
            }
            saying.say(&format!("`{}` no longer counts for `{name}`; it stays where it is", file.display()));
        }
        None => {}
    }
    fs::create_dir_all(FOLDER).map_err(|error| here.file_error("make", Path::new(FOLDER), &error))?;
    here.touched.note(Path::new(FOLDER));
    let permissions = Permissions { mode: Some(0o644), ..Permissions::default() };
    let written = Entry::open(&path).and_then(|entry| entry.write(&mut text.as_bytes(), permissions));
    written.map_err(|error| here.file_error("write", &path, &error))
}

/// A file with everything that drop-ins add to it.
fn whole(file: &Path) -> Result<String, ProviderError> {
    let name = format!("systemd/network/{}", file.file_name().unwrap_or_default().to_string_lossy());
    Ok(run("systemd-analyze", &["cat-config", &name], SHORT)?.require()?.stdout)
}

/// What a file says of other things than addresses, routes, and what asks for them over IPv4.
fn kept(text: &str, dns: bool) -> String {
    let (mut out, mut section, mut opened) = (String::new(), String::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_string();
            opened.clear();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        let line = match (section.as_str(), key) {
            ("Match" | "Address" | "Route" | "DHCPv4" | "DHCP", _) | ("Network", "Address" | "Gateway") => continue,
            ("Network", "DNS") if dns => continue,
            // Leases of IPv4 addresses end; what IPv6 gets from its own side does not.
            ("Network", "DHCP") => match value.to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" | "1" | "both" | "ipv6" | "v6" => "DHCP=ipv6".to_string(),
                _ => continue,
            },
            _ => line.to_string(),
        };
        if opened != section {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{section}]");
            opened.clone_from(&section);
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Has networkd read its files again, and waits until it is through with the interface: until then it may still take away
/// and add.
const RELOAD: &str = r#"
networkctl reload && networkctl reconfigure "$1" || exit 1
sleep 0.5
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    case $(networkctl status --no-pager --lines=0 "$1" | sed -n 's/^ *State: //p') in
    *"(configuring)" | *"(pending)" | *"(initialized)") sleep 0.3 ;;
    *) break ;;
    esac
done
"#;

/// By networkd, with the file that counts now; what it leaves of before, or somebody set by hand, by `ip`.
pub fn make(name: &str, setup: &Setup) -> Result<(), ProviderError> {
    run("sh", &["-c", RELOAD, "sh", name], SHORT)?.require()?;
    live::set(name, setup)
}

pub fn back(name: &str) -> Vec<Call> {
    vec![Call::new("sh", &["-c", RELOAD, "sh", name]).may_fail()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_of_other_things_is_kept() {
        // As `systemd-analyze cat-config` shows what netplan writes, with a drop-in.
        let text = "# /run/systemd/network/10-netplan-eth0.network\n[Match]\nName=eth0\n\n[Link]\nMTUBytes=1400\n\n[Network]\nDHCP=yes\nLinkLocalAddressing=ipv6\nAddress=10.0.0.5/24\nVLAN=eth0.10\nDNS=9.9.9.9\n\n[Route]\nDestination=10.9.0.0/16\nGateway=10.0.0.1\n\n[DHCP]\nRouteMetric=100\nUseMTU=true\n\n# /etc/systemd/network/10-netplan-eth0.network.d/more.conf\n[Network]\nDomains=lab.home.arpa\n";
        assert_eq!(
            kept(text, false),
            "[Link]\nMTUBytes=1400\n\n[Network]\nDHCP=ipv6\nLinkLocalAddressing=ipv6\nVLAN=eth0.10\nDNS=9.9.9.9\n\n[Network]\nDomains=lab.home.arpa\n"
        );
        assert!(!kept(text, true).contains("DNS="), "the lab's own resolvers count");
        assert_eq!(kept("[Match]\nName=en*\n[Network]\nDHCP=ipv4\n", false), "");
    }
}
