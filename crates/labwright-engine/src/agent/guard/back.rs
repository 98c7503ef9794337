//! Goes a way back: puts files in place as they were, and runs what makes them count.
//! Goes on after a fault: half a way back is better than none, and every fault is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use labwright_plan::{Before, Call, Was, WayBack};
use rustix::fs::MemfdFlags;

const CALL_LIMIT: Duration = Duration::from_secs(60);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// When a way back is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Running,
    /// Before anything reads the files: little has to be told that they are back.
    Booting,
}

/// Goes it. The faults are in words; none: it is as it was.
pub fn go(way_back: &WayBack, when: When) -> Vec<String> {
    let mut faults = Vec::new();
    for before in &way_back.files {
        if let Err(error) = put_back(before) {
            faults.push(format!("cannot put `{}` back: {error}", before.path.display()));
        }
    }
    let due = way_back.calls.iter().filter(|call| when == When::Running || call.at_boot);
    faults.extend(due.filter_map(|call| call_fault(call).filter(|_| !call.may_fail)));
    faults
}

/// Whether any file stands otherwise than it did.
pub fn differs(way_back: &WayBack) -> bool {
    way_back.files.iter().any(|before| !stands(before).unwrap_or(false))
}

fn stands(before: &Before) -> io::Result<bool> {
    let there = match fs::symlink_metadata(&before.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(before.was == Was::Absent),
        there => there?,
    };
    Ok(match &before.was {
        Was::Absent => false,
        Was::Link { target } => there.is_symlink() && fs::read_link(&before.path)? == *target,
        Was::File { content, mode, uid, gid } => {
            there.is_file()
                && (there.mode() & 0o7777, there.uid(), there.gid()) == (*mode, *uid, *gid)
                && fs::read(&before.path)? == *content
        }
    })
}

fn put_back(before: &Before) -> io::Result<()> {
    if stands(before)? {
        return Ok(());
    }
    let path = &before.path;
    let parent = path.parent().unwrap_or(path);
    let new = parent.join(format!(".{}.labwright-back", path.file_name().unwrap_or_default().to_string_lossy()));
    drop(fs::remove_file(&new));
    match &before.was {
        Was::Absent => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        },
        Was::Link { target } => {
            fs::create_dir_all(parent)?;
            symlink(target, &new)?;
            fs::rename(&new, path)?;
        }
        Was::File { content, mode, uid, gid } => {
            fs::create_dir_all(parent)?;
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            file.write_all(content)?;
            let owner = file.metadata()?;
            if (owner.uid(), owner.gid()) != (*uid, *gid) {
                fchown(&file, Some(*uid), Some(*gid))?;
            }
            file.set_permissions(fs::Permissions::from_mode(*mode))?;
            file.sync_all()?;
            fs::rename(&new, path)?;
        }
    }
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Why a call did not go through, in words; `None`: it did.
fn call_fault(call: &Call) -> Option<String> {
    let shown = std::iter::once(&call.program).chain(&call.args).map(String::as_str).collect::<Vec<_>>().join(" ");
    match run(call) {
        Ok(None) => None,
        Ok(Some(said)) => Some(format!("`{shown}` failed: {said}")),
        Err(error) => Some(format!("cannot run `{shown}`: {error}")),
    }
}

/// The last thing that a failed program said; `None`: it did not fail. Memory files, not pipes: a daemon that it leaves
/// behind holds them open.
fn run(call: &Call) -> io::Result<Option<String>> {
    let sink = || Ok::<_, io::Error>(File::from(rustix::fs::memfd_create("labwright", MemfdFlags::CLOEXEC)?));
    let mut said = sink()?;
    let stdin = match &call.input {
        None => Stdio::null(),
        Some(input) => {
            let mut file = sink()?;
            file.write_all(input.as_bytes())?;
            file.rewind()?;
            file.into()
        }
    };
    let mut command = Command::new(&call.program);
    command.args(&call.args).env_clear().env("PATH", PATH).env("LC_ALL", "C").stdin(stdin);
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    let mut child = command.spawn()?;
    let since = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if since.elapsed() > CALL_LIMIT => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if status.is_some_and(|status| status.success()) {
        return Ok(None);
    }
    let mut text = String::new();
    said.rewind()?;
    said.read_to_string(&mut text)?;
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_string();
    Ok(Some(match status {
        None => format!("it did not end within {} s", CALL_LIMIT.as_secs()),
        Some(status) if last.is_empty() => status.to_string(),
        Some(_) => last,
    }))
}
