//! Files of the daemon: whoever reads one sees the old or the new, and a kill or a full disk leaves the old.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use labwright_model::snapshot::Snapshot;

use super::ServeError;

const LAST_GOOD: &str = "snapshot.json";

/// Sees to it that a folder is there, for its owner alone.
pub fn prepare(folder: &Path) -> Result<(), ServeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        let message = format!("failed to make the folder `{}`: {error}", folder.display());
        ServeError::new(message, "start it through systemd, which makes its folders, or name another with `--state`")
    })
}

/// Writes a file in whole: into a new one beside it, to the disk, and then in place of the old one.
///
/// # Errors
/// The disk's own; the old file is then as it was, and nothing is left beside it.
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.new"));
    let written = (|| {
        // What a killed run left here is nobody's.
        drop(fs::remove_file(&new));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        drop(fs::remove_file(&new));
    }
    written
}

/// The last snapshot that was served; `None`: there never was one.
pub fn load(state: &Path) -> Result<Option<Snapshot>, String> {
    let path = state.join(LAST_GOOD);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
    };
    let parsed = serde_json::from_slice(&text);
    parsed.map(Some).map_err(|error| format!("`{}` is no snapshot: {error}", path.display()))
}

pub fn keep(state: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(snapshot).map_err(io::Error::other)?;
    write_whole(&state.join(LAST_GOOD), &text, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_old_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_whole(&path, b"old", 0o600).unwrap();
        fs::write(folder.path().join(".a.new"), b"half of what a killed run wr").unwrap();
        write_whole(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        // A file system of a few pages, made full.
        let folder = tempfile::tempdir().unwrap();
        let mount = |arguments: &[&str]| std::process::Command::new(arguments[0]).args(&arguments[1..]).status();
        let at = folder.path().to_str().unwrap();
        assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=16k", "none", at]).unwrap().success(), "needs root");
        let path = folder.path().join("cert.pem");
        write_whole(&path, b"the old certificate", 0o600).unwrap();
        let error = write_whole(&path, &vec![b'x'; 64 << 10], 0o600).unwrap_err();
        let (kept, files) = (fs::read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count());
        assert!(mount(&["umount", at]).unwrap().success());
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!((kept.as_slice(), files), (&b"the old certificate"[..], 1));
    }

    #[test]
    fn a_broken_snapshot_is_told_and_none_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), Ok(None));
        fs::write(folder.path().join(LAST_GOOD), b"{").unwrap();
        assert!(load(folder.path()).unwrap_err().contains("is no snapshot"));
    }
}
