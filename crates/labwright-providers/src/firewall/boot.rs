//! The unit that loads the last good ruleset at boot, before any network is up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use labwright_plan::ProviderError;

use super::ruleset::FILE;
use crate::host::entry::{Entry, Permissions};
use crate::host::systemd::{self, UNITS};

pub const UNIT: &str = "labwright-firewall.service";

/// Debian's own `nftables.service` begins with an empty ruleset, also when it is reloaded, so this comes after it, and starts and reloads
/// with it.
fn unit() -> String {
    format!(
        "# Written by labwright; it goes with the firewall of this host.\n\
         [Unit]\n\
         Description=Firewall of this host, as its lab file has it\n\
         DefaultDependencies=no\n\
         Wants=network-pre.target\n\
         After=nftables.service\n\
         PartOf=nftables.service\n\
         ReloadPropagatedFrom=nftables.service\n\
         Before=network-pre.target sysinit.target shutdown.target\n\
         Conflicts=shutdown.target\n\
         ConditionPathExists={FILE}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=/usr/sbin/nft -f {FILE}\n\
         ExecReload=/usr/sbin/nft -f {FILE}\n\
         \n\
         [Install]\n\
         WantedBy=sysinit.target\n"
    )
}

/// Everything that makes it start at boot.
pub fn paths() -> [PathBuf; 2] {
    let units = Path::new(UNITS);
    [units.join(UNIT), units.join("sysinit.target.wants").join(UNIT)]
}

/// Sees to it that the unit is there, starts at boot, and counts as started.
pub fn see_to_it() -> Result<(), ProviderError> {
    let path = Path::new(UNITS).join(UNIT);
    let text = unit();
    if !fs::read_to_string(&path).is_ok_and(|there| there == text) {
        let permissions = Permissions { mode: Some(0o644), ..Permissions::default() };
        let written = Entry::open(&path).and_then(|entry| entry.write(&mut text.as_bytes(), permissions));
        written.map_err(|error| failed("write", &path, &error))?;
        systemd::daemon_reload()?;
    }
    systemd::set_enabled("enable", UNIT)?;
    systemd::begin("start", UNIT)
}

/// Takes the unit away.
pub fn remove() -> Result<(), ProviderError> {
    let path = Path::new(UNITS).join(UNIT);
    match path.try_exists() {
        Ok(false) => return Ok(()),
        there => there.map_err(|error| failed("look at", &path, &error))?,
    };
    systemd::set_enabled("disable", UNIT)?;
    fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
    systemd::daemon_reload()?;
    systemd::stop(UNIT)
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::rejected(format!("cannot {doing} `{}`: {error}", path.display()))
}
