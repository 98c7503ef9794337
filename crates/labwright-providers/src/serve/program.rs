//! The program of the daemon: this very labwright, where a user without rights may start it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use labwright_plan::{
    Action, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Wanted,
};

use super::{Look, daemon};

/// The kind `program`; named by its path.
pub const KIND: Kind = Kind {
    name: "program",
    doc: "The program of the host's daemon: the labwright that applies, at a place where the daemon's own user may start it. A \
          daemon that runs already hands its listeners over to it.",
    fields: &[VERSION],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::None,
};

pub const VERSION: Field = Field {
    name: "version",
    doc: "Whether it is the labwright that applies, and whether a daemon that runs is of it.",
    on_change: OnChange::Update,
    consequence: Consequence::Hot,
    content: false,
};

/// `version` as it is wanted.
pub const THIS: &str = "this labwright";
/// `version` of any other.
pub const OTHER: &str = "another labwright";
/// Where it stands.
pub const PATH: &str = "/usr/local/lib/labwright/labwright";

/// BLAKE3 of a file, in hex.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The program of this process. `/proc/self/exe` leads to it even where its file was replaced.
pub fn own() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

fn failed(what: &str, path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::new(ErrorKind::Rejected, format!("failed to {what} `{}`: {error}", path.display()))
        .help("it needs a few MiB on a file system that is writable and may run programs")
}

pub fn observe(wanted: &Wanted<'_>) -> Look {
    let path = Path::new(wanted.id.name());
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at", path, &error)),
    }
    let there = digest(path).map_err(|error| failed("read", path, &error))?;
    let own = digest(&own()).map_err(|error| failed("read", &own(), &error))?;
    let version = if there == own && !daemon::is_other(&own)? { THIS } else { OTHER };
    Ok(Some(Observed { spec: Spec::from([("version".into(), version.into())]), data: None }))
}

pub fn apply(step: &Step) -> Result<(), ProviderError> {
    let path = Path::new(step.id.name());
    if step.action == Action::Delete {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
            _ => Ok(()),
        };
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
    let new = path.with_extension("new");
    let put = || -> io::Result<()> {
        drop(fs::remove_file(&new));
        io::copy(&mut File::open(own())?, &mut File::create(&new)?)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(|error| {
        drop(fs::remove_file(&new));
        failed("write", path, &error)
    })?;
    // One that runs hands everything over to the new program: nobody is refused.
    daemon::upgrade(&digest(path).map_err(|error| failed("read", path, &error))?)
}
