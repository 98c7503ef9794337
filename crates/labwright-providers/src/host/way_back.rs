//! The way back from changes of this host that may cut the way in: what stands there now, and what makes it count again.
//! Reads only; keeping it and going it is the engine's.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use labwright_plan::{Action, Before, Call, ProviderError, Step, Was, WayBack};

use super::session::Here;
use super::sshd;
use super::{authorized_keys, interface};

/// What a step would be undone with; `None` where it cuts nothing.
pub fn of(here: &Here, step: &Step) -> Result<Option<WayBack>, ProviderError> {
    if matches!(step.action, Action::Adopt | Action::Release) {
        return Ok(None);
    }
    let (paths, calls): (Vec<PathBuf>, Vec<Call>) = match step.id.kind() {
        "interface" => interface::way_back(here, step)?,
        "sshd" => (vec![sshd::DROP_IN.into()], sshd::revival(here)),
        "authorized_keys" => (authorized_keys::path(here, step)?.into_iter().collect(), Vec::new()),
        _ => return Ok(None),
    };
    let files = paths.iter().map(|path| before(path).map_err(|error| here.file_error("read", path, &error)));
    Ok(Some(WayBack { files: files.collect::<Result<_, _>>()?, calls, ..WayBack::default() }))
}

/// A path as it stands now.
pub fn before(path: &Path) -> io::Result<Before> {
    let was = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Was::Absent,
        Err(error) => return Err(error),
        Ok(there) if there.is_symlink() => Was::Link { target: fs::read_link(path)? },
        Ok(there) if there.is_file() => {
            Was::File { content: fs::read(path)?, mode: there.mode() & 0o7777, uid: there.uid(), gid: there.gid() }
        }
        Ok(_) => return Err(io::Error::other("it is neither a file nor a link, so there is no way back to it")),
    };
    Ok(Before { path: path.to_path_buf(), was })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_as_it_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, gone) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("gone"));
        fs::write(&file, b"\xff old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert!(matches!(before(&file).unwrap().was, Was::File { content, .. } if content == b"\xff old"));
        assert_eq!(before(&link).unwrap().was, Was::Link { target: "file".into() });
        assert_eq!(before(&gone).unwrap().was, Was::Absent);
        assert!(before(dir.path()).is_err());
    }
}
