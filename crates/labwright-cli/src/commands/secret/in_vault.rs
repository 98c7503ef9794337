//! The lab's secrets in a Vault, as the verbs change them. Each path is written once, and only if nobody else wrote it
//! since it was read.

use std::cell::RefCell;
use std::collections::BTreeMap;

use labwright_secrets::generate::Made;
use labwright_secrets::vault::{Cas, Fields, Version};
use labwright_secrets::{ErrorKind, SecretError, SecretText};

use super::keeper::Keeper;
use crate::error::CliError;
use crate::vault::{self, HALVES, Vault, half_field};

/// The custom metadata of a path that is being rotated: the version that its old values are in; 0 where there is none.
const ROTATED_FROM: &str = "labwright_rotated_from";

/// The lab's secrets in a Vault.
pub struct InVault {
    vault: Vault,
    /// The newest versions, as they were when they were first asked for.
    read: RefCell<BTreeMap<String, Option<Version>>>,
    /// What the fields of a path shall be.
    changed: BTreeMap<String, Fields>,
    /// Paths that are being rotated, with their old versions.
    rotating: BTreeMap<String, u64>,
}

impl InVault {
    pub fn new(vault: Vault) -> InVault {
        InVault { vault, read: RefCell::default(), changed: BTreeMap::new(), rotating: BTreeMap::new() }
    }

    /// The newest version of a path; `None` if there is none.
    fn version(&self, path: &str) -> Result<Option<Version>, SecretError> {
        if let Some(version) = self.read.borrow().get(path) {
            return Ok(version.clone());
        }
        let version = match self.vault.kv().read(path) {
            Ok(version) => Some(version),
            Err(error) if error.kind == ErrorKind::NoSuchSecret && !error.message.ends_with("is below no mount") => {
                None
            }
            Err(error) => return Err(error),
        };
        self.read.borrow_mut().insert(path.to_string(), version.clone());
        Ok(version)
    }

    /// The fields of a path, to be changed.
    fn fields(&mut self, path: &str) -> Result<&mut Fields, CliError> {
        if !self.changed.contains_key(path) {
            let version = self.version(path).map_err(vault::error)?;
            if version.as_ref().is_some_and(|version| version.custom.contains_key(ROTATED_FROM)) {
                let message = format!("a rotation of `{path}` in {} did not come to its end", self.vault.shown());
                return Err(CliError::usage(message)
                    .hint("`labwright secret rotate --undo` puts the old values back everywhere")
                    .hint("`labwright secret rotate --finish` applies the new ones"));
            }
            self.changed.insert(path.to_string(), version.map(|version| version.fields).unwrap_or_default());
        }
        Ok(self.changed.entry(path.to_string()).or_default())
    }

    /// The version that a write of this path replaces.
    fn replaced(&self, path: &str) -> Result<Cas, CliError> {
        if let Some(version) = self.version(path).map_err(vault::error)? {
            return Ok(Cas::At(version.version));
        }
        // Where the newest version is deleted there is a number all the same.
        let metadata = self.vault.kv().metadata(path).map_err(vault::error)?;
        Ok(metadata.filter(|metadata| metadata.current > 0).map_or(Cas::New, |metadata| Cas::At(metadata.current)))
    }

    fn write(&self, path: &str, fields: &Fields) -> Result<(), CliError> {
        let kv = self.vault.kv();
        let before = self.version(path).map_err(vault::error)?;
        let cas = self.replaced(path)?;
        let Some(before) = before else { return kv.write(path, fields, cas).map(drop).map_err(vault::error) };
        if fields.is_empty() {
            return kv.delete_versions(path, &[before.version]).map_err(vault::error);
        }
        let differs = |(name, value): &(&String, &SecretText)| before.fields.get(*name) != Some(*value);
        let new: Fields = fields.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect();
        let gone = before.fields.keys().any(|name| !fields.contains_key(name));
        // Fields of others may be numbers or maps, which only a patch leaves alone.
        let written = match gone || new.len() == fields.len() {
            true => kv.write(path, fields, cas),
            false => kv.patch(path, &new, cas),
        };
        written.map(drop).map_err(vault::error)
    }

    fn mark(&self, path: &str, from: Option<u64>) -> Result<(), CliError> {
        let kv = self.vault.kv();
        let metadata = kv.metadata(path).map_err(vault::error)?;
        let mut custom = metadata.map(|metadata| metadata.custom).unwrap_or_default();
        match from {
            Some(version) => custom.insert(ROTATED_FROM.to_string(), version.to_string()),
            None => custom.remove(ROTATED_FROM),
        };
        kv.set_custom(path, &custom).map_err(vault::error)
    }
}

impl Keeper for InVault {
    fn shown(&self) -> String {
        self.vault.shown()
    }

    fn get(&self, name: &str) -> Result<SecretText, SecretError> {
        let (path, field) = self.vault.place(name);
        match self.changed.get(&path).and_then(|fields| fields.get(&field)) {
            Some(value) => Ok(value.clone()),
            None => self.vault.get(name),
        }
    }

    fn publics(&self, name: &str) -> Result<BTreeMap<String, String>, SecretError> {
        let (path, field) = self.vault.place(name);
        let version = self.version(&path)?;
        let fields = self.changed.get(&path).or(version.as_ref().map(|version| &version.fields));
        let half = |half: &&str| {
            let value = fields?.get(&half_field(&field, half))?;
            Some((half.to_string(), value.expose().to_string()))
        };
        Ok(HALVES.iter().filter_map(half).collect())
    }

    fn set(&mut self, name: &str, value: &SecretText) -> Result<(), CliError> {
        let (path, field) = self.vault.place(name);
        self.fields(&path)?.insert(field, value.clone());
        Ok(())
    }

    fn put(&mut self, name: &str, made: &Made) -> Result<(), CliError> {
        self.set(name, &made.private)?;
        let (path, field) = self.vault.place(name);
        let fields = self.fields(&path)?;
        for (half, value) in &made.public {
            fields.insert(half_field(&field, half), SecretText::from(value.as_str()));
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), CliError> {
        self.get(name).map_err(vault::error)?;
        let (path, field) = self.vault.place(name);
        let fields = self.fields(&path)?;
        fields.remove(&field);
        for half in HALVES {
            fields.remove(&half_field(&field, half));
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), CliError> {
        for (path, fields) in &self.changed {
            self.write(path, fields)?;
        }
        self.changed.clear();
        self.read.borrow_mut().clear();
        Ok(())
    }

    fn stays(&self) -> &'static str {
        "earlier versions there still hold it, until `vault kv metadata delete`"
    }

    fn rotate(&mut self) -> Result<(), CliError> {
        let paths: Vec<String> = self.changed.keys().cloned().collect();
        for path in paths {
            let old = self.version(&path).map_err(vault::error)?.map_or(0, |version| version.version);
            self.mark(&path, Some(old))?;
            self.rotating.insert(path, old);
        }
        let saved = self.save();
        if saved.is_err() {
            // No host has seen a new value; those that were written are taken back here and now.
            self.put_back()?;
            self.settle()?;
        }
        saved
    }

    fn interrupted(&mut self) -> Result<bool, CliError> {
        let kv = self.vault.kv();
        for path in kv.list_all(&self.vault.folder()).map_err(vault::error)? {
            let metadata = kv.metadata(&path).map_err(vault::error)?;
            let from = metadata.and_then(|metadata| metadata.custom.get(ROTATED_FROM)?.parse().ok());
            self.rotating.extend(from.map(|from| (path, from)));
        }
        Ok(!self.rotating.is_empty())
    }

    fn put_back(&mut self) -> Result<(), CliError> {
        let kv = self.vault.kv();
        for (path, old) in &self.rotating {
            let current = kv.metadata(path).map_err(vault::error)?.map_or(0, |metadata| metadata.current);
            match old {
                // Written by nobody, or put back already.
                _ if current == *old => {}
                0 => kv.delete_versions(path, &[current]).map_err(vault::error)?,
                _ => {
                    let fields = kv.read_version(path, *old).map_err(vault::error)?.fields;
                    kv.write(path, &fields, Cas::At(current)).map_err(vault::error)?;
                }
            }
        }
        self.read.borrow_mut().clear();
        Ok(())
    }

    fn settle(&mut self) -> Result<(), CliError> {
        for path in self.rotating.keys() {
            self.mark(path, None)?;
        }
        self.rotating.clear();
        self.read.borrow_mut().clear();
        Ok(())
    }
}
