//! A store on the disk: read with a limit, replaced whole or not at all, one writer at a time.
//! Looks at no content.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::{ErrorKind, SecretError};

use super::syntax::MAX_FILE_BYTES;

/// Reads a store.
pub fn load(path: &Path) -> Result<Vec<u8>, SecretError> {
    let fault = |error: io::Error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "name the store's file, or begin a store with `labwright secret init`",
            _ => "make it readable for this user",
        };
        SecretError::new(ErrorKind::Io, format!("read `{}`: {error}", path.display())).help(help)
    };
    let file = File::open(path).map_err(fault)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("read `{}`: it is larger than {} MiB", path.display(), MAX_FILE_BYTES >> 20);
        return Err(SecretError::new(ErrorKind::Malformed, message)
            .help("a store is for secrets; keep large files elsewhere, encrypted with `age`"));
    }
    Ok(bytes)
}

/// Puts new content in a file's place. A kill or a power cut at any time leaves the old content or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let fault = |error: io::Error| {
        SecretError::new(ErrorKind::Io, format!("write `{}`: {error}", path.display()))
            .help("the old content is untouched; look at the folder's owner, mode and free space")
    };
    // A link stays a link: what it points to is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = folder(&target);
    sweep(&target);
    // Whoever finds it locked knows that somebody is still writing it.
    let make = |path: &Path| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    };
    let mut temporary =
        tempfile::Builder::new().prefix(&temporary_prefix(&target)).make_in(folder, make).map_err(fault)?;
    temporary.write_all(bytes).map_err(fault)?;
    if let Ok(old) = target.metadata() {
        temporary.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o7777)).map_err(fault)?;
    }
    temporary.as_file().sync_all().map_err(fault)?;
    temporary.persist(&target).map_err(|error| fault(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How the names of new content begin until it is put in a file's place: by the file's own name, so that no writer of
/// another file beside it takes it for its own.
fn temporary_prefix(target: &Path) -> String {
    format!(".{}.labwright-", target.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what killed writers of this file left beside it. What somebody still writes is locked, and stays.
fn sweep(target: &Path) {
    let prefix = temporary_prefix(target);
    let Ok(entries) = std::fs::read_dir(folder(target)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if !random.is_some_and(|random| random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric())) {
            continue;
        }
        // A link, or what cannot be opened, is nothing that this wrote.
        let opened = OpenOptions::new().read(true).custom_flags(NOFOLLOW).open(entry.path());
        let Ok(file) = opened else { continue };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // It holds encrypted values alone; one that cannot be removed harms nobody.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Holds a store for one writer, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

/// Takes the lock of a store, or says who has it. The lock is a file beside the store: the store itself is replaced.
pub fn lock(path: &Path) -> Result<Lock, SecretError> {
    let beside = beside(path);
    let fault = |error: io::Error| {
        SecretError::new(ErrorKind::Io, format!("lock `{}`: {error}", path.display()))
            .help("look at the owner and mode of the store's folder")
    };
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(fault)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let mut holder = String::new();
                let _ = file.take(64).read_to_string(&mut holder);
                let who = match holder.trim().parse::<u32>() {
                    Ok(process) => format!("process {process}"),
                    Err(_) => "another process".to_string(),
                };
                let message = format!("lock `{}`: {who} is changing it", path.display());
                return Err(SecretError::new(ErrorKind::Io, message).help("wait until it has finished, then try again"));
            }
            Err(error) => return Err(fault(error.into())),
        }
        // Whoever had it before may have removed the file between our open and our lock.
        let same = match (file.metadata(), beside.metadata()) {
            (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
            _ => false,
        };
        if same {
            file.set_len(0).map_err(fault)?;
            writeln!(file, "{}", std::process::id()).map_err(fault)?;
            sweep(&path.canonicalize().unwrap_or_else(|_| path.to_path_buf()));
            return Ok(Lock { _file: file, path: beside });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still held, so that nobody locks a file that is about to go.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.lock"))
}
