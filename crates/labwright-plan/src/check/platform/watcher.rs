//! LW-PLT-013: nobody notices when monitoring itself is gone.

use std::collections::BTreeSet;

use labwright_model::lab::{AlertRoute, Heartbeat, Host, Monitoring};
use labwright_model::{Finding, Findings, Parsed, Placement, Severity, Spanned};

use crate::application;
use crate::check::compute::carried::{Carried, by_tier, is_production, list, told};
use crate::check::containers::{Container, containers};
use crate::check::edge::names::{full, names};
use crate::check::{Case, Examples, Rule};

pub struct Watcher;

const CODE: &str = "LW-PLT-013";

impl Rule for Watcher {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "nobody watches the watcher"
    }

    fn doc(&self) -> &'static str {
        "Silence looks the same whether all is well or monitoring is dead. The rule speaks where services are watched and\n\n\
         - everything that is watched stands on the machine that monitoring stands on, or at its site while the lab has \
         another one: what takes them down takes the alert along;\n\
         - monitoring has one machine, the lab has something in production, and nothing looks at that machine from outside;\n\
         - the alert that says that monitoring lives (`Watchdog`, a dead man's switch) is routed to `none`.\n\n\
         Anything of this kind is enough to hear nothing: a `heartbeat` to somewhere that does not fall with it, a second host \
         under `monitoring` on another machine, a service elsewhere that probes (Gatus, Uptime Kuma, Healthchecks), an \
         external one, a receiver or an alert that is a heartbeat (`Watchdog`, hc-ping.com, Dead Man's Snitch). A `heartbeat` \
         to the machine that sends it is told as such: it stops together with whoever should have noticed.\n\n\
         Document 2 asks of every system: if it failed tomorrow, would I notice? Document 0: design around failure domains. \
         The documentation of Prometheus (practices, alerting) names the remedy, monitoring of the monitoring from outside, \
         and Alertmanager's users call it a dead man's switch.\n\n\
         Where the lab has no `monitoring`, a service that probes others (Uptime Kuma, Gatus) is what watches: one that stands \
         on a machine that something in production stands on, or at the site that all of that is at while the lab has another one. \
         Whom it calls stands in its own database and not in the file, so nothing is said of that.\n\n\
         Standing in one basket with production services is a warning; the rest is advice.\n\n\
         The way out: `heartbeat: { to: \"https://hc-ping.com/${secret.heartbeat}\", every: 5m }`, to somebody who calls when \
         it stops; or a second watcher elsewhere, `monitoring: { on: [mon-01, OTHER] }`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "owner: mia\ncompute:\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    mon-01: { address: 10.0.20.90, vm: { on: pve-01 } }\n    apps-01: { address: 10.0.20.21, vm: { on: pve-01 } }\nplatform:\n  monitoring: { on: mon-01, notify: { phone: \"ntfy://ntfy.sh/x\" } }\nservices:\n  photos: { run: photos, on: apps-01, tier: production }",
            passes: "owner: mia\ncompute:\n  hosts:\n    pve-01: { address: 10.0.10.11 }\n    pi-01: { address: 10.0.10.12 }\n    mon-01: { address: 10.0.20.90, vm: { on: pve-01 } }\n    apps-01: { address: 10.0.20.21, vm: { on: pve-01 } }\nplatform:\n  monitoring: { on: [mon-01, pi-01], notify: { phone: \"ntfy://ntfy.sh/x\" } }\nservices:\n  photos: { run: photos, on: apps-01, tier: production }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(monitoring) = &parsed.lab.platform.monitoring else {
            findings.extend(by_services(case));
            return;
        };
        let Some(first) = monitoring.on.first() else { return };
        let carried = case.carried();
        let own: BTreeSet<&str> = monitoring.on.iter().map(|host| carried.machine(&host.value)).collect();
        if let Some(heartbeat) = &monitoring.heartbeat {
            findings.extend(to_itself(carried, heartbeat, &own));
            return;
        }
        let is_inside = |placement: &&Placement| placement.entry.external.is_none() && !placement.entry.on.is_empty();
        let placed: Vec<&Placement> = parsed.placements.iter().filter(is_inside).collect();
        // Where something is in production, that is what has to be watched; and what is probed is watched too.
        let relied_on: Vec<&Placement> = placed.iter().copied().filter(|placement| is_production(placement)).collect();
        let is_watched_too = |placement: &&Placement| is_production(placement) || placement.entry.probe.is_some();
        let watched =
            if relied_on.is_empty() { placed } else { placed.iter().copied().filter(is_watched_too).collect() };
        let [machine] = own.iter().copied().collect::<Vec<_>>()[..] else { return };
        if let Some(route) = dropped_sign(monitoring)
            && !is_watched(carried, monitoring, machine)
        {
            let sign = route.labels.get("alertname").map_or("", String::as_str);
            let message = format!("`{sign}` says that monitoring lives, and it goes to nobody: nobody hears it stop");
            let help = format!(
                "route it to somebody who calls when it stops, or leave that to `heartbeat: \"https://hc-ping.com/…\"`; then `{sign}` may go to `none`"
            );
            let span = route.to.first().map_or(first.span, |to| to.span);
            let at = "platform.monitoring.routes".to_string();
            findings.push(told(CODE, by_tier(carried.production), at, span, message, help));
            return;
        }
        // With one machine in all there is only the outside to look from, and an experiment is not worth that.
        let other = carried.elsewhere(machine);
        let idle = watched.is_empty() || (relied_on.is_empty() && other.is_none());
        if idle || is_watched(carried, monitoring, machine) {
            return;
        }
        let hosts = || watched.iter().flat_map(|placement| placement.entry.on.iter());
        let services: BTreeSet<&str> = watched.iter().map(|placement| placement.service.as_str()).collect();
        let names = list(services.iter().copied());
        let (severity, message, other) = if hosts().all(|host| carried.machine(&host.value) == machine) {
            let message = format!("monitoring stands on `{machine}`, and so does all that it watches: {names}");
            (by_tier(!relied_on.is_empty() && other.is_some()), message, other)
        } else if let Some(site) = carried.topology.site(machine).filter(|site| is_all_at(carried, hosts, site)) {
            let message = format!(
                "monitoring and all that it watches ({names}) are at site `{site}`: what takes it down takes the alert along"
            );
            (Severity::Advice, message, host_off(carried, site))
        } else if !relied_on.is_empty() {
            (Severity::Advice, format!("`{0}` watches {names}, and nobody watches `{0}`", first.value), other)
        } else {
            return;
        };
        let other = other.unwrap_or("OTHER");
        let help = format!(
            "let another machine watch too, `on: [{}, {other}]`, or send a sign of life to somebody who calls when it stops: \
             `heartbeat: \"https://…\"`",
            first.value
        );
        findings.push(told(CODE, severity, "platform.monitoring.on".to_string(), first.span, message, help));
    }
}

/// Services that probe others are all the monitoring there is, on the machine that all they probe stands on.
fn by_services(case: &Case<'_>) -> Option<Finding> {
    let parsed = case.parsed;
    let probers: Vec<&Placement> = parsed.placements.iter().filter(|placement| is_prober(parsed, placement)).collect();
    let first = probers.first()?;
    // Somebody outside looks too.
    if probers.iter().any(|prober| prober.entry.external.is_some()) {
        return None;
    }
    let carried = case.carried();
    let machines = |placements: &[&Placement]| -> BTreeSet<String> {
        let on = placements.iter().flat_map(|placement| placement.entry.on.iter());
        on.filter_map(|on| parsed.lab.compute.hosts.get_key_value(&on.value))
            .map(|(name, _)| carried.machine(name).to_string())
            .collect()
    };
    let relied_on: Vec<&Placement> = parsed
        .placements
        .iter()
        .filter(|placement| is_production(placement) && placement.entry.external.is_none())
        .collect();
    let all = machines(&relied_on);
    let from = machines(&probers);
    let machine = from.first().filter(|_| from.len() == 1 && !all.is_empty())?;
    let services: BTreeSet<&str> = relied_on.iter().map(|placement| placement.service.as_str()).collect();
    let names = list(services.iter().copied());
    let together = all == from;
    // The machine that a watcher has to itself takes down nothing that it would have to tell of.
    let beside = relied_on.iter().filter(|other| machines(&[**other]).contains(machine));
    let beside: BTreeSet<&str> = beside.map(|placement| placement.service.as_str()).collect();
    let site = carried
        .topology
        .site(machine)
        .filter(|site| is_all_at(carried, || relied_on.iter().flat_map(|placement| placement.entry.on.iter()), site));
    let message = match site {
        _ if together => {
            format!("`{}` stands on `{machine}`, and so does all that people rely on: {names}", first.service)
        }
        _ if !beside.is_empty() => format!(
            "`{}` watches {names} and stands on `{machine}`, as {} does: what takes `{machine}` down takes the alert along",
            first.service,
            list(beside.iter().copied())
        ),
        Some(site) => format!(
            "`{}` and all that people rely on ({names}) are at site `{site}`: what takes it down takes the alert along",
            first.service
        ),
        None => return None,
    };
    let other = carried.elsewhere(machine);
    let outside = "let somebody outside look at it and say so under `services`: `outside: { external: { provider: healthchecks } }`";
    let help = match other {
        Some(other) if together => format!("let it look from another machine, `on: {other}`; or {outside}"),
        _ => outside.to_string(),
    };
    let span = first.entry.on.first().map(|on| on.span)?;
    let severity = by_tier(together && other.is_some());
    Some(told(CODE, severity, format!("services.{}.on", first.service), span, message, help))
}

/// A sign of life that ends where it begins: on a machine that monitoring itself stands on.
fn to_itself(carried: &Carried<'_>, heartbeat: &Heartbeat, own: &BTreeSet<&str>) -> Option<Finding> {
    let ends = ends(carried, &heartbeat.to);
    // One end elsewhere is enough: it notices.
    let machine = ends.iter().map(|host| carried.machine(host)).find(|machine| own.contains(machine))?;
    if ends.iter().any(|host| !own.contains(carried.machine(host))) {
        return None;
    }
    let message = format!("the heartbeat of monitoring ends on `{machine}`, where it begins: both stop together");
    let help =
        "send it to somebody outside who calls when it stops, such as `to: \"https://hc-ping.com/…\"`".to_string();
    let at = "platform.monitoring.heartbeat.to".to_string();
    Some(told(CODE, by_tier(carried.production), at, heartbeat.to.span, message, help))
}

/// The hosts of the lab that a URL leads to; none where it leads out of the lab.
pub(super) fn ends<'a>(carried: &Carried<'a>, url: &str) -> Vec<&'a str> {
    let lab = &carried.topology.parsed.lab;
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    // Apprise writes who it is before the host.
    let authority = bare.split(['/', '?']).next().unwrap_or_default();
    let bare = authority.rsplit_once('@').map_or(bare, |(who, _)| &bare[who.len() + 1..]);
    let to = full(lab, bare);
    let is_host = |name: &str, host: &Host| {
        let at = |address: &std::net::IpAddr| {
            let address = address.to_string();
            bare.strip_prefix(&address).or_else(|| bare.strip_prefix(&format!("[{address}]"))).is_some_and(ends_name)
        };
        to == lab.fqdn(name).to_lowercase() || host.address.iter().any(|address| at(&address.value))
    };
    let hosts = lab.compute.hosts.iter().filter(|(name, host)| is_host(name, host)).map(|(name, _)| name.as_str());
    let placed = carried.topology.parsed.placements.iter();
    let services = placed.filter(|placement| names(lab, placement).iter().any(|name| name.full == to));
    hosts.chain(services.flat_map(|service| service.entry.on.iter().map(|on| on.value.as_str()))).collect()
}

/// Whether an address ends here: `10.0.0.1` is no beginning of `10.0.0.12`.
fn ends_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', ':', '?'])
}

/// Whether the watched hosts are all at one site, and the lab has another one to look from.
fn is_all_at<'a, I: Iterator<Item = &'a Spanned<String>>>(
    carried: &Carried<'_>,
    hosts: impl Fn() -> I,
    site: &str,
) -> bool {
    host_off(carried, site).is_some() && hosts().all(|host| carried.topology.site(&host.value) == Some(site))
}

/// A host at another site.
fn host_off<'a>(carried: &Carried<'a>, site: &str) -> Option<&'a str> {
    let mut hosts = carried.topology.parsed.lab.compute.hosts.iter();
    let off = hosts.find(|(_, host)| host.site.as_ref().is_some_and(|other| other.value != site) && !host.intermittent);
    off.map(|(name, _)| name.as_str())
}

/// Services that probe others, by name or catalogue entry.
const PROBERS: &[&str] = &["gatus", "uptimekuma", "healthchecks", "statping", "blackbox", "upptime", "uptimerobot"];

/// What a heartbeat is called, in the address of a receiver or the name of an alert.
const HEARTBEATS: &[&str] = &[
    "watchdog",
    "deadman",
    "dead-man",
    "dead_man",
    "snitch",
    "heartbeat",
    "hc-ping",
    "healthchecks",
    "cronitor",
    "betterstack",
    "betteruptime",
    "uptimerobot",
];

/// The route that takes the alert that says that monitoring lives, and gives it to nobody.
fn dropped_sign(monitoring: &Monitoring) -> Option<&AlertRoute> {
    let is_sign = |name: &String| {
        let name = name.to_lowercase();
        HEARTBEATS.iter().any(|heartbeat| name.contains(heartbeat))
    };
    // The first that takes it counts.
    let route = monitoring.routes.iter().find(|route| route.labels.get("alertname").is_some_and(is_sign))?;
    route.to.iter().all(|to| to.value == "none").then_some(route)
}

/// Whether anything looks at this machine from outside.
fn is_watched(carried: &Carried<'_>, monitoring: &Monitoring, machine: &str) -> bool {
    let dropped = dropped_sign(monitoring).and_then(|route| route.labels.get("alertname"));
    let names = monitoring.alerts.keys().filter(|name| Some(*name) != dropped).map(String::as_str);
    let receivers = monitoring.notify.iter().flat_map(|(name, url)| [name.as_str(), url.value.as_str()]);
    let mut words = names.chain(receivers).map(str::to_lowercase);
    if words.any(|word| HEARTBEATS.iter().any(|heartbeat| word.contains(heartbeat))) {
        return true;
    }
    let elsewhere = |placement: &Placement| {
        let mut on = placement.entry.on.iter();
        placement.entry.external.is_some() || on.any(|host| carried.machine(&host.value) != machine)
    };
    let parsed = carried.topology.parsed;
    parsed.placements.iter().any(|placement| is_prober(parsed, placement) && elsewhere(placement))
}

/// Whether a service probes others, by its name, its catalogue entry or its provider.
pub fn is_prober(parsed: &Parsed, placement: &Placement) -> bool {
    let entry = &placement.entry;
    let provider = entry.external.as_ref().and_then(|external| external.provider.as_ref());
    let names = [entry.catalogue.as_ref(), provider].into_iter().flatten().map(|name| name.value.as_str());
    let mut names = names.chain([placement.service.as_str()]).map(plain);
    let known = |name: &str| PROBERS.iter().any(|prober| name.contains(prober));
    let image = |container: Container<'_>| {
        container.image().is_some_and(|image| known(&plain(&application::of_image(image.repository))))
    };
    names.any(|name| known(&name)) || containers(parsed, placement).any(image)
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn in_one_basket_at_one_site_and_alone() {
        says(
            r#"
owner: mia
compute:
  hosts:
    pve-01: { address: 10.0.10.11 }
    pve-02: { address: 10.0.10.12 }
    mon-01: { address: 10.0.20.90, vm: { on: pve-01 } }
    apps-01: { address: 10.0.20.21, vm: { on: pve-01 } }
    other: { address: 10.0.20.22, vm: { on: pve-02 } }
platform: { monitoring: { on: mon-01, notify: { phone: "ntfy://x" } } }
services:
  photos: { run: photos, on: apps-01, tier: production }
  game: { run: game, on: other }
"#,
            expect![[r#"
                10:31 warning LW-PLT-013: monitoring stands on `pve-01`, and so does all that it watches: `photos`
                    help: let another machine watch too, `on: [mon-01, pve-02]`, or send a sign of life to somebody who calls when it stops: `heartbeat: "https://…"`
            "#]],
        );
        says(
            r#"
compute:
  hosts:
    pve-01: { address: 10.0.10.11, site: home }
    pve-02: { address: 10.0.10.12, site: home }
    box: { address: 10.0.10.13, site: cabin }
platform: { monitoring: { on: pve-02 } }
services: { game: { run: game, on: pve-01 }, wiki: { run: wiki, on: pve-02 } }
"#,
            expect![[r#"
                7:31 advice LW-PLT-013: monitoring and all that it watches (`game` and `wiki`) are at site `home`: what takes it down takes the alert along
                    help: let another machine watch too, `on: [pve-02, box]`, or send a sign of life to somebody who calls when it stops: `heartbeat: "https://…"`
            "#]],
        );
        says(
            r#"
owner: mia
compute: { hosts: { mon: { address: 10.0.10.11 }, app: { address: 10.0.10.12 } } }
platform: { monitoring: { on: mon, notify: { phone: "ntfy://x" } } }
services: { photos: { run: photos, on: app, tier: production } }
"#,
            expect![[r#"
                4:31 advice LW-PLT-013: `mon` watches `photos`, and nobody watches `mon`
                    help: let another machine watch too, `on: [mon, app]`, or send a sign of life to somebody who calls when it stops: `heartbeat: "https://…"`
            "#]],
        );
        says(
            r#"
compute: { hosts: { desk: { address: 10.0.10.11 } } }
platform: { monitoring: desk }
services: { game: { run: game, on: desk } }
"#,
            expect![[""]],
        );
    }

    #[test]
    fn a_service_that_probes_is_all_there_is() {
        let lab = |kuma: &str| {
            format!(
                "owner: mia\ncompute: {{ docker_hosts: [app, pi], hosts: {{ app: {{ address: 10.0.0.1 }}, pi: {{ address: 10.0.0.2 }} }} }}\nservices:\n  photos: {{ run: photos, on: app, tier: production }}\n  up: {{ {kuma} }}\n"
            )
        };
        says(
            &lab("containers: { k: { image: \"louislam/uptime-kuma:1\" } }, on: app"),
            expect![[r#"
                5:69 warning LW-PLT-013: `up` stands on `app`, and so does all that people rely on: `photos`
                    help: let it look from another machine, `on: pi`; or let somebody outside look at it and say so under `services`: `outside: { external: { provider: healthchecks } }`
            "#]],
        );
        says(&lab("containers: { k: { image: \"louislam/uptime-kuma:1\" } }, on: pi"), expect![[""]]);
        let beside = lab(
            "containers: { k: { image: \"louislam/uptime-kuma:1\" } }, on: pi }\n  notes: { run: notes, on: pi, tier: production",
        );
        says(
            &beside,
            expect![[r#"
            5:69 advice LW-PLT-013: `up` watches `notes` and `photos` and stands on `pi`, as `notes` does: what takes `pi` down takes the alert along
                help: let somebody outside look at it and say so under `services`: `outside: { external: { provider: healthchecks } }`
        "#]],
        );
        says(&lab("containers: { k: { image: \"dashboard:1\" } }, on: app"), expect![[""]]);
        says(&lab("use: gatus, on: app }\n  theirs: { external: UptimeRobot"), expect![[""]]);
    }

    #[test]
    fn a_heartbeat_is_heard_where_it_does_not_begin() {
        let lab = |to: &str| {
            format!(
                "owner: mia\ncompute:\n  hosts:\n    pve: {{ address: 10.0.0.1 }}\n    mon: {{ address: 10.0.0.12, vm: {{ on: pve }} }}\n    other: {{ address: 10.0.0.120 }}\nplatform:\n  monitoring: {{ on: mon, notify: {{ phone: \"ntfy://x\" }}, heartbeat: {to} }}\nservices:\n  photos: {{ run: photos, on: mon, tier: production }}\n  beats: {{ run: beats, on: mon, url: beats, expose: lan, port: \"80\" }}\n  far: {{ run: far, on: other, url: far, expose: lan, port: \"80\" }}\n"
            )
        };
        let about = |to: &str| -> Vec<String> {
            let (_, findings) = crate::check::tests::found(&lab(to));
            findings.into_iter().filter(|finding| finding.code == super::CODE).map(|finding| finding.message).collect()
        };
        let ends: Vec<String> =
            vec!["the heartbeat of monitoring ends on `pve`, where it begins: both stop together".into()];
        for to in [
            "\"https://hc-ping.com/x\"",
            "\"http://10.0.0.120/x\"",
            "\"http://far/x\"",
            "{ to: \"http://other:8000\", every: 1m }",
        ] {
            assert_eq!(about(to), Vec::<String>::new(), "{to}");
        }
        for to in [
            "\"http://10.0.0.12/x\"",
            "\"http://beats/x\"",
            "\"http://mon.lab.home.arpa:8000\"",
            "{ to: \"http://10.0.0.1\" }",
        ] {
            assert_eq!(about(to), ends, "{to}");
        }
    }

    #[test]
    fn a_sign_of_life_that_goes_to_nobody() {
        let lab = |monitoring: &str| {
            format!(
                "owner: mia\ncompute: {{ hosts: {{ mon: {{ address: 10.0.10.11 }}, app: {{ address: 10.0.10.12 }} }} }}\nplatform:\n  monitoring:\n    on: mon\n    notify: {{ phone: \"ntfy://x\" }}\n    alerts: {{ Watchdog: {{ expr: vector(1) }} }}\n    {monitoring}\nservices: {{ photos: {{ run: photos, on: app, tier: production }} }}\n"
            )
        };
        let dropped = "routes: [{ match: { alertname: Watchdog }, to: none }, { to: phone }]";
        says(
            &lab(dropped),
            expect![[r#"
            8:52 warning LW-PLT-013: `Watchdog` says that monitoring lives, and it goes to nobody: nobody hears it stop
                help: route it to somebody who calls when it stops, or leave that to `heartbeat: "https://hc-ping.com/…"`; then `Watchdog` may go to `none`
        "#]],
        );
        says(&lab("routes: [{ to: phone }]"), expect![[""]]);
        says(&lab(&format!("{dropped}\n    heartbeat: \"https://hc-ping.com/x\"")), expect![[""]]);
    }

    #[test]
    fn whoever_is_watched_hears_nothing() {
        let lab = |monitoring: &str, service: &str| {
            format!(
                "owner: mia\ncompute: {{ hosts: {{ mon: {{ address: 10.0.10.11 }}, app: {{ address: 10.0.10.12 }} }} }}\nplatform: {{ monitoring: {{ {monitoring} }} }}\nservices:\n  photos: {{ run: photos, on: app, tier: production }}\n  {service}\n"
            )
        };
        for (monitoring, service) in [
            ("on: [mon, app], notify: { phone: \"ntfy://x\" }", ""),
            ("on: mon, notify: { phone: \"ntfy://x\", life: \"https://hc-ping.com/1\" }", ""),
            ("on: mon, notify: { phone: \"ntfy://x\" }, alerts: { Watchdog: { expr: vector(1) } }", ""),
            ("on: mon, notify: { phone: \"ntfy://x\" }", "uptime-kuma: { run: kuma, on: app }"),
            ("on: mon, notify: { phone: \"ntfy://x\" }", "probe: { external: UptimeRobot }"),
        ] {
            says(&lab(monitoring, service), expect![[""]]);
        }
        // A lab of experiments with monitoring on a machine of its own.
        says(
            r#"
compute: { hosts: { mon: { address: 10.0.10.11 }, app: { address: 10.0.10.12 } } }
platform: { monitoring: mon }
services: { game: { run: game, on: app } }
"#,
            expect![[""]],
        );
    }
}
