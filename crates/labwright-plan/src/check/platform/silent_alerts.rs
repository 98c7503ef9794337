//! LW-PLT-016: alerts that reach nobody.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{AlertRoute, Monitoring};
use labwright_model::{Finding, Findings, Placement, Severity, Span, Spanned};

use super::unnamed_role;
use super::watcher::{ends, is_prober};
use crate::check::compute::carried::{Carried, by_tier, is_production, list, told};
use crate::check::{Case, Examples, Rule};

pub struct SilentAlerts;

const CODE: &str = "LW-PLT-016";

impl Rule for SilentAlerts {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "alerts that reach nobody"
    }

    fn doc(&self) -> &'static str {
        "Routes are read from the first to the last, and the first that matches counts.\n\n\
         - Alerts are written or routed, or the lab has something in production, and there is no receiver at all. \
         (A service such as Uptime Kuma or Gatus has receivers of its own; beside one, only written alerts and routes \
         count.)\n\
         - Critical alerts are dropped: the first route that takes them goes to `none`. Often a route for everything stands \
         above the one for critical alerts.\n\
         - Every receiver is a service or a machine of the lab itself (a ntfy, a Gotify, a mail server): what takes that down \
         takes its own alert along. Nothing is said where a `heartbeat` to somebody outside stops with the same machine.\n\
         - Routes go by severity, and no route takes the severity that an alert of the lab has.\n\
         - A production service has a probe, and nothing in the lab watches: no `monitoring`, no Uptime Kuma, Gatus or \
         Prometheus, nobody outside. The probe is then asked by updates and restore drills alone. This is advice.\n\n\
         Document 1 sends alerts to a telephone and drops those of laptops alone, on purpose. Document 2 asks whether a \
         failure would be noticed. Alertmanager reads its routes in the same way: from the first, until one matches.\n\n\
         A route that hides a later one is a warning; what drops alerts otherwise is a warning where the lab has something \
         in production, and advice where it has not. A route to a receiver that is not declared is LW-LAB-101 or \
         LW-PLT-001.\n\n\
         The way out: declare a receiver (`notify: { phone: \"ntfy://ntfy.sh/TOPIC\" }`), put the route for everything else \
         last, give each severity a route."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    mon-01: { address: 10.0.20.90 }\nplatform:\n  monitoring:\n    on: mon-01\n    notify: { phone: \"ntfy://ntfy.sh/x\" }\n    routes: [{ to: none }, { match: { severity: critical }, to: phone }]",
            passes: "compute:\n  hosts:\n    mon-01: { address: 10.0.20.90 }\nplatform:\n  monitoring:\n    on: mon-01\n    notify: { phone: \"ntfy://ntfy.sh/x\" }\n    routes: [{ match: { severity: critical }, to: phone }, { to: none }]",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(monitoring) = &parsed.lab.platform.monitoring else {
            findings.extend(probed_by_nobody(case));
            return;
        };
        let Some(watcher) = monitoring.on.first() else { return };
        let production = case.carried().production;
        let routed = monitoring.routes.iter().flat_map(|route| route.to.iter()).any(|to| to.value != "none");
        if monitoring.notify.is_empty() {
            // What probes by itself usually has receivers of its own.
            let own = parsed.placements.iter().any(|placement| is_prober(parsed, placement));
            let silent = !monitoring.alerts.is_empty() || !monitoring.routes.is_empty() || (production && !own);
            // Routed to receivers that are not there: LW-PLT-001.
            if silent && !routed {
                let message = format!("`{}` raises alerts, and there is nobody to receive them", watcher.value);
                let help = "declare a receiver: `notify: { phone: \"ntfy://ntfy.sh/TOPIC\" }`".to_string();
                let at = "platform.monitoring.notify".to_string();
                findings.push(told(CODE, by_tier(production), at, watcher.span, message, help));
            }
            return;
        }
        findings.extend(through_the_lab(case.carried(), monitoring));
        critical(monitoring, production, findings);
        unrouted(monitoring, production, findings);
    }
}

/// Services that people rely on, with probes that nobody runs.
fn probed_by_nobody(case: &Case<'_>) -> Option<Finding> {
    let parsed = case.parsed;
    let probed = |placement: &&Placement| {
        is_production(placement) && placement.entry.external.is_none() && placement.entry.probe.is_some()
    };
    let relied_on: Vec<&Placement> = parsed.placements.iter().filter(probed).collect();
    let first = relied_on.first()?;
    let watched = |placement: &Placement| is_prober(parsed, placement) || unnamed_role::watches(parsed, placement);
    if parsed.placements.iter().any(watched) {
        return None;
    }
    let carried = case.carried();
    let services: BTreeSet<&str> = relied_on.iter().map(|placement| placement.service.as_str()).collect();
    let one = services.len() == 1;
    let (noun, what, one) =
        if one { ("service", "has a probe", "it") } else { ("services", "have probes", "one of them") };
    let message = format!(
        "production {noun} {} {what}, and no host of the lab watches: nobody hears when {one} fails",
        list(services.iter().copied())
    );
    let own = first.entry.on.first().map(|on| carried.machine(&on.value));
    let host = own.and_then(|own| carried.elsewhere(own)).or(own).unwrap_or("HOST");
    let help = format!(
        "name one and somebody to tell: `platform: {{ monitoring: {{ on: {host}, notify: {{ phone: \"ntfy://ntfy.sh/TOPIC\" }} }} }}`"
    );
    let span = parsed.span_of(&["services", &first.service, "probe"]);
    let at = "platform.monitoring".to_string();
    Some(told(CODE, Severity::Advice, at, span, message, help))
}

/// Alerts that pass through what they report on, all of them.
fn through_the_lab(carried: &Carried<'_>, monitoring: &Monitoring) -> Option<Finding> {
    let ways: Vec<(&str, &Spanned<String>, Vec<&str>)> =
        monitoring.notify.iter().map(|(name, url)| (name.as_str(), url, ends(carried, url))).collect();
    if ways.iter().any(|(.., hosts)| hosts.is_empty()) {
        return None;
    }
    let machines = |hosts: &[&str]| -> BTreeSet<String> {
        let known = hosts.iter().filter_map(|host| carried.topology.parsed.lab.compute.hosts.get_key_value(*host));
        known.map(|(host, _)| carried.machine(host).to_string()).collect()
    };
    let through: BTreeSet<String> = ways.iter().flat_map(|(.., hosts)| machines(hosts)).collect();
    let watchers: Vec<&str> = monitoring.on.iter().map(|on| on.value.as_str()).collect();
    if monitoring.heartbeat.is_some() && through.is_subset(&machines(&watchers)) {
        return None;
    }
    let (name, url, _) = ways.first()?;
    let verb = if through.len() == 1 { "is" } else { "are" };
    let message = format!(
        "every alert goes through {}, which {verb} of the lab: while that is down, nobody is told",
        list(through.iter().map(String::as_str))
    );
    let help = format!(
        "add a receiver outside the lab, `away: \"ntfy://ntfy.sh/TOPIC\"`, and send critical alerts to both: `to: [{name}, away]`"
    );
    let at = format!("platform.monitoring.notify.{name}");
    Some(told(CODE, by_tier(carried.production), at, url.span, message, help))
}

/// How a route takes alerts of one severity.
#[derive(PartialEq)]
enum Takes {
    All,
    /// Those that have further labels.
    Some,
    None,
}

fn takes(route: &AlertRoute, severity: &str) -> Takes {
    // What is not a plain word may be an expression, and that may match.
    let plain = |value: &str| value.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    match route.labels.get("severity") {
        Some(wanted) if wanted != severity && plain(wanted) => Takes::None,
        Some(wanted) if wanted != severity => Takes::Some,
        Some(_) if route.labels.len() == 1 => Takes::All,
        None if route.labels.is_empty() => Takes::All,
        _ => Takes::Some,
    }
}

fn is_dropped(route: &AlertRoute) -> bool {
    route.to.iter().all(|to| to.value == "none")
}

fn place(route: &AlertRoute) -> Span {
    route.to.first().map_or(Span::NONE, |to| to.span)
}

fn critical(monitoring: &Monitoring, production: bool, findings: &mut Findings) {
    let Some(at) = monitoring.routes.iter().position(|route| takes(route, "critical") == Takes::All) else { return };
    let route = &monitoring.routes[at];
    if !is_dropped(route) || route.to.is_empty() {
        return;
    }
    let later: Vec<&AlertRoute> = monitoring.routes[at + 1..].iter().filter(|route| !is_dropped(route)).collect();
    let meant = later.iter().find(|route| takes(route, "critical") != Takes::None);
    let earlier =
        monitoring.routes[..at].iter().any(|route| takes(route, "critical") == Takes::Some && !is_dropped(route));
    // Some critical alerts were picked out above, and the rest is dropped on purpose.
    if meant.is_none() && earlier {
        return;
    }
    let severity = if meant.is_some() { Severity::Warning } else { by_tier(production) };
    let receiver = monitoring.notify.keys().next().map_or("RECEIVER", String::as_str);
    let (message, help) = match meant {
        Some(_) => (
            "critical alerts are dropped: this route takes them first".to_string(),
            "move this route below the one that critical alerts are meant for: the first that matches counts"
                .to_string(),
        ),
        None => (
            "critical alerts are dropped".to_string(),
            format!("add above it: `{{ match: {{ severity: critical }}, to: {receiver} }}`"),
        ),
    };
    let mut finding = told(CODE, severity, "platform.monitoring.routes".to_string(), place(route), message, help);
    if let Some(meant) = meant {
        finding = finding.related(place(meant), "never reached by them");
    }
    findings.push(finding);
}

fn unrouted(monitoring: &Monitoring, production: bool, findings: &mut Findings) {
    let routes = &monitoring.routes;
    // Routes that do not go by severity say nothing of the severities that they leave out.
    if !routes.iter().any(|route| route.labels.contains_key("severity")) {
        return;
    }
    let mut left: BTreeMap<&str, Vec<(&str, Span)>> = BTreeMap::new();
    for (name, alert) in monitoring.alerts.iter() {
        let severity = alert.severity.value.as_str();
        if routes.iter().all(|route| takes(route, severity) == Takes::None) {
            let given = alert.severity.span;
            left.entry(severity).or_default().push((name, if given.is_none() { alert.span } else { given }));
        }
    }
    for (severity, alerts) in left {
        let Some((first, span)) = alerts.first() else { continue };
        let receiver = monitoring.notify.keys().next().map_or("RECEIVER", String::as_str);
        let names = list(alerts.iter().map(|(name, _)| *name));
        let noun = if alerts.len() == 1 { "alert" } else { "alerts" };
        let verb = if alerts.len() == 1 { "has" } else { "have" };
        let message = format!("{noun} {names} {verb} severity `{severity}`, and no route takes that");
        let help = format!(
            "add a route: `{{ match: {{ severity: {severity} }}, to: {receiver} }}`, or one for the rest: `{{ to: {receiver} }}`"
        );
        let at = format!("platform.monitoring.alerts.{first}.severity");
        let mut finding = told(CODE, by_tier(production), at, *span, message, help);
        for (name, place) in alerts.iter().skip(1).take(5) {
            finding = finding.related(*place, format!("so does `{name}`"));
        }
        findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    fn lab(monitoring: &str, golden: expect_test::Expect) {
        says(
            &format!(
                "compute: {{ hosts: {{ mon: {{ address: 10.0.0.1 }} }} }}\nplatform: {{ monitoring: {{ on: mon, {monitoring} }} }}\n"
            ),
            golden,
        );
    }

    #[test]
    fn probes_that_nobody_runs() {
        let lab = |rest: &str| {
            format!(
                "owner: me\ncompute: {{ hosts: {{ a: {{ address: 10.0.0.1 }}, b: {{ address: 10.0.0.2 }} }} }}\nservices:\n  wiki: {{ run: wiki, on: a, tier: production, probe: / }}\n{rest}"
            )
        };
        says(
            &lab(""),
            expect![[r#"
            4:54 advice LW-PLT-016: production service `wiki` has a probe, and no host of the lab watches: nobody hears when it fails
                help: name one and somebody to tell: `platform: { monitoring: { on: a, notify: { phone: "ntfy://ntfy.sh/TOPIC" } } }`
        "#]],
        );
        let typed = "platform: { monitoring: { on: b, notify: { phone: \"ntfy://ntfy.sh/TOPIC\" } } }\n";
        for watched in [typed, "  up: { use: gatus, on: b }\n", "  far: { external: uptimerobot }\n"] {
            let (_, findings) = crate::check::tests::found(&lab(watched));
            assert!(findings.iter().all(|finding| finding.code != super::CODE), "{watched}");
        }
        says(&lab("").replace("tier: production, ", ""), expect![[""]]);
    }

    #[test]
    fn no_receiver() {
        lab(
            "alerts: { hot: { expr: up } }",
            expect![[r#"
            2:31 advice LW-PLT-016: `mon` raises alerts, and there is nobody to receive them
                help: declare a receiver: `notify: { phone: "ntfy://ntfy.sh/TOPIC" }`
        "#]],
        );
        lab(
            "routes: [{ to: none }]",
            expect![[r#"
            2:31 advice LW-PLT-016: `mon` raises alerts, and there is nobody to receive them
                help: declare a receiver: `notify: { phone: "ntfy://ntfy.sh/TOPIC" }`
        "#]],
        );
        says(
            r#"
owner: mia
compute: { hosts: { mon: { address: 10.0.0.1, tier: production } } }
platform: { monitoring: mon }
"#,
            expect![[r#"
                4:25 warning LW-PLT-016: `mon` raises alerts, and there is nobody to receive them
                    help: declare a receiver: `notify: { phone: "ntfy://ntfy.sh/TOPIC" }`
            "#]],
        );
        lab("scrape: {}", expect![[""]]);
        says(
            r#"
owner: mia
compute: { docker_hosts: mon, hosts: { mon: { address: 10.0.0.1, tier: production } } }
platform: { monitoring: mon }
services: { uptime-kuma: { use: uptime-kuma, on: mon } }
"#,
            expect![[""]],
        );
    }

    #[test]
    fn alerts_through_what_they_report_on() {
        let lab = |monitoring: &str| {
            format!(
                "owner: mia\nedge: {{ router: pve }}\ncompute:\n  hosts:\n    pve: {{ address: 10.0.0.1 }}\n    mon: {{ address: 10.0.0.2, vm: {{ on: pve }} }}\n    nas: {{ address: 10.0.0.3 }}\nplatform:\n  dns: pve\n  monitoring: {{ on: [mon, nas], {monitoring} }}\nservices:\n  ntfy: {{ run: ntfy, on: nas, expose: lan, url: ntfy, port: \"80\" }}\n  shop: {{ run: shop, on: nas, tier: production }}\n"
            )
        };
        let two = "notify: { phone: \"ntfys://me@ntfy.lab.home.arpa/lab\", log: \"syslog://10.0.0.1\" }";
        says(
            &lab(two),
            expect![[r#"
            10:43 warning LW-PLT-016: every alert goes through `nas` and `pve`, which are of the lab: while that is down, nobody is told
                help: add a receiver outside the lab, `away: "ntfy://ntfy.sh/TOPIC"`, and send critical alerts to both: `to: [phone, away]`
        "#]],
        );
        says(
            &lab("notify: { phone: \"gotify://nas:8080/token\" }"),
            expect![[r#"
            10:43 warning LW-PLT-016: every alert goes through `nas`, which is of the lab: while that is down, nobody is told
                help: add a receiver outside the lab, `away: "ntfy://ntfy.sh/TOPIC"`, and send critical alerts to both: `to: [phone, away]`
        "#]],
        );
        for monitoring in [
            "notify: { phone: \"ntfy://ntfy/lab\", away: \"ntfy://ntfy.sh/lab\" }, heartbeat: \"https://hc-ping.com/x\"",
            "notify: { phone: \"syslog://10.0.0.1\" }, heartbeat: \"https://hc-ping.com/x\"",
        ] {
            says(&lab(monitoring), expect![[""]]);
        }
    }

    #[test]
    fn critical_alerts_that_are_dropped() {
        let notify = "notify: { phone: \"ntfy://x\" }";
        lab(
            &format!("{notify}, routes: [{{ to: none }}, {{ match: {{ severity: critical }}, to: phone }}]"),
            expect![[r#"
                2:82 warning LW-PLT-016: critical alerts are dropped: this route takes them first
                    help: move this route below the one that critical alerts are meant for: the first that matches counts
                    2:127: never reached by them
            "#]],
        );
        lab(
            &format!("{notify}, routes: [{{ match: {{ severity: critical }}, to: none }}]"),
            expect![[r#"
            2:113 advice LW-PLT-016: critical alerts are dropped
                help: add above it: `{ match: { severity: critical }, to: phone }`
        "#]],
        );
        for routes in [
            "{ match: { host: laptop }, to: none }, { match: { severity: critical }, to: phone }, { to: none }",
            "{ match: { severity: warning }, to: none }",
            "{ match: { severity: critical, host: nas }, to: phone }, { to: none }",
            "{ match: { severity: \"critical|page\" }, to: phone }, { to: none }",
        ] {
            lab(&format!("{notify}, routes: [{routes}]"), expect![[""]]);
        }
    }

    #[test]
    fn severities_that_no_route_takes() {
        let notify = "notify: { phone: \"ntfy://x\" }, routes: [{ match: { severity: critical }, to: phone }]";
        lab(
            &format!(
                "{notify}, alerts: {{ a: {{ expr: up }}, b: {{ expr: up, severity: critical }}, c: {{ expr: up }}, d: {{ expr: up, severity: info }} }}"
            ),
            expect![[r#"
                2:133 advice LW-PLT-016: alerts `a` and `c` have severity `warning`, and no route takes that
                    help: add a route: `{ match: { severity: warning }, to: phone }`, or one for the rest: `{ to: phone }`
                    2:187: so does `c`
                2:229 advice LW-PLT-016: alert `d` has severity `info`, and no route takes that
                    help: add a route: `{ match: { severity: info }, to: phone }`, or one for the rest: `{ to: phone }`
            "#]],
        );
        let all = "notify: { phone: \"ntfy://x\" }, routes: [{ match: { host: nas }, to: phone }]";
        lab(&format!("{all}, alerts: {{ a: {{ expr: up }} }}"), expect![[""]]);
    }
}
