//! A name in an open directory: looked at, read and changed without ever following a link at the name itself.
//! Writes nothing into files: whole files and links are put in place by `atomic`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    File,
    Directory,
    Symlink,
    /// A socket, a pipe or a device.
    Other,
}

impl What {
    /// As the `type` field of a resource spells it.
    pub fn word(self) -> &'static str {
        match self {
            What::File => "file",
            What::Directory => "directory",
            What::Symlink => "symlink",
            What::Other => "other",
        }
    }

    /// With its article, for messages.
    pub fn phrase(self) -> &'static str {
        match self {
            What::File => "a file",
            What::Directory => "a directory",
            What::Symlink => "a symbolic link",
            What::Other => "a socket, a pipe or a device",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    pub what: What,
    /// The permission bits, with set-user-ID, set-group-ID and the sticky bit.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// In bytes.
    pub size: u64,
}

impl Attributes {
    fn of(stat: &rustix::fs::Stat) -> Self {
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => What::File,
            FileType::Directory => What::Directory,
            FileType::Symlink => What::Symlink,
            _ => What::Other,
        };
        Attributes {
            what,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
        }
    }
}

/// What a file or directory shall be owned by and open to; `None` leaves that as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permissions {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A name in an open directory.
pub struct Entry {
    pub(super) dir: OwnedFd,
    pub(super) name: OsString,
    path: PathBuf,
}

const OPEN_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Entry {
    /// The entry of an absolute path. Links above it are followed: where a folder leads is the host's own business.
    pub fn open(path: &Path) -> io::Result<Entry> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(Errno::INVAL));
        };
        let dir = rustix::fs::open(parent, OPEN_DIR, Mode::empty())?;
        Ok(Entry { dir, name: name.to_os_string(), path: path.to_path_buf() })
    }

    /// The entry `name` of this entry, which must be a directory and not a link to one.
    pub fn enter(&self, name: &str) -> io::Result<Entry> {
        let dir = rustix::fs::openat(&self.dir, &self.name, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty());
        // Of a link, Linux says that it is no directory; which of the two it is matters to whoever reads the message.
        let dir = dir.map_err(|errno| match self.look() {
            Ok(Some(Attributes { what: What::Symlink, .. })) => Errno::LOOP,
            _ => errno,
        })?;
        Ok(Entry { dir, name: name.into(), path: self.path.join(name) })
    }

    /// The path that it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its attributes; `None` where nothing is.
    pub fn look(&self) -> io::Result<Option<Attributes>> {
        match rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Attributes::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the file for reading. Anything else than a file is refused, and nothing that could hang is waited for.
    pub fn read(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty())?;
        match Attributes::of(&rustix::fs::fstat(&file)?).what {
            What::File => Ok(File::from(file)),
            What::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Where the link leads.
    pub fn target(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.dir, &self.name, Vec::new())?.into_bytes())
    }

    /// Makes a directory that nobody else may enter before it has its permissions.
    pub fn make_directory(&self, permissions: Permissions) -> io::Result<()> {
        rustix::fs::mkdirat(&self.dir, &self.name, Mode::RWXU)?;
        self.adjust(permissions)
    }

    /// Sets owner and mode of what is there, and never of what a link leads to.
    pub fn adjust(&self, permissions: Permissions) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let thing = rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty())?;
        let now = Attributes::of(&rustix::fs::fstat(&thing)?);
        if now.what == What::Symlink {
            return Err(Errno::LOOP.into());
        }
        give(thing.as_fd(), now, permissions)
    }

    /// Removes a file or a link; that it is gone already is success.
    pub fn remove(&self) -> io::Result<()> {
        self.unlink(&self.name, AtFlags::empty())
    }

    /// Removes an empty directory; that it is gone already is success.
    pub fn remove_directory(&self) -> io::Result<()> {
        self.unlink(&self.name, AtFlags::REMOVEDIR)
    }

    /// Removes a name of the same directory; that it is gone already is success.
    pub(super) fn unlink(&self, name: &OsStr, flags: AtFlags) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.dir, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Owner first: changing it takes set-user-ID away, and a file must not be open to its new group before it is theirs.
fn give(thing: BorrowedFd<'_>, now: Attributes, permissions: Permissions) -> io::Result<()> {
    let uid = permissions.uid.filter(|uid| *uid != now.uid).map(Uid::from_raw);
    let gid = permissions.gid.filter(|gid| *gid != now.gid).map(Gid::from_raw);
    let owned = uid.is_some() || gid.is_some();
    if owned {
        rustix::fs::chownat(thing, "", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    let mode = permissions.mode.unwrap_or(now.mode);
    if owned || mode != now.mode {
        // An `O_PATH` descriptor takes no `fchmod`; its name under /proc leads to the very same inode.
        let path = format!("/proc/self/fd/{}", thing.as_raw_fd());
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}
