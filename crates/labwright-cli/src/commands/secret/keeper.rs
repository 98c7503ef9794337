//! Where secrets are kept, as the verbs see it: a SOPS file or a Vault, read, changed, and turned back after a rotation.
//! Nothing is written before `save` or `rotate`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use labwright_model::Parsed;
use labwright_model::store::{MADE, PUBLIC};
use labwright_secrets::generate::Made;
use labwright_secrets::store;
use labwright_secrets::{ErrorKind, SecretError, SecretText};

use super::in_vault::InVault;
use super::{Common, Kept, flat, public_name, publics, shown};
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::{secrets, vault};

/// A place that keeps secrets, opened to be changed.
pub trait Keeper {
    /// As messages show it.
    fn shown(&self) -> String;
    fn get(&self, name: &str) -> Result<SecretText, SecretError>;
    /// As `get`; `None` is a secret that is not there, and what cannot be read is an error.
    fn kept(&self, name: &str) -> Result<Option<SecretText>, SecretError> {
        match self.get(name) {
            Err(error) if error.kind == ErrorKind::NoSuchSecret => Ok(None),
            value => value.map(Some),
        }
    }
    /// The public halves of a secret, by which half.
    fn publics(&self, name: &str) -> Result<BTreeMap<String, String>, SecretError>;
    fn set(&mut self, name: &str, value: &SecretText) -> Result<(), CliError>;
    /// Puts what was made there: the secret, its public halves, and the day.
    fn put(&mut self, name: &str, made: &Made) -> Result<(), CliError>;
    /// Takes a secret out, with what goes with it.
    fn remove(&mut self, name: &str) -> Result<(), CliError>;
    fn save(&mut self) -> Result<(), CliError>;
    /// What is to be known of a value that was taken out.
    fn stays(&self) -> &'static str;
    /// Writes new values so that the old ones can come back, whatever happens to this process.
    fn rotate(&mut self) -> Result<(), CliError>;
    /// Finds the rotation that did not come to its end, if there is one.
    fn interrupted(&mut self) -> Result<bool, CliError>;
    /// Puts the old values back; they are still remembered.
    fn put_back(&mut self) -> Result<(), CliError>;
    /// The rotation is over: the old values are not needed any more.
    fn settle(&mut self) -> Result<(), CliError>;
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Sops,
    Vault,
}

/// Where secrets of these names are: in the SOPS file, unless the lab has only a Vault, the Vault was asked for, or
/// they are there already and not in the file.
pub fn place(common: &Common, parsed: &Parsed, existing: &[String]) -> Result<Place, CliError> {
    let has_vault = vault::declared(parsed).is_some();
    if common.vault && !has_vault {
        return Err(CliError::usage("`--vault` was given, and the lab names no Vault")
            .hint("add `platform: { secrets: { vault: { on: HOST } } }` to the lab file"));
    }
    let in_file = |name: &String| parsed.store.as_ref().is_some_and(|store| store.names.contains_key(name));
    let elsewhere = !existing.is_empty() && !existing.iter().any(in_file);
    Ok(match has_vault && (common.vault || parsed.store.is_none() || elsewhere) {
        true => Place::Vault,
        false => Place::Sops,
    })
}

impl Common {
    /// The place for new secrets, opened to be changed.
    pub fn keeper(&self, parsed: &Parsed, terminal: &Terminal) -> Result<Box<dyn Keeper>, CliError> {
        self.keeper_of(parsed, &[], terminal)
    }

    /// The place where these are, opened to be changed.
    pub fn keeper_of(
        &self,
        parsed: &Parsed,
        names: &[String],
        terminal: &Terminal,
    ) -> Result<Box<dyn Keeper>, CliError> {
        match place(self, parsed, names)? {
            Place::Sops => Ok(Box::new(self.hold(parsed, terminal)?)),
            Place::Vault => Ok(Box::new(InVault::new(vault::Vault::open(parsed)?))),
        }
    }

    /// The place where a rotation was cut off, which nothing else may change before that is over.
    pub fn cut_off(&self, parsed: &Parsed, terminal: &Terminal) -> Result<Box<dyn Keeper>, CliError> {
        let in_file = || secrets::path(parsed).map_or(Ok(false), |path| interrupted(&path).map(|left| left.is_some()));
        match place(self, parsed, &[])? {
            // Beside a file that nothing was cut off in, it can only have been the Vault.
            Place::Sops if vault::declared(parsed).is_none() || in_file()? => {
                let lock = store::file::lock(&secrets::path(parsed)?).map_err(secrets::error)?;
                let (path, opened) = secrets::open(parsed, &self.identity, terminal)?;
                Ok(Box::new(Kept { path, opened, _lock: lock }))
            }
            _ => Ok(Box::new(InVault::new(vault::Vault::open(parsed)?))),
        }
    }

    /// One value, wherever it is.
    pub fn value(&self, parsed: &Parsed, name: &str, terminal: &Terminal) -> Result<SecretText, CliError> {
        match place(self, parsed, &[name.to_string()])? {
            Place::Sops => self.open(parsed, terminal)?.get(name).map_err(secrets::error),
            Place::Vault => vault::Vault::open(parsed)?.get(name).map_err(vault::error),
        }
    }
}

/// The old store beside the new one, for as long as a rotation is under way. It is encrypted like the store.
fn before(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.before-rotation"))
}

/// The old store of a rotation that did not come to its end.
pub fn interrupted(path: &Path) -> Result<Option<PathBuf>, CliError> {
    let before = before(path);
    match before.try_exists() {
        Ok(there) => Ok(there.then_some(before)),
        Err(error) => {
            Err(CliError::usage(format!("cannot tell whether a rotation was cut off: {}: {error}", shown(&before)))
                .hint(format!("make the folder of {} readable for this user", shown(path))))
        }
    }
}

impl Keeper for Kept {
    fn shown(&self) -> String {
        shown(&self.path)
    }

    fn get(&self, name: &str) -> Result<SecretText, SecretError> {
        self.opened.get(name)
    }

    fn publics(&self, name: &str) -> Result<BTreeMap<String, String>, SecretError> {
        publics(&self.opened, name)
    }

    fn set(&mut self, name: &str, value: &SecretText) -> Result<(), CliError> {
        self.opened.set(name, value).map_err(secrets::error)?;
        self.dated(name);
        Ok(())
    }

    fn put(&mut self, name: &str, made: &Made) -> Result<(), CliError> {
        self.opened.set(name, &made.private).map_err(secrets::error)?;
        for (half, value) in &made.public {
            let key = public_name(name, half);
            self.opened.set_plain(&format!("{PUBLIC}.{key}"), value).map_err(secrets::error)?;
        }
        self.dated(name);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), CliError> {
        self.opened.remove(name).map_err(secrets::error)?;
        for name in [
            format!("{MADE}.{}", flat(name)),
            format!("{PUBLIC}.{}", public_name(name, "public")),
            format!("{PUBLIC}.{}", public_name(name, "chain")),
        ] {
            // What goes with it is there only for some.
            drop(self.opened.remove(&name));
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), CliError> {
        Kept::save(self)
    }

    fn stays(&self) -> &'static str {
        "earlier revisions of the file still hold it"
    }

    fn rotate(&mut self) -> Result<(), CliError> {
        let old = store::file::load(&self.path).map_err(secrets::error)?;
        store::file::replace(&before(&self.path), &old).map_err(secrets::error)?;
        Kept::save(self)
    }

    fn interrupted(&mut self) -> Result<bool, CliError> {
        Ok(interrupted(&self.path)?.is_some())
    }

    fn put_back(&mut self) -> Result<(), CliError> {
        let old = store::file::load(&before(&self.path)).map_err(secrets::error)?;
        store::file::replace(&self.path, &old).map_err(secrets::error)
    }

    fn settle(&mut self) -> Result<(), CliError> {
        fs::remove_file(before(&self.path))
            .map_err(|error| CliError::usage(format!("cannot remove {}: {error}", shown(&before(&self.path)))))
    }
}
