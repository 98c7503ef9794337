//! Who sets up an interface at boot: systemd-networkd, which netplan writes for, or ifupdown, which Debian installs.
//! Where it is somebody else, nothing is changed, and that is said.

use std::path::PathBuf;

use labwright_plan::{Call, ProviderError};

use super::{Setup, ifupdown, networkd};
use crate::host::command::{Output, SHORT, run};
use crate::host::session::{Here, Saying};
use crate::host::systemd;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    Networkd,
    Ifupdown,
}

const NETWORKD: &str = "systemd-networkd.service";
const NETWORK_MANAGER: &str = "NetworkManager.service";

/// Who keeps this interface.
pub fn of(here: &Here, name: &str) -> Result<Keeper, ProviderError> {
    let runs = |unit: &str| -> Result<bool, ProviderError> {
        if !here.facts().systemd {
            return Ok(false);
        }
        Ok(systemd::show(&[unit.to_string()])?.get(unit)?.runs())
    };
    if runs(NETWORK_MANAGER)? && manages(name)? {
        return Err(ProviderError::rejected(format!(
            "NetworkManager keeps `{name}` there, and labwright writes for systemd-networkd and ifupdown only"
        ))
        .help(format!(
            "set it with `nmcli connection modify`, or hand `{name}` over: `nmcli device set {name} managed no`, and `systemctl enable --now systemd-networkd`"
        )));
    }
    if ifupdown::installed() && ifupdown::declares(name)? {
        return Ok(Keeper::Ifupdown);
    }
    if runs(NETWORKD)? {
        return Ok(Keeper::Networkd);
    }
    if ifupdown::installed() && ifupdown::reads_folder()? {
        return Ok(Keeper::Ifupdown);
    }
    Err(ProviderError::rejected(format!(
        "nobody there would set `{name}` up after a boot: systemd-networkd does not run, and ifupdown is not installed"
    ))
    .help("start one of them (`systemctl enable --now systemd-networkd`); in a container, its host may give it its addresses"))
}

/// Whether NetworkManager has an interface in its care.
fn manages(name: &str) -> Result<bool, ProviderError> {
    told(&run("nmcli", &["-g", "GENERAL.STATE", "device", "show", name], SHORT)?, name)
}

/// nmcli(1), exit status: 8, it does not run; 10, it has no such device. Any other failure says nothing: two who set up one
/// interface would undo each other's work.
fn told(output: &Output, name: &str) -> Result<bool, ProviderError> {
    match output.status.code() {
        // `100 (connected)`; 10 is its word for one that it leaves alone.
        Some(0) => Ok(output.stdout.split_whitespace().next() != Some("10")),
        Some(8 | 10) => Ok(false),
        _ => Err(output
            .error()
            .help(format!("`nmcli device show {name}` on the host shows whether NetworkManager keeps it"))),
    }
}

impl Keeper {
    /// Whether it has exactly this for the next boot.
    pub fn has(self, name: &str, setup: &Setup) -> Result<bool, ProviderError> {
        match self {
            Keeper::Networkd => networkd::has(name, setup),
            Keeper::Ifupdown => ifupdown::has(name, setup),
        }
    }

    /// Writes it down for the next boot.
    pub fn write(self, here: &Here, name: &str, setup: &Setup, saying: &Saying<'_>) -> Result<(), ProviderError> {
        match self {
            Keeper::Networkd => networkd::write(here, name, setup, saying),
            Keeper::Ifupdown => ifupdown::write(here, name, setup, saying),
        }
    }

    /// Makes it so now.
    pub fn make(self, name: &str, setup: &Setup) -> Result<(), ProviderError> {
        match self {
            Keeper::Networkd => networkd::make(name, setup),
            Keeper::Ifupdown => ifupdown::make(name, setup),
        }
    }

    /// Every file that `write` may change.
    pub fn files(self, name: &str) -> Result<Vec<PathBuf>, ProviderError> {
        match self {
            Keeper::Networkd => Ok(vec![networkd::path(name)]),
            Keeper::Ifupdown => ifupdown::files(name),
        }
    }

    /// What makes it read its files again, once they are back.
    pub fn back(self, name: &str) -> Result<Vec<Call>, ProviderError> {
        match self {
            Keeper::Networkd => Ok(networkd::back(name)),
            Keeper::Ifupdown => ifupdown::back(name),
        }
    }

    pub fn help(self, name: &str) -> String {
        match self {
            Keeper::Networkd => {
                format!("`networkctl status {name}` and `journalctl -u systemd-networkd` on the host say more")
            }
            Keeper::Ifupdown => {
                format!("`ip address show dev {name}` and `journalctl -u networking` on the host say more")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_asked_may_keep_it() {
        let says = |script: &str| told(&run("sh", &["-c", script], SHORT).unwrap(), "eth0");
        assert!(says("echo '100 (connected)'").unwrap());
        assert!(!says("echo '10 (unmanaged)'").unwrap());
        assert!(!says("echo \"Error: Device 'eth0' not found.\" >&2; exit 10").unwrap());
        assert!(!says("echo 'Error: NetworkManager is not running.' >&2; exit 8").unwrap());
        let error = says("echo 'Error: Timeout expired' >&2; exit 3").unwrap_err();
        assert!(
            error.message.contains("Timeout expired") && error.help.contains("nmcli device show eth0"),
            "{error:?}"
        );
    }
}
