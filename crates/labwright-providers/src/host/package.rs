//! Debian packages that are installed.
//! Owns no version: upgrades are their own work, with their own order.

use std::collections::BTreeSet;
use std::time::Duration;

use labwright_plan::{
    Consequence, Field, Kind, Observed, OnChange, Ownership, Progress, ProviderError, Refusal, Resource, Spec, Step,
    Value, Wanted,
};

use super::apt;
use super::command::run;
use super::lower::Ground;
use super::session::{Here, Look, Sights};

/// The kind `package`.
pub const KIND: Kind = Kind {
    name: "package",
    doc: "A Debian package that is installed. Its version is whatever the host's own sources offer.",
    fields: &[Field {
        name: "installed",
        doc: "That it is installed and configured.",
        on_change: OnChange::Update,
        consequence: Consequence::None,
        content: false,
    }],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Downtime,
};

/// One resource for each declared package, however often it is named.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    let package = |name: &labwright_model::Spanned<String>| {
        let text = ground.text(name)?;
        Some(ground.resource("package", &text, name.span).with("installed", true))
    };
    let mut packages: Vec<Resource> = ground.host.packages.iter().filter_map(package).collect();
    packages.sort_by(|a, b| (&a.id, a.span).cmp(&(&b.id, b.span)));
    packages.dedup_by(|a, b| a.id == b.id);
    packages
}

/// Why this is no package's name; `None`: it is. What Debian's policy allows, less what apt reads as an order to remove.
pub fn fault(name: &str) -> Option<Refusal> {
    let (package, architecture) = name.split_once(':').unwrap_or((name, "any"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = package.len() > 1
        && package.starts_with(plain)
        && !package.ends_with('-')
        && package.chars().all(|c| plain(c) || matches!(c, '+' | '-' | '.'))
        && !architecture.is_empty()
        && architecture.chars().all(|c| plain(c) || c == '-');
    (!good).then(|| Refusal {
        reason: format!("`{name}` is not a package's name"),
        help: "name a package as `apt-cache search` lists it; a version cannot be given".into(),
    })
}

/// Whether the package is installed and configured.
pub fn observe(wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let installed = sights.packages.as_ref().map_err(Clone::clone)?;
    let spec = Spec::from([("installed".to_string(), Value::Bool(true))]);
    Ok(installed.contains(wanted.id.name()).then_some(Observed { spec, data: None }))
}

/// Which of these packages are installed: one look into dpkg's database.
pub fn installed(names: &[&str]) -> Result<BTreeSet<String>, ProviderError> {
    let names: BTreeSet<&str> = names.iter().copied().filter(|name| fault(name).is_none()).collect();
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut args = vec!["-W", "-f", "${binary:Package}\\t${db:Status-Status}\\t${Version}\\n", "--"];
    args.extend(&names);
    let output = run("dpkg-query", &args, Duration::from_secs(60))?;
    // It ends with 1 when it does not know one of the names, and with 2 when it could not look.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(output.error());
    }
    let found = parse(&output.stdout);
    let is_installed = |name: &&str| match name.split_once(':') {
        Some((package, architecture)) => found.iter().any(|(p, a)| p == package && (a.is_empty() || a == architecture)),
        None => found.iter().any(|(package, _)| package == name),
    };
    Ok(names.into_iter().filter(is_installed).map(str::to_string).collect())
}

/// Name and architecture of what is installed; the architecture is empty where dpkg does not say it.
///
/// Half-configured packages are not there yet: installing them again is what ends that.
fn parse(listing: &str) -> BTreeSet<(String, String)> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let (name, status) = (fields.next()?, fields.next()?);
        let (package, architecture) = name.split_once(':').unwrap_or((name, ""));
        matches!(status, "installed" | "triggers-awaited" | "triggers-pending")
            .then(|| (package.to_string(), architecture.to_string()))
    };
    listing.lines().filter_map(line).collect()
}

/// Installs packages together; where that fails, one by one, so that one at fault does not keep the others out.
pub fn install(here: &Here, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
    let _only = here.lock_packages();
    let names: Vec<&str> = steps.iter().map(|step| step.id.name()).collect();
    here.touched.note("/usr".as_ref());
    here.touched.note("/var/lib/dpkg".as_ref());
    here.touched.note("/etc".as_ref());
    let say = |name: &str, what: &str| {
        if let Some(step) = steps.iter().find(|step| step.id.name() == name) {
            progress.say(&step.id, what);
        }
    };
    let every = |error: &ProviderError| steps.iter().map(|_| Err(error.clone())).collect();
    if let Some(name) = names.iter().find(|name| fault(name).is_some()) {
        return every(&ProviderError::bug(format!("`{name}` is not a package's name")));
    }
    if let Err(error) = apt::settle(&|what| say(names[0], what)) {
        return every(&error);
    }
    let mut lists = apt::Lists::default();
    let together = apt::install(&names, &mut lists, &|what| say(names[0], what));
    let there = match installed(&names) {
        Ok(there) => there,
        Err(error) => return every(&error),
    };
    let mut one = |name: &&str| {
        if there.contains(*name) {
            return Ok(());
        }
        let alone = match (&together, names.len()) {
            (Err(error), 1) => Err(error.clone()),
            (Err(_), _) => {
                say(name, "installing it by itself, since installing all together failed");
                apt::install(&[name], &mut lists, &|what| say(name, what))
            }
            (Ok(()), _) => Ok(()),
        };
        // What counts is what is there: apt also fails when another package is still broken.
        match (installed(&[name])?.contains(*name), alone) {
            (true, _) => Ok(()),
            (false, Err(error)) => Err(error),
            (false, Ok(())) => Err(ProviderError::rejected(format!("apt installed nothing of the name `{name}`"))
                .help(format!(
                    "`{name}` is a virtual package; declare one that provides it (`apt-cache showpkg {name}`)"
                ))),
        }
    };
    names.iter().map(&mut one).collect()
}

/// Removes packages, and refuses where that would take others with it.
pub fn remove(here: &Here, steps: &[&Step], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
    let _only = here.lock_packages();
    let names: Vec<&str> = steps.iter().map(|step| step.id.name()).collect();
    let every = |error: &ProviderError| steps.iter().map(|_| Err(error.clone())).collect();
    here.touched.note("/var/lib/dpkg".as_ref());
    here.touched.note("/usr".as_ref());
    let present = match installed(&names) {
        Ok(present) => present,
        Err(error) => return every(&error),
    };
    if let Err(error) = apt::settle(&|what| progress.say(&steps[0].id, what)) {
        return every(&error);
    }
    let going: Vec<&str> = names.iter().copied().filter(|name| present.contains(*name)).collect();
    let together = apt::remove(&going);
    let one = |name: &&str| match (&together, present.contains(*name), going.len()) {
        (Ok(()), _, _) | (_, false, _) => Ok(()),
        (Err(error), _, 1) => Err(error.clone()),
        (Err(_), _, _) => apt::remove(&[name]),
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_apt_reads_as_something_else_are_refused() {
        for name in ["nginx", "g++", "libc6:amd64", "0ad", "python3.11"] {
            assert_eq!(fault(name), None, "{name}");
        }
        for name in ["nginx=1.2", "nginx/bookworm", "nginx-", "-y", "./x.deb", "", "a", "Nginx", "a b", "libc6:"] {
            assert!(fault(name).is_some(), "{name}");
        }
    }

    /// From Debian 12: a plain package, one of several architectures, one that was removed, one that apt is in the middle of.
    const LISTING: &str = "awk\tnot-installed\t\nbash\tinstalled\t5.2.15-2+b8\nlibc6:amd64\tinstalled\t2.36-9+deb12u14\n\
        nginx\tconfig-files\t1.22.1-9\npostfix\thalf-configured\t3.7.11-0+deb12u1\nman-db\ttriggers-pending\t2.11.2-2\n";

    #[test]
    fn only_what_is_configured_is_installed() {
        let found = parse(LISTING);
        let names: Vec<String> = found.iter().map(|(name, architecture)| format!("{name}/{architecture}")).collect();
        assert_eq!(names, ["bash/", "libc6/amd64", "man-db/"]);
    }
}
