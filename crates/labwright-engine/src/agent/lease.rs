//! Leases: one run at a time works on a lab on a host.
//! The lock goes with the process that holds it; the lease beside it says who that is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};

use crate::clock;
use crate::protocol::{Broken, Lease, Run};

/// A holder that did not renew for this long hangs.
const EXPIRES_AFTER_SECONDS: i64 = 600;
const RENEW_EVERY: Duration = Duration::from_secs(60);
const TRIES: u32 = 40;
const TRY_EVERY: Duration = Duration::from_millis(50);
/// How often a lock without a lease is looked at before its holder counts as one that has no name.
const GLANCES: u32 = 4;

/// A held lease; letting go of it frees the lock.
pub struct Held {
    lock: File,
    path: PathBuf,
    over: Arc<AtomicBool>,
    renewer: Option<std::thread::JoinHandle<()>>,
}

/// Takes the lease, or says who has it. A holder past its expiry is ended.
pub fn take(dir: &Path, run: &Run) -> io::Result<Result<Held, Lease>> {
    fs::create_dir_all(dir)?;
    let lock = open(dir)?;
    // A look at the lock holds it for an instant, and a holder that was ended needs one to go: so it is tried a few times.
    let mut ended = false;
    for _ in 0..TRIES {
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return hold(dir, lock, run).map(Ok);
        }
        match read(dir)? {
            Some(lease) if lease.expires < clock::now().as_second() && !ended => {
                end_holder(&lease);
                ended = true;
            }
            Some(lease) if !ended && is_running(&lease) => return Ok(Err(lease)),
            _ => {}
        }
        std::thread::sleep(TRY_EVERY);
    }
    Ok(Err(read(dir)?.unwrap_or_else(unnamed)))
}

/// A holder that did not say who it is.
fn unnamed() -> Lease {
    let run = Run { id: "unknown".into(), by: "another run".into(), plan: String::new() };
    Lease { run, pid: 0, acquired: 0, expires: 0, age: 0 }
}

fn is_running(lease: &Lease) -> bool {
    Path::new(&format!("/proc/{}", lease.pid)).exists()
}

fn hold(dir: &Path, lock: File, run: &Run) -> io::Result<Held> {
    let path = dir.join("lease.json");
    let acquired = clock::now().as_second();
    let lease = Lease {
        run: run.clone(),
        pid: std::process::id(),
        acquired,
        expires: acquired + EXPIRES_AFTER_SECONDS,
        age: 0,
    };
    write(&path, &lease)?;
    let over = Arc::new(AtomicBool::new(false));
    let renewer = std::thread::spawn({
        let (over, path) = (over.clone(), path.clone());
        move || {
            let mut lease = lease;
            loop {
                std::thread::park_timeout(RENEW_EVERY);
                if over.load(Ordering::Acquire) {
                    return;
                }
                lease.expires = clock::now().as_second() + EXPIRES_AFTER_SECONDS;
                // A full disk must not end a run that can go on: the lease then merely looks old.
                drop(write(&path, &lease));
            }
        }
    });
    Ok(Held { lock, path, over, renewer: Some(renewer) })
}

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))
}

fn write(path: &Path, lease: &Lease) -> io::Result<()> {
    let new = path.with_extension("json.new");
    fs::write(&new, serde_json::to_vec(lease).map_err(io::Error::other)?)?;
    fs::rename(new, path)
}

fn read(dir: &Path) -> io::Result<Option<Lease>> {
    let bytes = match fs::read(dir.join("lease.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let lease: Option<Lease> = serde_json::from_slice(&bytes).ok();
    Ok(lease.map(|lease| Lease { age: clock::now().as_second() - lease.acquired, ..lease }))
}

/// Who holds the lab here now. A lease without its lock is nobody's; a lock without its lease is somebody's all the same.
pub fn holder(dir: &Path) -> io::Result<Option<Lease>> {
    let lock = match File::open(dir.join("lock")) {
        // Nobody ever held it. A lock that cannot be opened may be held by anybody.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    // The lease is written just after the lock is taken, and removed just before it is let go.
    for _ in 0..GLANCES {
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        if let Some(lease) = read(dir)? {
            return Ok(Some(lease));
        }
        std::thread::sleep(TRY_EVERY);
    }
    Ok(Some(unnamed()))
}

/// Ends the holder, and looks whether it is gone: its lock goes with its process. Safe: a run that is killed anywhere
/// leaves a state that the next one goes on from.
pub fn break_lease(dir: &Path) -> io::Result<Broken> {
    let Some(was) = holder(dir)? else { return Ok(Broken::default()) };
    end_holder(&was);
    let mut broken = Broken { was: Some(was), now: None };
    for _ in 0..TRIES {
        broken.now = holder(dir)?;
        if broken.is_ended() {
            break;
        }
        std::thread::sleep(TRY_EVERY);
    }
    Ok(broken)
}

/// Only a process that is a labwright is ended: the number may be another's by now.
fn end_holder(lease: &Lease) {
    let exe = fs::read_link(format!("/proc/{}/exe", lease.pid)).unwrap_or_default();
    let ours = exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("labwright"));
    if let (true, Some(pid)) = (ours && lease.pid != std::process::id(), Pid::from_raw(lease.pid as i32)) {
        // A holder that ended meanwhile is as good as one that was ended.
        rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(renewer) = self.renewer.take() {
            renewer.thread().unpark();
            // Once it is gone it writes no more: the next holder's lease is safe from it.
            drop(renewer.join());
        }
        drop(fs::remove_file(&self.path));
        // Closing the file frees the lock; doing it here frees it before the file is closed elsewhere.
        rustix::fs::flock(&self.lock, FlockOperation::Unlock).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let run = |by: &str| Run { id: "r".into(), by: by.into(), plan: "p".into() };
        assert_eq!(holder(dir.path()).unwrap(), None);
        let held = take(dir.path(), &run("ola")).unwrap();
        let Err(lease) = take(dir.path(), &run("kari")).unwrap() else { panic!("taken twice") };
        assert_eq!(lease.run.by, "ola");
        assert_eq!(holder(dir.path()).unwrap().map(|lease| lease.run.by).as_deref(), Some("ola"));
        drop(held);
        assert_eq!(holder(dir.path()).unwrap(), None);
        assert!(take(dir.path(), &run("kari")).unwrap().is_ok());
    }

    #[test]
    fn a_lock_that_cannot_be_opened_is_not_free() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        std::os::unix::fs::symlink("lock", dir.path().join("lock")).unwrap();
        assert!(holder(dir.path()).is_err());
    }

    #[test]
    fn a_lease_left_by_a_dead_process_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run { id: "r".into(), by: "dead".into(), plan: "p".into() };
        let lease = Lease { run: run.clone(), pid: 1, acquired: 0, expires: i64::MAX, age: 0 };
        write(&dir.path().join("lease.json"), &lease).unwrap();
        assert!(take(dir.path(), &run).unwrap().is_ok());
    }

    fn locked(dir: &Path) -> File {
        let lock = open(dir).unwrap();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        lock
    }

    fn name_holder(dir: &Path, pid: u32) {
        let run = Run { id: "r".into(), by: "ola".into(), plan: "p".into() };
        write(&dir.join("lease.json"), &Lease { run, pid, acquired: 0, expires: i64::MAX, age: 0 }).unwrap();
    }

    #[test]
    fn a_lock_without_a_lease_is_somebodys() {
        let dir = tempfile::tempdir().unwrap();
        let lock = locked(dir.path());
        assert_eq!(holder(dir.path()).unwrap(), Some(unnamed()));
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_holder_that_is_no_labwright_is_left_alone_and_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let lock = locked(dir.path());
        name_holder(dir.path(), stranger.id());
        let broken = break_lease(dir.path()).unwrap();
        assert!(!broken.is_ended() && broken.was.is_some() && broken.now.is_some(), "{broken:?}");
        assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        drop(lock);
        assert_eq!(break_lease(dir.path()).unwrap(), Broken::default());
    }

    #[test]
    fn a_holder_that_is_a_labwright_is_ended_and_its_lock_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("labwright-sleeper");
        fs::copy("/bin/sleep", &program).unwrap();
        // As its standard input the sleeper holds the lock, and from then on alone.
        let mut sleeper = std::process::Command::new(&program).arg("60").stdin(locked(dir.path())).spawn().unwrap();
        name_holder(dir.path(), sleeper.id());
        let broken = break_lease(dir.path()).unwrap();
        assert!(broken.is_ended() && broken.was.is_some() && broken.now.is_none(), "{broken:?}");
        assert!(!sleeper.wait().unwrap().success());
    }
}
