//! Puts whole files and links in place: whoever looks sees the old one or the new one, whenever this process is killed.
//! Waits for no disk: a run is made durable once, at its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use super::entry::{Entry, Permissions};

/// The longest name that Linux file systems take, in bytes.
const NAME_MAX: usize = 255;
const SUFFIX: &str = ".labwright-new";

impl Entry {
    /// Writes the file. Until its mode is set nobody but us can read it. On failure the old file is untouched.
    pub fn write(&self, content: &mut dyn Read, permissions: Permissions) -> io::Result<()> {
        self.put(|new| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&self.dir, new, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(content, &mut file)?;
            if permissions.uid.is_some() || permissions.gid.is_some() {
                let now = rustix::fs::fstat(&file)?;
                let uid = permissions.uid.filter(|uid| *uid != now.st_uid).map(Uid::from_raw);
                let gid = permissions.gid.filter(|gid| *gid != now.st_gid).map(Gid::from_raw);
                if uid.is_some() || gid.is_some() {
                    rustix::fs::fchown(&file, uid, gid)?;
                }
            }
            rustix::fs::fchmod(&file, Mode::from_raw_mode(permissions.mode.unwrap_or(0o644)))?;
            Ok(())
        })
    }

    /// Makes the symbolic link, over whatever file or link is there.
    pub fn link(&self, target: &str) -> io::Result<()> {
        self.put(|new| Ok(rustix::fs::symlinkat(target, &self.dir, new)?))
    }

    /// Makes something beside the entry, then renames it over the entry.
    fn put(&self, mut make: impl FnMut(&OsStr) -> io::Result<()>) -> io::Result<()> {
        let new = new_name(&self.name);
        let made = match make(&new) {
            // What a killed run left, or what somebody put in our way: in no case is it written through.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.unlink(&new, AtFlags::empty())?;
                make(&new)
            }
            made => made,
        };
        let made = made.and_then(|()| Ok(rustix::fs::renameat(&self.dir, &new, &self.dir, &self.name)?));
        if made.is_err() {
            drop(self.unlink(&new, AtFlags::empty()));
        }
        made
    }
}

/// The name under which `name` is made. The same each time, so that what a killed run left is found again.
fn new_name(name: &OsStr) -> OsString {
    let mut new = OsString::from(".");
    if name.len() + SUFFIX.len() < NAME_MAX {
        new.push(name);
    } else {
        new.push(&blake3::hash(name.as_encoded_bytes()).to_hex()[..32]);
    }
    new.push(SUFFIX);
    new
}

/// Whether a name is one that a killed run may have left.
pub fn is_leftover(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") && name.as_encoded_bytes().ends_with(SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    const OPEN: Permissions = Permissions { mode: Some(0o644), uid: None, gid: None };

    fn entry(dir: &tempfile::TempDir, name: &str) -> Entry {
        Entry::open(&dir.path().join(name)).unwrap()
    }

    fn names(dir: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_leftover_of_a_killed_run_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".motd.labwright-new"), "half of the new conte").unwrap();
        entry(&dir, "motd").write(&mut &b"new\n"[..], OPEN).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("motd")).unwrap(), "new\n");
        assert_eq!(names(&dir), ["motd"]);
    }

    #[test]
    fn a_link_or_hard_link_in_the_way_is_never_written_through() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("victim"), "precious").unwrap();
        symlink("victim", dir.path().join(".motd.labwright-new")).unwrap();
        entry(&dir, "motd").write(&mut &b"new\n"[..], OPEN).unwrap();
        fs::hard_link(dir.path().join("victim"), dir.path().join(".motd.labwright-new")).unwrap();
        symlink("victim", dir.path().join("link")).unwrap();
        entry(&dir, "motd").write(&mut &b"newer\n"[..], OPEN).unwrap();
        entry(&dir, "link").write(&mut &b"no link any more\n"[..], OPEN).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("victim")).unwrap(), "precious");
        assert!(!dir.path().join("link").is_symlink());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("motd"), "old").unwrap();
        entry(&dir, "motd").write(&mut Broken, OPEN).unwrap_err();
        assert_eq!(fs::read_to_string(dir.path().join("motd")).unwrap(), "old");
        assert_eq!(names(&dir), ["motd"]);
    }

    #[test]
    fn the_file_is_private_until_it_has_its_mode() {
        /// Looks at the file while it is written.
        struct Spy<'a>(&'a tempfile::TempDir, Option<u32>);
        impl Read for Spy<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.1.is_some() {
                    return Ok(0);
                }
                self.1 = Some(fs::metadata(self.0.path().join(".key.labwright-new"))?.mode() & 0o7777);
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let mut spy = Spy(&dir, None);
        entry(&dir, "key").write(&mut spy, Permissions { mode: Some(0o4755), ..OPEN }).unwrap();
        assert_eq!(spy.1, Some(0o600));
        assert_eq!(fs::metadata(dir.path().join("key")).unwrap().permissions().mode() & 0o7777, 0o4755);
    }

    #[test]
    fn the_longest_of_names_has_a_name_to_be_made_under() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(NAME_MAX);
        entry(&dir, &name).write(&mut &b"x"[..], OPEN).unwrap();
        assert_eq!(names(&dir), [name]);
        assert!(is_leftover(&new_name(OsStr::new("motd"))) && !is_leftover(OsStr::new("motd")));
    }

    #[test]
    fn permissions_are_set_without_following_a_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("victim"), "x").unwrap();
        let before = fs::metadata(dir.path().join("victim")).unwrap().mode();
        symlink("victim", dir.path().join("link")).unwrap();
        entry(&dir, "link").adjust(Permissions { mode: Some(0o777), ..OPEN }).unwrap_err();
        assert_eq!(fs::metadata(dir.path().join("victim")).unwrap().mode(), before);
        entry(&dir, "victim").adjust(Permissions { mode: Some(0o1711), ..OPEN }).unwrap();
        assert_eq!(fs::metadata(dir.path().join("victim")).unwrap().mode() & 0o7777, 0o1711);
    }

    const KILLED: &str = "LABWRIGHT_TEST_WRITES_UNTIL_KILLED";

    /// Does nothing by itself: the next test starts it in a process of its own, and kills that.
    #[test]
    fn writes_until_killed() {
        let Some(path) = std::env::var_os(KILLED) else { return };
        let entry = Entry::open(path.as_ref()).unwrap();
        for byte in [b'a', b'b'].iter().cycle() {
            entry.write(&mut vec![*byte; 100_000].as_slice(), OPEN).unwrap();
        }
    }

    #[test]
    fn killed_at_any_time_there_is_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        entry(&dir, "file").write(&mut vec![b'a'; 100_000].as_slice(), OPEN).unwrap();
        for round in 0..20 {
            let before = fs::metadata(&path).unwrap().ino();
            let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "host::atomic::tests::writes_until_killed"])
                .env(KILLED, &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // Another file under the same name: it is at it.
            while fs::metadata(&path).unwrap().ino() == before {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_micros(137 * round));
            writer.kill().unwrap();
            writer.wait().unwrap();
            let content = fs::read(&path).unwrap();
            assert_eq!(content.len(), 100_000);
            assert!(content.iter().all(|byte| *byte == content[0]));
        }
        entry(&dir, "file").write(&mut &b"the next run"[..], OPEN).unwrap();
        assert_eq!(names(&dir), ["file"]);
    }
}
