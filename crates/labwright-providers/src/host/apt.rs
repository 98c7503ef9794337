//! Runs apt and dpkg: never asks, waits for their lock, mends what was interrupted, and says what they said.
//! Knows packages only by name.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use labwright_plan::{ErrorKind, ProviderError};

use super::command::{Output, last_lines, run, run_with};

/// Installing is a download and other people's scripts: half an hour is a slow line, not a hang.
const LIMIT: Duration = Duration::from_secs(1800);
/// As long as apt itself is told to wait for whoever else installs something.
const LOCK_WAIT: Duration = Duration::from_secs(120);

const ENV: &[(&str, &str)] = &[
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    // Restarts are steps of a plan; Ubuntu's needrestart would do them on its own.
    ("NEEDRESTART_MODE", "l"),
];

/// Files of the user's are kept where a package brings its own version of them. Without a terminal of its own, dpkg says what
/// went wrong where we read it.
const OPTIONS: &[&str] =
    &["-y", "-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0"];

type Say<'a> = &'a dyn Fn(&str);

fn apt_get(command: &[&str], names: &[&str]) -> Result<Output, ProviderError> {
    let args: Vec<&str> = command.iter().chain(OPTIONS).copied().chain(["--"]).chain(names.iter().copied()).collect();
    run_with("apt-get", &args, ENV, LIMIT)
}

/// Ends what an interrupted dpkg began; without that apt does nothing at all.
pub fn settle(say: Say<'_>) -> Result<(), ProviderError> {
    let begun = Instant::now();
    loop {
        let unfinished = fs::read_dir("/var/lib/dpkg/updates").is_ok_and(|mut entries| entries.next().is_some())
            || !run("dpkg", &["--audit"], Duration::from_secs(60))?.stdout.trim().is_empty();
        if !unfinished {
            return Ok(());
        }
        say("finishing what an interrupted dpkg began");
        let output = run_with("dpkg", &["--force-confold", "--configure", "-a"], ENV, LIMIT)?;
        let locked = output.stderr.contains("lock was locked by another process");
        if !locked {
            // A package that cannot be configured is that package's fault; apt says so when it is its turn.
            return Ok(());
        }
        if begun.elapsed() > LOCK_WAIT {
            return Err(ProviderError::new(ErrorKind::Timeout, "another program holds dpkg's lock for over 120 s")
                .help("`fuser /var/lib/dpkg/lock-frontend` on the host names it"));
        }
        say("waiting for another program that holds dpkg's lock");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Whether the package lists were fetched already, and what did not answer then. One for each run of installs.
#[derive(Default)]
pub struct Lists {
    fetched: Option<String>,
}

impl Lists {
    /// Fetches the lists, once. A source that does not answer is no reason to stop: it is told if it was needed.
    fn fetch(&mut self, say: Say<'_>) -> Result<(), ProviderError> {
        say("fetching the package lists");
        let output = apt_get(&["update"], &[])?;
        let own = output.stderr.lines().filter(|line| line.starts_with("E: ") || line.starts_with("W: "));
        self.fetched = Some(last_lines(&own.collect::<Vec<_>>().join("\n"), 3));
        Ok(())
    }
}

/// Installs packages in one transaction. Where apt does not know one, or its files are gone, the lists are fetched anew.
pub fn install(names: &[&str], lists: &mut Lists, say: Say<'_>) -> Result<(), ProviderError> {
    if lists.fetched.is_none() && sources_changed() {
        lists.fetch(say)?;
    }
    say(&format!("installing {}", names.join(", ")));
    let command = ["install", "--no-install-recommends"];
    let mut output = apt_get(&command, names)?;
    if !output.ok() && lists.fetched.is_none() && wants_update(&output) {
        lists.fetch(say)?;
        output = apt_get(&command, names)?;
    }
    if output.ok() {
        return Ok(());
    }
    let mut error = failure("install", names, &output);
    if let Some(unfetched) = lists.fetched.as_ref().filter(|unfetched| !unfetched.is_empty()) {
        error.message.push_str(&format!("\nfetching the package lists failed as well: {unfetched}"));
    }
    Err(error)
}

/// Whether the sources were written after the lists were fetched.
fn sources_changed() -> bool {
    let changed = |path: &Path| path.metadata().map(|metadata| (metadata.ctime(), metadata.ctime_nsec())).ok();
    let folder = Path::new("/etc/apt/sources.list.d");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let paths = entries.chain([folder.to_path_buf(), "/etc/apt/sources.list".into()]);
    let sources = paths.filter_map(|path| changed(&path)).max();
    sources.is_some() && sources > changed(Path::new("/var/lib/apt/lists"))
}

fn wants_update(output: &Output) -> bool {
    const SIGNS: &[&str] = &[
        "Unable to locate package",
        "has no installation candidate",
        "Couldn't find any package by",
        "Unable to fetch some archives",
        "404  Not Found",
    ];
    SIGNS.iter().any(|sign| output.stderr.contains(sign) || output.stdout.contains(sign))
}

/// Removes packages, if nothing else has to go with them.
pub fn remove(names: &[&str]) -> Result<(), ProviderError> {
    if names.is_empty() {
        return Ok(());
    }
    let trial = apt_get(&["remove", "--simulate"], names)?;
    if !trial.ok() {
        return Err(failure("remove", names, &trial));
    }
    let others: Vec<&str> = removals(&trial.stdout).filter(|package| !is_among(package, names)).collect();
    if !others.is_empty() {
        let (names, others) = (names.join("`, `"), others.join("`, `"));
        return Err(ProviderError::rejected(format!("removing `{names}` would also remove `{others}`"))
            .help(format!("remove `{others}` by hand first, or keep `{names}` declared")));
    }
    let output = apt_get(&["remove"], names)?;
    if output.ok() { Ok(()) } else { Err(failure("remove", names, &output)) }
}

/// What `apt-get --simulate` would remove.
fn removals(simulation: &str) -> impl Iterator<Item = &str> {
    simulation.lines().filter_map(|line| line.strip_prefix("Remv ")?.split_whitespace().next())
}

fn is_among(package: &str, names: &[&str]) -> bool {
    let bare = |name: &str| name.split(':').next().unwrap_or_default().to_string();
    names.iter().any(|name| bare(name) == bare(package))
}

/// apt's own last words, with what usually helps.
fn failure(doing: &str, names: &[&str], output: &Output) -> ProviderError {
    let names = names.join("`, `");
    let own = output.stderr.lines().filter(|line| !line.starts_with("W: ") && !line.starts_with("debconf: "));
    let own = last_lines(&own.collect::<Vec<_>>().join("\n"), 6);
    let said = if own.is_empty() { output.last_words(6) } else { own };
    let makers = providers(&output.stdout);
    let help = match () {
        () if !makers.is_empty() => {
            format!("`{names}` is a virtual package; declare one that provides it: `{}`", makers.join("`, `"))
        }
        () if said.contains("Unable to locate") || said.contains("no installation candidate") => {
            "check the name, and that the host's sources (`/etc/apt/sources.list`) have it".into()
        }
        () if said.contains("lock") => "another program installs something; apply again when it has ended".into(),
        () if said.contains("unmet dependencies") => "`apt-get -f install` on the host shows what is missing".into(),
        () if said.contains("not enough free space") || said.contains("No space left") => {
            "make room on the host".into()
        }
        () => at_fault(&said).map_or(String::new(), |package| {
            format!("`{package}` is at fault; `dpkg --configure {package}` on the host repeats what failed")
        }),
    };
    ProviderError::rejected(format!("apt cannot {doing} `{names}`: {said}")).help(help)
}

/// The package that dpkg could not finish with. It may be another one than was asked for.
fn at_fault(said: &str) -> Option<&str> {
    let line = said.lines().find_map(|line| line.strip_prefix("dpkg: error processing package "))?;
    line.split_whitespace().next()
}

/// The packages that provide a virtual one, as apt lists them below a line that says so.
fn providers(output: &str) -> Vec<&str> {
    let list = output.lines().skip_while(|line| !line.contains("is a virtual package provided by:")).skip(1);
    let list = list.take_while(|line| line.starts_with("  "));
    list.filter_map(|line| line.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_would_go_is_read_from_the_simulation() {
        let simulation = "Reading package lists...\nThe following packages will be REMOVED:\n  addon hello\n\
            0 upgraded, 0 newly installed, 2 to remove and 0 not upgraded.\nRemv addon [1.0]\nRemv hello [1.0]\n";
        assert_eq!(removals(simulation).collect::<Vec<_>>(), ["addon", "hello"]);
        assert!(is_among("libc6", &["libc6:amd64"]) && !is_among("addon", &["hello"]));
    }
    #[test]
    fn who_provides_a_virtual_package_is_read_from_apt() {
        let said = "Reading package lists...\nPackage virt is a virtual package provided by:\n  provider3 1.0\n  provider2 1.0\n\n";
        assert_eq!(providers(said), ["provider3", "provider2"]);
        assert_eq!(providers("Reading package lists...\n"), Vec::<&str>::new());
        assert_eq!(at_fault("x\ndpkg: error processing package broken (--configure):\n y\n"), Some("broken"));
    }
}
