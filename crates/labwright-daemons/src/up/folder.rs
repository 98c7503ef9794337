//! The folder that a lab has on this machine while it is up, and afterwards: data, logs, the control socket.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::serve::ServeError;

/// How long one that ends may take to let go.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of the lab file at `lab` (absolute) below Labwright's own state: the same each time, and another for
    /// another copy of the same lab.
    pub fn of(state: &Path, name: &str, lab: &Path) -> Folder {
        let hash = blake3::hash(lab.as_os_str().as_encoded_bytes()).to_hex();
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        Folder { path: state.join("up").join(format!("{plain}-{}", &hash[..10])) }
    }

    pub fn at(path: impl Into<PathBuf>) -> Folder {
        Folder { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What every process of this lab carries in its environment, so that none is lost: `LABWRIGHT_UP`.
    pub fn mark(&self) -> String {
        blake3::hash(self.path.as_os_str().as_encoded_bytes()).to_hex()[..24].to_string()
    }

    pub fn data(&self, unit: &str) -> PathBuf {
        self.path.join("data").join(unit)
    }

    pub fn log(&self, unit: &str) -> PathBuf {
        self.path.join("logs").join(format!("{unit}.log"))
    }

    /// The lab's own authority, once it has signed something.
    pub fn authority(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// What the dashboard asks those for who reach it from elsewhere.
    pub fn token(&self) -> PathBuf {
        self.path.join("dashboard.token")
    }

    /// Makes it, for its owner alone.
    ///
    /// # Errors
    /// Where it cannot be, and why.
    pub fn prepare(&self) -> Result<(), ServeError> {
        for folder in [self.path.clone(), self.path.join("logs"), self.path.join("data")] {
            std::fs::DirBuilder::new().recursive(true).create(&folder).map_err(|error| {
                let message = format!("failed to make the folder `{}`: {error}", folder.display());
                ServeError::new(
                    message,
                    "make room or let yourself write there, or set LABWRIGHT_STATE_DIR to another folder",
                )
            })?;
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&self.path, mode).map_err(|error| {
            ServeError::new(format!("failed to keep `{}` to its owner: {error}", self.path.display()), "")
        })
    }

    /// A lock that ends with this process. One that is ending is waited for.
    ///
    /// # Errors
    /// Another process has it, and keeps it.
    pub fn lock(&self, name: &str) -> Result<File, ServeError> {
        let path = self.path.join(name);
        let failed =
            |error: std::io::Error| ServeError::new(format!("failed to lock `{}`: {error}", path.display()), "");
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(ServeError::new(
                        "another `labwright up` of this lab is starting or ending",
                        "`labwright ps` shows it, `labwright down` ends it",
                    ));
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}
