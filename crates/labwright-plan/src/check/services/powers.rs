//! LW-SVC-009: a container that can do more to its host than run its program.

use labwright_model::{Finding, Findings, Severity};

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
         - `user: root` in so many words undoes what the image does by itself.\n\n\
         One finding for each service: advice in the lab tier, a warning in production; `user: root` alone is advice.\n\n\
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
            let all: Vec<Power<'_>> = containers(parsed, placement).flat_map(powers).collect();
            let Some(first) = all.first() else { continue };
            last = Some(service);
            let path = |power: &Power<'_>| place_in(parsed, placement, &["containers", power.container, power.key]);
            let message = format!("container `{}` of `{service}` {}", first.container, first.says);
            let at = format!("services.{service}.containers.{}.{}", first.container, first.key);
            let mut finding = Finding::warning(CODE, at, path(first), message).help(first.help);
            for other in all.iter().skip(1).take(5) {
                finding = finding.related(path(other), format!("`{}` {}", other.container, other.says));
            }
            let grave = all.iter().any(|power| power.key != "user");
            let finding = at_tier(is_production(placement), finding);
            findings.push(if grave { finding } else { Finding { severity: Severity::Advice, ..finding } });
        }
    }
}

struct Power<'a> {
    container: &'a str,
    key: &'static str,
    says: String,
    help: &'static str,
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

fn powers(container: Container<'_>) -> Vec<Power<'_>> {
    let name = container.name;
    let mut all = Vec::new();
    let mut add = |key, says: String, help| all.push(Power { container: name, key, says, help });
    if container.says.privileged.0 {
        add(
            "privileged",
            "is privileged: it can do all that root on the host can".into(),
            "take it out, and give what is needed: `devices: [/dev/…]` or `cap_add: […]`",
        );
    }
    let is_for_docker =
        container.image().is_some_and(|image| FOR_DOCKER.iter().any(|name| image.repository.contains(name)));
    if container.mounts_docker() && !is_for_docker {
        add(
            "volumes",
            "may command Docker, and with it the host".into(),
            "put a socket proxy between the two, or say why it must: `# labwright: allow LW-SVC-009 because …`",
        );
    }
    let rights: Vec<String> = container
        .says
        .cap_add
        .iter()
        .map(|right| right.trim_start_matches("CAP_").to_ascii_uppercase())
        .filter(|right| GRAVE.contains(&right.as_str()))
        .map(|right| format!("`{right}`"))
        .collect();
    if !rights.is_empty() {
        let says = format!("has rights of the host's root: {}", rights.join(", "));
        add("cap_add", says, "take them out, or say what they are for: `# labwright: allow LW-SVC-009 because …`");
    }
    if container.says.user.as_ref().is_some_and(|user| matches!(user.split(':').next(), Some("root" | "0"))) {
        add(
            "user",
            "runs as root in so many words".into(),
            "take `user` out, or name one that the program's files belong to",
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
                12:42 warning LW-SVC-009: container `a` of `prod` may command Docker, and with it the host
                    help: put a socket proxy between the two, or say why it must: `# labwright: allow LW-SVC-009 because …`
                    13:42: `b` has rights of the host's root: `SYS_ADMIN`
                    13:76: `b` runs as root in so many words
                14:50 advice LW-SVC-009: container `a` of `root` runs as root in so many words
                    help: take `user` out, or name one that the program's files belong to
            "#]],
        );
    }
}
