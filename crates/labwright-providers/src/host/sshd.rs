//! Hardening of the SSH server, as one drop-in file: checked by sshd itself before it is believed.
//! Leaves the main configuration alone, restarts nothing, and never takes the last way in away.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use labwright_plan::{
    Action, Call, Consequence, Doors, Field, Kind, Observed, OnChange, Ownership, ProviderError, Refusal, Resource,
    Spec, Step,
};
use rustix::process::{Pid, Signal};

use super::command::{SHORT, run};
use super::content;
use super::directory::look;
use super::entry::{Entry, Permissions, What};
use super::errors::has_ended;
use super::lockout;
use super::lower::{Ground, sorted};
use super::replaced;
use super::session::{Here, Look, Saying, text};
use super::systemd;
use crate::firewall::moving::{self, Hole};

/// The kind `sshd`; there is one of it.
pub const KIND: Kind = Kind {
    name: "sshd",
    doc: "Hardening of the SSH server, in `/etc/ssh/sshd_config.d/50-labwright.conf`.",
    fields: &[Field {
        name: "content",
        doc: "The settings, as sshd reads them.",
        on_change: OnChange::Update,
        consequence: Consequence::CutsManagement,
        content: true,
    }],
    ownership: Ownership::Thing,
    create: Consequence::CutsManagement,
    delete: Consequence::CutsManagement,
};

const MAIN: &str = "/etc/ssh/sshd_config";
const DROP_INS: &str = "/etc/ssh/sshd_config.d";
pub const DROP_IN: &str = "/etc/ssh/sshd_config.d/50-labwright.conf";
const SSHD: &str = "/usr/sbin/sshd";

/// The drop-in's content, where anything is declared.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    ground.host.sshd.as_ref().and_then(|sshd| one(ground, sshd)).into_iter().collect()
}

fn one(ground: &Ground<'_>, entry: &labwright_model::Spanned<labwright_model::lab::Sshd>) -> Option<Resource> {
    let sshd = &entry.value;
    let mut settings: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        settings.entry(key.to_ascii_lowercase()).or_insert((key.to_string(), value));
    };
    // For sshd the first value counts, and what is written out counts before what follows from it.
    for (key, value) in sorted(&sshd.settings) {
        set(key, ground.text(&value.value)?);
    }
    if let Some(root) = ground.maybe(sshd.permit_root_login.as_ref())? {
        set("PermitRootLogin", root);
    }
    if !sshd.allow_users.is_empty() {
        let users = sshd.allow_users.iter().map(|user| ground.text(user)).collect::<Option<Vec<_>>>()?;
        set("AllowUsers", users.join(" "));
    }
    if sshd.keys_only {
        set("PubkeyAuthentication", "yes".into());
        set("PasswordAuthentication", "no".into());
        set("KbdInteractiveAuthentication", "no".into());
        set("PermitRootLogin", "prohibit-password".into());
    }
    if settings.is_empty() {
        return None;
    }
    let lines: String = settings.into_values().map(|(key, value)| format!("{key} {value}\n")).collect();
    let content = format!("# Written by labwright from the lab file; changes made here are undone.\n{lines}");
    Some(ground.resource("sshd", "hardening", entry.span).with("content", content))
}

/// Why these settings cannot be a drop-in; `None`: they can.
pub fn fault(resource: &Resource) -> Option<Refusal> {
    let bad = |line: &&str| {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        !key.chars().all(|c| c.is_ascii_alphanumeric()) || value.trim().is_empty() || key.eq_ignore_ascii_case("match")
    };
    let content = text(&resource.spec, "content").unwrap_or_default();
    content.lines().skip(1).find(bad).map(|line| Refusal {
        reason: format!("`{line}` is not one of sshd's settings with its value"),
        help: "write each of `settings` as `Name: value`; `Match` blocks belong into a file of your own".into(),
    })
}

/// The drop-in as it stands there.
pub fn observe(here: &Here) -> Look {
    let path = Path::new(DROP_IN);
    let Some(there) = look(here, path)? else { return Ok(None) };
    let mut spec = Spec::new();
    if there.what == What::File {
        let content = Entry::open(path).and_then(|entry| content::of(&mut entry.read()?));
        spec.insert("content".into(), content.map_err(|error| here.file_error("read", path, &error))?);
    }
    Ok(Some(Observed { spec, data: None }))
}

/// Puts the drop-in in place or takes it away, and has sshd read it. Settings that sshd refuses are not left there; what it
/// takes and does not survive is the engine's to undo.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = Path::new(DROP_IN);
    let failed = |error: io::Error| here.file_error("write", path, &error);
    let old = match fs::read(path) {
        Ok(content) => Some(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let new = text(&step.spec, "content").filter(|_| step.action != Action::Delete);
    if old.as_deref() == new.map(str::as_bytes) {
        return Ok(());
    }
    if let Some(new) = new {
        ready(here)?;
        lockout::check(here, new)?;
        readable(here, new)?;
        if old.is_some() {
            let entry = Entry::open(path).map_err(failed)?;
            replaced::save(here, &step.id, "content", &entry, saying)?;
        }
    }
    here.touched.note(Path::new("/etc/ssh"));
    // Where sshd cannot say it, nothing is opened; what is wrong is said below.
    let before = ports().unwrap_or_default();
    put(new.map(str::as_bytes)).map_err(failed)?;
    if let Err(error) = checked(new) {
        // Nothing has read it yet.
        put(old.as_deref()).map_err(failed)?;
        return Err(error);
    }
    open_meanwhile(here, &before, saying)?;
    // An sshd that does not come back from this is brought back by the engine, with the old settings.
    reload(saying)
}

/// Where the server moves and a firewall of ours stands before it, the new door is opened for whoever has to see that it is
/// one. The ruleset that comes after this step knows it by itself.
fn open_meanwhile(here: &Here, before: &[u16], saying: &Saying<'_>) -> Result<(), ProviderError> {
    let Some(client) = here.context.via.client.filter(|_| !before.is_empty()) else { return Ok(()) };
    for port in ports()?.into_iter().filter(|port| !before.contains(port)) {
        match moving::let_in(client, port)? {
            Hole::Open => saying.say(&format!("its firewall lets `{client}` in at port {port} until that is confirmed")),
            Hole::NoFirewall => {}
            Hole::NoPlace => saying.say(&format!(
                "the firewall there was loaded by an older labwright and cannot be opened for the move to port {port}: unless a flow allows it already, this goes back"
            )),
        }
    }
    Ok(())
}

/// What brings sshd back with the settings that it had, once their file is back: also one that gave up over the new ones.
pub fn revival(here: &Here) -> Vec<Call> {
    if here.facts().systemd {
        // Where no SSH server runs, or a socket starts one for each connection, there is nothing to bring back.
        let script = "if systemctl is-failed --quiet ssh.service; then systemctl reset-failed ssh.service; \
             exec systemctl start ssh.service; fi; exec systemctl try-reload-or-restart ssh.service";
        return vec![Call::new("sh", &["-c", script])];
    }
    vec![Call::new("sh", &["-c", "kill -HUP \"$(cat /run/sshd.pid)\""]).may_fail()]
}

/// Where the host takes connections now: what sshd says of itself.
pub fn listens() -> Result<Doors, ProviderError> {
    Ok(Doors { ports: ports()?, addresses: Vec::new() })
}

/// The ports that sshd is to listen on, by its files as they are now.
fn ports() -> Result<Vec<u16>, ProviderError> {
    let effective = run(SSHD, &["-T"], SHORT)?.require()?.stdout;
    let ports = effective.lines().filter_map(|line| line.strip_prefix("port "));
    Ok(ports.filter_map(|port| port.trim().parse().ok()).collect())
}

/// That there is an sshd, and that it reads drop-ins at all.
fn ready(here: &Here) -> Result<(), ProviderError> {
    let main = match fs::read_to_string(MAIN) {
        Ok(main) => main,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ProviderError::rejected(format!("there is no SSH server: `{MAIN}` is not there"))
                .help("add `openssh-server` to `packages`"));
        }
        Err(error) => return Err(here.file_error("read", Path::new(MAIN), &error)),
    };
    if !includes_drop_ins(&main) {
        return Err(ProviderError::rejected(format!(
            "`{MAIN}` does not include `{DROP_INS}/*.conf`, so nothing there counts"
        ))
        .help(format!("put `Include {DROP_INS}/*.conf` on the first line of `{MAIN}`")));
    }
    // sshd checks nothing without its own folder, which is made when it starts.
    for folder in [DROP_INS, "/run/sshd"] {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(here.file_error("make", Path::new(folder), &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the main configuration includes the drop-ins, and for everybody: what follows `Match` is for some.
fn includes_drop_ins(main: &str) -> bool {
    let mut lines = main.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let everybody = lines.by_ref().take_while(|line| !keyword(line).eq_ignore_ascii_case("match"));
    everybody.filter(|line| keyword(line).eq_ignore_ascii_case("include")).any(|line| {
        let patterns = line[keyword(line).len()..].trim_start_matches([' ', '\t', '=']).split_whitespace();
        patterns.map(|pattern| pattern.trim_matches('"')).any(|pattern| {
            let folder = pattern.rsplit_once('/').map_or("", |(folder, _)| folder);
            matches!(folder, DROP_INS | "sshd_config.d") && (pattern.ends_with("/*.conf") || pattern.ends_with("/*"))
        })
    })
}

/// sshd takes blanks or `=` between a name and its value.
fn keyword(line: &str) -> &str {
    line.split([' ', '\t', '=']).next().unwrap_or_default()
}

/// Asks sshd whether it can read the settings, before they are anywhere that it would read them from at its next start.
fn readable(here: &Here, new: &str) -> Result<(), ProviderError> {
    let path = here.context.state_dir.join("sshd-check.conf");
    let failed = |error: io::Error| here.file_error("write", &path, &error);
    let entry = Entry::open(&path).map_err(failed)?;
    let permissions = Permissions { mode: Some(0o600), ..Permissions::default() };
    entry.write(&mut new.as_bytes(), permissions).map_err(failed)?;
    let shown = path.display().to_string();
    let test = run(SSHD, &["-t", "-f", &shown], SHORT);
    entry.remove().map_err(failed)?;
    let test = test?;
    if test.ok() { Ok(()) } else { Err(not_taken(&test.last_words(5).replace(&shown, DROP_IN))) }
}

fn not_taken(said: &str) -> ProviderError {
    ProviderError::rejected(format!("sshd does not take the settings: {said}"))
        .help("nothing was changed; correct `sshd` in the lab file")
}

/// Puts the drop-in in place, or takes it away.
fn put(content: Option<&[u8]>) -> io::Result<()> {
    let entry = Entry::open(Path::new(DROP_IN))?;
    match content {
        Some(mut content) => entry.write(&mut content, Permissions { mode: Some(0o644), ..Permissions::default() }),
        None => entry.remove(),
    }
}

/// Asks sshd whether it takes its configuration, and whether what we said is what it heard.
fn checked(new: Option<&str>) -> Result<(), ProviderError> {
    let test = run(SSHD, &["-t"], SHORT)?;
    if !test.ok() {
        return Err(not_taken(&test.last_words(5)));
    }
    let Some(new) = new else { return Ok(()) };
    let effective = run(SSHD, &["-T"], SHORT)?.require()?;
    match unheard(new, &effective.stdout) {
        None => Ok(()),
        Some((key, value)) => Err(ProviderError::rejected(format!(
            "sshd would still use `{key} {value}`: another file says so before `{DROP_IN}` does"
        ))
        .help(format!("`grep -ri '^{key}' {DROP_INS} {MAIN}` on the host finds it; for sshd the first value counts"))),
    }
}

/// The first of the settings that guard the way in which sshd does not use as given, with what it uses instead.
fn unheard(new: &str, effective: &str) -> Option<(String, String)> {
    const GUARDS: &[&str] =
        &["passwordauthentication", "kbdinteractiveauthentication", "pubkeyauthentication", "permitrootlogin"];
    // The old name of a value, which sshd prints to this day.
    let modern = |value: &str| value.replace("without-password", "prohibit-password");
    let value_of = |text: &str, wanted: &str| {
        let line = text.lines().find(|line| keyword(line).eq_ignore_ascii_case(wanted))?;
        Some(modern(&line[keyword(line).len()..].trim().to_ascii_lowercase()))
    };
    GUARDS.iter().find_map(|key| {
        let (given, used) = (value_of(new, key)?, value_of(effective, key)?);
        (given != used).then(|| (key.to_string(), used))
    })
}

/// Waits until sshd greets again: it closes its door while it reads its configuration, and a door that stays closed
/// is a change to take back.
fn answers(doors: &[SocketAddr]) -> Result<(), ProviderError> {
    let greets = |door: &SocketAddr| {
        let mut stream = TcpStream::connect_timeout(door, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).ok().filter(|()| &greeting == b"SSH-")
    };
    for _ in 0..50 {
        // First a moment for the old door to close: it would greet once more.
        std::thread::sleep(Duration::from_millis(200));
        if doors.iter().any(|door| greets(door).is_some()) {
            return Ok(());
        }
    }
    let shown = doors.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    Err(ProviderError::rejected(format!("sshd does not answer at {shown} with these settings")))
}

fn doors() -> Result<Vec<SocketAddr>, ProviderError> {
    Ok(listen_addresses(&run(SSHD, &["-T"], SHORT)?.require()?.stdout))
}

/// Where sshd says that it listens; everywhere is asked for at home.
fn listen_addresses(effective: &str) -> Vec<SocketAddr> {
    let lines = effective.lines().filter_map(|line| line.strip_prefix("listenaddress "));
    let home = |mut door: SocketAddr| {
        match door.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => door.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => door.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        door
    };
    lines.filter_map(|line| line.trim().parse().ok()).map(home).collect()
}

const PID_FILE: &str = "/run/sshd.pid";

/// The server that a pid file names; `None`: none is named, or it runs no more.
fn running(pid_file: &Path) -> io::Result<Option<Pid>> {
    let text = |path: &Path| match fs::read_to_string(path) {
        Err(error) if has_ended(&error) => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))),
        Ok(text) => Ok(Some(text)),
    };
    let Some(pid) = text(pid_file)?.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?)) else { return Ok(None) };
    let name = text(Path::new(&format!("/proc/{}/comm", pid.as_raw_nonzero())))?;
    Ok(Some(pid).filter(|_| name.is_some_and(|name| name.trim() == "sshd")))
}

/// Makes a running sshd read its configuration again; connections that are open stay open.
fn reload(saying: &Saying<'_>) -> Result<(), ProviderError> {
    if Path::new("/run/systemd/system").is_dir() {
        let active = |unit: &str| systemd::show(&[unit.to_string()]).and_then(|states| Ok(states.get(unit)?.runs()));
        if active("ssh.service")? {
            // Asked before: an sshd that gives up takes away the folder that it needs to answer this.
            let doors = doors()?;
            run("systemctl", &["reload", "ssh.service"], SHORT)?.require()?;
            return answers(&doors);
        }
        let what = if active("ssh.socket")? {
            "the settings take effect with the next connection"
        } else {
            "no SSH server runs; the settings take effect when one starts"
        };
        saying.say(what);
        return Ok(());
    }
    let failed = |error: io::Error| {
        ProviderError::rejected(format!(
            "cannot tell whether an SSH server runs that has to read its settings: {error}"
        ))
        .help("`kill -HUP` to the sshd that listens makes it read them")
    };
    match running(Path::new(PID_FILE)).map_err(failed)? {
        Some(pid) => rustix::process::kill_process(pid, Signal::HUP).map_err(|errno| {
            ProviderError::rejected(format!("cannot make sshd read its settings: {}", io::Error::from(errno)))
        }),
        None => {
            saying.say("no running SSH server was found; the settings take effect when it starts anew");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_number_cannot_be_read_may_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sshd.pid");
        assert_eq!(running(&file).unwrap(), None);
        fs::write(&file, "4194304\n").unwrap();
        assert_eq!(running(&file).unwrap(), None, "no process has that number");
        // This one is not an sshd.
        fs::write(&file, std::process::id().to_string()).unwrap();
        assert_eq!(running(&file).unwrap(), None);
        let error = running(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    }

    #[test]
    fn the_drop_ins_must_be_included_for_everybody() {
        for main in [
            "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
            "# x\nPort 22\ninclude=\"/etc/ssh/sshd_config.d/*.conf\"\n",
            "Include /etc/ssh/other /etc/ssh/sshd_config.d/*\n",
            "Include sshd_config.d/*.conf\n",
        ] {
            assert!(includes_drop_ins(main), "{main}");
        }
        for main in [
            "UsePAM yes\n",
            "#Include /etc/ssh/sshd_config.d/*.conf\n",
            "Match User git\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            "Include /etc/ssh/other.d/*.conf\n",
            "",
        ] {
            assert!(!includes_drop_ins(main), "{main}");
        }
    }

    #[test]
    fn doors_are_asked_for_at_home() {
        let said = "port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\nlistenaddress 10.0.0.5:2222\n";
        let doors: Vec<String> = super::listen_addresses(said).iter().map(ToString::to_string).collect();
        assert_eq!(doors, ["[::1]:22", "127.0.0.1:22", "10.0.0.5:2222"]);
    }

    #[test]
    fn a_setting_that_an_earlier_file_overrules_is_found() {
        let new = "# c\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n";
        // From `sshd -T` of OpenSSH 9.2.
        let effective =
            "port 22\npermitrootlogin without-password\npubkeyauthentication yes\npasswordauthentication yes\n";
        assert_eq!(unheard(new, effective), Some(("passwordauthentication".into(), "yes".into())));
        assert_eq!(unheard(new, &effective.replace("authentication yes", "authentication no")), None);
    }

    #[test]
    fn blocks_and_empty_values_are_refused() {
        let fault = |line: &str| {
            let id = labwright_plan::ResourceId::new("web", "host", "sshd", "hardening");
            let resource = Resource::new(id, labwright_model::Span::NONE);
            super::fault(&resource.with("content", format!("# c\n{line}\n"))).is_some()
        };
        assert!(!fault("MaxAuthTries 3") && !fault("Ciphers +aes128-ctr"));
        assert!(fault("Match User git") && fault("Port ") && fault("Max-Auth 3"));
    }
}
