//! Asks systemd about units and tells it what to do with them, through `systemctl`.
//! Knows no lab: which units, and what they shall be, is said by the kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use labwright_plan::ProviderError;

use super::command::{Output, SHORT, run};

/// Where unit files of the administrator's stand.
pub const UNITS: &str = "/etc/systemd/system";

/// Stopping may take as long as a unit's own limit, which is 90 s unless it says otherwise.
const STOP: Duration = Duration::from_secs(180);

/// What systemd says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub active: String,
    pub sub: String,
    /// `enabled`, `disabled`, `static`, `masked`, and more.
    pub file: String,
    /// The unit file that it comes from.
    pub fragment: String,
    /// A service's type: `simple`, `oneshot`, `notify`.
    pub kind: String,
    /// How it ended: `success`, `exit-code`, `timeout`.
    pub result: String,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// Microseconds since the boot: when it came into this state; 0 if it never left its first.
    pub changed: u64,
    /// What its main process last ended with.
    pub exit_status: i64,
    /// Whether systemd is still at something with it.
    pub busy: bool,
    /// Whether what it starts depends on something that is not so.
    pub condition_failed: bool,
}

/// States by the names that were asked for.
#[derive(Clone, Debug, Default)]
pub struct States(BTreeMap<String, State>);

impl States {
    /// The state of one that was asked for.
    pub fn get(&self, name: &str) -> Result<&State, ProviderError> {
        self.0.get(name).ok_or_else(|| ProviderError::rejected(format!("systemd says nothing about `{name}`")))
    }
}

impl State {
    /// Whether systemd knows a unit of that name.
    pub fn exists(&self) -> bool {
        self.load != "not-found"
    }

    /// Whether it ended badly and stays down.
    pub fn failed(&self) -> bool {
        self.active == "failed"
    }

    /// Whether it does what it is there for. A oneshot is at work while it starts.
    pub fn runs(&self) -> bool {
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" => true,
            "activating" => self.kind == "oneshot" && self.sub != "auto-restart",
            _ => false,
        }
    }

    /// Whether a boot, or whatever wants it, starts it.
    pub fn starts_at_boot(&self) -> bool {
        matches!(self.file.as_str(), "enabled" | "alias")
    }
}

const PROPERTIES: &str = "--property=Id,Names,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,Type,Result,\
    NRestarts,StateChangeTimestampMonotonic,ExecMainStatus,Job,ConditionResult,ConditionTimestampMonotonic";

/// Looks at units, all with one call. Templates are files only, and so are asked about one by one.
pub fn show(names: &[String]) -> Result<States, ProviderError> {
    let (templates, units): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| is_template(name));
    let mut states = BTreeMap::new();
    if !units.is_empty() {
        let args: Vec<&str> = ["show", PROPERTIES, "--"].into_iter().chain(units.iter().copied()).collect();
        let output = run("systemctl", &args, SHORT)?;
        if output.stdout.trim().is_empty() {
            return Err(output.error());
        }
        states = parse(&output.stdout, &units);
    }
    for template in templates {
        let file = is_enabled(template)?;
        let load = if file.is_empty() { "not-found" } else { "loaded" };
        states.insert(
            template.to_string(),
            State { load: load.into(), file, active: "inactive".into(), ..State::default() },
        );
    }
    // Of scripts in the manner of System V, only their own tool knows.
    for (name, state) in states.iter_mut().filter(|(_, state)| state.file == "generated") {
        state.file = is_enabled(name)?;
    }
    Ok(States(states))
}

/// Whether a name stands for many units: `backup@.service`.
pub fn is_template(name: &str) -> bool {
    name.contains("@.")
}

/// The word of `systemctl is-enabled`; empty where there is no such unit.
fn is_enabled(name: &str) -> Result<String, ProviderError> {
    enabled_word(&run("systemctl", &["is-enabled", "--", name], SHORT)?)
}

/// Its word, or that there is no such unit: since systemd 253 `not-found`, before that only in an error. Any other silence says
/// nothing about the unit.
fn enabled_word(output: &Output) -> Result<String, ProviderError> {
    match output.stdout.trim() {
        "not-found" => Ok(String::new()),
        "" if output.stderr.contains("No such file or directory") => Ok(String::new()),
        "" => Err(output.error()),
        word => Ok(word.to_string()),
    }
}

/// Blocks of `Name=value`, one for each unit. An alias is shown under its unit's own name, with all its names.
fn parse(text: &str, asked: &[&str]) -> BTreeMap<String, State> {
    let block = |block: &str| {
        let fields: BTreeMap<String, String> = block
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        // Before it was ever tried to be started, no condition was looked at.
        let tried = field("ConditionTimestampMonotonic").parse::<u64>().is_ok_and(|at| at > 0);
        let state = State {
            load: field("LoadState"),
            active: field("ActiveState"),
            sub: field("SubState"),
            file: field("UnitFileState"),
            fragment: field("FragmentPath"),
            kind: field("Type"),
            result: field("Result"),
            restarts: field("NRestarts").parse().unwrap_or_default(),
            changed: field("StateChangeTimestampMonotonic").parse().unwrap_or_default(),
            exit_status: field("ExecMainStatus").parse().unwrap_or_default(),
            busy: !matches!(field("Job").as_str(), "" | "0"),
            condition_failed: tried && field("ConditionResult") == "no",
        };
        (format!(" {} {} ", field("Id"), field("Names")), state)
    };
    let blocks: Vec<(String, State)> = text.split("\n\n").map(str::trim).filter(|b| !b.is_empty()).map(block).collect();
    let find =
        |name: &str| blocks.iter().find(|(names, _)| names.contains(&format!(" {name} "))).map(|(_, s)| s.clone());
    asked.iter().filter_map(|name| Some((name.to_string(), find(name)?))).collect()
}

/// Makes systemd read all unit files again.
pub fn daemon_reload() -> Result<(), ProviderError> {
    run("systemctl", &["daemon-reload"], SHORT)?.require().map(drop)
}

/// `enable`, `reenable` or `disable`, without making systemd read everything again for each.
pub fn set_enabled(verb: &str, name: &str) -> Result<(), ProviderError> {
    run("systemctl", &[verb, "--no-reload", "--", name], SHORT)?.require().map(drop)
}

/// `start`, `restart` or `stop`, without waiting for what comes of it.
pub fn begin(verb: &str, name: &str) -> Result<(), ProviderError> {
    // A unit that failed too often is not started again until that is forgotten.
    if verb != "stop" {
        run("systemctl", &["reset-failed", "--", name], SHORT)?;
    }
    run("systemctl", &[verb, "--no-block", "--", name], SHORT)?.require().map(drop)
}

/// Restarts a unit and waits until systemd is through with it. How it then is, is for whoever asks next.
pub fn restart(name: &str) -> Result<(), ProviderError> {
    run("systemctl", &["reset-failed", "--", name], SHORT)?;
    let output = run("systemctl", &["restart", "--", name], STOP)?;
    // 5 is systemctl's word for a unit that is not there; whatever else it says, the unit's state says better.
    if output.status.code() == Some(5) { Err(output.error()) } else { Ok(()) }
}

/// Stops a unit and waits until it has stopped; one that is not there has.
pub fn stop(name: &str) -> Result<(), ProviderError> {
    let output: Output = run("systemctl", &["stop", "--", name], STOP)?;
    // 5 is systemctl's word for a unit that is not loaded.
    if output.ok() || output.status.code() == Some(5) { Ok(()) } else { Err(output.error()) }
}

/// The last lines that a unit wrote to the journal.
pub fn last_words(name: &str) -> String {
    let output = run("journalctl", &["-u", name, "-n", "5", "--no-pager", "-o", "cat"], SHORT);
    output.map(|output| output.stdout.trim_end().to_string()).unwrap_or_default()
}

/// A path as it stands in a unit's name: `/mnt/my media` is `mnt-my\x20media`. After systemd's `unit_name_path_escape`.
pub fn escape_path(path: &str) -> String {
    let path = path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    if path.is_empty() {
        return "-".into();
    }
    let escape = |(at, byte): (usize, u8)| match byte {
        b'/' => "-".to_string(),
        b'.' if at == 0 => "\\x2e".to_string(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    path.bytes().enumerate().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From systemd 252 on Debian 12: `systemctl show --property=… -- cron.service nosuch.service sshd.service one.service`.
    const SHOWN: &str = include_str!("samples/systemctl-show.txt");

    #[test]
    fn a_manager_that_cannot_be_asked_says_nothing_of_a_unit() {
        let word = |script: &str| enabled_word(&run("sh", &["-c", script], SHORT).unwrap());
        assert_eq!(word("echo static").unwrap(), "static");
        assert_eq!(word("echo disabled; exit 1").unwrap(), "disabled");
        // systemd 252, and 257.
        let missing = "echo 'Failed to get unit file state for a@.service: No such file or directory' >&2; exit 1";
        assert_eq!(word(missing).unwrap(), "");
        assert_eq!(word("echo not-found; exit 4").unwrap(), "");
        let error = word("echo 'Failed to connect to bus: Connection refused' >&2; exit 1").unwrap_err();
        assert!(error.message.contains("Failed to connect to bus"), "{}", error.message);
    }

    #[test]
    fn units_are_found_by_any_of_their_names() {
        let states = parse(SHOWN, &["cron.service", "nosuch.service", "sshd.service", "one.service", "loop.service"]);
        let said = |name: &str| {
            let state = &states[name];
            (state.exists(), state.runs(), state.starts_at_boot())
        };
        assert_eq!(said("cron.service"), (true, true, true));
        assert_eq!(said("nosuch.service"), (false, false, false));
        assert_eq!(said("sshd.service"), (true, true, true));
        assert_eq!(said("one.service"), (true, false, false));
        assert_eq!(said("loop.service"), (true, false, false));
        assert_eq!(states["sshd.service"].fragment, "/lib/systemd/system/ssh.service");
        assert_eq!((states["one.service"].kind.as_str(), states["one.service"].file.as_str()), ("oneshot", "static"));
        assert!(!states["one.service"].busy && !states["one.service"].condition_failed);
    }

    /// Checked against `systemd-escape --path`.
    #[test]
    fn paths_are_escaped_as_systemd_does() {
        for (path, escaped) in [
            ("/mnt/media", "mnt-media"),
            ("/mnt/my media/.x-y_z", "mnt-my\\x20media-.x\\x2dy_z"),
            ("/", "-"),
            ("//a//b/", "a-b"),
            ("/é:1", "\\xc3\\xa9:1"),
            ("/.hidden", "\\x2ehidden"),
        ] {
            assert_eq!(escape_path(path), escaped, "{path}");
        }
    }
}
