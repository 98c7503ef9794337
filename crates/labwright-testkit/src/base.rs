//! The root file system under every systemd host: made once by mmdebstrap, kept in a cache, never written to again.
//! Its name is a hash of the recipe, so a changed recipe makes a new one. Old ones stay until the cache is cleared.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::run;

const SUITE: &str = "bookworm";

const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,nftables,ca-certificates,cron,procps,libpam-systemd";

/// What must be each host's own goes; what starts apt by the clock would hold its lock in the middle of a test.
const CUSTOMIZE: &str = "cd \"$1\" && rm -f etc/ssh/ssh_host_* etc/hostname etc/resolv.conf etc/machine-id \
     && for unit in apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer; do \
     ln -sf /dev/null etc/systemd/system/$unit; done";

/// The folder of the root file system; makes it if it is not there, which takes 20 to 60 s.
pub(crate) fn root_fs() -> Result<PathBuf> {
    root_fs_in(&cache(), |target| run(&mut mmdebstrap(target)).map(drop))
}

fn cache() -> PathBuf {
    let parent = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    parent.unwrap_or_else(|| PathBuf::from("/var/cache")).join("labwright-testkit")
}

fn root_fs_in(cache: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    ensure!(
        !cache.to_string_lossy().contains([':', ',', '\\']),
        "keep the base root file system in `{}`: overlay mounts take no path with `:`, `,` or `\\`",
        cache.display()
    );
    let recipe = blake3::hash([SUITE, PACKAGES, CUSTOMIZE].join("\n").as_bytes()).to_hex();
    let root = cache.join(format!("base-{}", &recipe[..16]));
    if root.is_dir() {
        return Ok(root);
    }
    fs::create_dir_all(cache).with_context(|| format!("make folder `{}`", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("open the lock of the cache")?;
    lock.lock().context("lock the cache")?;
    // Whoever held the lock has probably just made it.
    if !root.is_dir() {
        let partial = cache.join("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).context("remove a half-made root file system")?;
        }
        make(&partial).context("make the base root file system")?;
        fs::rename(&partial, &root).context("put the base root file system in place")?;
    }
    Ok(root)
}

fn mmdebstrap(target: &Path) -> Command {
    let mut command = Command::new("unshare");
    // In namespaces of its own, so that a build that is killed leaves neither processes nor mounts in `target`, which the
    // next one removes. The caller's environment stays: it may say how to reach the archive.
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]).env("LC_ALL", "C.UTF-8");
    command.args(["sh", "-c", "umask 022 && exec mmdebstrap \"$@\"", "sh"]);
    command.args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--include={PACKAGES}")).arg(format!("--customize-hook={CUSTOMIZE}"));
    command.arg(SUITE).arg(target);
    command
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use anyhow::bail;

    use super::*;

    #[test]
    fn it_is_made_once_however_many_ask_and_only_if_it_was_finished() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let interrupted = root_fs_in(&cache, |target| {
            fs::create_dir(target)?;
            bail!("interrupted")
        });
        assert!(format!("{:#}", interrupted.unwrap_err()).ends_with("interrupted"));

        let made = AtomicU32::new(0);
        let make = |target: &Path| {
            made.fetch_add(1, Ordering::Relaxed);
            fs::create_dir(target)?;
            thread::sleep(Duration::from_millis(50));
            Ok(fs::write(target.join("whole"), "")?)
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(root_fs_in(&cache, make).unwrap().join("whole").exists()));
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
