//! `labwright secret edit`: the whole store in an editor, in memory, and encrypted again when the editor ends.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use labwright_model::store::{MADE, PUBLIC};
use labwright_secrets::SecretText;
use zeroize::Zeroizing;

use super::{Common, Kept, flat, shown};
use crate::error::{CliError, Exit};
use crate::secrets;
use crate::terminal::Terminal;

/// Where one edit works: this, and the number of its process.
const DESK: &str = "labwright-edit-";

/// Opens the decrypted store in `$VISUAL` or `$EDITOR`. The clear text is in memory only and is overwritten afterwards.
#[derive(clap::Args)]
pub struct Edit {
    #[command(flatten)]
    common: Common,
}

impl Edit {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        let mut kept = self.common.hold(&parsed, terminal)?;
        let clear = kept.opened.plain_text().map_err(secrets::error)?;
        let name = kept.path.file_name().unwrap_or_default();
        let desk = Desk::new(&name.to_string_lossy(), &clear)?;
        wipe_when_ended(desk.folder.clone())?;
        let before = kept.opened.all().map_err(secrets::error)?;
        loop {
            desk.edit()?;
            let edited = desk.read()?;
            match kept.opened.replace_plain(&edited) {
                Ok(()) => break,
                Err(error) => {
                    let error = secrets::error(error);
                    terminal.fail(&error);
                    if !again()? {
                        return Err(CliError::usage(format!("{} is as it was", shown(&kept.path))));
                    }
                }
            }
        }
        if !kept.opened.changed() {
            terminal.say(&format!("nothing changed in {}", shown(&kept.path)));
            return Ok(Exit::Done);
        }
        date(&mut kept, &before)?;
        kept.save()?;
        terminal.say(&format!("{} is saved", shown(&kept.path)));
        Ok(Exit::Done)
    }
}

/// What has another value now was made today; what is gone has no date.
fn date(kept: &mut Kept, before: &BTreeMap<String, SecretText>) -> Result<(), CliError> {
    let after = kept.opened.all().map_err(secrets::error)?;
    let noted = |name: &&String| name.starts_with(&format!("{MADE}.")) || name.starts_with(&format!("{PUBLIC}."));
    for name in after.keys().filter(|name| !noted(name) && before.get(*name) != after.get(*name)) {
        kept.dated(name);
    }
    for name in before.keys().filter(|name| !noted(name) && !after.contains_key(*name)) {
        // Not everything was ever dated.
        drop(kept.opened.remove(&format!("{MADE}.{}", flat(name))));
    }
    Ok(())
}

fn again() -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut err = io::stderr().lock();
    drop(err.write_all(b"edit it again? [Y/n] ").and_then(|()| err.flush()));
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(CliError::bug)?;
    Ok(!line.trim().eq_ignore_ascii_case("n") && !line.is_empty())
}

/// An interrupt is for the editor, which decides what it means. Who ends this program, or closes its terminal, leaves
/// nothing behind.
fn wipe_when_ended(folder: PathBuf) -> Result<(), CliError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(CliError::bug)?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().find(|signal| *signal != SIGINT) {
            wipe(&folder);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// A file in memory that an editor works on.
struct Desk {
    folder: PathBuf,
    file: PathBuf,
}

impl Desk {
    fn new(name: &str, clear: &SecretText) -> Result<Desk, CliError> {
        let base = memory()?;
        wipe_what_is_left(&base);
        let folder = base.join(format!("{DESK}{}", std::process::id()));
        let cannot = |error: io::Error| CliError::usage(format!("cannot use {}: {error}", shown(&folder)));
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(cannot)?;
        let desk = Desk { file: folder.join(name), folder: folder.clone() };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&desk.file);
        file.and_then(|mut file| file.write_all(clear.expose().as_bytes())).map_err(cannot)?;
        Ok(desk)
    }

    fn edit(&self) -> Result<(), CliError> {
        let named = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
        let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".into());
        // As git does it: the editor may have arguments of its own. The file's name is ours and holds no secret.
        let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.file).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(CliError::usage(format!("`{editor}` ended with {status}; nothing was changed"))),
            Err(error) => Err(CliError::usage(format!("cannot start `{editor}`: {error}"))
                .hint("set EDITOR to an editor that is installed")),
        }
    }

    fn read(&self) -> Result<SecretText, CliError> {
        let mut text = Zeroizing::new(String::with_capacity(1 << 20));
        let read = File::open(&self.file).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|error| CliError::usage(format!("cannot read what was edited: {error}; nothing was changed")))?;
        Ok(SecretText::from(text.as_str()))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        wipe(&self.folder);
    }
}

/// Overwrites everything that the editor left there, copies and swap files too, and removes it.
fn wipe(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let length = entry.metadata().map_or(0, |metadata| metadata.len());
        // Of a link only the link is ours.
        let own = OpenOptions::new().write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).open(entry.path());
        if let Ok(mut file) = own {
            // What cannot be overwritten is removed all the same.
            drop(io::copy(&mut io::repeat(0).take(length), &mut file).and_then(|_| file.sync_all()));
        }
    }
    drop(fs::remove_dir_all(folder));
}

/// Wipes what an edit left that was killed: nothing else would, until the next boot.
fn wipe_what_is_left(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(DESK)?.parse::<u32>().ok()) else { continue };
        let own = entry.metadata().is_ok_and(|there| there.is_dir() && there.uid() == rustix::process::geteuid().as_raw());
        if own && !Path::new("/proc").join(process.to_string()).exists() {
            wipe(&entry.path());
        }
    }
}

/// A folder that is memory, and where only we may look.
fn memory() -> Result<PathBuf, CliError> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = own.into_iter().chain([PathBuf::from("/dev/shm"), PathBuf::from("/run")]);
    let is_memory =
        |path: &Path| rustix::fs::statfs(path).is_ok_and(|fs| matches!(fs.f_type, 0x0102_1994 | 0x8584_58f6));
    let mut fit =
        places.filter(|path| is_memory(path) && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok());
    fit.next().ok_or_else(|| {
        CliError::usage("there is no folder in memory to edit in, and clear text is not written to a disk")
            .hint("mount a tmpfs on `/dev/shm`, or change single values with `labwright secret set NAME`")
    })
}
