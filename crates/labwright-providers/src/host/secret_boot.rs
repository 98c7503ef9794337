//! What makes secrets outlive a reboot: a unit that unseals them into memory before anything that reads them starts.
//! Writes no secret anywhere: what it unseals from is sealed to this host's own key.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::Ordering;

use labwright_plan::{ProviderError, Value};

use super::entry::{Entry, Permissions};
use super::session::Here;
use super::systemd::UNITS;

const UNIT: &str = "labwright-secrets.service";
const WANTS: &str = "sysinit.target.wants";
const PROGRAM: &str = "labwright";

fn unit(program: &Path, state: &Path) -> String {
    format!(
        "# Written by labwright; it goes with the last secret of this host.\n\
         [Unit]\n\
         Description=Secrets of this host, unsealed into memory\n\
         DefaultDependencies=no\n\
         RequiresMountsFor={state}\n\
         After=local-fs.target\n\
         Before=sysinit.target shutdown.target\n\
         Conflicts=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         Environment=LABWRIGHT_STATE_DIR={state}\n\
         ExecStart={program} agent --unseal\n\
         \n\
         [Install]\n\
         WantedBy=sysinit.target\n",
        program = program.display(),
        state = state.display(),
    )
}

/// Whether something of this host brings secrets back after a reboot.
fn boots(here: &Here) -> bool {
    here.facts().systemd && here.facts().root
}

/// Sees to it that the unit is there and starts at boot. Once a session is enough.
pub fn see_to_it(here: &Here) -> Result<(), ProviderError> {
    if !boots(here) || here.boot_unit.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let state = &here.context.state_dir;
    let program = program(state).map_err(|error| here.file_error("put a program into", state, &error))?;
    let path = Path::new(UNITS).join(UNIT);
    let text = unit(&program, state);
    let failed = |error: io::Error| here.file_error("write", &path, &error);
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let permissions = Permissions { mode: Some(0o644), ..Permissions::default() };
    Entry::open(&path).and_then(|entry| entry.write(&mut text.as_bytes(), permissions)).map_err(failed)?;
    let wants = Path::new(UNITS).join(WANTS);
    fs::create_dir_all(&wants).map_err(failed)?;
    Entry::open(&wants.join(UNIT)).and_then(|entry| entry.link(&path.to_string_lossy())).map_err(failed)?;
    here.touched.note(Path::new(UNITS));
    here.touched.note(&wants);
    Ok(())
}

/// Takes the unit away with the last secret.
pub fn tidy(here: &Here, gone: &Path) -> Result<(), ProviderError> {
    let kept = |(id, spec): (&labwright_plan::ResourceId, &labwright_plan::Spec)| {
        id.kind() == "file"
            && Path::new(id.name()) != gone
            && matches!(spec.get("content"), Some(Value::Secret(_)))
            && super::secret_file::is_kept(here, Path::new(id.name()))
    };
    let in_a_container = |(id, spec): (&labwright_plan::ResourceId, &labwright_plan::Spec)| {
        id.kind() == "container" && crate::docker::holds_secrets(spec) && !gone.ends_with(id.name())
    };
    if !boots(here) || here.context.applied.iter().any(|one| kept(one) || in_a_container(one)) {
        return Ok(());
    }
    for path in [Path::new(UNITS).join(WANTS).join(UNIT), Path::new(UNITS).join(UNIT)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(here.file_error("remove", &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A path by which this program is found at boot: it must not move with the next version.
fn program(state: &Path) -> io::Result<std::path::PathBuf> {
    let here = std::env::current_exe()?;
    let folder = state.join("bin");
    let path = folder.join(PROGRAM);
    if here == path {
        return Ok(path);
    }
    fs::create_dir_all(&folder)?;
    let new = folder.join(format!(".{PROGRAM}.new"));
    drop(fs::remove_file(&new));
    if here.parent() == Some(&folder) {
        symlink(here.file_name().unwrap_or_default(), &new)?;
    } else {
        let same = fs::metadata(&path).is_ok_and(|there| {
            fs::metadata(&here).is_ok_and(|own| own.len() == there.len() && own.mtime() <= there.mtime())
        });
        if same {
            return Ok(path);
        }
        fs::copy(&here, &new)?;
    }
    fs::rename(&new, &path)?;
    Ok(path)
}
