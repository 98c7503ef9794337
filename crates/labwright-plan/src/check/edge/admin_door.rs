//! The administration pages of machines (a hypervisor's, the router's, of what stands in a management zone) that a name leads
//! to. Told by LW-EDGE-012, as those of containers are.

use labwright_model::lab::{Access, Expose, Lab, ZoneKind};
use labwright_model::{Finding, Placement, Span};

use super::names::full;
use crate::check::Case;
use crate::check::network::management::is_serving;
use crate::check::network::telling::Stake;
use crate::check::network::zone_kind::router;

/// A machine's own page, by the port that it has by itself.
struct Page<'a> {
    what: String,
    host: &'a str,
    span: Span,
    speaks_http: bool,
}

/// One finding for each service that is no more than a name for such a page, where those come by it who only use the lab.
pub fn told(case: &Case<'_>, code: &'static str) -> Vec<Finding> {
    let parsed = case.parsed;
    let lab = &parsed.lab;
    // In one flat network there is nowhere else to come from, and the page is there by its address as well.
    let kinds = || lab.network.zones.values().map(|zone| zone.kind.as_ref().map(|kind| kind.value));
    let elsewhere = kinds().filter(|kind| *kind != Some(ZoneKind::Vpn)).count() > 1
        && (lab.edge.vpn.is_some() || kinds().any(|kind| kind == Some(ZoneKind::Management)));
    let help = help(lab);
    let mut all = Vec::new();
    for placement in parsed.placements.iter().filter(|placement| !placement.entry.url.is_empty()) {
        let entry = &placement.entry;
        let asked = entry.door.auth.forward || !entry.door.auth.basic.is_empty();
        let (far, reach) = match entry.expose {
            Expose::Public if entry.access == Access::Everyone => (true, "is on the internet"),
            Expose::Lan if elsewhere => (false, "is open to whoever is on the network"),
            _ => continue,
        };
        let Some(page) = page(case, placement).filter(|_| !asked) else { continue };
        let service = &placement.service;
        let message = format!("`{service}` leads to {}, which {reach} by that name", page.what);
        let stake = case.kinds().stake(page.host).max(Stake::of(entry.tier));
        let at = format!("services.{service}");
        let finding = match far {
            true => Finding::warning(code, at, page.span, message),
            false => stake.finding(code, at, page.span, message),
        };
        // A door asks whoever speaks HTTP.
        let vpn = help.split(", or ask at its door").next().unwrap_or(&help);
        all.push(finding.help(if page.speaks_http { help.as_str() } else { vpn }));
    }
    all
}

/// What may be typed, as far as the lab has what it takes.
fn help(lab: &Lab) -> String {
    let vpn = match lab.edge.vpn.is_some() {
        true => "write `expose: vpn`",
        false => "take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`",
    };
    match lab.platform.reverse_proxy.as_ref().is_some_and(|proxy| proxy.forward_auth.is_some()) {
        true => format!("{vpn}, or ask at its door: `door: {{ auth: forward }}`"),
        false => vpn.to_string(),
    }
}

fn page<'a>(case: &Case<'a>, placement: &'a Placement) -> Option<Page<'a>> {
    let lab = &case.parsed.lab;
    let entry = &placement.entry;
    let led = entry.door.to.iter().find_map(|to| {
        let (host, port) = end(lab, &to.value)?;
        Some(Page { what: of(case, host, port)?, host, span: to.span, speaks_http: true })
    });
    led.or_else(|| {
        // An appliance's own page, said as its service.
        let own = entry.built_in.as_ref()?;
        let port = entry.port.as_ref()?.rsplit(':').next()?.parse().ok()?;
        let on = entry.on.first()?;
        let (host, _) = lab.compute.hosts.get_key_value(&on.value)?;
        let what = match port {
            22 => format!("SSH of `{host}`"),
            _ if super::administration_in_browser::of_its_host(own) => {
                format!("the page that `{host}` is administered by ({})", own.value)
            }
            _ => of(case, host, port).filter(|_| case.kinds().is_hypervisor(host))?,
        };
        Some(Page { what, host, span: own.span, speaks_http: port != 22 })
    })
}

/// The host of the lab, and the port, that `https://10.0.10.2:8006` leads to.
fn end<'a>(lab: &'a Lab, to: &str) -> Option<(&'a str, u16)> {
    let (scheme, rest) = to.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port = port.unwrap_or(if scheme == "http" { 80 } else { 443 });
    let bare = match authority.rsplit_once(':') {
        Some((bare, after)) if after.parse::<u16>().is_ok() => bare,
        _ => authority,
    };
    let address = bare.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok();
    let name = full(lab, to);
    let is = |short: &str, host: &labwright_model::lab::Host| match address {
        Some(address) => host.address.iter().any(|own| own.value == address),
        None => bare == short || name == lab.fqdn(short).to_lowercase(),
    };
    let (host, _) = lab.compute.hosts.iter().find(|(short, host)| is(short, host))?;
    Some((host, port))
}

/// What is administered at this port of a machine.
fn of(case: &Case<'_>, host: &str, port: u16) -> Option<String> {
    let lab = &case.parsed.lab;
    let kinds = case.kinds();
    let web = matches!(port, 80 | 443 | 8443);
    if kinds.is_hypervisor(host) {
        return (port == 8006).then(|| format!("the web interface of Proxmox on `{host}`"));
    }
    if is_serving(lab, host) {
        return None;
    }
    if router(lab) == Some(host) {
        return web.then(|| format!("the web interface of router `{host}`"));
    }
    let zone = case.reach().zone(host).filter(|zone| kinds.zone(zone) == Some(ZoneKind::Management))?;
    Some(format!("`{host}` in management zone `{zone}`"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn names_that_lead_to_the_pages_of_machines() {
        let lab = |vpn: &str| {
            format!(
                r#"
domain: home.example.net
edge: {{ router: {{ on: gw, kind: unifi }}{vpn}, public: {{ cloudflare: {{ zones: [example.net], tunnel: vm }} }} }}
network:
  zones: {{ LAN }}
compute:
  proxmox: [pve]
  hosts:
    gw: {{ address: 10.0.1.1 }}
    pve: {{ address: 10.0.1.2 }}
    nas: {{ address: 10.0.1.3 }}
    vm: {{ address: 10.0.2.2, vm: {{ on: pve }}, tier: production }}
platform: {{ dns: vm, reverse_proxy: {{ on: vm, forward_auth: films, tls: internal }} }}
services:
  by-address: {{ external: pve, door: {{ to: "https://10.0.1.2:8006" }}, expose: public, access: everyone, url: pve.example.net }}
  by-name: {{ external: pve, door: {{ to: "https://pve.home.example.net:8006" }}, expose: lan, url: pve-too }}
  router: {{ external: gw, door: {{ to: "https://gw" }}, expose: lan, url: router }}
  storage: {{ external: nas, door: {{ to: "http://10.0.1.3:5000" }}, expose: lan, url: storage }}
  own: {{ built_in: pveproxy, on: pve, port: 8006, expose: lan, url: pve-own }}
  asked: {{ external: pve, door: {{ to: "https://pve:8006", auth: forward }}, expose: lan, url: pve-asked }}
  over-vpn: {{ external: pve, door: {{ to: "https://pve:8006" }}, expose: vpn, url: pve-vpn }}
  elsewhere: {{ external: x, door: {{ to: "https://10.9.9.9:8006" }}, expose: lan, url: elsewhere }}
  shell: {{ built_in: sshd, on: vm, port: 22, expose: public, access: everyone, url: ssh.example.net }}
  films: {{ use: jellyfin, on: vm, expose: lan, url: films }}
"#
            )
        };
        let zones = "mgmt: { subnet: 10.0.1.0/24 }, servers: { subnet: 10.0.2.0/24 }";
        says(
            &lab("").replace("LAN", zones),
            expect![[r#"
                15:44 warning LW-EDGE-012: `by-address` leads to the web interface of Proxmox on `pve`, which is on the internet by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                16:41 warning LW-EDGE-012: `by-name` leads to the web interface of Proxmox on `pve`, which is open to whoever is on the network by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                17:39 advice LW-EDGE-012: `router` leads to the web interface of router `gw`, which is open to whoever is on the network by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                18:41 advice LW-EDGE-012: `storage` leads to `nas` in management zone `mgmt`, which is open to whoever is on the network by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                19:20 warning LW-EDGE-012: `own` leads to the web interface of Proxmox on `pve`, which is open to whoever is on the network by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                23:22 warning LW-EDGE-012: `shell` leads to SSH of `vm`, which is on the internet by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`
            "#]],
        );
        // One flat network and no VPN: by name or by address is the same.
        let flat = "lan: { subnet: 10.0.0.0/16 }";
        says(
            &lab("").replace("LAN", flat),
            expect![[r#"
                15:44 warning LW-EDGE-012: `by-address` leads to the web interface of Proxmox on `pve`, which is on the internet by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                23:22 warning LW-EDGE-012: `shell` leads to SSH of `vm`, which is on the internet by that name
                    help: take the name out, or declare a VPN, `edge: { vpn: tailscale }`, and write `expose: vpn`
            "#]],
        );
        says(
            &lab(", vpn: tailscale").replace("LAN", flat),
            expect![[r#"
                15:44 warning LW-EDGE-012: `by-address` leads to the web interface of Proxmox on `pve`, which is on the internet by that name
                    help: write `expose: vpn`, or ask at its door: `door: { auth: forward }`
                23:22 warning LW-EDGE-012: `shell` leads to SSH of `vm`, which is on the internet by that name
                    help: write `expose: vpn`
            "#]],
        );
    }
}
