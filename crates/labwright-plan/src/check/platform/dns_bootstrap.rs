//! LW-PLT-010: a resolver that needs names which it serves itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use labwright_model::lab::{Dns, Host};
use labwright_model::{Finding, Findings, Parsed, Severity, Span, Spanned};

use crate::check::compute::carried::{Carried, by_tier, list, told};
use crate::check::containers::containers;
use crate::check::{Case, Examples, Rule};
use crate::mounted::{Protocol, over_network};

pub struct DnsBootstrap;

const CODE: &str = "LW-PLT-010";

impl Rule for DnsBootstrap {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a resolver that needs itself"
    }

    fn doc(&self) -> &'static str {
        "What answers for names must start without them. It does not if\n\n\
         - `upstream` is a name of the lab's own, which only the resolver itself could answer;\n\
         - `upstream` is the resolver's own address and port: questions go round until they time out. A forwarder on \
         another port of the same host is no fault (`10.0.20.53:5335`, as Pi-hole's guide to Unbound has it);\n\
         - every resolver, or the machine under it, mounts something by a name in the lab's domain, which none of them \
         answers before that. A host of the lab that is named as the lab names it is mounted by its address;\n\
         - the resolver gets secrets from a Vault whose `url` is a name of the lab: rebuilt from nothing, the one waits for \
         the other;\n\
         - the resolver's container, or the interface of the machine that it runs on, has itself for its only resolver \
         (`dns: [127.0.0.1]`, the host's own address): until it answers, it cannot fetch its lists or its upstream's name, and \
         the machine cannot pull its image;\n\
         - the resolver is a container whose image is at a name of the lab's own (`registry.lan.example.net/pihole`): once the \
         container is gone, nothing can answer where its image is.\n\n\
         Document 0 asks to keep the dependencies of DNS, secrets and backup explicit, and to test recovery paths for DNS \
         first: everything else is found by name.\n\n\
         A loop that leaves no upstream is an error in a lab with something in production and a warning otherwise; what \
         only fails on the way up is a warning there and advice otherwise.\n\n\
         The last is what https://blog.i0.pm/ tells of: the only resolver was a container on the machine that had to pull it.\n\n\
         The way out: name upstreams by address (`tls://9.9.9.9`), mount hosts by the names that \
         the lab gives them, reach the \
         Vault by its address or with `on: HOST`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    dns-01: { address: 10.0.20.53 }\nplatform:\n  dns: { on: dns-01, upstream: tls://doh.lab.home.arpa }",
            passes: "compute:\n  hosts:\n    dns-01: { address: 10.0.20.53 }\nplatform:\n  dns: { on: dns-01, upstream: tls://9.9.9.9 }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(dns) = &parsed.lab.platform.dns else { return };
        let carried = case.carried();
        upstreams(carried, dns, findings);
        mounts(carried, dns, findings);
        vault(carried, dns, findings);
        image(carried, dns, findings);
        asks_itself(carried, dns, findings);
    }
}

/// Whether only the lab's own resolvers know a name.
fn is_own(parsed: &Parsed, dns: &Dns, name: &str) -> bool {
    let lab = &parsed.lab;
    let name = name.trim_end_matches('.');
    let known = |short: &str| {
        lab.compute.hosts.contains_key(short) || lab.services.contains_key(short) || dns.records.contains_key(short)
    };
    match name.strip_suffix(lab.domain.value.as_str()) {
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => !name.contains('.') && known(name),
    }
}

/// Scheme, host and port of an upstream.
fn parts(upstream: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, rest) = upstream.split_once("://").unwrap_or(("udp", upstream));
    // AdGuard's form for one domain alone: what it leads to is no upstream for the rest.
    let rest = rest.split('/').next().filter(|_| !rest.starts_with("[/"))?;
    if let Ok(address) = rest.parse::<SocketAddr>() {
        let host = rest.rsplit_once(':')?.0.trim_matches(['[', ']']);
        return Some((scheme, host, Some(address.port())));
    }
    let bare = rest.trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return Some((scheme, bare, None));
    }
    match rest.split_once(':') {
        Some((host, port)) => Some((scheme, host, Some(port.parse().ok()?))),
        None => Some((scheme, rest, None)),
    }
}

fn upstreams(carried: &Carried<'_>, dns: &Dns, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let own: BTreeSet<IpAddr> = dns
        .on
        .iter()
        .filter_map(|host| parsed.lab.host(&host.value))
        .flat_map(|host| host.address.iter().map(|address| address.value))
        .collect();
    let mut loops: Vec<(&Spanned<String>, bool)> = Vec::new();
    for upstream in dns.upstream.iter() {
        let Some((scheme, host, port)) = parts(upstream) else { continue };
        match host.parse::<IpAddr>() {
            Ok(address) => {
                let plain = matches!(scheme, "udp" | "tcp" | "dns") && port.is_none_or(|port| port == 53);
                if plain && (own.contains(&address) || address.is_loopback()) {
                    loops.push((upstream, true));
                }
            }
            Err(_) if is_own(parsed, dns, host) => loops.push((upstream, false)),
            Err(_) => {}
        }
    }
    let Some(((first, address), others)) = loops.split_first() else { return };
    let nothing_left = loops.len() == dns.upstream.len();
    let severity = match nothing_left {
        true if carried.production && loops.iter().all(|(_, address)| *address) => Severity::Error,
        true => Severity::Warning,
        false => by_tier(carried.production),
    };
    let what = match address {
        true => "is the resolver itself: questions go round",
        false => "is a name that only the resolver itself knows",
    };
    let message = format!("upstream `{}` {what}", first.value);
    let help = "name an upstream outside the lab by its address, such as `tls://9.9.9.9`".to_string();
    let mut finding = told(CODE, severity, "platform.dns.upstream".to_string(), first.span, message, help);
    for (other, _) in others.iter().take(5) {
        finding = finding.related(other.span, "this one leads back as well");
    }
    findings.push(finding);
}

fn mounts(carried: &Carried<'_>, dns: &Dns, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let mut by_name: Vec<(&str, &str, Span)> = Vec::new();
    for on in dns.on.iter() {
        let machines = std::iter::once(on.value.as_str()).chain(carried.topology.under(&on.value));
        let mut hosts = machines.filter_map(|machine| Some((machine, carried.topology.host(machine)?)));
        // One resolver that starts without names is enough for the others.
        let Some((machine, (server, span))) =
            hosts.find_map(|(machine, host)| Some((machine, mount_by_name(parsed, dns, host)?)))
        else {
            return;
        };
        by_name.push((machine, server, span));
    }
    let Some((machine, server, span)) = by_name.first() else { return };
    let resolvers = list(dns.on.iter().map(|on| on.value.as_str()));
    let message = format!(
        "`{machine}` mounts from `{server}` by name, and the resolvers that know it ({resolvers}) wait for that"
    );
    let short = server.split('.').next().unwrap_or_default();
    let help = match carried.topology.host(short).is_some_and(|host| !host.address.is_empty()) {
        true => format!("write `{short}:/…`: hosts of the lab are mounted by their address"),
        false => "mount by address: `10.0.20.5:/…`".to_string(),
    };
    let at = format!("compute.hosts.{machine}.mounts");
    let mut finding = told(CODE, by_tier(carried.production), at, *span, message, help);
    for (machine, _, span) in by_name.iter().skip(1).filter(|(other, ..)| other != machine).take(5) {
        finding = finding.related(*span, format!("so does `{machine}`"));
    }
    findings.push(finding);
}

fn mount_by_name<'a>(parsed: &Parsed, dns: &Dns, host: &'a Host) -> Option<(&'a str, Span)> {
    over_network(host).find_map(|share| {
        // A host of the lab is mounted by its address, and one without is LW-CMP-002.
        let host = share.protocol == Protocol::Nfs && parsed.lab.host(share.server).is_some();
        (!host && !share.automount && is_own(parsed, dns, share.server)).then_some((share.server, share.span))
    })
}

/// A resolver in a container whose image is found by a name that only it knows.
fn image(carried: &Carried<'_>, dns: &Dns, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let Some(service) = dns.service.as_ref() else { return };
    let placements = parsed.placements.iter().filter(|placement| placement.service == service.value);
    for container in placements.flat_map(|placement| containers(parsed, placement)) {
        let Some(image) = container.says.value.image.as_ref() else { continue };
        let Some((registry, rest)) = image.split_once('/') else { continue };
        let host = registry.split(':').next().unwrap_or_default();
        if !host.contains('.') || host.parse::<IpAddr>().is_ok() || !is_own(parsed, dns, host) {
            continue;
        }
        let message = format!(
            "the image of resolver `{}` is at `{registry}`, a name that only it answers: once it is gone it cannot be pulled",
            service.value
        );
        let on = parsed.lab.platform.registry.iter().flat_map(|registry| registry.on.iter());
        let mut addresses = on.filter_map(|on| parsed.lab.host(on)?.address.first());
        let help = match addresses.next() {
            Some(address) => format!(
                "pull it from a registry outside, or from yours by its address, `{}:PORT/{rest}`; or keep a second resolver \
                 on another machine",
                address.value
            ),
            None => "pull it from a registry outside, or keep a second resolver on another machine".to_string(),
        };
        let at = format!("{}.image", container.at(parsed));
        findings.push(told(CODE, by_tier(carried.production), at, image.span, message, help));
        return;
    }
}

/// A resolver's container that has itself for its only resolver, or the machine that runs it in one.
fn asks_itself(carried: &Carried<'_>, dns: &Dns, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    // With a second resolver on another machine the first can be fetched by that.
    let Some(service) = dns.service.as_ref().filter(|_| dns.on.len() < 2) else { return };
    let placements = parsed.placements.iter().filter(|placement| placement.service == service.value);
    for placement in placements {
        let hosts: Vec<(&str, &Host)> =
            placement.entry.on.iter().filter_map(|on| Some((on.value.as_str(), parsed.lab.host(on)?))).collect();
        let own = |address: &str| {
            let Ok(address) = address.parse::<IpAddr>() else { return false };
            address.is_loopback() || hosts.iter().any(|(_, host)| host.address.iter().any(|own| own.value == address))
        };
        let inside = containers(parsed, placement).find_map(|container| {
            let asked = &container.says.value.dns;
            let itself = !asked.is_empty() && asked.iter().all(|one| own(&one.value));
            itself.then(|| (format!("{}.dns", container.at(parsed)), asked.first().map(|one| one.span)))
        });
        let made_of_containers = || containers(parsed, placement).next().is_some();
        let below = || {
            hosts.iter().filter(|_| made_of_containers()).find_map(|(name, host)| {
                let asked: Vec<_> = host.interfaces.values().flat_map(|interface| interface.dns.iter()).collect();
                let itself = !asked.is_empty() && asked.iter().all(|one| own(&one.value.to_string()));
                itself.then(|| (format!("compute.hosts.{name}.interfaces"), asked.first().map(|one| one.span)))
            })
        };
        let (at, span, message) = match inside {
            Some((at, span)) => (
                at,
                span,
                format!("resolver `{}` asks nobody but itself for names: as it starts, it finds none", service.value),
            ),
            None => {
                let Some((at, span)) = below() else { continue };
                let message = format!(
                    "the machine of resolver `{}` asks nobody else for names: once the container is gone, its image cannot be found",
                    service.value
                );
                (at, span, message)
            }
        };
        let help = "add a resolver outside the lab behind it: `dns: [127.0.0.1, 9.9.9.9]`".to_string();
        findings.push(told(CODE, by_tier(carried.production), at, span.unwrap_or(Span::NONE), message, help));
        return;
    }
}

fn vault(carried: &Carried<'_>, dns: &Dns, findings: &mut Findings) {
    let parsed = carried.topology.parsed;
    let Some(secrets) = parsed.lab.platform.secrets.as_ref().filter(|secrets| secrets.age.is_none()) else { return };
    let Some(url) = secrets.vault.as_ref().and_then(|vault| vault.url.as_ref()) else { return };
    let Some((_, name, _)) = parts(url).filter(|(_, name, _)| is_own(parsed, dns, name)) else { return };
    for on in dns.on.iter().filter(|on| !parsed.implied.contains(&on.value)) {
        let whole = parsed.span_of(&["compute", "hosts", &on.value]);
        let Some(secret) = parsed.secrets.iter().find(|secret| is_inside(secret.span, whole)) else { continue };
        let message = format!(
            "`{}` needs secret `{}` from the Vault at `{name}`, a name that it serves itself",
            on.value, secret.value
        );
        let help =
            "reach the Vault by its address, or keep this secret in `secrets: { age: secrets.yaml }`".to_string();
        let at = format!("compute.hosts.{}", on.value);
        let finding: Finding = told(CODE, by_tier(carried.production), at, secret.span, message, help);
        findings.push(finding.related(url.span, "where the Vault is"));
        return;
    }
}

/// Whether one place is within another.
pub(super) fn is_inside(inner: Span, outer: Span) -> bool {
    !outer.is_none() && inner.file == outer.file && outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::parts;
    use crate::check::tests::says;

    #[test]
    fn upstreams_are_taken_apart() {
        assert_eq!(parts("tls://9.9.9.9"), Some(("tls", "9.9.9.9", None)));
        assert_eq!(parts("10.0.0.1:5335"), Some(("udp", "10.0.0.1", Some(5335))));
        assert_eq!(parts("[fd00::1]:53"), Some(("udp", "fd00::1", Some(53))));
        assert_eq!(parts("fd00::1"), Some(("udp", "fd00::1", None)));
        assert_eq!(parts("https://dns.example:443/dns-query"), Some(("https", "dns.example", Some(443))));
        assert_eq!(parts("[/lan/]10.0.0.1"), None);
        assert_eq!(parts(""), Some(("udp", "", None)));
    }

    #[test]
    fn upstreams_that_lead_back() {
        says(
            r#"
owner: mia
compute: { hosts: { dns-01: { address: [10.0.20.53, "fd00::53"], tier: production }, up: {} } }
platform: { dns: { on: dns-01, upstream: [10.0.20.53, "[fd00::53]:53", up, https://doh.lab.home.arpa/dns-query, 127.0.0.1] } }
"#,
            expect![[r#"
                4:43 warning LW-PLT-010: upstream `10.0.20.53` is the resolver itself: questions go round
                    help: name an upstream outside the lab by its address, such as `tls://9.9.9.9`
                    4:55: this one leads back as well
                    4:72: this one leads back as well
                    4:76: this one leads back as well
                    4:113: this one leads back as well
            "#]],
        );
        says(
            r#"
compute: { hosts: { dns-01: { address: 10.0.20.53 } } }
platform: { dns: { on: dns-01, upstream: [tls://dns.lab.home.arpa, tls://9.9.9.9] } }
"#,
            expect![[r#"
                3:43 advice LW-PLT-010: upstream `tls://dns.lab.home.arpa` is a name that only the resolver itself knows
                    help: name an upstream outside the lab by its address, such as `tls://9.9.9.9`
            "#]],
        );
    }

    #[test]
    fn a_resolver_that_asks_itself() {
        let lab = |container: &str, host: &str, on: &str| {
            format!(
                "compute:\n  hosts:\n    box: {{ address: 10.0.0.2{host} }}\n    other: {{ address: 10.0.0.3 }}\nplatform: {{ dns: {{ on: {on}, service: pihole }} }}\nservices:\n  pihole: {{ on: box, containers: {{ app: {{ image: \"pihole/pihole:2024.07.0\"{container} }} }} }}\n"
            )
        };
        says(
            &lab(", dns: 127.0.0.1", "", "box"),
            expect![[r#"
            7:82 advice LW-PLT-010: resolver `pihole` asks nobody but itself for names: as it starts, it finds none
                help: add a resolver outside the lab behind it: `dns: [127.0.0.1, 9.9.9.9]`
        "#]],
        );
        let asks = ", interfaces: { eth0: { addresses: 10.0.0.2/24, dns: 10.0.0.2 } }";
        says(
            &lab("", asks, "box"),
            expect![[r#"
            3:82 advice LW-PLT-010: the machine of resolver `pihole` asks nobody else for names: once the container is gone, its image cannot be found
                help: add a resolver outside the lab behind it: `dns: [127.0.0.1, 9.9.9.9]`
        "#]],
        );
        for (container, host, on) in [
            (", dns: [127.0.0.1, 9.9.9.9]", "", "box"),
            ("", &*asks.replace("dns: 10.0.0.2", "dns: [10.0.0.2, 10.0.0.1]"), "box"),
            (", dns: 127.0.0.1", "", "[box, other]"),
        ] {
            says(&lab(container, host, on), expect![[""]]);
        }
    }

    #[test]
    fn a_loop_that_leaves_no_upstream() {
        for (owner, tier) in [("owner: mia\n", "production"), ("", "lab")] {
            let lab = format!(
                "{owner}compute: {{ hosts: {{ d: {{ address: 10.0.20.53, tier: {tier} }} }} }}\nplatform: {{ dns: {{ on: d, upstream: [10.0.20.53, 127.0.0.1] }} }}\n"
            );
            let golden = match tier {
                "lab" => expect![[r#"
                    2:38 warning LW-PLT-010: upstream `10.0.20.53` is the resolver itself: questions go round
                        help: name an upstream outside the lab by its address, such as `tls://9.9.9.9`
                        2:50: this one leads back as well
                "#]],
                _ => expect![[r#"
                    3:38 error LW-PLT-010: upstream `10.0.20.53` is the resolver itself: questions go round
                        help: name an upstream outside the lab by its address, such as `tls://9.9.9.9`
                        3:50: this one leads back as well
                "#]],
            };
            says(&lab, golden);
        }
    }

    #[test]
    fn other_ports_public_names_and_other_addresses_are_no_loop() {
        says(
            r#"
compute: { hosts: { dns-01: { address: 10.0.20.53 }, up: { address: 10.0.20.54 } } }
platform: { dns: { on: dns-01, upstream: [127.0.0.1:5335, "10.0.20.53:5335", https://cloudflare-dns.com/dns-query, 10.0.20.54, tls://notlab.home.arpa] } }
"#,
            expect![[""]],
        );
    }

    #[test]
    fn mounts_by_name_under_every_resolver() {
        says(
            r#"
compute:
  hosts:
    pve: { address: 10.0.10.11, mounts: { /vm: "nas.lab.home.arpa:/vm" } }
    nas: { address: 10.0.20.5 }
    dns-01: { address: 10.0.20.53, vm: { on: pve } }
    dns-02: { address: 10.0.20.54, mounts: { /etc/dns: "files:/dns" } }
platform: { dns: { on: [dns-01, dns-02], records: { files: 10.0.20.6 } } }
"#,
            expect![[r#"
                4:48 advice LW-PLT-010: `pve` mounts from `nas.lab.home.arpa` by name, and the resolvers that know it (`dns-01` and `dns-02`) wait for that
                    help: write `nas:/…`: hosts of the lab are mounted by their address
                    7:56: so does `dns-02`
            "#]],
        );
        says(
            r#"
compute:
  hosts:
    nas: { address: 10.0.20.5 }
    dns-01: { address: 10.0.20.53, mounts: { /a: "nas:/a", /b: { nfs: "nas.lab.home.arpa:/b", automount: true }, /c: "far.example:/c" } }
platform: { dns: dns-01 }
"#,
            expect![[""]],
        );
    }

    #[test]
    fn a_vault_behind_the_name_that_needs_it() {
        says(
            r#"
owner: mia
compute:
  hosts:
    dns-01: { address: 10.0.20.53, tier: production, files: { /etc/key: { content: "${secret.key}" } } }
    vault-01: { address: 10.0.20.60 }
platform: { dns: dns-01, secrets: { vault: { on: vault-01, url: "https://vault.lab.home.arpa:8200" } } }
"#,
            expect![[r#"
                5:85 warning LW-PLT-010: `dns-01` needs secret `key` from the Vault at `vault.lab.home.arpa`, a name that it serves itself
                    help: reach the Vault by its address, or keep this secret in `secrets: { age: secrets.yaml }`
                    7:65: where the Vault is
            "#]],
        );
    }
}
