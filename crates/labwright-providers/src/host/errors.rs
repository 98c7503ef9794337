//! What the file system says no with, in words that name the path and the way out.
//! Retries nothing: no failure here goes away by itself.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use labwright_plan::{ErrorKind, Facts, ProviderError};
use rustix::io::Errno;

/// `doing` is the verb of what was tried: "cannot `doing` `path`".
pub fn file_error(doing: &str, path: &Path, error: &io::Error, facts: &Facts) -> ProviderError {
    let shown = path.display();
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            let system = mount_point(path);
            ProviderError::rejected(format!("no space left on the file system of `{}`", system.display()))
                .help(format!("make room there; `{shown}` is as it was"))
        }
        Some(Errno::ROFS) => ProviderError::rejected(format!("`{}` is on a read-only file system", folder(path)))
            .help("look at `dmesg` for disk errors, or at how it is mounted"),
        Some(Errno::ACCESS | Errno::PERM) if !facts.root => {
            let user = &facts.user;
            ProviderError::rejected(format!(
                "cannot {doing} `{shown}`: permission denied; labwright runs as `{user}` there, not root"
            ))
            .help(NOT_ROOT)
        }
        Some(Errno::ACCESS | Errno::PERM) => ProviderError::rejected(format!(
            "cannot {doing} `{shown}`: permission denied, even to root"
        ))
        .help(
            "look for an immutable flag (`lsattr`), a network file system that maps root away, or a container's limits",
        ),
        Some(Errno::NOENT) => match missing(path) {
            Some(missing) => ProviderError::rejected(format!("cannot {doing} `{shown}`: `{missing}` is not there"))
                .help(format!("declare the directory `{missing}`, under `directories`")),
            None => ProviderError::rejected(format!("cannot {doing} `{shown}`: it is not there")),
        },
        Some(Errno::NOTDIR) => ProviderError::new(
            ErrorKind::Conflict,
            format!("cannot {doing} `{shown}`: something above it is not a directory"),
        ),
        Some(Errno::LOOP) => {
            ProviderError::new(ErrorKind::Conflict, format!("cannot {doing} `{shown}`: it is a symbolic link"))
                .help("labwright does not follow links that others may have put there; remove it by hand")
        }
        _ => ProviderError::rejected(format!("cannot {doing} `{shown}`: {error}")),
    }
}

/// The way out for everything that only root may do.
pub const NOT_ROOT: &str =
    "log in as root, or as a user that may use `sudo` without a password (`ssh: { user: … }` on the host)";

/// The folder that `path` stands in.
fn folder(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

/// The highest folder above a path that is not there.
fn missing(path: &Path) -> Option<String> {
    let absent = path.ancestors().skip(1).filter(|folder| folder.metadata().is_err()).last();
    absent.map(|folder| folder.display().to_string())
}

/// Whether reading in a process's folder in `/proc` failed because it has ended, or never was: ENOENT and ESRCH, errno(3).
pub fn has_ended(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// Where the file system of a path is mounted; the nearest part that exists speaks for what does not.
pub fn mount_point(path: &Path) -> PathBuf {
    let mut at = path;
    while at.metadata().is_err()
        && let Some(parent) = at.parent()
    {
        at = parent;
    }
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    while let Some(parent) = at.parent()
        && device(parent) == device(at)
    {
        at = parent;
    }
    at.to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(errno: Errno, path: &str, facts: &Facts) -> String {
        let error = file_error("write", Path::new(path), &io::Error::from(errno), facts);
        format!("{}; {}", error.message, error.help)
    }

    #[test]
    fn messages_name_the_path_and_the_way_out() {
        let facts = Facts { user: "stian".into(), ..Facts::default() };
        let root = Facts { root: true, ..Facts::default() };
        assert!(said(Errno::NOSPC, "/proc/self/x/y", &root).starts_with("no space left on the file system of `/proc`"));
        assert!(said(Errno::ROFS, "/etc/motd", &root).starts_with("`/etc` is on a read-only file system"));
        let denied = said(Errno::ACCESS, "/etc/motd", &facts);
        assert!(
            denied
                .starts_with("cannot write `/etc/motd`: permission denied; labwright runs as `stian` there, not root")
        );
        assert!(said(Errno::PERM, "/etc/motd", &root).contains("even to root"));
        let missing = said(Errno::NOENT, "/nonexistent/a/b", &root);
        assert!(missing.ends_with("declare the directory `/nonexistent`, under `directories`"), "{missing}");
        assert_eq!(said(Errno::NOENT, "/etc/nonexistent", &root), "cannot write `/etc/nonexistent`: it is not there; ");
    }
}
