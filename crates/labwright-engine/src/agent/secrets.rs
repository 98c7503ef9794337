//! Secrets on their host: opened with the host's own key, in memory for one run, and kept on the disk only sealed.
//! Writes no secret anywhere itself; providers do, and only where nobody else reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use labwright_plan::sealed::{seal, sealed};
use labwright_plan::{
    ChangeKey, ErrorKind, Facts, Mark, Provider, ProviderError, ResourceId, Secrets, Spec, Step, looks_with_secrets,
};
use labwright_secrets::envelope::{self, HostIdentity};
use labwright_secrets::{SecretError, SecretText, identity};
use zeroize::Zeroizing;

use crate::protocol::HostKey;

/// The key of a host's SSH server is the host's own: nobody else has it, and it is what the lab knows the host by.
const SSH_HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
/// Where there is none that may be read, labwright keeps one of its own.
const OWN_KEY: &str = "host.agekey";
/// What a change key is derived for; BLAKE3 keeps keys for different ends apart by such a sentence.
const CHANGE_KEY_CONTEXT: &str = "labwright 2026-11-21 change detection of secret content on a host";
const MAX_KEY_BYTES: u64 = 1 << 16;

type Providers = &'static [&'static dyn Provider];

/// The host's key, found when it is first asked for.
pub struct Keys {
    state: PathBuf,
    /// The key of the SSH server, where this process may use it.
    ssh: Option<PathBuf>,
    found: Mutex<Option<Key>>,
}

#[derive(Clone)]
struct Key {
    path: PathBuf,
    content: Zeroizing<Vec<u8>>,
    recipient: String,
    /// It was there already. One that was only thought up is written with the first secret that comes.
    kept: bool,
}

impl Key {
    fn change_key(&self) -> ChangeKey {
        blake3::derive_key(CHANGE_KEY_CONTEXT, &self.content)
    }
}

impl Keys {
    pub fn new(state: &Path, facts: &Facts) -> Keys {
        let ssh = facts.root.then(|| SSH_HOST_KEY.into());
        Keys { state: state.to_path_buf(), ssh, found: Mutex::default() }
    }

    fn key(&self) -> Result<Key, ProviderError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() {
            *found = Some(self.find()?);
        }
        found.clone().ok_or_else(|| ProviderError::bug("the host's key was found and is not there"))
    }

    fn find(&self) -> Result<Key, ProviderError> {
        // A key of another kind than age can use is passed over like one that is not there; one that cannot be read is not: what
        // is kept here may be sealed for it.
        if let Some(ssh) = self.ssh.as_deref().filter(|ssh| is_there(ssh))
            && let Some(identity) = HostIdentity::usable_ssh_host_key(ssh).map_err(|error| unreadable(ssh, error))?
        {
            return Ok(Key { path: ssh.into(), content: read(ssh)?, recipient: identity.recipient(), kept: true });
        }
        let own = self.state.join(OWN_KEY);
        if is_there(&own) {
            let identity = HostIdentity::age_file(&own).map_err(from)?;
            return Ok(Key { path: own.clone(), content: read(&own)?, recipient: identity.recipient(), kept: true });
        }
        let (content, recipient) = identity::Identity::generate();
        let content = Zeroizing::new(content.expose().as_bytes().to_vec());
        Ok(Key { path: own, content, recipient, kept: false })
    }

    /// What the other end needs to know: whom to seal for, and what to hash with.
    pub fn tell(&self) -> Result<HostKey, ProviderError> {
        let key = self.key()?;
        Ok(HostKey { recipient: key.recipient.clone(), change_key: key.change_key() })
    }

    pub fn change_key(&self) -> Result<ChangeKey, ProviderError> {
        Ok(self.key()?.change_key())
    }

    /// Opens what came for a look. Nothing is kept and nothing is written: a plan changes no host.
    pub fn open(&self, (lab, host): (&str, &str), letter: &[u8]) -> Result<Secrets, ProviderError> {
        let key = self.key()?;
        let identity = match key.kept {
            true => identity_of(&key)?,
            false => HostIdentity::age_text(std::str::from_utf8(&key.content).unwrap_or_default()).map_err(from)?,
        };
        Ok(secrets(&envelope::open(letter, &identity, lab, host).map_err(from)?))
    }

    /// Opens what came with a run, keeps it sealed for the next boot, and gives each step the hash of what it will write.
    /// Refuses steps that were planned with other secrets than came.
    pub fn receive(
        &self,
        dir: &Path,
        (lab, host): (&str, &str),
        letter: &[u8],
        marks: &BTreeMap<ResourceId, Mark>,
        steps: &mut [Step],
        providers: Providers,
    ) -> Result<Secrets, ProviderError> {
        let key = self.key()?;
        if !key.kept {
            self.keep(&key)?;
        }
        let identity = identity_of(&key)?;
        let mut values = envelope::open(letter, &identity, lab, host).map_err(from)?;
        let change_key = key.change_key();
        let brought = secrets(&values);
        for step in steps.iter_mut() {
            let planned: Vec<Option<String>> = sealed(&step.spec).into_iter().map(|s| s.hash.clone()).collect();
            seal(&mut step.spec, &brought, &change_key);
            let now = sealed(&step.spec).into_iter().map(|s| s.hash.clone());
            // A hash by a key that was only thought up then tells nothing now.
            if key.kept && planned.into_iter().zip(now).any(|(planned, now)| planned != now) {
                let message = format!("the secrets of `{}` changed since the plan was made", step.id);
                return Err(ProviderError::new(ErrorKind::Conflict, message).help("plan again"));
            }
            for change in &mut step.changes {
                let after = Spec::from([(change.field.clone(), change.after.clone())]);
                let mut after = after;
                seal(&mut after, &brought, &change_key);
                if let Some(value) = after.remove(&change.field) {
                    change.after = value;
                }
            }
        }
        // What earlier runs brought for things that stay is kept beside what came now.
        let path = kept_path(dir, host);
        let wanted = held(marks, providers);
        values.retain(|name, _| wanted.contains(name.as_str()) || !only_looked_with(name, marks, steps, providers));
        let before = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            before => Some(before.map_err(|error| cannot_keep(&path, &error))?),
        };
        let before = match before.map(|before| envelope::open(&before, &identity, lab, host)) {
            // What was sealed to a key that is gone holds nothing for anybody any more.
            Some(Err(error)) if error.kind == labwright_secrets::ErrorKind::NoKey => None,
            // What may come back is not written over.
            Some(Err(error)) => return Err(unopened(&path, &error)),
            before => before.and_then(Result::ok),
        };
        for (name, value) in before.into_iter().flatten() {
            if wanted.contains(name.as_str()) {
                values.entry(name).or_insert(value);
            }
        }
        let again = envelope::seal(&key.recipient, lab, host, &values).map_err(from)?;
        self.keep_before(dir, (lab, host), marks)?;
        replace(&path, &again).map_err(|error| cannot_keep(&path, &error))?;
        Ok(brought)
    }

    /// Keeps what is sealed here as it is, beside what is about to replace it: until the steps of this run are made, what the
    /// marks speak of is made of the old secrets, and so is what comes back from a boot in between.
    fn keep_before(
        &self,
        dir: &Path,
        (lab, host): (&str, &str),
        marks: &BTreeMap<ResourceId, Mark>,
    ) -> Result<(), ProviderError> {
        let (path, beside) = (kept_path(dir, host), before_path(dir, host));
        let letter = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            letter => letter.map_err(|error| cannot_keep(&path, &error))?,
        };
        // A run that never ended left what fits, and put something newer in its place.
        if beside.is_file() && !self.all_fit(marks, &self.kept(dir, lab, host)?)? {
            return Ok(());
        }
        replace(&beside, &letter).map_err(|error| cannot_keep(&beside, &error))
    }

    fn all_fit(&self, marks: &BTreeMap<ResourceId, Mark>, secrets: &Secrets) -> Result<bool, ProviderError> {
        let change_key = self.change_key()?;
        Ok(marks.values().all(|mark| fits(&mark.applied, secrets, &change_key)))
    }

    /// Takes away what was kept from before, once nothing is made of it any more.
    fn forget_before(
        &self,
        dir: &Path,
        (lab, host): (&str, &str),
        marks: &BTreeMap<ResourceId, Mark>,
    ) -> Result<(), ProviderError> {
        let beside = before_path(dir, host);
        // What is kept now and cannot be opened fits nothing: what was before it stays.
        let Ok(kept) = self.kept(dir, lab, host) else { return Ok(()) };
        if !beside.is_file() || !self.all_fit(marks, &kept)? {
            return Ok(());
        }
        fs::remove_file(&beside).map_err(|error| cannot_keep(&beside, &error))
    }

    /// What is kept from before the last run, where things are still made of it.
    pub fn kept_before(&self, dir: &Path, lab: &str, host: &str) -> Result<Secrets, ProviderError> {
        self.kept_at(&before_path(dir, host), lab, host)
    }

    /// Seals what is kept under names that a host had before for its name of now as well: a boot asks by the name that the
    /// marks have, and they are about to have this one.
    pub fn take_over(&self, dir: &Path, (lab, host): (&str, &str), was: &[String]) -> Result<(), ProviderError> {
        let mut values = BTreeMap::new();
        for name in was.iter().map(String::as_str).filter(|name| *name != host).chain([host]) {
            let path = kept_path(dir, name);
            let letter = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                letter => letter.map_err(|error| cannot_keep(&path, &error))?,
            };
            // What was sealed to a key that is gone can be opened by nobody.
            let opened = envelope::open(&letter, &identity_of(&self.key()?)?, lab, name);
            // The name of now comes last, and what it has is newer.
            values.extend(opened.into_iter().flatten());
        }
        if values.is_empty() {
            return Ok(());
        }
        let path = kept_path(dir, host);
        let letter = envelope::seal(&self.key()?.recipient, lab, host, &values).map_err(from)?;
        replace(&path, &letter).map_err(|error| cannot_keep(&path, &error))
    }

    /// Removes what is kept under names that a host had before, once no mark has such a name.
    pub fn forget_names(
        &self,
        dir: &Path,
        was: &[String],
        marks: &BTreeMap<ResourceId, Mark>,
    ) -> Result<(), ProviderError> {
        let gone = was.iter().filter(|name| !marks.keys().any(|id| id.host() == *name));
        for path in gone.flat_map(|name| [kept_path(dir, name), before_path(dir, name)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_keep(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets what nothing here holds any more: who steals a disk must not find what was taken from the host.
    pub fn forget(
        &self,
        dir: &Path,
        (lab, host): (&str, &str),
        marks: &BTreeMap<ResourceId, Mark>,
        providers: Providers,
    ) -> Result<(), ProviderError> {
        let path = kept_path(dir, host);
        if !path.is_file() {
            return Ok(());
        }
        let failed = |error: io::Error| cannot_keep(&path, &error);
        let wanted = held(marks, providers);
        if wanted.is_empty() {
            let beside = before_path(dir, host);
            if beside.is_file() {
                fs::remove_file(&beside).map_err(|error| cannot_keep(&beside, &error))?;
            }
            return fs::remove_file(&path).map_err(failed);
        }
        self.forget_before(dir, (lab, host), marks)?;
        let letter = fs::read(&path).map_err(failed)?;
        // What was sealed to a key that is gone can be opened by nobody; the next secret that comes replaces it.
        let Ok(mut values) = envelope::open(&letter, &identity_of(&self.key()?)?, lab, host) else { return Ok(()) };
        let before = values.len();
        values.retain(|name, _| wanted.contains(name.as_str()));
        if values.len() == before {
            return Ok(());
        }
        let letter = envelope::seal(&self.key()?.recipient, lab, host, &values).map_err(from)?;
        replace(&path, &letter).map_err(failed)
    }

    /// What is kept sealed here for a lab: for the next boot.
    pub fn kept(&self, dir: &Path, lab: &str, host: &str) -> Result<Secrets, ProviderError> {
        self.kept_at(&kept_path(dir, host), lab, host)
    }

    fn kept_at(&self, path: &Path, lab: &str, host: &str) -> Result<Secrets, ProviderError> {
        let letter = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Secrets::default()),
            letter => letter.map_err(|error| cannot_keep(path, &error))?,
        };
        let values = envelope::open(&letter, &identity_of(&self.key()?)?, lab, host).map_err(from)?;
        Ok(secrets(&values))
    }

    fn keep(&self, key: &Key) -> Result<(), ProviderError> {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o400).open(&key.path);
        let written = file.and_then(|mut file| file.write_all(&key.content).and_then(|()| file.sync_all()));
        written.map_err(|error| cannot_keep(&key.path, &error))?;
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            found.kept = true;
        }
        Ok(())
    }
}

/// Whether a secret that came is there to look at things and to change them, and for nothing that outlives the run.
fn only_looked_with(name: &str, marks: &BTreeMap<ResourceId, Mark>, steps: &[Step], providers: Providers) -> bool {
    let specs = steps.iter().map(|step| (&step.id, &step.spec)).chain(marks.iter().map(|(id, m)| (id, &m.applied)));
    let mut uses =
        specs.filter(|(_, spec)| sealed(spec).iter().any(|content| content.names().any(|used| used == name)));
    uses.all(|(id, _)| looks_with_secrets(providers, id))
}

/// The names of the secrets that were applied here, and that the next boot needs.
fn held(marks: &BTreeMap<ResourceId, Mark>, providers: Providers) -> BTreeSet<&str> {
    let outlives = marks.iter().filter(|(id, _)| !looks_with_secrets(providers, id));
    outlives
        .flat_map(|(_, mark)| sealed(&mark.applied))
        .flat_map(|content| content.names().collect::<Vec<_>>())
        .collect()
}

/// Whether anything is there; what cannot be looked at is, and says so when it is read.
fn is_there(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn unopened(path: &Path, error: &SecretError) -> ProviderError {
    let path = path.display();
    let message = format!("what `{path}` keeps of earlier runs cannot be read: failed to {}", error.message);
    ProviderError::rejected(message).help(format!(
        "nothing was changed; bring the file back from a backup, or `rm {path}` gives up what it holds: files of secrets that \
         this apply does not write are then missing after the next boot, until theirs"
    ))
}

fn unreadable(ssh: &Path, error: SecretError) -> ProviderError {
    let ssh = ssh.display();
    ProviderError::rejected(format!("failed to {}", error.message)).help(format!(
        "secrets of this host are sealed for that key, so nothing is opened and nothing is changed: bring it back from a backup; if \
         it is lost, `rm {ssh} && ssh-keygen -A` makes another, and the next apply seals for that one"
    ))
}

fn identity_of(key: &Key) -> Result<HostIdentity, ProviderError> {
    match key.path.ends_with(OWN_KEY) {
        true => HostIdentity::age_file(&key.path),
        false => HostIdentity::ssh_host_key(&key.path),
    }
    .map_err(from)
}

fn kept_path(dir: &Path, host: &str) -> PathBuf {
    dir.join(format!("sealed-{host}.age"))
}

/// Whether anything is kept sealed here for a host.
pub fn keeps(dir: &Path, host: &str) -> bool {
    kept_path(dir, host).is_file()
}

fn before_path(dir: &Path, host: &str) -> PathBuf {
    dir.join(format!("sealed-{host}.before.age"))
}

/// Whether these secrets are those that something was made of, as far as they are at hand.
pub fn fits(spec: &Spec, secrets: &Secrets, change_key: &ChangeKey) -> bool {
    sealed(spec).into_iter().all(|content| match (&content.hash, content.hashed(secrets, change_key)) {
        (Some(made), Ok(now)) => *made == now,
        // What is not known, or not kept, says nothing.
        _ => true,
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    use std::io::Read;
    // One allocation: what a growing buffer leaves behind is not wiped.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES as usize));
    let read = fs::File::open(path).and_then(|file| file.take(MAX_KEY_BYTES).read_to_end(&mut content));
    read.map_err(|error| cannot_keep(path, &error))?;
    Ok(content)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn secrets(values: &BTreeMap<String, SecretText>) -> Secrets {
    values.iter().map(|(name, value)| (name.clone(), Zeroizing::new(value.expose().to_string()))).collect()
}

fn cannot_keep(path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::rejected(format!("cannot use `{}`: {error}", path.display()))
        .help("secrets are opened with it; nothing was changed")
}

/// The same fault, in the words of a run.
pub fn from(error: SecretError) -> ProviderError {
    let told = ProviderError::rejected(format!("failed to {}", error.message));
    match error.help {
        Some(help) => told.help(help),
        None => told,
    }
}

/// Where secrets are written: memory that goes with a reboot. `/dev/shm` where `/run` is on a disk, as in some containers.
pub fn folder(facts: &Facts) -> PathBuf {
    if let Some(named) = std::env::var_os("LABWRIGHT_RUN_DIR") {
        return named.into();
    }
    let is_memory = |path: &Path| rustix::fs::statfs(path).is_ok_and(|fs| MEMORY.contains(&fs.f_type));
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|_| !facts.root);
    let run = own.unwrap_or_else(|| "/run".into());
    let shared = || match facts.root {
        true => "/dev/shm/labwright".into(),
        false => format!("/dev/shm/labwright-{}", facts.user).into(),
    };
    match is_memory(&run) || !is_memory(Path::new("/dev/shm")) {
        true => run.join("labwright"),
        false => shared(),
    }
}

/// File systems that are memory and never reach a disk of their own; linux/magic.h.
const MEMORY: &[i64] = &[0x0102_1994, 0x8584_58f6];

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(state: &Path, ssh: &Path) -> Keys {
        Keys { state: state.to_path_buf(), ssh: Some(ssh.to_path_buf()), found: Mutex::default() }
    }

    fn keygen(path: &Path, kind: &[&str]) {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-f"]).arg(path).args(kind);
        assert!(command.status().unwrap().success());
    }

    #[test]
    fn a_host_key_that_cannot_be_read_is_not_one_of_another_kind() {
        let dir = tempfile::tempdir().unwrap();
        let ssh = dir.path().join("ssh_host_ed25519_key");
        let new = || keys(dir.path(), &ssh);
        // None at all, or one of another kind: the host has a key of its own.
        assert!(new().tell().unwrap().recipient.starts_with("age1"));
        keygen(&ssh, &["-t", "ecdsa"]);
        assert!(new().tell().unwrap().recipient.starts_with("age1"));
        fs::remove_file(&ssh).unwrap();
        keygen(&ssh, &["-t", "ed25519"]);
        assert!(new().tell().unwrap().recipient.starts_with("ssh-ed25519 "));
        // As a disk that was full, or a crash, leaves it.
        let whole = fs::read(&ssh).unwrap();
        for left in [&whole[..0], &whole[..60], b"\xff\xfe".as_slice()] {
            fs::write(&ssh, left).unwrap();
            let error = new().tell().unwrap_err();
            assert!(error.message.contains(&ssh.display().to_string()), "{error:?}");
            assert!(error.help.contains("ssh-keygen -A"), "{error:?}");
        }
        fs::remove_file(&ssh).unwrap();
        fs::create_dir(&ssh).unwrap();
        assert!(new().tell().unwrap_err().message.contains("failed to read the key"));
        assert!(!dir.path().join(OWN_KEY).exists(), "nothing was made in its place");
    }

    #[test]
    fn what_is_kept_and_cannot_be_opened_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path(), &dir.path().join("absent"));
        let receive = || {
            let recipient = keys.tell().unwrap().recipient;
            let values = BTreeMap::from([("a".to_string(), SecretText::from("new"))]);
            let letter = envelope::seal(&recipient, "lab", "h", &values).unwrap();
            keys.receive(dir.path(), ("lab", "h"), &letter, &BTreeMap::new(), &mut [], &[])
        };
        receive().unwrap();
        let kept = kept_path(dir.path(), "h");
        let whole = fs::read(&kept).unwrap();
        fs::write(&kept, &whole[..whole.len() / 2]).unwrap();
        let error = receive().unwrap_err();
        assert!(error.message.contains(&kept.display().to_string()) && error.help.contains("rm "), "{error:?}");
        assert_eq!(fs::read(&kept).unwrap(), &whole[..whole.len() / 2]);
        // Sealed for a key that is gone, it holds nothing for anybody.
        let (_, other) = identity::Identity::generate();
        fs::write(&kept, envelope::seal(&other, "lab", "h", &BTreeMap::new()).unwrap()).unwrap();
        receive().unwrap();
    }
}
