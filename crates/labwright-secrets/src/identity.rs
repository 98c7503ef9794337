//! Age identities: where keys are looked for, read, and tried against what is encrypted.
//! Reads no environment by itself, and asks for a passphrase only when nothing else opens the file.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, Decryptor, ssh, x25519};
use zeroize::Zeroizing;

use crate::recipient;
use crate::{ErrorKind, SecretError, SecretText};

/// Larger key files are refused.
const MAX_KEY_FILE_BYTES: u64 = 1 << 20;

/// Where identities are looked for. What the environment says is handed in.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files that somebody named: missing or unreadable, they are an error.
    pub files: Vec<PathBuf>,
    /// `SOPS_AGE_KEY`
    pub env_key: Option<SecretText>,
    /// `SOPS_AGE_KEY_FILE`
    pub env_key_file: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or `~/.config`: `sops/age/keys.txt` below it is read if it is there.
    pub config_dir: Option<PathBuf>,
    /// The user's SSH keys, such as `~/.ssh/id_ed25519`: read if they are there.
    pub ssh_keys: Vec<PathBuf>,
}

/// Gives the passphrase of a key file, or `None` if nobody answers.
type AskPassphrase = Arc<dyn Fn(&Path) -> Option<SecretText> + Send + Sync>;

/// Keys at hand, and where they were looked for.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<Arc<Key>>,
    searched: Vec<String>,
    warnings: Vec<String>,
    ask: Option<AskPassphrase>,
}

struct Key {
    origin: PathBuf,
    secret: Secret,
}

enum Secret {
    X25519(x25519::Identity),
    Ssh {
        key: ssh::Identity,
        recipient: Option<String>,
    },
    /// An SSH key under a passphrase; its public half is known without.
    LockedSsh {
        key: ssh::Identity,
        recipient: String,
        opened: Mutex<Option<SecretText>>,
    },
    /// An age identity file that `age -p` encrypted.
    LockedFile {
        sealed: Vec<u8>,
        opened: Mutex<Option<Vec<x25519::Identity>>>,
    },
}

/// A new age key: the content of its file, and the recipient to encrypt for.
pub struct Identity;

impl Identity {
    /// Makes a key: its file's content, as `age-keygen` writes it but without a date, and its recipient.
    pub fn generate() -> (SecretText, String) {
        let key = x25519::Identity::generate();
        let recipient = key.to_public().to_string();
        let secret = key.to_string();
        let content = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
        (SecretText::new(content), recipient)
    }
}

impl Identities {
    /// Reads every key that the sources name. Unusable default keys become warnings; a named one is an error.
    pub fn load(sources: &Sources) -> Result<Identities, SecretError> {
        let mut found = Identities::default();
        for file in &sources.files {
            found.searched.push(format!("`{}`", file.display()));
            found.file(file)?;
        }
        match &sources.env_key {
            Some(text) => {
                found.searched.push("`SOPS_AGE_KEY`".to_string());
                found.lines(Path::new("SOPS_AGE_KEY"), &text.expose().replace(char::is_whitespace, "\n"))?;
            }
            None => found.searched.push("`SOPS_AGE_KEY` (not set)".to_string()),
        }
        match &sources.env_key_file {
            Some(file) => {
                found.searched.push(format!("`{}` (from `SOPS_AGE_KEY_FILE`)", file.display()));
                found.file(file)?;
            }
            None => found.searched.push("`SOPS_AGE_KEY_FILE` (not set)".to_string()),
        }
        let default = sources.config_dir.iter().map(|dir| dir.join("sops/age/keys.txt"));
        for file in default.chain(sources.ssh_keys.iter().cloned()) {
            if !file.exists() {
                found.searched.push(format!("`{}` (not there)", file.display()));
                continue;
            }
            found.searched.push(format!("`{}`", file.display()));
            if let Err(error) = found.file(&file) {
                found.warnings.push(format!("failed to {error}"));
            }
        }
        Ok(found)
    }

    /// The key of one file's content, for whoever just made it.
    pub fn from_text(text: &SecretText) -> Result<Identities, SecretError> {
        let mut found = Identities::default();
        found.searched.push("a key given as text".to_string());
        found.content(Path::new("key"), text.expose().as_bytes())?;
        Ok(found)
    }

    /// Who is asked for the passphrase of a protected key. It is asked only when no other key opens the file.
    #[must_use]
    pub fn with_passphrase(mut self, ask: impl Fn(&Path) -> Option<SecretText> + Send + Sync + 'static) -> Identities {
        self.ask = Some(Arc::new(ask));
        self
    }

    /// What the user should know: keys that others can read, default keys that could not be used.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where keys were looked for, each as words for a message.
    pub fn searched(&self) -> &[String] {
        &self.searched
    }

    /// The recipients of the keys at hand, as far as they are known without a passphrase.
    pub fn recipients(&self) -> Vec<String> {
        let locked = |key: &Arc<Key>| match &key.secret {
            Secret::LockedSsh { recipient, .. } => Some(recipient.clone()),
            secret => secret.recipient(),
        };
        self.keys.iter().filter_map(locked).collect()
    }

    fn push(&mut self, origin: &Path, secret: Secret) {
        self.keys.push(Arc::new(Key { origin: origin.to_path_buf(), secret }));
    }

    fn file(&mut self, path: &Path) -> Result<(), SecretError> {
        let content = read_key_file(path, &mut self.warnings)?;
        self.content(path, &content)
    }

    fn content(&mut self, origin: &Path, content: &[u8]) -> Result<(), SecretError> {
        let bad =
            |why: &str| SecretError::new(ErrorKind::Invalid, format!("read the key `{}`: {why}", origin.display()));
        if content.starts_with(b"age-encryption.org/") || content.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            let locked = Decryptor::new_buffered(age::armor::ArmoredReader::new(content));
            if !locked.is_ok_and(|decryptor| decryptor.is_scrypt()) {
                return Err(bad("it is encrypted, and not with a passphrase")
                    .help("decrypt it to a file with `age -d -i KEY FILE`, or protect it with `age -p`"));
            }
            self.push(origin, Secret::LockedFile { sealed: content.to_vec(), opened: Mutex::new(None) });
            return Ok(());
        }
        let text =
            std::str::from_utf8(content).map_err(|_| bad("it is not text").help("name the private key's file"))?;
        if text.trim_start().starts_with("-----BEGIN ") {
            let secret = ssh_key(origin, text)?;
            self.push(origin, secret);
            return Ok(());
        }
        self.lines(origin, text)
    }

    /// An age identity file: one key on each line.
    fn lines(&mut self, origin: &Path, text: &str) -> Result<(), SecretError> {
        let mut found = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Ok(key) = line.parse::<x25519::Identity>() else {
                let fault = |why: &str| format!("read the key `{}`: line {} {why}", origin.display(), number + 1);
                let (message, help) = match line {
                    _ if line.starts_with("AGE-PLUGIN-") => (
                        fault("is a key of an age plugin"),
                        "plugins are not run here; use a plain age key or an SSH key",
                    ),
                    _ if line.starts_with("AGE-SECRET-KEY-PQ-") => (
                        fault("is a post-quantum key"),
                        "this kind is not known here yet; make a plain one: `age-keygen`",
                    ),
                    _ if line.starts_with("age1") || line.starts_with("ssh-") => {
                        (fault("is a public key"), "name the private key's file")
                    }
                    _ => {
                        (fault("is not an age key"), "a key starts with `AGE-SECRET-KEY-1`; make one with `age-keygen`")
                    }
                };
                return Err(SecretError::new(ErrorKind::Invalid, message).help(help));
            };
            self.push(origin, Secret::X25519(key));
            found = true;
        }
        if !found {
            self.warnings.push(format!("`{}` has no key in it", origin.display()));
        }
        Ok(())
    }

    /// Opens one of several age texts: which of them, and what it holds. The keys without a passphrase go first.
    pub(crate) fn open(&self, sealed: &[Sealed<'_>]) -> Result<Zeroizing<Vec<u8>>, Closed> {
        let unlocked = self.keys.iter().flat_map(|key| sealed.iter().map(move |one| key.secret.try_open(one.text)));
        let mut unlocked = unlocked.flatten();
        if let Some(clear) = unlocked.next() {
            return Ok(clear);
        }
        let open: Vec<String> = self.keys.iter().filter_map(|key| key.secret.recipient()).collect();
        let fits = |one: &&Sealed<'_>| open.iter().any(|have| same_key(have, one.recipient));
        let mut damaged = sealed.iter().find(fits).map(|one| one.recipient.to_string());
        let mut refused = Vec::new();
        for key in &self.keys {
            let origin = &key.origin;
            match &key.secret {
                Secret::LockedSsh { key, recipient, opened } => {
                    let Some(one) = sealed.iter().find(|one| same_key(one.recipient, recipient)) else { continue };
                    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                    let passphrase = opened.take().or_else(|| self.ask.as_ref()?(origin));
                    let Some(passphrase) = passphrase else {
                        refused.push(origin.clone());
                        continue;
                    };
                    let unlocked = key.clone().with_callbacks(Given(SecretString::from(passphrase.expose())));
                    match decrypt(one.text, &unlocked) {
                        Ok(clear) => {
                            *opened = Some(passphrase);
                            return Ok(clear);
                        }
                        Err(DecryptError::KeyDecryptionFailed) => refused.push(origin.clone()),
                        Err(_) => damaged = Some(recipient.clone()),
                    }
                }
                Secret::LockedFile { sealed: file, opened } => {
                    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                    if opened.is_none() {
                        let passphrase = self.ask.as_ref().and_then(|ask| ask(origin));
                        *opened = passphrase.and_then(|passphrase| unlock(file, &passphrase));
                    }
                    let Some(keys) = opened.as_ref() else {
                        refused.push(origin.clone());
                        continue;
                    };
                    for key in keys {
                        if let Some(clear) = sealed.iter().find_map(|one| decrypt(one.text, key).ok()) {
                            return Ok(clear);
                        }
                    }
                }
                Secret::X25519(_) | Secret::Ssh { .. } => {}
            }
        }
        Err(Closed { damaged, refused })
    }
}

/// An age text and whom it says it is for.
pub(crate) struct Sealed<'a> {
    pub recipient: &'a str,
    pub text: &'a [u8],
}

/// Why nothing opened.
pub(crate) struct Closed {
    /// A recipient whose key is at hand and does not fit all the same.
    pub damaged: Option<String>,
    /// Key files whose passphrase was not given or was wrong.
    pub refused: Vec<PathBuf>,
}

impl Secret {
    /// The recipient of a key that needs no passphrase.
    fn recipient(&self) -> Option<String> {
        match self {
            Secret::X25519(key) => Some(key.to_public().to_string()),
            Secret::Ssh { recipient, .. } => recipient.clone(),
            Secret::LockedSsh { .. } | Secret::LockedFile { .. } => None,
        }
    }

    fn try_open(&self, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        match self {
            Secret::X25519(key) => decrypt(text, key),
            Secret::Ssh { key, .. } => decrypt(text, key),
            Secret::LockedSsh { .. } | Secret::LockedFile { .. } => Err(DecryptError::NoMatchingKeys),
        }
    }
}

/// Decrypts age text or age binary with one key, into memory that is wiped.
pub(crate) fn decrypt(sealed: &[u8], key: &dyn age::Identity) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    use std::io::Read;
    let decryptor = Decryptor::new_buffered(age::armor::ArmoredReader::new(sealed))?;
    let mut reader = decryptor.decrypt(std::iter::once(key))?;
    // The clear text is shorter than what it was sealed into, so the buffer never moves and leaves nothing behind.
    let mut clear = Zeroizing::new(Vec::with_capacity(sealed.len() + 1));
    reader.read_to_end(&mut clear)?;
    Ok(clear)
}

fn unlock(sealed: &[u8], passphrase: &SecretText) -> Option<Vec<x25519::Identity>> {
    let key = age::scrypt::Identity::new(SecretString::from(passphrase.expose()));
    let clear = decrypt(sealed, &key).ok()?;
    let text = std::str::from_utf8(&clear).ok()?;
    Some(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// Answers age's question for a passphrase with the one that was given.
#[derive(Clone)]
struct Given(SecretString);

impl age::Callbacks for Given {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, _: &str) -> Option<SecretString> {
        Some(self.0.clone())
    }
}

/// Reads a key file into memory that is wiped, and warns if others may read it too.
pub(crate) fn read_key_file(path: &Path, warnings: &mut Vec<String>) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    use std::io::Read;
    let fault = |error: &std::io::Error| {
        let error = SecretError::new(ErrorKind::Io, format!("read the key `{}`: {error}", path.display()));
        error.help("name another key file, or make it readable for this user")
    };
    let file = std::fs::File::open(path).map_err(|error| fault(&error))?;
    let metadata = file.metadata().map_err(|error| fault(&error))?;
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(SecretError::new(
            ErrorKind::Invalid,
            format!("read the key `{}`: it is no key file: too large", path.display()),
        ));
    }
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        let shown = path.display();
        warnings.push(format!(
            "`{shown}` can be read by others (mode {:04o}): `chmod 600 {shown}`",
            metadata.mode() & 0o7777
        ));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut content).map_err(|error| fault(&error))?;
    Ok(content)
}

fn ssh_key(origin: &Path, text: &str) -> Result<Secret, SecretError> {
    let bad = |why: &str| SecretError::new(ErrorKind::Invalid, format!("read the key `{}`: {why}", origin.display()));
    // The reader of OpenSSH keys wants exactly one line break at the end of the last line.
    let text = Zeroizing::new(format!("{}\n", text.trim()));
    let key = ssh::Identity::from_buffer(text.as_bytes(), Some(origin.display().to_string()))
        .map_err(|_| bad("it is not an OpenSSH private key").help("name a key that `ssh-keygen -t ed25519` made"))?;
    let recipient = ssh::Recipient::try_from(key.clone()).ok().map(|recipient| recipient.to_string());
    match (&key, recipient) {
        (ssh::Identity::Unencrypted(_), recipient) => Ok(Secret::Ssh { key, recipient }),
        (ssh::Identity::Encrypted(_), Some(recipient)) => {
            Ok(Secret::LockedSsh { key, recipient, opened: Mutex::new(None) })
        }
        _ => Err(bad("age cannot use this kind of SSH key").help(
            "use an ed25519 or RSA key (`ssh-keygen -t ed25519`), not one on a token and none of the old PEM kind",
        )),
    }
}

/// Whether two recipients are one key: the comment behind an SSH key does not count.
pub(crate) fn same_key(one: &str, other: &str) -> bool {
    recipient::without_comment(one) == recipient::without_comment(other)
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("keys", &self.keys.len()).field("searched", &self.searched).finish()
    }
}
