//! LW-SVC-009: a container that can do more to its host than run its program.

use labwright_model::compose::mounts::{Mount, MountType};
use labwright_model::{Finding, Findings, Parsed, Placement, Severity, Span};

use super::told::{at_tier, is_production, place_in};
use crate::check::containers::{Container, containers};
use crate::check::{Case, Examples, Rule};

pub struct Powers;

const CODE: &str = "LW-SVC-009";

impl Rule for Powers {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a container that can do more than run its program"
    }

    fn doc(&self) -> &'static str {
        "A container keeps a program away from its host, unless it is let out:\n\n\
         - `privileged` gives it every device and every right of the host's root.\n\
         - Docker's socket lets it start any container, one with the whole disk too: whoever takes the program has the \
         host. `:ro` changes nothing about that, since what is asked through the socket is not a file. Programs that are there to command Docker (Portainer, \
         Watchtower, runners and the like, known by the name of their image) are left alone.\n\
         - Some rights under `cap_add` are nearly the same (`SYS_ADMIN`, `SYS_MODULE`, `SYS_PTRACE`, `DAC_READ_SEARCH`, \
         `SYS_RAWIO`, `ALL`). Rights over the network alone (`NET_ADMIN`, `NET_RAW`, `NET_BIND_SERVICE`) are what VPNs \
         and DNS servers are made of, and are not spoken of; nor are those that Docker gives anyway.\n\
         - Folders of the host that rule it (`/`, `/etc`, `/root`, `/boot`, `/proc`, `/sys`, `/dev`, `/usr`, `/var`, \
         `/var/lib/docker`, keys in `.ssh`): whoever writes there has the host, and whoever reads there has its \
         passwords' hashes, keys and tokens. Mounted read-only they are advice, and `/proc`, `/sys`, `/dev`, `/usr` and `/boot` nothing.\n\
         - `pid: host` shows every process of the host and what is in its environment; `ipc: host` shares its memory. \
         Programs that are there to measure a host (node-exporter, cAdvisor, Netdata and the like) are asked neither \
         about that nor about what they read.\n\
         - `user: root` in so many words undoes what the image does by itself.\n\n\
         One finding for each service, at the first of them, and each one that a comment accepts by itself: advice in the \
         lab tier, a warning in production; `user: root`, `ipc: host` and what is only read are advice there too.\n\n\
         Document 3 makes isolation one of its three rules; what these settings give away is in Docker's documentation \
         (\"Docker daemon attack surface\", \"Runtime privilege and Linux capabilities\").\n\n\
         The way out: give the one device or right that is needed (`devices`, `cap_add`); put a socket proxy between a \
         dashboard and Docker's socket, which lets it look and not change. Where the program is made for it (a manager of \
         containers, a runner), say so: `# labwright: allow LW-SVC-009 because …`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  films:\n    on: docker-01\n    containers: { app: { image: \"jellyfin/jellyfin:10.10.7\", privileged: true } }",
            passes: "compute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  films:\n    on: docker-01\n    containers: { app: { image: \"jellyfin/jellyfin:10.10.7\", devices: [/dev/dri] } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let mut last: Option<&str> = None;
        for placement in &parsed.placements {
            let service = placement.service.as_str();
            if last == Some(service) {
                continue;
            }
            let mut all: Vec<Power<'_>> =
                containers(parsed, placement).flat_map(|container| powers(parsed, container)).collect();
            if all.is_empty() {
                continue;
            }
            last = Some(service);
            // What is accepted at its own place accepts nothing else.
            let (accepted, mut open): (Vec<_>, Vec<_>) =
                all.drain(..).partition(|power| is_accepted(parsed, power.span));
            open.sort_by_key(|power| power.mild);
            findings.extend(accepted.iter().map(|power| finding(placement, power, &[])));
            if let Some((first, others)) = open.split_first() {
                findings.push(finding(placement, first, others));
            }
        }
    }
}

fn is_accepted(parsed: &Parsed, span: Span) -> bool {
    let mut allows = parsed.allows.iter().filter(|allow| allow.code == CODE && allow.span.file == span.file).peekable();
    allows.peek().is_some() && parsed.place(span).is_some_and(|place| allows.any(|allow| allow.line == place.line))
}

fn finding(placement: &Placement, first: &Power<'_>, others: &[Power<'_>]) -> Finding {
    let service = placement.service.as_str();
    let message = format!("container `{}` of `{service}` {}", first.container, first.says);
    let at = format!("services.{service}.containers.{}.{}", first.container, first.key);
    let mut finding = Finding::warning(CODE, at, first.span, message).help(first.help);
    for other in others.iter().take(5) {
        finding = finding.related(other.span, format!("`{}` {}", other.container, other.says));
    }
    let finding = at_tier(is_production(placement), finding);
    if first.mild { Finding { severity: Severity::Advice, ..finding } } else { finding }
}

struct Power<'a> {
    container: &'a str,
    key: &'static str,
    span: Span,
    says: String,
    help: &'static str,
    /// Whether it is advice in production too.
    mild: bool,
}

/// Rights that are as good as the host's root, or nearly; capabilities(7).
const GRAVE: &[&str] =
    &["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "DAC_READ_SEARCH", "SYS_BOOT", "BPF", "PERFMON"];

/// Programs that are there to command Docker, by words of their images' names.
const FOR_DOCKER: &[&str] = &[
    "portainer",
    "dockge",
    "komodo",
    "arcane",
    "yacht",
    "coolify",
    "watchtower",
    "whats-up-docker",
    "autoheal",
    "socket-proxy",
    "runner",
    "woodpecker-agent",
];

/// Programs that are there to measure a host, by words of their images' names: they read all of it.
const FOR_HOSTS: &[&str] = &[
    "node-exporter",
    "node_exporter",
    "process-exporter",
    "cadvisor",
    "netdata",
    "telegraf",
    "glances",
    "beszel",
    "datadog",
    "falco",
    "crowdsec",
    "scrutiny",
    "alloy",
    "promtail",
    "fluent-bit",
];

/// Folders of a host that rule it, for whoever writes there; and whether reading them gives it away too.
const RULING: &[(&str, bool)] = &[
    ("", true),
    ("/etc", true),
    ("/root", true),
    ("/var", true),
    ("/var/lib/docker", true),
    ("/boot", false),
    ("/dev", false),
    ("/proc", false),
    ("/sys", false),
    ("/usr", false),
];

/// A mounted folder of the host that rules it: how it is called, and whether it is only read.
fn ruling(mount: &Mount) -> Option<(&str, bool)> {
    let source = mount.source.as_ref().filter(|_| mount.kind == MountType::Bind)?;
    let path = source.trim_end_matches('/');
    let keys = path.ends_with("/.ssh") && source.starts_with('/');
    let (_, told) = RULING
        .iter()
        .copied()
        .find(|(folder, _)| *folder == path && source.starts_with('/'))
        .or(keys.then_some(("", true)))?;
    let read_only = mount.read_only.0;
    (!read_only || told).then_some((if path.is_empty() { "/" } else { path }, read_only))
}

fn powers<'a>(parsed: &Parsed, container: Container<'a>) -> Vec<Power<'a>> {
    const SAY: &str = "take it out, or say what it is for: `# labwright: allow LW-SVC-009 because …`";
    let mut all = Vec::new();
    let mut add = |key, span: Option<Span>, says: String, help, mild| {
        let span = span.unwrap_or_else(|| place_in(parsed, container.placement, &["containers", container.name, key]));
        all.push(Power { container: container.name, key, span, says, help, mild });
    };
    let says = &container.says.value;
    if says.privileged.0 {
        add(
            "privileged",
            None,
            "is privileged: it can do all that root on the host can".into(),
            "take it out, and give what is needed: `devices: [/dev/…]` or `cap_add: […]`",
            false,
        );
    }
    let image = container.image();
    let is_for = |words: &[&str]| image.is_some_and(|image| words.iter().any(|word| image.repository.contains(word)));
    let (for_docker, for_hosts) = (is_for(FOR_DOCKER), is_for(FOR_HOSTS));
    for mount in says.volumes.iter() {
        if !for_docker && mount.source.as_ref().is_some_and(|source| source.ends_with("/docker.sock")) {
            add(
                "volumes",
                Some(mount.span),
                "may command Docker, and with it the host".into(),
                "put a socket proxy between the two, or say why it must: `# labwright: allow LW-SVC-009 because …`",
                false,
            );
        }
        if let Some((path, read_only)) = ruling(&mount.value).filter(|(_, read_only)| !(for_hosts && *read_only)) {
            let (says, help) = match read_only {
                true => (
                    format!("reads the host's own `{path}`: its keys, hashes and tokens are there"),
                    "mount the one folder that it needs, or say why it is all: `# labwright: allow LW-SVC-009 because …`",
                ),
                false => (
                    format!("may write to the host's own `{path}`, and so has the host"),
                    "mount the one folder that it needs, and `:ro` where it only reads; or say why it must be so: \
                     `# labwright: allow LW-SVC-009 because …`",
                ),
            };
            add("volumes", Some(mount.span), says, help, read_only);
        }
    }
    for right in says.cap_add.iter() {
        let name = right.trim_start_matches("CAP_").to_ascii_uppercase();
        if GRAVE.contains(&name.as_str()) {
            add("cap_add", Some(right.span), format!("has a right of the host's root: `{name}`"), SAY, false);
        }
    }
    if let Some(pid) = says.pid.as_ref().filter(|pid| pid.value == "host" && !for_hosts) {
        add("pid", Some(pid.span), "sees every process of the host, with its environment".into(), SAY, false);
    }
    if let Some(ipc) = says.ipc.as_ref().filter(|ipc| ipc.value == "host" && !for_hosts) {
        add("ipc", Some(ipc.span), "shares the memory that the host's processes share".into(), SAY, true);
    }
    if says.user.as_ref().is_some_and(|user| matches!(user.split(':').next(), Some("root" | "0"))) {
        add(
            "user",
            None,
            "runs as root in so many words".into(),
            "take `user` out, or name one that the program's files belong to",
            true,
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn by_tier_and_in_compose_files_too() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  lab: { containers: { a: { image: "a:1", privileged: true } }, on: d-01 }
  prod:
    tier: production
    on: d-01
    restore_notes: x
    probe: /
    containers:
      a: { image: "a@sha256:0", volumes: ["/var/run/docker.sock:/var/run/docker.sock:ro"] }
      b: { image: "b@sha256:0", cap_add: [CAP_SYS_ADMIN, NET_ADMIN], user: "0:0" }
  root: { containers: { a: { image: "a:1", user: root } }, on: d-01 }
  fine: { containers: { a: { image: "a:1", cap_add: [NET_ADMIN, NET_RAW], user: "1000", devices: [/dev/dri] } }, on: d-01 }
"#,
            expect![[r#"
                5:55 advice LW-SVC-009: container `a` of `lab` is privileged: it can do all that root on the host can
                    help: take it out, and give what is needed: `devices: [/dev/…]` or `cap_add: […]`
                12:43 warning LW-SVC-009: container `a` of `prod` may command Docker, and with it the host
                    help: put a socket proxy between the two, or say why it must: `# labwright: allow LW-SVC-009 because …`
                    13:43: `b` has a right of the host's root: `SYS_ADMIN`
                    13:76: `b` runs as root in so many words
                14:50 advice LW-SVC-009: container `a` of `root` runs as root in so many words
                    help: take `user` out, or name one that the program's files belong to
            "#]],
        );
    }

    #[test]
    fn folders_that_rule_the_host_and_the_very_item() {
        says(
            r#"
owner: me
compute: { hosts: { d-01: { address: 10.0.0.1 } } }
services:
  all: { data: [], containers: { t: { image: "t:1", volumes: ["/:/host:ro"] }, u: { image: "u:1", volumes: ["/etc:/e", "/root/.ssh/:/k"], pid: host, ipc: host } }, on: d-01 }
  each:
    on: d-01
    data: []
    containers:
      a:
        image: "x/y:1"
        cap_add:
          - NET_ADMIN
          # labwright: allow LW-SVC-009 because it loads WireGuard
          - SYS_MODULE
        volumes:
          - data:/data
          - /:/host
  fine: { data: [], containers: { a: { image: "a:1", volumes: ["/etc/localtime:/etc/localtime:ro", "/srv:/x", "/proc:/p:ro", "/var/lib/app:/y"] } }, on: d-01 }
  measures: { data: [], containers: { a: { image: "prom/node-exporter:v1.8.2", volumes: ["/:/host:ro,rslave"], pid: host } }, on: d-01 }
"#,
            expect![[r#"
                5:109 advice LW-SVC-009: container `u` of `all` may write to the host's own `/etc`, and so has the host
                    help: mount the one folder that it needs, and `:ro` where it only reads; or say why it must be so: `# labwright: allow LW-SVC-009 because …`
                    5:120: `u` may write to the host's own `/root/.ssh`, and so has the host
                    5:144: `u` sees every process of the host, with its environment
                    5:63: `t` reads the host's own `/`: its keys, hashes and tokens are there
                    5:155: `u` shares the memory that the host's processes share
                18:13 advice LW-SVC-009: container `a` of `each` may write to the host's own `/`, and so has the host
                    help: mount the one folder that it needs, and `:ro` where it only reads; or say why it must be so: `# labwright: allow LW-SVC-009 because …`
            "#]],
        );
    }
}
