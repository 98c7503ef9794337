//! One host's things, seen and changed from where they are: hands each resource to its kind.
//! Knows no kind itself; what they share is what a session knows, and locks on what only one may change at a time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use labwright_model::side_by_side;
use labwright_plan::{
    Action, Context, Doors, Facts, Observed, Progress, ProviderError, ResourceId, Seen, Session, Spec, Step, Value,
    Wanted, WayBack,
};

use super::accounts::{Accounts, Edition};
use super::errors::file_error;
use super::systemd::{self, States};
use super::touched::Touched;
use super::{
    authorized_keys, directory, file, group, hostname, interface, mount, package, secret_file, sshd, symlink, sysctl,
    unit, user, way_back,
};

/// What was found of one resource: `None` where it is not there, an error where nobody can say.
pub type Look = Result<Option<Observed>, ProviderError>;

/// What every kind is told: where it is, and what was touched.
pub struct Here {
    pub context: Context,
    pub touched: Touched,
    /// The paths that the lab owns here, made when first asked for.
    owned: OnceLock<HashSet<String>>,
    /// Whether anything may be kept in memory for this lab, looked at when first asked for.
    kept: OnceLock<bool>,
    accounts: Mutex<()>,
    /// As they were last read, and by what a change is told.
    known: Mutex<Option<(Edition, Arc<Accounts>)>>,
    systemd: Mutex<()>,
    packages: Mutex<()>,
    /// Set once it was seen to that a unit brings secrets back after a reboot.
    pub boot_unit: AtomicBool,
}

/// What is read once for all resources that are looked at together.
pub struct Sights {
    /// Read when the first of the wanted asks.
    accounts: OnceLock<Result<Arc<Accounts>, ProviderError>>,
    pub units: Result<States, ProviderError>,
    pub packages: Result<BTreeSet<String>, ProviderError>,
}

impl Sights {
    /// Users and groups.
    pub fn accounts(&self, here: &Here) -> Result<&Accounts, ProviderError> {
        let accounts = self.accounts.get_or_init(|| here.accounts());
        accounts.as_ref().map(AsRef::as_ref).map_err(Clone::clone)
    }
}

/// Says what is going on with one step.
pub struct Saying<'a> {
    pub id: &'a ResourceId,
    pub progress: &'a dyn Progress,
}

impl Saying<'_> {
    /// Says it, under the step's id.
    pub fn say(&self, what: &str) {
        self.progress.say(self.id, what);
    }
}

impl Here {
    /// A session for what the engine knows now.
    pub fn new(context: &Context) -> Self {
        Here {
            context: context.clone(),
            touched: Touched::default(),
            owned: OnceLock::new(),
            kept: OnceLock::new(),
            accounts: Mutex::default(),
            known: Mutex::default(),
            systemd: Mutex::default(),
            packages: Mutex::default(),
            boot_unit: AtomicBool::new(false),
        }
    }

    /// What the host is.
    pub fn facts(&self) -> &Facts {
        &self.context.facts
    }

    /// What a resource was last made to be.
    pub fn applied(&self, id: &ResourceId) -> Option<&Spec> {
        self.context.applied.get(id)
    }

    /// Whether a path is a resource of the lab.
    pub fn owns(&self, path: &str) -> bool {
        let is_path = |id: &&ResourceId| matches!(id.kind(), "file" | "directory" | "symlink" | "mount");
        let paths = || self.context.applied.keys().filter(is_path).map(|id| id.name().to_string()).collect();
        self.owned.get_or_init(paths).contains(path)
    }

    /// Whether anything of this lab may be kept in memory; a path of which something is made now was not kept before.
    pub fn keeps(&self) -> bool {
        // What cannot be looked at may be there.
        *self.kept.get_or_init(|| self.context.secrets_dir.try_exists().unwrap_or(true))
    }

    /// A field as it is wanted; where it is no longer declared, as it was last applied.
    pub fn asked<'a>(&'a self, wanted: &Wanted<'a>, field: &str) -> Option<&'a Value> {
        wanted.spec.get(field).or_else(|| self.applied(wanted.id)?.get(field))
    }

    /// What the file system said no with, in the words of this host.
    pub fn file_error(&self, doing: &str, path: &Path, error: &io::Error) -> ProviderError {
        file_error(doing, path, error, self.facts())
    }

    /// Users and groups as they are now.
    pub fn accounts(&self) -> Result<Arc<Accounts>, ProviderError> {
        // Looked at before they are read: a change in between is read once more the next time.
        let edition = Edition::now(self.facts())?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, accounts)) = &*known
            && *of == edition
        {
            return Ok(accounts.clone());
        }
        let accounts = Arc::new(Accounts::read(self.facts())?);
        *known = Some((edition, accounts.clone()));
        Ok(accounts)
    }

    /// Only one may change `/etc/passwd` and its like at a time.
    pub fn lock_accounts(&self) -> MutexGuard<'_, ()> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unit files are written and then read by systemd in one go.
    pub fn lock_systemd(&self) -> MutexGuard<'_, ()> {
        self.systemd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// dpkg serves one caller at a time.
    pub fn lock_packages(&self) -> MutexGuard<'_, ()> {
        self.packages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what several of the wanted resources need, once, and nothing that none of them needs.
    fn sights(&self, wanted: &[Wanted<'_>]) -> Sights {
        let names =
            |kind: &str| wanted.iter().filter(move |w| w.id.kind() == kind).map(|w| w.id.name()).collect::<Vec<_>>();
        let packages = names("package");
        let mut units: Vec<String> = names("unit").into_iter().map(str::to_string).collect();
        units.extend(names("mount").into_iter().flat_map(mount::unit_names));
        let units = if units.is_empty() { Ok(States::default()) } else { systemd::show(&units) };
        let packages = if packages.is_empty() { Ok(BTreeSet::new()) } else { package::installed(&packages) };
        Sights { accounts: OnceLock::new(), units, packages }
    }

    fn look(&self, wanted: &Wanted<'_>, sights: &Sights) -> Look {
        match wanted.id.kind() {
            "package" => package::observe(wanted, sights),
            "group" => group::observe(self, wanted, sights),
            "user" => user::observe(self, wanted, sights),
            "authorized_keys" => authorized_keys::observe(self, wanted, sights),
            "directory" => directory::observe(self, wanted, sights),
            "file" => file::observe(self, wanted, sights),
            "symlink" => symlink::observe(self, wanted),
            "unit" => unit::observe(self, wanted, sights),
            "mount" => mount::observe(self, wanted, sights),
            "sysctl" => sysctl::observe(self, wanted),
            "hostname" => hostname::observe(self, wanted),
            "sshd" => sshd::observe(self),
            "interface" => interface::observe(self, wanted),
            kind => Err(ProviderError::bug(format!("the host provider has no kind `{kind}`"))),
        }
    }

    /// Only what is declared, or was, is anybody's business; anything more would make steps stale for nothing.
    fn keep_asked(&self, wanted: &Wanted<'_>, mut observed: Observed) -> Observed {
        let applied = self.applied(wanted.id);
        if wanted.spec.is_empty() && applied.is_none_or(Spec::is_empty) {
            return observed;
        }
        observed.spec.retain(|field, _| self.asked(wanted, field).is_some());
        observed
    }
}

/// From how many things on several threads look: fewer are seen before the second thread has begun.
const MANY: usize = 256;

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let sights = self.sights(wanted);
        let seen = |wanted: &Wanted<'_>| match self.look(wanted, &sights) {
            Ok(Some(observed)) => Seen::Present(self.keep_asked(wanted, observed)),
            Ok(None) => Seen::Absent,
            Err(error) => Seen::Unknown(error),
        };
        let looked_at = |wanted: &Wanted<'_>| (wanted.id.clone(), seen(wanted));
        match wanted.len() {
            0..MANY => wanted.iter().map(looked_at).collect(),
            _ => side_by_side(wanted, looked_at).into_iter().collect(),
        }
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        if matches!(step.action, Action::Adopt | Action::Release) {
            return Ok(());
        }
        let saying = &Saying { id: &step.id, progress };
        match step.id.kind() {
            "package" | "unit" => self.apply_batch(&[step], progress).pop().unwrap_or(Ok(())),
            "group" => group::apply(self, step, saying),
            "user" => user::apply(self, step, saying),
            "authorized_keys" => authorized_keys::apply(self, step, saying),
            "directory" => directory::apply(self, step, saying),
            "file" => file::apply(self, step, saying),
            "symlink" => symlink::apply(self, step, saying),
            "mount" => mount::apply(self, step, saying),
            "sysctl" => sysctl::apply(self, step),
            "hostname" => hostname::apply(self, step),
            "sshd" => sshd::apply(self, step, saying),
            "interface" => interface::apply(self, step, saying),
            kind => Err(ProviderError::bug(format!("the host provider has no kind `{kind}`"))),
        }
    }

    fn batches(&self, kind: &str) -> bool {
        matches!(kind, "package" | "unit")
    }

    fn apply_batch(&self, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
        let mut results: Vec<Result<(), ProviderError>> = steps.iter().map(|_| Ok(())).collect();
        for kind in ["package", "unit"] {
            for delete in [false, true] {
                let group = |i: &usize| {
                    let step = steps[*i];
                    let changes = !matches!(step.action, Action::Adopt | Action::Release);
                    changes && step.id.kind() == kind && (step.action == Action::Delete) == delete
                };
                let at: Vec<usize> = (0..steps.len()).filter(group).collect();
                if at.is_empty() {
                    continue;
                }
                let part: Vec<&Step> = at.iter().map(|i| steps[*i]).collect();
                let made = match (kind, delete) {
                    ("package", false) => package::install(self, &part, progress),
                    ("package", true) => package::remove(self, &part, progress),
                    (_, false) => unit::bring(self, &part, progress),
                    (_, true) => unit::remove(self, &part, progress),
                };
                at.into_iter().zip(made).for_each(|(i, result)| results[i] = result);
            }
        }
        for (i, step) in steps.iter().enumerate().filter(|(_, step)| !self.batches(step.id.kind())) {
            results[i] = self.apply(step, progress);
        }
        results
    }

    fn way_back(&self, step: &Step) -> Result<Option<WayBack>, ProviderError> {
        way_back::of(self, step)
    }

    fn doors(&self, step: &Step) -> Result<Doors, ProviderError> {
        match step.id.kind() {
            "sshd" => sshd::listens(),
            _ => Ok(Doors::default()),
        }
    }

    fn doors_ahead(&self, step: &Step) -> Result<Option<Doors>, ProviderError> {
        match step.id.kind() {
            "interface" => interface::doors_ahead(self, step),
            _ => Ok(None),
        }
    }

    fn restore(&self) -> Result<usize, ProviderError> {
        secret_file::restore(self)
    }

    fn persist(&self) -> Result<(), ProviderError> {
        self.touched.sync().map_err(|(folder, error)| self.file_error("make durable", &folder, &error))
    }
}

/// A text field of a step.
pub fn text<'a>(spec: &'a Spec, field: &str) -> Option<&'a str> {
    spec.get(field).and_then(Value::text)
}

/// A number field of a step, as the system's own ids are.
pub fn number(spec: &Spec, field: &str) -> Option<u32> {
    spec.get(field).and_then(Value::int).and_then(|number| u32::try_from(number).ok())
}

/// Permission bits, spelled in octal.
pub fn mode(spec: &Spec) -> Option<u32> {
    u32::from_str_radix(text(spec, "mode")?, 8).ok()
}
