//! A store as it lies on the disk: names and recipients can be read without a key.
//! Holds no secret; `open` gives the one that does.

use std::fmt;

use crate::identity::{Closed, Identities, Sealed, same_key};
use crate::recipient;
use crate::rules::Rule;
use crate::{ErrorKind, SecretError};

use super::cipher::{DataKey, Shut};
use super::leaf::{self, Leaf, aad};
use super::meta::{self, AgeEntry, Meta};
use super::opened::Opened;
use super::syntax::{self, Format, Lines, MAX_FILE_BYTES, Tree};
use super::value::{self, Type, Value};

/// A store that was read and not opened.
pub struct Document {
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) text: String,
    pub(super) tree: Tree,
    pub(super) meta: Meta,
}

/// One value of a store, as far as it is known without a key. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The dotted path, with list indices: `db.users.0`.
    pub path: String,
    pub line: usize,
    pub column: usize,
    /// Whether the file's rules want it encrypted; empty texts and nulls are not, even so.
    pub encrypted: bool,
}

impl Document {
    /// Reads a store. The name decides between YAML and JSON and stands in messages.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Document, SecretError> {
        let bad = |why: String, help: String| {
            SecretError::new(ErrorKind::Malformed, format!("read `{name}`: {why}")).help(help)
        };
        let format = format(name)?;
        if bytes.len() > MAX_FILE_BYTES {
            let help = "a store is for secrets; keep large files elsewhere, encrypted with `age`";
            return Err(bad(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20), help.to_string()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            bad(format!("line {line} is not UTF-8 text"), "save the file as UTF-8".to_string())
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let tree = syntax::read(format, text).map_err(|fault| {
            bad(
                format!("line {}: {}", syntax::line_of(text, fault.at), fault.message),
                fault.help.replace("FILE", name),
            )
        })?;
        let meta = Meta::parse(name, &tree.root)?;
        Ok(Document { name: name.to_string(), format, text: text.to_string(), tree, meta })
    }

    /// Begins an empty store for some recipients. The rule's own recipients do not count here.
    pub fn create(name: &str, recipients: &[String], rule: &Rule) -> Result<Opened, SecretError> {
        let format = format(name)?;
        let key = DataKey::fresh().ok_or_else(no_random)?;
        let age = wrap(&key, recipients)?;
        let text = meta::empty_store(format, &age, &rule.selection, rule.mac_only_encrypted);
        Ok(Opened::new(Document::parse(name, text.as_bytes())?, key))
    }

    /// Every value's name, in the order of the file.
    pub fn names(&self) -> Vec<Name> {
        let lines = Lines::new(&self.text);
        let name = |leaf: Leaf<'_>| {
            let (line, column) = lines.place(leaf.span.start);
            let encrypted = self.meta.selection.encrypts(&leaf.keys);
            Name { path: leaf.name, line, column, encrypted }
        };
        self.leaves().into_iter().map(name).collect()
    }

    /// Who can open it by an age or SSH key.
    pub fn recipients(&self) -> Vec<String> {
        self.meta.age.iter().map(|entry| entry.recipient.clone()).collect()
    }

    /// What other kinds of key open it too, such as `PGP`; they are kept, but cannot be made anew here.
    pub fn other_keys(&self) -> &[&'static str] {
        &self.meta.others
    }

    /// The store's name as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens the store with one of the keys and checks its seal; what was tampered with is not opened at all.
    pub fn open(self, identities: &Identities) -> Result<Opened, SecretError> {
        let sealed: Vec<Sealed<'_>> = self
            .meta
            .age
            .iter()
            .map(|entry| Sealed { recipient: &entry.recipient, text: entry.enc.trim().as_bytes() })
            .collect();
        let bytes = identities.open(&sealed).map_err(|closed| self.closed(closed, identities))?;
        let Some(key) = DataKey::from_bytes(&bytes) else {
            let message = format!("open `{}`: its data key is not one of SOPS", self.name);
            return Err(SecretError::new(ErrorKind::Malformed, message).help(self.back()));
        };
        self.verify(&key)?;
        Ok(Opened::new(self, key))
    }

    fn closed(&self, closed: Closed, identities: &Identities) -> SecretError {
        let name = &self.name;
        let recipients =
            self.recipients().iter().map(|recipient| format!("`{recipient}`")).collect::<Vec<_>>().join(", ");
        if let Some(recipient) = closed.damaged {
            let message = format!("open `{name}`: the key of `{recipient}` is at hand and does not fit its entry");
            let help = format!("the entry was damaged, or made for another key; {}", self.back());
            return SecretError::new(ErrorKind::NoKey, message).help(help);
        }
        if !closed.refused.is_empty() {
            let files =
                closed.refused.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(", ");
            let message = format!("open `{name}`: no passphrase, or a wrong one, for {files}");
            return SecretError::new(ErrorKind::NoKey, message)
                .help("try again, or give a key without a passphrase in `SOPS_AGE_KEY_FILE`");
        }
        let searched = match identities.searched() {
            [] => "were not looked for".to_string(),
            searched => format!("were looked for in {}", searched.join(", ")),
        };
        let help = format!(
            "it is encrypted for {recipients}; keys {searched}. Name the key's file in \
             `SOPS_AGE_KEY_FILE`, or let somebody who has a key add yours"
        );
        SecretError::new(ErrorKind::NoKey, format!("open `{name}`: no key at hand opens it")).help(help)
    }

    pub(super) fn leaves(&self) -> Vec<Leaf<'_>> {
        leaf::leaves(self.format, &self.text, &self.tree.root)
    }

    /// How to get the last good version.
    pub(super) fn back(&self) -> String {
        let name = &self.name;
        format!("take back the last good version: `git log -- {name}`, then `git checkout COMMIT -- {name}`")
    }

    /// What a leaf says in clear; `None` is null.
    pub(super) fn clear(&self, key: &DataKey, leaf: &Leaf<'_>) -> Result<Option<Value>, SecretError> {
        if leaf.scalar.is_null() && self.format == Format::Yaml || &*leaf.scalar.text == "null" && leaf.scalar.is_null()
        {
            return Ok(None);
        }
        if !self.meta.selection.encrypts(&leaf.keys) {
            return Ok(value::resolve(self.format, leaf.scalar));
        }
        key.decrypt(&leaf.scalar.text, &aad(&leaf.keys)).map(Some).map_err(|shut| self.shut(key, leaf, shut))
    }

    fn shut(&self, key: &DataKey, leaf: &Leaf<'_>, shut: Shut) -> SecretError {
        let (store, name) = (&self.name, &leaf.name);
        let line = syntax::line_of(&self.text, leaf.span.start);
        let error = |kind, why: &str, help: &str| {
            SecretError::new(kind, format!("open `{store}`: `{name}` on line {line} {why}")).help(help.to_string())
        };
        match shut {
            Shut::Clear => {
                let help = format!(
                    "it was written into the file by hand: take it out and set it with `labwright secret set {name}`; if it was ever committed, make a new one"
                );
                error(ErrorKind::Malformed, "is not encrypted", &help)
            }
            Shut::UnknownCipher => error(
                ErrorKind::Malformed,
                "is encrypted with a cipher that is not known here",
                "look whether a newer `labwright` knows it; SOPS writes `AES256_GCM`",
            ),
            Shut::Broken => error(ErrorKind::Malformed, "is cut off or misspelt", &self.back()),
            Shut::Tag => {
                let elsewhere = self
                    .leaves()
                    .into_iter()
                    .find(|other| other.keys != leaf.keys && key.decrypt(&leaf.scalar.text, &aad(&other.keys)).is_ok());
                match elsewhere {
                    Some(other) => error(
                        ErrorKind::Tampered,
                        &format!("was moved or copied here from `{}`", other.name),
                        "values are bound to their names: set it anew under this one",
                    ),
                    None => error(ErrorKind::Tampered, "was changed without the store's key", &self.back()),
                }
            }
        }
    }

    /// The seal over all values, as it should be: upper-case hexadecimal.
    pub(super) fn digest(&self, key: &DataKey) -> Result<String, SecretError> {
        use sha2::{Digest, Sha512};
        let mut hash = Sha512::new();
        if self.meta.mac_only_encrypted {
            hash.update(MAC_ONLY_ENCRYPTED);
        }
        for leaf in self.leaves() {
            let clear = self.clear(key, &leaf)?;
            if !self.meta.mac_only_encrypted || self.meta.selection.encrypts(&leaf.keys) {
                hash.update(clear.as_ref().map_or("", |value| value.text.as_str()));
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect())
    }

    fn verify(&self, key: &DataKey) -> Result<(), SecretError> {
        let digest = self.digest(key)?;
        let error = |why: &str| SecretError::new(ErrorKind::Tampered, format!("open `{}`: {why}", self.name));
        match key.decrypt(&self.meta.mac, &self.meta.lastmodified) {
            Ok(mac) if *mac.text == digest => Ok(()),
            Ok(_) => Err(error("its values are not those that it was sealed with")
                .help(format!("a value was taken out, put back or edited without the store's key; {}", self.back()))),
            Err(_) => {
                Err(error("its seal (`mac` or `lastmodified`) was changed without the store's key").help(self.back()))
            }
        }
    }
}

/// What SOPS hashes first where only encrypted values count: the SHA-256 of `sops`.
const MAC_ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

fn format(name: &str) -> Result<Format, SecretError> {
    Format::of(name).ok_or_else(|| {
        let message = format!("read `{name}`: a store is a `.yaml` or `.json` file");
        SecretError::new(ErrorKind::Invalid, message).help("rename it, or put its values into a `.yaml` store")
    })
}

pub(super) fn no_random() -> SecretError {
    SecretError::new(ErrorKind::Io, "make a key: the system gives no random numbers")
        .help("look at `/dev/urandom` on this machine")
}

/// The data key once for each recipient.
pub(super) fn wrap(key: &DataKey, recipients: &[String]) -> Result<Vec<AgeEntry>, SecretError> {
    if recipients.is_empty() {
        return Err(SecretError::new(ErrorKind::Invalid, "encrypt for nobody: no recipient is given")
            .help("give at least one `age1…` or `ssh-ed25519 …` key"));
    }
    let mut out: Vec<AgeEntry> = Vec::new();
    for recipient in recipients {
        let recipient = recipient::normal(recipient)?;
        if !out.iter().any(|entry| same_key(&entry.recipient, &recipient)) {
            let enc = recipient::encrypt_armored(&recipient, key.bytes())?;
            out.push(AgeEntry { recipient, enc });
        }
    }
    Ok(out)
}

/// A type and a text, for a value that is to be written.
pub(super) fn text_value(text: &str) -> Value {
    Value::new(Type::Str, text)
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("name", &self.name).field("recipients", &self.recipients()).finish()
    }
}
