//! `AdGuardHome.yaml`, in the form of schema version 29 (AdGuard Home 0.107.55); later ones bring it up by themselves.
//! Sources: AdGuard Home's wiki, pages "Configuration" and "Hosts-Blocklists" (`$dnsrewrite`).

use std::fmt::Write;

use labwright_model::snapshot::dns::{Blocked, Data, DnsSnapshot, ListSource, Order};

use super::{by_name, presented, quoted};

/// The whole file; the web interface asks for a user at its first start.
pub fn adguard(snapshot: &DnsSnapshot) -> String {
    let mut text = String::from("dns:\n  bind_hosts:\n    - 0.0.0.0\n    - \"::\"\n  port: 53\n  upstream_dns:\n");
    for domain in &snapshot.forward.domains {
        for upstream in &domain.upstreams {
            let _ = writeln!(text, "    - {}", quoted(&format!("[/{}/]{}", domain.domain, plain(&upstream.shown()))));
        }
    }
    for upstream in &snapshot.forward.upstreams {
        let _ = writeln!(text, "    - {}", quoted(&plain(&upstream.shown())));
    }
    let none = if snapshot.forward.bootstrap.is_empty() { " []" } else { "" };
    let _ = writeln!(text, "  bootstrap_dns:{none}");
    for address in &snapshot.forward.bootstrap {
        let _ = writeln!(text, "    - {}", quoted(&address.to_string()));
    }
    let mode = match snapshot.forward.order {
        Order::Race => "parallel",
        // It weighs upstreams by what they take; the order of the file is nothing that it knows.
        Order::Fastest | Order::Given => "load_balance",
    };
    let cache = &snapshot.cache;
    let _ = write!(
        text,
        "  upstream_mode: {mode}\n  enable_dnssec: {}\n  refuse_any: true\n  ratelimit: {}\n  cache_size: {}\n  \
         cache_ttl_min: {}\n  cache_ttl_max: {}\n  cache_optimistic: {}\n",
        snapshot.forward.dnssec,
        snapshot.access.rate_limit,
        cache.bytes,
        cache.at_least,
        cache.at_most,
        cache.stale > 0
    );
    let blocking = match snapshot.filter.blocked {
        Blocked::Zero => "null_ip",
        Blocked::Nxdomain => "nxdomain",
        Blocked::Refused => "refused",
    };
    let hours = (snapshot.filter.refresh / 3600).max(1);
    let _ = write!(
        text,
        "filtering:\n  protection_enabled: true\n  filtering_enabled: true\n  blocking_mode: {blocking}\n  \
         blocked_response_ttl: 10\n  filters_update_interval: {hours}\n  rewrites:\n"
    );
    let mut rules = Vec::new();
    for records in by_name(snapshot) {
        for record in records {
            match &record.data {
                Data::Address(address) => rewrite(&mut text, &record.name, &address.to_string()),
                Data::Cname(name) => rewrite(&mut text, &record.name, name),
                Data::Ptr(_) | Data::Txt(_) | Data::Mx { .. } | Data::Srv { .. } => {
                    let (kind, data) = presented(&record.data);
                    let data = match &record.data {
                        Data::Txt(text) => text.clone(),
                        Data::Ptr(_) => data,
                        _ => data.trim_end_matches('.').to_string(),
                    };
                    rules.push(format!("|{}^$dnsrewrite=NOERROR;{kind};{data}", record.name));
                }
            }
        }
    }
    lists(&mut text, snapshot, &mut rules);
    text.push_str("user_rules:\n");
    for rule in &rules {
        let _ = writeln!(text, "  - {}", quoted(rule));
    }
    clients(&mut text, snapshot);
    let log = &snapshot.log;
    let hours = u64::from(log.keep_days.max(1)) * 24;
    let (enabled, anonymous) = (log.keep_days > 0, !log.clients);
    let _ = write!(text, "querylog:\n  enabled: {enabled}\n  file_enabled: {enabled}\n  interval: {hours}h\n");
    let _ = write!(text, "statistics:\n  enabled: true\n  interval: 24h\n");
    if anonymous {
        text.push_str("# Clients are not told apart: set dns.anonymize_client_ip.\n");
    }
    text.push_str("schema_version: 29\n");
    text
}

/// AdGuard Home takes the certificate's name from what stands there; well-known resolvers have their address in theirs.
fn plain(upstream: &str) -> String {
    upstream.split('#').next().unwrap_or_default().to_string()
}

fn rewrite(text: &mut String, name: &str, answer: &str) {
    let _ = write!(text, "    - domain: {}\n      answer: {}\n", quoted(name), quoted(answer));
}

/// Lists that hold for everybody; those of one group alone are named in a comment.
fn lists(text: &mut String, snapshot: &DnsSnapshot, rules: &mut Vec<String>) {
    let filter = &snapshot.filter;
    let everyone = filter.groups.iter().find(|group| group.clients.is_empty());
    let mut listed = (String::new(), String::new());
    let mut id = 0;
    for (number, list) in filter.lists.iter().enumerate() {
        if !everyone.is_some_and(|group| group.lists.contains(&number)) {
            let _ = writeln!(
                text,
                "# The list {} holds for some clients only, which AdGuard Home cannot say.",
                quoted(&list.name)
            );
            continue;
        }
        let place = match &list.source {
            ListSource::Url(place) | ListSource::File(place) => place.clone(),
            // Shipped lists have to be in a folder that `filtering.safe_fs_patterns` allows.
            ListSource::Shipped(name) => format!("/opt/AdGuardHome/lists/{name}"),
            ListSource::Rules(own) => {
                rules.extend(own.iter().map(|rule| rule_of(rule, list.allow)));
                continue;
            }
        };
        id += 1;
        let into = if list.allow { &mut listed.1 } else { &mut listed.0 };
        let _ = write!(
            into,
            "  - enabled: true\n    url: {}\n    name: {}\n    id: {id}\n",
            quoted(&place),
            quoted(&list.name)
        );
    }
    let _ = write!(text, "filters:\n{}whitelist_filters:\n{}", listed.0, listed.1);
}

/// A rule of the lab as AdGuard Home reads it: a name alone means all below it.
pub(super) fn rule_of(rule: &str, allow: bool) -> String {
    let bare = !rule.starts_with(['|', '@', '/']);
    let rule = if bare { format!("||{}^", rule.trim_start_matches("*.")) } else { rule.to_string() };
    if allow && !rule.starts_with("@@") { format!("@@{rule}") } else { rule }
}

fn clients(text: &mut String, snapshot: &DnsSnapshot) {
    text.push_str("clients:\n  persistent:\n");
    let mut clients = snapshot.clients.clone();
    clients.sort_by(|a, b| a.name.cmp(&b.name));
    for of_name in clients.chunk_by(|a, b| a.name == b.name) {
        let Some(first) = of_name.first() else { continue };
        let _ = write!(text, "    - name: {}\n      ids:\n", quoted(&first.name));
        for client in of_name {
            let _ = writeln!(text, "        - {}", quoted(&client.address.to_string()));
        }
        text.push_str("      use_global_settings: true\n      use_global_blocked_services: true\n");
    }
}
