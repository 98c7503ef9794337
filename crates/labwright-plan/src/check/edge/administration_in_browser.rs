//! The part of LW-EDGE-004 that looks at names: what administers machines from a browser and is on the internet, past the
//! VPN. What asks nobody who they are is LW-EDGE-012's.

use std::collections::BTreeMap;

use labwright_model::lab::{Access, Expose};
use labwright_model::{Finding, Span};

use super::admin_page;
use crate::application;
use crate::check::Case;
use crate::check::containers::containers;
use crate::check::network::telling::{Stake, and_here};

/// Programs that give a shell, a desktop or the command of other programs to whoever gets into their page: what they are, and
/// repositories of images without a registry.
const PROGRAMS: &[(&str, &[&str])] = &[
    (
        "remote desktops and shells",
        &[
            "guacamole/guacamole",
            "flcontainers/guacamole",
            "oznu/guacamole",
            "abesnier/guacamole",
            "jwetzell/guacamole",
        ],
    ),
    (
        "a shell",
        &["wettyoss/wetty", "tsl0922/ttyd", "niruix/sshwifty", "germannewsmaker/nexterm", "huashengdun/webssh"],
    ),
    ("an editor with a shell", &["linuxserver/code-server", "codercom/code-server", "gitpod/openvscode-server"]),
    ("a desktop", &["linuxserver/webtop", "kasmweb/desktop", "linuxserver/kasm"]),
    ("the command of all containers", &["portainer/portainer-ce", "portainer/portainer-ee", "louislam/dockge"]),
    ("the administration of the proxy", &["jc21/nginx-proxy-manager"]),
];

/// What runs without a container, by how people write it: `built_in: cockpit`.
const BUILT_IN: &[&str] =
    &["cockpit", "webmin", "proxmox", "ttyd", "wetty", "guacamole", "codeserver", "opnsense", "truenas"];

/// Whether something that runs without a container is there to administer its own host.
pub fn of_its_host(built_in: &str) -> bool {
    ["cockpit", "webmin"].iter().any(|known| plain(built_in).contains(known))
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

/// One finding for all services on the internet from whose pages machines are administered.
pub fn told(case: &Case<'_>, code: &'static str) -> Option<Finding> {
    let parsed = case.parsed;
    let lab = &parsed.lab;
    let mut found: BTreeMap<&str, (Stake, Span, &str)> = BTreeMap::new();
    for placement in &parsed.placements {
        let entry = &placement.entry;
        if entry.expose != Expose::Public || entry.url.is_empty() || entry.external.is_some() {
            continue;
        }
        let asked = entry.door.auth.forward || !entry.door.auth.basic.is_empty();
        let open = entry.access == Access::Everyone && !asked;
        let led = entry.port.as_ref().map(|port| port.value.as_str());
        let of = |name: &str| led.and_then(|led| led.split_once(':')).is_none_or(|(of, _)| of == name);
        let image = containers(parsed, placement).filter(|container| of(container.name)).find_map(|container| {
            // Told as a page that everybody may open.
            if open && admin_page::PAGES.iter().any(|page| page.is_of_container(&container)) {
                return None;
            }
            let path = application::path(container.image()?.repository);
            let known =
                |images: &&[&str]| images.iter().any(|image| path == *image || path.ends_with(&format!("/{image}")));
            PROGRAMS.iter().find(|(_, images)| known(images)).map(|(what, _)| *what)
        });
        let built_in = entry.built_in.as_ref().is_some_and(|name| {
            let plain = plain(name);
            BUILT_IN.iter().any(|known| plain.contains(known))
        });
        let Some(what) = image.or(built_in.then_some("the administration of its host")) else { continue };
        let stake = entry.on.iter().map(|on| case.kinds().stake(&on.value)).max().unwrap_or(Stake::Lab);
        let stake = stake.max(Stake::of(entry.tier));
        let span = lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span);
        let one = found.entry(&placement.service).or_insert((stake, span, what));
        one.0 = one.0.max(stake);
    }
    let mut found: Vec<(&str, Stake, Span, &str)> =
        found.into_iter().map(|(name, (stake, span, what))| (name, stake, span, what)).collect();
    found.sort_by_key(|(_, stake, span, _)| (std::cmp::Reverse(*stake), *span));
    let (first, stake, span, what) = *found.first()?;
    let vpn = lab.edge.vpn.is_some();
    let past = if vpn { "past the VPN" } else { "and there is no VPN to come over" };
    let message = format!("`{first}` gives {what} to whoever gets into its page, and that is on the internet, {past}");
    let way = match vpn {
        true => "write `expose: vpn` in it".to_string(),
        false => "declare `edge: { vpn: tailscale }` and write `expose: vpn` in it".to_string(),
    };
    let help = format!(
        "{way}; where an access policy is the way in that you mean, accept it above `{first}`: `# labwright: allow {code} because …`"
    );
    let finding = stake.finding(code, format!("services.{first}.expose"), span, message).help(help);
    Some(and_here(finding, found.iter().skip(1).map(|(name, _, span, _)| (*span, *name)), "so is {}"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    fn lab(vpn: &str, expose: &str) -> String {
        format!(
            r#"
domain: home.arpa
edge: {{ {vpn}public: {{ cloudflare: {{ zones: [example.net], tunnel: a, access: {{ me: {{ covers: "*.example.net", emails: me@example.net }} }} }} }} }}
compute: {{ hosts: {{ a: {{ address: 10.0.0.1 }} }} }}
services:
  desk: {{ on: a, expose: {expose}, url: desk.example.net, port: "web:8080", containers: {{ web: {{ image: "guacamole/guacamole:1.5.5", ports: ["127.0.0.1:8080:8080"] }} }} }}
  edit: {{ on: a, expose: {expose}, url: edit.example.net, port: "web:8443", tier: production, containers: {{ web: {{ image: "lscr.io/linuxserver/code-server:4.9", ports: ["127.0.0.1:8443:8443"] }} }} }}
  host: {{ on: a, expose: {expose}, url: host.example.net, port: "9090", built_in: cockpit }}
  blog: {{ on: a, expose: {expose}, url: blog.example.net, port: "web:2368", containers: {{ web: {{ image: "ghost:5", ports: ["127.0.0.1:2368:2368"] }}, shell: {{ image: "tsl0922/ttyd:1" }} }} }}
"#
        )
    }

    #[test]
    fn behind_a_policy_and_past_the_vpn() {
        says(
            &lab("vpn: tailscale, ", "public"),
            expect![[r#"
            6:3 warning LW-EDGE-004: `desk` gives remote desktops and shells to whoever gets into its page, and that is on the internet, past the VPN
                help: write `expose: vpn` in it; where an access policy is the way in that you mean, accept it above `desk`: `# labwright: allow LW-EDGE-004 because …`
                7:3: so is `edit`
                8:3: so is `host`
        "#]],
        );
        says(
            &lab("", "public"),
            expect![[r#"
            6:3 warning LW-EDGE-004: `desk` gives remote desktops and shells to whoever gets into its page, and that is on the internet, and there is no VPN to come over
                help: declare `edge: { vpn: tailscale }` and write `expose: vpn` in it; where an access policy is the way in that you mean, accept it above `desk`: `# labwright: allow LW-EDGE-004 because …`
                7:3: so is `edit`
                8:3: so is `host`
        "#]],
        );
    }

    #[test]
    fn over_the_vpn_it_says_nothing() {
        says(
            &lab("vpn: tailscale, ", "vpn"),
            expect![[r#"
                3:79 advice LW-EDGE-002: there is a tunnel, and no service is public
                    help: say which services it carries, `expose: public`, or take it out
            "#]],
        );
    }

    #[test]
    fn what_everybody_may_open_is_another_rule_s() {
        let everyone = "expose: public, access: everyone";
        let lab = lab("vpn: tailscale, ", "public").replace("expose: public", everyone);
        let desk = lab.lines().filter(|line| !["  edit", "  host", "  blog"].iter().any(|name| line.starts_with(name)));
        let desk: Vec<&str> = desk.filter(|line| !line.contains("covers")).collect();
        let edge = "edge: { vpn: tailscale, public: { cloudflare: { zones: [example.net], tunnel: a } } }\n";
        says(
            &format!("{edge}{}", desk.join("\n")),
            expect![[r#"
            6:42 warning LW-EDGE-012: `desk`: Guacamole is on the internet, by its name
                help: write `expose: vpn`, or ask at its door: `door: { auth: forward }`; see https://guacamole.apache.org/doc/gug/guacamole-docker.html
        "#]],
        );
    }
}
