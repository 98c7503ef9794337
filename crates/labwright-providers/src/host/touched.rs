//! Which file systems this session wrote to, so that each is made durable once.
//! No file is synced by itself: a run of a hundred files would wait for the disk a hundred times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::entry::Entry;

#[derive(Default)]
pub struct Touched {
    /// A folder on each file system, by the file system's device number.
    folders: Mutex<BTreeMap<u64, PathBuf>>,
}

impl Touched {
    /// Something in this folder was written. One that is gone since is spoken for by what is above it.
    pub fn note(&self, folder: &Path) {
        let there = folder.ancestors().find_map(|folder| Some((folder, folder.metadata().ok()?)));
        if let Some((folder, metadata)) = there {
            self.note_on(metadata.dev(), folder);
        }
    }

    /// As `note`, of the folder that an entry is in.
    pub fn note_beside(&self, entry: &Entry) {
        if let (Ok(stat), Some(folder)) = (rustix::fs::fstat(&entry.dir), entry.path().parent()) {
            self.note_on(stat.st_dev, folder);
        }
    }

    fn note_on(&self, device: u64, folder: &Path) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.entry(device).or_insert_with(|| folder.to_path_buf());
    }

    /// Waits until all of it is on disk. On failure the path says which file system it is about.
    pub fn sync(&self) -> Result<(), (PathBuf, io::Error)> {
        let folders = std::mem::take(&mut *self.folders.lock().unwrap_or_else(PoisonError::into_inner));
        for (device, folder) in folders {
            sync(device, &folder).map_err(|error| (folder, error))?;
        }
        Ok(())
    }
}

fn sync(device: u64, folder: &Path) -> io::Result<()> {
    // The folder itself may be gone by now; what is above it on the same file system stands for it.
    for folder in folder.ancestors() {
        match File::open(folder) {
            Ok(open) if open.metadata()?.dev() == device => return Ok(rustix::fs::syncfs(&open)?),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_synced_once_and_a_folder_that_is_gone_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let touched = Touched::default();
        touched.note(&gone);
        touched.note(dir.path());
        assert_eq!(touched.folders.lock().unwrap().len(), 1);
        std::fs::remove_dir(&gone).unwrap();
        touched.sync().unwrap();
        assert!(touched.folders.lock().unwrap().is_empty());
    }
}
