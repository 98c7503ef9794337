//! What travels to one host: its secrets, encrypted for that host's key, saying which lab and host they are for.
//! Does not say who sent them: whoever carries the envelope vouches for that.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use age::{DecryptError, ssh, x25519};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::identity::{self, Identity};
use crate::recipient;
use crate::{ErrorKind, SecretError, SecretText};

const VERSION: u32 = 1;

#[derive(Serialize)]
struct Letter<'a> {
    version: u32,
    lab: &'a str,
    host: &'a str,
    values: BTreeMap<&'a str, &'a str>,
}

#[derive(Deserialize)]
struct Received {
    version: u32,
    lab: String,
    host: String,
    values: BTreeMap<String, Wiped>,
}

/// A value that goes from the reader straight into memory that is wiped.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Wiped(SecretText);

impl From<String> for Wiped {
    fn from(text: String) -> Wiped {
        Wiped(SecretText::new(text))
    }
}

/// Encrypts values for one host. `recipient` is `ssh-ed25519 …` or `age1…`; the result is age binary.
pub fn seal(
    recipient: &str,
    lab: &str,
    host: &str,
    values: &BTreeMap<String, SecretText>,
) -> Result<Vec<u8>, SecretError> {
    let fault =
        || SecretError::new(ErrorKind::Invalid, format!("seal the secrets for `{host}`: they cannot be written"));
    let values: BTreeMap<&str, &str> = values.iter().map(|(name, text)| (name.as_str(), text.expose())).collect();
    // An escape takes up to six bytes, so the buffer never moves and leaves nothing behind.
    let size: usize = values.iter().map(|(name, text)| 6 * (name.len() + text.len()) + 8).sum();
    let mut clear = Zeroizing::new(Vec::with_capacity(size + 6 * (lab.len() + host.len()) + 128));
    serde_json::to_writer(&mut *clear, &Letter { version: VERSION, lab, host, values }).map_err(|_| fault())?;
    recipient::encrypt(recipient, &clear)
}

/// Opens what was sealed for this host; an envelope for another lab or host is refused.
pub fn open(
    sealed: &[u8],
    key: &HostIdentity,
    lab: &str,
    host: &str,
) -> Result<BTreeMap<String, SecretText>, SecretError> {
    let fault = |kind, why: &str, help: &str| {
        Err(SecretError::new(kind, format!("open the secrets for `{host}`: {why}")).help(help.to_string()))
    };
    let opened = match &key.secret {
        Secret::Ssh(key) => identity::decrypt(sealed, key.as_ref()),
        Secret::X25519(keys) => {
            let mut opened = Err(DecryptError::NoMatchingKeys);
            for key in keys {
                opened = identity::decrypt(sealed, key);
                if !matches!(opened, Err(DecryptError::NoMatchingKeys)) {
                    break;
                }
            }
            opened
        }
    };
    let clear = match opened {
        Ok(clear) => clear,
        Err(DecryptError::NoMatchingKeys) => {
            let why = format!("they are not for this host's key `{}`", key.recipient);
            return fault(
                ErrorKind::NoKey,
                &why,
                "the host's key has changed since they were sealed: plan and apply again",
            );
        }
        Err(DecryptError::InvalidMac | DecryptError::DecryptionFailed) => {
            return fault(ErrorKind::Tampered, "they were changed on the way", "plan and apply again");
        }
        Err(DecryptError::Io(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            return fault(ErrorKind::Tampered, "they were changed on the way", "plan and apply again");
        }
        Err(_) => {
            return fault(ErrorKind::Malformed, "this is not an envelope, or a part of one", "plan and apply again");
        }
    };
    let Ok(letter) = serde_json::from_slice::<Received>(&clear) else {
        return fault(
            ErrorKind::Malformed,
            "their content is not known",
            "use the same version of `labwright` on both sides",
        );
    };
    if letter.version != VERSION {
        let why = format!("their version {} is not known", letter.version);
        return fault(ErrorKind::Malformed, &why, "use the same version of `labwright` on both sides");
    }
    if letter.lab != lab || letter.host != host {
        let why = format!("they are for host `{}` of lab `{}`", letter.host, letter.lab);
        return fault(
            ErrorKind::Tampered,
            &why,
            "an envelope works only where it was sealed for; look who carried it here",
        );
    }
    Ok(letter.values.into_iter().map(|(name, Wiped(text))| (name, text)).collect())
}

/// The private key of one host.
pub struct HostIdentity {
    secret: Secret,
    recipient: String,
    path: PathBuf,
}

enum Secret {
    Ssh(Box<ssh::Identity>),
    X25519(Vec<x25519::Identity>),
}

fn bad_host_key(path: &Path, why: &str) -> SecretError {
    SecretError::new(ErrorKind::Invalid, format!("use the host key `{}`: {why}", path.display()))
        .help("name the ed25519 host key: `/etc/ssh/ssh_host_ed25519_key`")
}

impl HostIdentity {
    /// The host's own SSH key: an OpenSSH ed25519 private key without a passphrase.
    pub fn ssh_host_key(path: &Path) -> Result<HostIdentity, SecretError> {
        HostIdentity::ssh_host_key_or_why(path)?.map_err(|why| bad_host_key(path, why))
    }

    /// As `ssh_host_key`; `None` where the key is whole and of a kind that nothing can be sealed for.
    ///
    /// # Errors
    /// The file cannot be read, or is no key: that says nothing of what the key is.
    pub fn usable_ssh_host_key(path: &Path) -> Result<Option<HostIdentity>, SecretError> {
        Ok(HostIdentity::ssh_host_key_or_why(path)?.ok())
    }

    fn ssh_host_key_or_why(path: &Path) -> Result<Result<HostIdentity, &'static str>, SecretError> {
        let bad = |why| bad_host_key(path, why);
        let content = identity::read_key_file(path, &mut Vec::new())?;
        let text = std::str::from_utf8(&content).map_err(|_| bad("it is not text"))?;
        let text = Zeroizing::new(format!("{}\n", text.trim()));
        let key =
            ssh::Identity::from_buffer(text.as_bytes(), None).map_err(|_| bad("it is not an OpenSSH private key"))?;
        let recipient = ssh::Recipient::try_from(key.clone());
        match (&key, recipient) {
            (ssh::Identity::Encrypted(_), _) => Ok(Err("it has a passphrase")),
            (ssh::Identity::Unencrypted(_), Ok(recipient @ ssh::Recipient::SshEd25519(..))) => {
                let recipient = recipient.to_string();
                Ok(Ok(HostIdentity { secret: Secret::Ssh(Box::new(key)), recipient, path: path.to_path_buf() }))
            }
            _ => Ok(Err("it is not an ed25519 key")),
        }
    }

    /// An age key that stands in no file yet.
    pub fn age_text(text: &str) -> Result<HostIdentity, SecretError> {
        let key = text.lines().find_map(|line| line.trim().parse::<x25519::Identity>().ok());
        let key = key.ok_or_else(|| SecretError::new(ErrorKind::Invalid, "use the host's key: it is no age key"))?;
        let recipient = key.to_public().to_string();
        Ok(HostIdentity { secret: Secret::X25519(vec![key]), recipient, path: PathBuf::new() })
    }

    /// An age identity file, as `age-keygen` or `create_age_file` writes it. The first key is the recipient.
    pub fn age_file(path: &Path) -> Result<HostIdentity, SecretError> {
        let content = identity::read_key_file(path, &mut Vec::new())?;
        let text = std::str::from_utf8(&content).unwrap_or_default();
        let keys: Vec<x25519::Identity> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        let Some(first) = keys.first() else {
            let message = format!("use the host key `{}`: it has no age key", path.display());
            return Err(SecretError::new(ErrorKind::Invalid, message).help("make one with `age-keygen`"));
        };
        let recipient = first.to_public().to_string();
        Ok(HostIdentity { secret: Secret::X25519(keys), recipient, path: path.to_path_buf() })
    }

    /// Makes an age key for this host: the file (mode 0400) is there whole or not at all, and none is overwritten.
    pub fn create_age_file(path: &Path) -> Result<HostIdentity, SecretError> {
        let fault = |error: std::io::Error| {
            let message = format!("write the host key `{}`: {error}", path.display());
            let error = SecretError::new(ErrorKind::Io, message);
            error.help("a key that is there is kept; look at it before you remove it")
        };
        let (content, _) = Identity::generate();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".labwright-")
            .make_in(folder, |path| std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path))
            .map_err(fault)?;
        temporary.as_file().write_all(content.expose().as_bytes()).map_err(fault)?;
        temporary.as_file().sync_all().map_err(fault)?;
        temporary.persist_noclobber(path).map_err(|error| fault(error.error))?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
        HostIdentity::age_file(path)
    }

    /// Whom to seal for: `ssh-ed25519 …` without a comment, or `age1…`.
    pub fn recipient(&self) -> String {
        self.recipient.clone()
    }
}

impl fmt::Debug for HostIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostIdentity").field("path", &self.path).field("recipient", &self.recipient).finish()
    }
}
