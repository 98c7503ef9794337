//! `pihole.toml` of Pi-hole 6: the keys that say what the lab says. FTL takes the file as it is and fills in the rest.
//! Source: FTL's own template of the file. Lists are rows of `gravity.db`, so the commands that add them stand at the end.

use std::fmt::Write;

use labwright_model::snapshot::dns::{Blocked, Data, DnsSnapshot, ListSource, Transport, Upstream};

use super::adguard::rule_of;
use super::{by_name, quoted};

pub fn pihole(snapshot: &DnsSnapshot) -> String {
    let mut text = String::from("[dns]\n");
    let (spoken, silent): (Vec<&Upstream>, Vec<&Upstream>) =
        snapshot.forward.upstreams.iter().partition(|upstream| upstream.transport == Transport::Udp);
    for upstream in silent {
        let _ = writeln!(
            text,
            "  # Pi-hole speaks plain DNS only: {} needs a forwarder of its own beside it.",
            quoted(&upstream.shown())
        );
    }
    list(&mut text, "upstreams", spoken.iter().map(|upstream| with_port(upstream)));
    let mut hosts: Vec<String> = Vec::new();
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    for records in by_name(snapshot) {
        for record in records {
            let name = &record.name;
            match (&record.data, name.strip_prefix("*.")) {
                (Data::Address(address), Some(below)) => lines.push(format!("address=/{below}/{address}")),
                (Data::Address(address), None) => hosts.push(format!("{address} {name}")),
                (Data::Cname(target), None) => names.push(format!("{name},{target},{}", record.ttl)),
                (Data::Cname(target), Some(below)) => lines.push(format!("cname=*.{below},{target},{}", record.ttl)),
                (Data::Ptr(target), _) => lines.push(format!("ptr-record={name},{target}")),
                // dnsmasq takes quoted strings, and cannot quote a quote.
                (Data::Txt(text), _) => lines.push(format!("txt-record={name},{}", txt(text))),
                (Data::Mx { preference, exchange }, _) => lines.push(format!("mx-host={name},{exchange},{preference}")),
                (Data::Srv { priority, weight, port, target }, _) => {
                    lines.push(format!("srv-host={name},{target},{port},{priority},{weight}"));
                }
            }
        }
    }
    for zone in &snapshot.zones {
        lines.push(format!("local=/{zone}/"));
    }
    for domain in &snapshot.forward.domains {
        for upstream in &domain.upstreams {
            match upstream.transport {
                Transport::Udp => lines.push(format!("server=/{}/{}", domain.domain, with_port(upstream))),
                _ => {
                    let _ = writeln!(
                        text,
                        "  # {} is asked at {}, which Pi-hole does not speak to.",
                        quoted(&domain.domain),
                        quoted(&upstream.shown())
                    );
                }
            }
        }
    }
    list(&mut text, "hosts", hosts.into_iter());
    list(&mut text, "cnameRecords", names.into_iter());
    let mode = match snapshot.filter.blocked {
        Blocked::Zero => "NULL",
        Blocked::Nxdomain => "NX",
        // FTL has no mode that refuses; no data is the nearest.
        Blocked::Refused => "NODATA",
    };
    let log = &snapshot.log;
    let _ = write!(
        text,
        "  dnssec = {}\n  queryLogging = {}\n\n  [dns.cache]\n    size = 10000\n    optimizer = {}\n\n  \
         [dns.blocking]\n    active = true\n    mode = \"{mode}\"\n\n  [dns.specialDomains]\n    \
         mozillaCanary = {canary}\n    iCloudPrivateRelay = {canary}\n\n  [dns.rateLimit]\n    count = {}\n    \
         interval = 60\n\n[database]\n  maxDBdays = {}\n\n[misc]\n  privacylevel = {}\n",
        snapshot.forward.dnssec,
        log.keep_days > 0,
        snapshot.cache.stale,
        snapshot.access.rate_limit.saturating_mul(60),
        log.keep_days,
        if log.clients { 0 } else { 2 },
        canary = snapshot.filter.canary,
    );
    list(&mut text, "dnsmasq_lines", lines.into_iter());
    gravity(&mut text, snapshot);
    text
}

fn with_port(upstream: &Upstream) -> String {
    match upstream.port {
        53 => upstream.host.clone(),
        port => format!("{}#{port}", upstream.host),
    }
}

fn txt(text: &str) -> String {
    let part = |part: &[u8]| format!("\"{}\"", String::from_utf8_lossy(part).replace('"', "'"));
    text.as_bytes().chunks(255).map(part).collect::<Vec<_>>().join(",")
}

fn list(text: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let _ = writeln!(text, "  {key} = [");
    for item in items {
        let _ = writeln!(text, "    {},", quoted(&item));
    }
    text.push_str("  ]\n");
}

/// What is in a database, as the commands that put it there.
fn gravity(text: &mut String, snapshot: &DnsSnapshot) {
    if snapshot.filter.lists.is_empty() {
        return;
    }
    text.push_str("\n# Lists and rules are in gravity.db. Run these on the Pi-hole, then `pihole -g`:\n");
    let sql = |value: &str| value.replace('\'', "''");
    for list in &snapshot.filter.lists {
        let place = match &list.source {
            ListSource::Url(url) => url.clone(),
            ListSource::File(path) => format!("file://{path}"),
            ListSource::Shipped(name) => format!("file:///etc/pihole/lists/{name}"),
            ListSource::Rules(rules) => {
                for rule in rules {
                    let _ = writeln!(text, "# {}", of_rule(rule, list.allow));
                }
                continue;
            }
        };
        let kind = i32::from(list.allow);
        let _ = writeln!(
            text,
            "# pihole-FTL sqlite3 /etc/pihole/gravity.db \"INSERT OR IGNORE INTO adlist (address, type, comment) VALUES ('{}', {kind}, '{}')\"",
            sql(&place),
            sql(&list.name)
        );
    }
}

/// The command that adds one rule.
fn of_rule(rule: &str, allow: bool) -> String {
    let rule = rule_of(rule, allow);
    let (rule, allow) = match rule.strip_prefix("@@") {
        Some(rule) => (rule, true),
        None => (rule.as_str(), false),
    };
    let verb = if allow { "allow" } else { "deny" };
    if let Some(expression) = rule.strip_prefix('/').and_then(|rule| rule.strip_suffix('/')) {
        return format!("pihole {} '{expression}'", if allow { "--allow-regex" } else { "--regex" });
    }
    let below = rule.starts_with("||");
    let name = rule.trim_start_matches('|').trim_end_matches('^');
    match (below, allow) {
        (true, false) => format!("pihole --wild {name}"),
        (true, true) => format!("pihole --allow-wild {name}"),
        (false, _) => format!("pihole {verb} {name}"),
    }
}
