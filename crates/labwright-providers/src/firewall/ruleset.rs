//! The ruleset: checked by `nft`, loaded in one transaction, kept in a file, and loaded again at boot.
//! Touches its own table alone; what was loaded before stays beside it as the way back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use labwright_plan::network::nft::TABLE;
use labwright_plan::{
    Call, Change, Consequence, ErrorKind, Field, Kind, Observed, OnChange, Ownership, Progress, ProviderError, Spec,
    Step, Value, WayBack,
};

use super::boot;
use super::loaded::{LIMIT, fingerprint, listing};
use super::lower::PACKAGE;
use super::session::Here;
use super::through;
use crate::host::command::run;
use crate::host::entry::{Entry, Permissions};
use crate::host::session::text;
use crate::host::way_back::before;

/// The kind `ruleset`; there is one of it on a host, named by its table.
pub const KIND: Kind = Kind {
    name: "ruleset",
    doc: "The firewall of a host, in the table `inet labwright` of nftables and in `/etc/labwright/firewall.nft`.",
    fields: &[
        Field {
            name: "content",
            doc: "The ruleset, as `nft -f` reads it.",
            on_change: OnChange::Update,
            consequence: Consequence::Hot,
            content: true,
        },
        Field {
            name: "loaded",
            doc: "Whether the kernel has it as it is written: nobody flushed the table or changed a rule by hand.",
            on_change: OnChange::Update,
            consequence: Consequence::CutsManagement,
            content: false,
        },
        Field {
            name: through::FIELD,
            doc: "Of a router: the hosts behind it whose SSH port the lab sets; one that moves is reached at both ports meanwhile.",
            on_change: OnChange::Ignore,
            consequence: Consequence::None,
            content: false,
        },
    ],
    ownership: Ownership::Thing,
    create: Consequence::CutsManagement,
    delete: Consequence::Hot,
};

/// Where it is kept for the next boot, and what was loaded before it.
pub const FILE: &str = "/etc/labwright/firewall.nft";
const PREVIOUS: &str = "/etc/labwright/firewall.previous.nft";

/// What comes in or passes through may cut management; what only goes out may not, nor may a comment: a line above a flow
/// changes where the flow stands, and no rule.
pub fn price(changes: &[Change]) -> Consequence {
    let Some(content) = changes.iter().find(|change| change.field == "content") else { return Consequence::None };
    match (content.before.text(), content.after.text()) {
        (Some(before), Some(after)) if judged(before) == judged(after) => Consequence::Hot,
        _ => Consequence::CutsManagement,
    }
}

/// The part of a ruleset that decides what comes in and what passes through.
fn judged(ruleset: &str) -> String {
    let mut kept = String::new();
    let mut skipping = false;
    for line in plain(ruleset).lines() {
        let name = ["\tset ", "\tchain "].iter().find_map(|kind| line.strip_prefix(kind));
        skipping |=
            name.is_some_and(|name| name.starts_with("out_") || matches!(name.trim_end_matches(" {"), "output"));
        if !skipping {
            kept.push_str(line);
            kept.push('\n');
        }
        skipping &= line != "\t}";
    }
    kept
}

/// A ruleset without its comments: a line that was added above a flow changes where the flow stands, and no rule.
fn plain(ruleset: &str) -> String {
    let mut plain = String::with_capacity(ruleset.len());
    for line in ruleset.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.split_once(" comment \"") {
            Some((rule, rest)) => {
                plain.push_str(rule);
                plain.push_str(rest.rsplit('"').next().unwrap_or_default());
            }
            None => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

/// What the last load looked like: of the file, and of the kernel's own listing.
fn record(here: &Here) -> PathBuf {
    here.context.state_dir.join("firewall-loaded")
}

fn recorded(content: &str, listing: &str) -> String {
    format!("{} {}\n", blake3::hash(content.as_bytes()).to_hex(), fingerprint(listing))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::rejected(format!("cannot {doing} `{}`: {error}", path.display()))
}

fn read(path: &Path) -> Result<Option<String>, ProviderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Whether `nft` is there at all.
pub fn has_nft() -> bool {
    ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join("nft").is_file())
}

pub fn observe(here: &Here) -> Result<Option<Observed>, ProviderError> {
    let content = read(Path::new(FILE))?;
    // Without the program nothing of ours was ever loaded; the package comes before the ruleset.
    let listing = if has_nft() { listing()? } else { None };
    if content.is_none() && listing.is_none() {
        return Ok(None);
    }
    let loaded = match (&content, &listing) {
        (Some(content), Some(listing)) => read(&record(here))?.is_some_and(|known| known == recorded(content, listing)),
        _ => false,
    };
    let mut spec = Spec::new();
    spec.insert("content".into(), Value::Text(content.unwrap_or_default()));
    spec.insert("loaded".into(), loaded.into());
    Ok(Some(Observed { spec, data: None }))
}

/// Checks it, keeps what was there, loads it, and keeps it for the next boot. Until it is loaded nothing has changed.
pub fn apply(here: &Here, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
    let Some(content) = text(&step.spec, "content") else {
        return Err(ProviderError::bug("a ruleset without content"));
    };
    if !has_nft() {
        return Err(ProviderError::rejected("`nft` is not installed there, so no ruleset can be loaded")
            .help(format!("add `{PACKAGE}` to `packages` of this host")));
    }
    let folder = Path::new(FILE).parent().unwrap_or(Path::new("/etc"));
    fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
    let new = here.context.state_dir.join("firewall-new.nft");
    write(&new, content)?;
    let path = new.to_string_lossy().into_owned();
    check(&path)?;
    let before = read(Path::new(FILE))?;
    if let Some(before) = &before
        && plain(before) != plain(content)
    {
        write(Path::new(PREVIOUS), before)?;
        progress.say(&step.id, &format!("what was loaded before is in `{PREVIOUS}`: `nft -f` takes it back"));
    }
    run("nft", &["-f", &path], LIMIT)?.require().map_err(|error| {
        error.help("nothing was loaded: the table is as it was; `nft list table inet labwright` shows it")
    })?;
    let Some(listing) = listing()? else {
        return Err(ProviderError::new(
            ErrorKind::Conflict,
            format!(
                "the table `inet {TABLE}` was loaded and is gone again: something else on this host flushes rulesets"
            ),
        )
        .help("look for it: `systemctl status nftables ufw firewalld`; one of them alone can own the ruleset"));
    };
    write(Path::new(FILE), content)?;
    write(&record(here), &recorded(content, &listing))?;
    through::open(here, step, progress)?;
    // The file that was only for loading; should it stay, it is overwritten the next time.
    drop(fs::remove_file(&new));
    match here.context.facts.systemd {
        true => boot::see_to_it(),
        false => {
            progress.say(&step.id, "no systemd runs there, so nothing loads the ruleset again after a reboot");
            Ok(())
        }
    }
}

/// What was loaded, and what would load it at the next boot: all of it as it is now, the kernel's part as the kernel has it.
pub fn way_back(here: &Here) -> Result<WayBack, ProviderError> {
    let mut paths = vec![PathBuf::from(FILE), PathBuf::from(PREVIOUS), record(here)];
    let mut calls = Vec::new();
    if here.context.facts.systemd {
        paths.extend(boot::paths());
        calls.push(Call::new("systemctl", &["daemon-reload"]).may_fail());
    }
    let as_written = observe(here)?.is_some_and(|now| now.spec.get("loaded") == Some(&Value::Bool(true)));
    calls.extend(match (as_written, has_nft()) {
        (_, false) => None,
        (true, _) => Some(Call::new("nft", &["-f", FILE]).at_boot()),
        // Emptied first, whether it is there or not, and in the same transaction.
        (false, _) => {
            let emptied = format!("table inet {TABLE}\ndelete table inet {TABLE}\n");
            Some(Call::new("nft", &["-f", "-"]).input(emptied + &listing()?.unwrap_or_default()).at_boot())
        }
    });
    let before = |path: &PathBuf| before(path).map_err(|error| failed("read", path, &error));
    Ok(WayBack { files: paths.iter().map(before).collect::<Result<_, _>>()?, calls, ..WayBack::default() })
}

/// Asks `nft` and the kernel whether they take it, and changes nothing.
fn check(path: &str) -> Result<(), ProviderError> {
    let output = run("nft", &["--check", "-f", path], LIMIT)?;
    if output.ok() {
        return Ok(());
    }
    let version =
        run("nft", &["--version"], LIMIT).map(|version| version.stdout.trim().to_string()).unwrap_or_default();
    let said = output.last_words(6);
    Err(ProviderError::rejected(format!("nftables does not take the ruleset, and nothing was changed: {said}"))
        .help(format!("labwright needs nftables 1.0 and a kernel of 5.15 or newer; this is {version}")))
}

fn write(path: &Path, content: &str) -> Result<(), ProviderError> {
    let permissions = Permissions { mode: Some(0o644), ..Permissions::default() };
    let written = Entry::open(path).and_then(|entry| entry.write(&mut content.as_bytes(), permissions));
    written.map_err(|error| failed("write", path, &error))
}

/// Takes the table away, and everything that would bring it back.
pub fn remove(here: &Here) -> Result<(), ProviderError> {
    if here.context.facts.systemd {
        boot::remove()?;
    }
    if has_nft() && listing()?.is_some() {
        run("nft", &["delete", "table", "inet", TABLE], LIMIT)?.require()?;
    }
    for path in [Path::new(FILE), Path::new(PREVIOUS), &record(here)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path, &error)),
            _ => {}
        }
    }
    // The folder goes where nobody else put anything in it.
    drop(fs::remove_dir(Path::new(FILE).parent().unwrap_or(Path::new(FILE))));
    Ok(())
}

/// Waits until the file is on disk.
pub fn persist() -> Result<(), ProviderError> {
    let file = match fs::File::open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(|error| failed("make durable", Path::new(FILE), &error))?,
    };
    rustix::fs::syncfs(&file).map_err(|errno| failed("make durable", Path::new(FILE), &errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULESET: &str = "# one\ntable inet labwright {\n\tset in_tcp4 {\n\t\telements = {\n\t\t\t10.0.0.1 . 22 comment \"a to b, lab.yaml:3\",\n\t\t}\n\t}\n\tset out_tcp4 {\n\t\telements = {\n\t\t\t10.0.0.9 . 53,\n\t\t}\n\t}\n}\n";

    fn changed(from: &str, to: &str) -> Consequence {
        let change = |before: &str, after: String| Change {
            field: "content".into(),
            before: before.into(),
            after: Value::Text(after),
        };
        price(&[change(RULESET, RULESET.replace(from, to))])
    }

    #[test]
    fn what_comes_in_is_dearer_than_what_goes_out() {
        assert_eq!(changed("10.0.0.9 . 53", "10.0.0.9 . 54"), Consequence::Hot);
        assert_eq!(changed("10.0.0.1 . 22", "10.0.0.1 . 23"), Consequence::CutsManagement);
        assert_eq!(price(&[]), Consequence::None);
    }

    #[test]
    fn a_comment_is_no_rule() {
        assert_eq!(plain(RULESET), plain(&RULESET.replace("lab.yaml:3", "lab.yaml:4").replace("# one", "# two")));
        assert!(plain(RULESET).contains("10.0.0.1 . 22,\n"), "{}", plain(RULESET));
        assert_ne!(plain(RULESET), plain(&RULESET.replace(". 22", ". 23")));
    }
}
