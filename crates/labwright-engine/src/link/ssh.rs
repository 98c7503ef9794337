//! A link over the system's OpenSSH: one connection, one channel, nothing needed on the host but a shell.
//! The user's own configuration, agent, jumps and known hosts hold. Never accepts an unknown or changed host key.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use labwright_plan::{ErrorKind, ProviderError};
use rustix::process::{Pid, Signal, kill_process};

use super::{End, Link, broken};
use crate::protocol::GREETING;

/// How a host is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The host's name in the lab: what `Host` blocks of the user's SSH configuration match.
    pub name: String,
    /// Addresses to try in this order; none: the name, as SSH resolves it.
    pub addresses: Vec<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    /// Ports to try where nobody answers at `port`, which may be about to move; `None`: as SSH's own configuration says.
    pub other_ports: Vec<Option<u16>>,
    /// Hosts to go through, first hop first.
    pub jump: Vec<Address>,
    pub identity: Option<String>,
    /// Public host keys that the lab file declares.
    pub host_keys: Vec<String>,
    /// Other names that its key may be known by, as `known_hosts` spells them: where it was before it moved.
    pub known_as: Vec<String>,
    /// The one of them that is tried.
    pub alias: Option<String>,
    /// A configuration file to use instead of the user's own.
    pub config: Option<PathBuf>,
    /// Where temporary files may be put.
    pub scratch: PathBuf,
}

/// Runs on the host. Reads the binary's hash and size, asks for the binary where it is missing, and becomes the agent.
/// Old ones go, and the link that a host with secrets boots by leads to the newest.
/// In plain POSIX words, without single quotes, because any login shell may have to pass it on.
const BOOTSTRAP: &str = r#"
read -r hash size arch || exit 90
if [ "$(id -u)" = 0 ]; then dir=/var/lib/labwright/bin; else dir=${XDG_CACHE_HOME:-$HOME/.cache}/labwright/bin; fi
bin=$dir/labwright-$hash
if [ ! -x "$bin" ]; then
  if [ "$(uname -m)" != "$arch" ]; then echo "labwright: this host is $(uname -m)" >&2; exit 91; fi
  umask 077
  mkdir -p "$dir" && find "$dir" -name "*.new" -mmin +60 -exec rm -f {} + || exit 92
  echo "labwright agent missing"
  head -c "$size" > "$bin.$$.new" || exit 92
  [ "$(wc -c < "$bin.$$.new")" -eq "$size" ] || exit 93
  chmod 700 "$bin.$$.new" && mv -f "$bin.$$.new" "$bin" || exit 92
  ls -t "$dir" | grep "^labwright-" | tail -n +4 | while read -r old; do rm -f "$dir/$old"; done
  if [ -L "$dir/labwright" ]; then
    ln -s "labwright-$hash" "$dir/labwright.$$.new" && mv -f "$dir/labwright.$$.new" "$dir/labwright" || exit 92
  fi
fi
if [ "$(id -u)" = 0 ]; then exec "$bin" agent --via "$SSH_CONNECTION"; fi
exec sudo -n -- "$bin" agent --via "$SSH_CONNECTION"
"#;
/// How strict and how plain every connection is.
const OPTIONS: &[&str] = &[
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
];
const UNKNOWN_KEY: &str = "is not known yet";
const MISSING: &str = "labwright agent missing";
const CONNECT_SECONDS: u32 = 10;
/// From connecting to the greeting, the program's own way there included.
const GREETING_LIMIT: Duration = Duration::from_secs(180);
/// How much of a host's error output is kept.
const STDERR_KEPT: usize = 16 << 10;

/// Opens the link, trying one port and one address after the other while nobody answers.
pub fn open(address: &Address) -> Result<Link, ProviderError> {
    let mut first = None;
    for port in std::iter::once(address.port).chain(address.other_ports.iter().copied()) {
        match open_at(&Address { port, ..address.clone() }) {
            // What the first port said is what the lab declares, and so what is told.
            Err(error) if error.kind == ErrorKind::Unreachable => {
                first.get_or_insert(error);
            }
            answered => return answered,
        }
    }
    Err(first.unwrap_or_else(|| broken(&address.name)))
}

fn open_at(address: &Address) -> Result<Link, ProviderError> {
    if address.addresses.is_empty() {
        return known(address, None);
    }
    let mut last = None;
    for candidate in &address.addresses {
        match known(address, Some(candidate)) {
            Err(error) if error.kind == ErrorKind::Unreachable => last = Some(error),
            answered => return answered,
        }
    }
    Err(last.unwrap_or_else(|| broken(&address.name)))
}

/// Connects; where the key is not known for this address, under the names of the host's other addresses as well: it is one
/// host, by the lab file, and has one key.
fn known(address: &Address, candidate: Option<&str>) -> Result<Link, ProviderError> {
    let mut link = connect(address, candidate);
    let others =
        address.addresses.iter().flat_map(|other| spelled(other, address.port)).chain(address.known_as.clone());
    for other in others.collect::<BTreeSet<_>>() {
        match &link {
            Err(error) if error.kind == ErrorKind::Auth && error.message.contains(UNKNOWN_KEY) => {}
            _ => break,
        }
        if candidate == Some(other.as_str()) {
            continue;
        }
        let again = connect(&Address { alias: Some(other), ..address.clone() }, candidate);
        // What is told in the end is what was met at the address itself.
        if again.is_ok() {
            link = again;
        }
    }
    link
}

/// As `known_hosts` has an address: by itself, and with a port of its own.
fn spelled(address: &str, port: Option<u16>) -> Vec<String> {
    let with_port = port.filter(|port| *port != 22).map(|port| format!("[{address}]:{port}"));
    std::iter::once(address.to_string()).chain(with_port).collect()
}

/// The names that the key of a host may be known by now.
pub fn known_as(address: &Address) -> Vec<String> {
    let names = match address.addresses.is_empty() {
        true => resolved(address).into_iter().collect(),
        false => address.addresses.clone(),
    };
    names.iter().flat_map(|name| spelled(name, address.port)).chain(address.known_as.clone()).collect()
}

/// The name or address that SSH's own configuration leads to.
fn resolved(address: &Address) -> Option<String> {
    let mut ssh = Command::new("ssh");
    ssh.args(arguments(address, None, &[]).ok()?).args(["-G", "--"]).arg(&address.name).stdin(Stdio::null());
    let output = ssh.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("hostname ")).map(str::to_string)
}

fn command(address: &Address, candidate: Option<&str>) -> io::Result<Command> {
    let mut ssh = Command::new("ssh");
    ssh.args(arguments(address, candidate, &address.jump)?);
    ssh.arg("--").arg(&address.name).arg(format!("exec sh -c '{BOOTSTRAP}'"));
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The admin's key is nothing for `ssh`, its proxies, and the hosts that a `SendEnv` would tell it to.
    ssh.env_remove("SOPS_AGE_KEY");
    // Ctrl-C is for us: the connection must live until what was begun has ended.
    std::os::unix::process::CommandExt::process_group(&mut ssh, 0);
    Ok(ssh)
}

/// The options for one host, which is reached through `hops`. Every hop gets the same strictness as the host itself,
/// which `ssh -J` would not give it.
fn arguments(address: &Address, candidate: Option<&str>, hops: &[Address]) -> io::Result<Vec<String>> {
    let mut args: Vec<String> = ["-T", "-x", "-a"].map(String::from).to_vec();
    args.extend(OPTIONS.iter().map(|option| format!("-o{option}")));
    args.push(format!("-oConnectTimeout={CONNECT_SECONDS}"));
    let mut pair = |flag: &str, value: String| args.extend([flag.to_string(), value]);
    if let Some(config) = &address.config {
        pair("-F", config.display().to_string());
    }
    if let Some(user) = &address.user {
        pair("-l", user.clone());
    }
    if let Some(port) = address.port {
        pair("-p", port.to_string());
    }
    if let Some(identity) = &address.identity {
        pair("-i", identity.clone());
    }
    if let Some(candidate) = candidate {
        args.push(format!("-oHostName={candidate}"));
    }
    if let Some(alias) = address.alias.as_ref().filter(|_| address.host_keys.is_empty()) {
        args.push(format!("-oHostKeyAlias={alias}"));
    }
    if !address.host_keys.is_empty() {
        let known = known_hosts(address)?;
        args.push(format!("-oHostKeyAlias={}", address.name));
        args.push(format!("-oUserKnownHostsFile={}", known.display()));
        args.push("-oGlobalKnownHostsFile=/dev/null".into());
    }
    if let Some((last, before)) = hops.split_last() {
        let inner = arguments(last, last.addresses.first().map(String::as_str), before)?;
        let inner: Vec<String> = inner.iter().map(|arg| quoted(arg)).collect();
        // What belongs to the inner connection must not be filled in by the outer one.
        let inner = inner.join(" ").replace('%', "%%");
        args.push(format!("-oProxyCommand=ssh {inner} -W [%h]:%p -- {}", quoted(&last.name)));
    }
    Ok(args)
}

/// A word for the shell that runs a proxy command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A known-hosts file with exactly the keys that the lab file declares.
fn known_hosts(address: &Address) -> io::Result<PathBuf> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let lines: String = address.host_keys.iter().map(|key| format!("{} {}\n", address.name, key.trim())).collect();
    // Several hosts behind one hop write the hop's file at the same time, and others read it: it is put in place whole.
    let path = address.scratch.join(format!("known_hosts.{}", address.name));
    let new = path.with_extension(format!("{}.new", WRITTEN.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&new, lines)?;
    std::fs::rename(&new, &path)?;
    Ok(path)
}

fn connect(address: &Address, candidate: Option<&str>) -> Result<Link, ProviderError> {
    let name = &address.name;
    let start = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProviderError::new(ErrorKind::Rejected, "`ssh` is not installed on this machine")
            .help("install OpenSSH's client: `apt install openssh-client`"),
        _ => ProviderError::bug(format!("cannot start `ssh`: {error}")),
    };
    let mut child = command(address, candidate).and_then(|mut ssh| ssh.spawn()).map_err(start)?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(ProviderError::bug("ssh has no pipes"));
    };
    let mut end =
        Process { child, stderr: Stderr::collect(stderr), name: name.clone(), place: place(address, candidate) };
    let mut reader = BufReader::with_capacity(1 << 16, stdout);
    let watchdog = Watchdog::over(&end.child);
    // The hash is computed while the connection is being made.
    let greeting = binary()
        .and_then(|binary| {
            writeln!(stdin, "{} {} {}", binary.hash, binary.size, std::env::consts::ARCH)?;
            stdin.flush()
        })
        .and_then(|()| settle(&mut reader, &mut stdin));
    watchdog.call_off();
    match greeting {
        Ok(Settled::Ready { uploaded }) => {
            let link = Link::on_streams(name, Box::new(stdin), Box::new(reader), Box::new(end));
            Ok(Link { uploaded, ..link })
        }
        Ok(Settled::Closed) | Err(_) => {
            drop(stdin);
            Err(end.autopsy().unwrap_or_else(|| broken(name)))
        }
    }
}

enum Settled {
    /// The agent is there; how much of the program had to be sent for it.
    Ready { uploaded: Option<u64> },
    /// The other end closed before it greeted.
    Closed,
}

/// Waits for the greeting, and sends the binary if that is asked for.
fn settle(reader: &mut impl BufRead, stdin: &mut ChildStdin) -> io::Result<Settled> {
    let (mut line, mut uploaded) = (Vec::new(), None);
    for _ in 0..1000 {
        line.clear();
        if reader.by_ref().take(1 << 16).read_until(b'\n', &mut line)? == 0 {
            return Ok(Settled::Closed);
        }
        let text = line.trim_ascii();
        if text == GREETING.as_bytes() {
            return Ok(Settled::Ready { uploaded });
        }
        if text == MISSING.as_bytes() {
            let mut file = std::fs::File::open(own_path())?;
            uploaded = Some(io::copy(&mut file, stdin)?);
            stdin.flush()?;
        }
    }
    Ok(Settled::Closed)
}

struct Binary {
    hash: String,
    size: u64,
}

/// The running program: even after an upgrade replaced its file, `/proc/self/exe` is what runs here.
fn own_path() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// Hash and size of the running program, computed once.
fn binary() -> io::Result<&'static Binary> {
    static BINARY: OnceLock<Binary> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(&mut std::fs::File::open(own_path())?, &mut hasher)?;
    let hash = hasher.finalize().to_hex()[..32].to_string();
    Ok(BINARY.get_or_init(|| Binary { hash, size }))
}

/// Collects the far side's error output on a thread, bounded.
struct Stderr(Arc<Mutex<Vec<u8>>>, Option<std::thread::JoinHandle<()>>);

impl Stderr {
    fn collect(mut stderr: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let kept = kept.clone();
            move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = STDERR_KEPT.saturating_sub(kept.len());
                    kept.extend_from_slice(&buffer[..n.min(room)]);
                }
            }
        });
        Stderr(kept, Some(thread))
    }

    fn text(&mut self) -> String {
        if let Some(thread) = self.1.take() {
            drop(thread.join());
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

struct Process {
    child: Child,
    stderr: Stderr,
    name: String,
    /// Where the connection went, as a person would type it.
    place: String,
}

/// As a person would type it: `-p 2222 root@10.0.0.5`.
fn place(address: &Address, candidate: Option<&str>) -> String {
    let user = address.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = address.port.map(|port| format!("-p {port} ")).unwrap_or_default();
    format!("{port}{user}{}", candidate.unwrap_or(&address.name))
}

impl End for Process {
    fn autopsy(&mut self) -> Option<ProviderError> {
        // The pipe is closed, so ssh is ending; one that does not is ended.
        let deadline = Instant::now() + Duration::from_secs(5);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.code(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                _ => {
                    drop(self.child.kill());
                    break None;
                }
            }
        };
        Some(explain(&self.name, &self.place, status, &self.stderr.text()))
    }

    fn process(&self) -> Option<Pid> {
        Some(Pid::from_child(&self.child))
    }
}

impl Drop for Process {
    /// Ends the connection at once: the agent hears the end of its input, ends what it began, and goes.
    fn drop(&mut self) {
        // A connection that is over already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Ends a connection that does not come to a greeting: a login shell may hang for ever.
struct Watchdog(mpsc::Sender<()>);

impl Watchdog {
    fn over(child: &Child) -> Watchdog {
        let (calm, called_off) = mpsc::channel();
        let pid = Pid::from_child(child);
        std::thread::spawn(move || {
            if called_off.recv_timeout(GREETING_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                // It may have ended in this very moment.
                kill_process(pid, Signal::TERM).unwrap_or_default();
            }
        });
        Watchdog(calm)
    }

    fn call_off(self) {
        drop(self.0);
    }
}

/// What ssh or the bootstrap said, as an error that says what to do.
fn explain(name: &str, place: &str, status: Option<i32>, stderr: &str) -> ProviderError {
    let said = |needle: &str| stderr.contains(needle);
    let lines: Vec<&str> =
        stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@')).collect();
    let last = lines.last().copied().unwrap_or("nothing was said");
    let error = |kind, message: String, help: String| ProviderError::new(kind, message).help(help);
    if said("REMOTE HOST IDENTIFICATION HAS CHANGED")
        || (said("Host key verification failed") && said("does not match"))
    {
        let message =
            format!("the host key of `{name}` ({place}) has changed: it may be a new machine, or somebody in between");
        let help = format!(
            "compare `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its console; if it is yours: `ssh-keygen -R {}`, then connect once with `ssh {place}`",
            bare(place)
        );
        return error(ErrorKind::Auth, message, help);
    }
    if said("Host key verification failed") || said("host key is known for") {
        let message =
            format!("the host key of `{name}` ({place}) {UNKNOWN_KEY}, so it cannot be told from an impostor");
        let help = format!(
            "connect once with `ssh {place}` and compare the fingerprint, or put the key into `hosts.{name}.ssh.host_key`"
        );
        return error(ErrorKind::Auth, message, help);
    }
    if said("Permission denied") && status == Some(255) {
        let message = format!("`{name}` refused the login at {place}: {last}");
        return error(ErrorKind::Auth, message, format!("check that `ssh {place}` works without a password"));
    }
    if said("sudo:") && status == Some(1) {
        let message = format!("`{name}` let us in at {place}, but not as root, and sudo wants more: {last}");
        let help = "let that user run sudo without a password, or set `ssh: { user: root }`".to_string();
        return error(ErrorKind::Auth, message, help);
    }
    match status {
        Some(91) => error(
            ErrorKind::Rejected,
            format!("`{name}` has another processor: {last}, and this labwright is {}", std::env::consts::ARCH),
            format!("run labwright from a machine of that kind, or leave `{name}` out with `--exclude {name}`"),
        ),
        Some(90 | 92 | 93) => error(
            ErrorKind::Rejected,
            format!("cannot put the agent on `{name}`: {last}"),
            "it needs a few MiB below /var/lib/labwright, on a file system that is writable and may run programs"
                .into(),
        ),
        // 126 and 127 are the shell's own: the program is there and cannot be run.
        Some(126 | 127) => error(
            ErrorKind::Rejected,
            format!("the agent does not run on `{name}`: {last}"),
            "its C library may be older than the one that labwright was built with".into(),
        ),
        Some(255) => error(
            ErrorKind::Unreachable,
            format!("`{name}` does not answer at {place}: {last}"),
            format!("try `ssh {place}`"),
        ),
        _ => error(
            ErrorKind::Unreachable,
            format!("the connection to `{name}` was lost: {last}"),
            format!("try `ssh {place}`"),
        ),
    }
}

fn bare(place: &str) -> &str {
    place.rsplit(['@', ' ']).next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_survives_any_login_shell() {
        assert!(!BOOTSTRAP.contains('\''), "it is passed on in single quotes");
    }

    #[test]
    fn every_hop_is_as_strict_as_the_host_and_nests() {
        let hop = |name: &str| Address {
            name: name.into(),
            addresses: vec![format!("10.0.0.{}", name.len())],
            ..Address::default()
        };
        let args = arguments(&hop("deep"), None, &[hop("a"), hop("it's")]).unwrap();
        let proxy = args.last().unwrap();
        assert!(proxy.starts_with("-oProxyCommand=ssh ") && proxy.ends_with(r"-W [%h]:%p -- 'it'\''s'"), "{proxy}");
        assert_eq!(proxy.matches("StrictHostKeyChecking=yes").count(), 2, "{proxy}");
        assert!(
            proxy.contains("-W [%%h]:%%p -- "),
            "the inner hop's own target is filled in by the inner hop: {proxy}"
        );
    }

    #[test]
    fn what_ssh_says_becomes_what_to_do() {
        let kind = |status, stderr: &str| explain("nas", "root@10.0.0.5", Some(status), stderr).kind;
        assert_eq!(kind(255, "ssh: connect to host 10.0.0.5 port 22: Connection refused\n"), ErrorKind::Unreachable);
        assert_eq!(kind(255, "root@10.0.0.5: Permission denied (publickey,password).\n"), ErrorKind::Auth);
        assert_eq!(
            kind(255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n"),
            ErrorKind::Auth
        );
        assert_eq!(
            kind(
                255,
                "No ED25519 host key is known for 10.0.0.5 and you have requested strict checking.\nHost key verification failed.\n"
            ),
            ErrorKind::Auth
        );
        assert_eq!(kind(1, "sudo: a password is required\n"), ErrorKind::Auth);
        assert_eq!(kind(91, "labwright: this host is aarch64\n"), ErrorKind::Rejected);
        let changed = explain("nas", "-p 2222 root@10.0.0.5", Some(255), "REMOTE HOST IDENTIFICATION HAS CHANGED");
        assert!(changed.help.contains("ssh-keygen -R 10.0.0.5"), "{}", changed.help);
    }
}
