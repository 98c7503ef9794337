//! LW-PLT-022: a rule that blocks a name of the lab, or one that the lab needs.

use std::collections::BTreeMap;

use labwright_model::lab::{Dns, Lab};
use labwright_model::snapshot::dns::{host_of_url, in_domain, record_name, service_names, upstream};
use labwright_model::{Finding, Findings, Parsed, Span, Spanned};

use crate::check::{Case, Examples, Rule};

pub struct BlockedName;

const CODE: &str = "LW-PLT-022";

impl Rule for BlockedName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a rule that blocks what the lab needs"
    }

    fn doc(&self) -> &'static str {
        "A rule under `platform.dns.rules` covers\n\n\
         - a name of the lab itself. The resolver answers its own names before it looks at any rule, so the rule does nothing \
         there; whoever wrote it meant something else. Advice;\n\
         - the name of an upstream, a list, a registry or the ACME authority. The resolver's own way to them is not filtered, but \
         that of everything else on the network is: certificates are not renewed, images are not pulled. A warning.\n\n\
         Lists are files and cannot be looked at here; the resolver says in its log when one has a name of the lab, and \
         answers it all the same.\n\n\
         Document 1 has the whole house's names filtered by one resolver, as most homes that filter do.\n\n\
         The way out: remove the rule, or write an exception, `@@||name^`, or `allow: name`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  dns: { on: dns-01, upstream: 9.9.9.9, rules: ghcr.io }\n  registry: { on: dns-01, cache: https://ghcr.io }\ncompute: { hosts: { dns-01: { address: 10.0.20.53 } } }",
            passes: "platform:\n  dns: { on: dns-01, upstream: 9.9.9.9, rules: doubleclick.net }\n  registry: { on: dns-01, cache: https://ghcr.io }\ncompute: { hosts: { dns-01: { address: 10.0.20.53 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let Some(dns) = &lab.platform.dns else { return };
        let (own, needed) = (own(parsed, dns), needed(lab, dns));
        let groups = dns.groups.iter().map(|(name, group)| (format!("platform.dns.groups.{name}.rules"), &group.rules));
        for (at, rules) in std::iter::once(("platform.dns.rules".to_string(), &dns.rules)).chain(groups) {
            for rule in rules.iter() {
                let Some(blocked) = Blocked::of(rule) else { continue };
                let allowed = |name: &str| {
                    let exceptions = dns.allow.iter().map(|name| name.value.as_str());
                    let exceptions = exceptions.chain(rules.iter().filter_map(|rule| rule.strip_prefix("@@")));
                    exceptions.filter_map(Blocked::of_text).any(|exception| exception.covers(name))
                };
                let mut covered = own.iter().filter(|(name, _)| blocked.covers(name) && !allowed(name));
                if let Some((name, span)) = covered.next() {
                    let more = covered.count();
                    let others = if more > 0 { format!(" and {more} more names") } else { String::new() };
                    let message = format!(
                        "`{}` has no say over `{name}`{others}: the lab's own names are answered first",
                        rule.value
                    );
                    let finding = Finding::advice(CODE, at.clone(), rule.span, message);
                    findings.push(
                        finding.help("remove the rule, or write the name that is meant").related(*span, "the name"),
                    );
                }
                for (name, (what, span)) in needed.iter().filter(|(name, _)| blocked.covers(name) && !allowed(name)) {
                    let message = format!("`{}` blocks `{name}`, {what}", rule.value);
                    let finding = Finding::warning(CODE, at.clone(), rule.span, message);
                    findings.push(
                        finding.help(format!("remove the rule, or add `allow: {name}`")).related(*span, "needed here"),
                    );
                }
            }
        }
    }
}

/// What a rule blocks, where it is a name; expressions are judged by nobody but the resolver.
struct Blocked<'a> {
    name: &'a str,
    below: bool,
}

impl<'a> Blocked<'a> {
    fn of(rule: &'a Spanned<String>) -> Option<Blocked<'a>> {
        if rule.starts_with("@@") { None } else { Blocked::of_text(&rule.value) }
    }

    fn of_text(rule: &'a str) -> Option<Blocked<'a>> {
        let rule = rule.split('$').next().unwrap_or_default();
        let (name, below) = match (rule.strip_prefix("||"), rule.strip_prefix('|')) {
            (Some(name), _) => (name, true),
            (_, Some(name)) => (name, false),
            _ => (rule, true),
        };
        let name = name.trim_end_matches('^').trim_start_matches("*.").trim_matches('.');
        (!name.is_empty() && !name.contains(['/', '*'])).then_some(Blocked { name, below })
    }

    fn covers(&self, name: &str) -> bool {
        let own = self.name.to_lowercase();
        if self.below { in_domain(name, &own) } else { name == own }
    }
}

/// The lab's own names, with their places.
fn own(parsed: &Parsed, dns: &Dns) -> BTreeMap<String, Span> {
    let lab = &parsed.lab;
    let hosts = lab.compute.hosts.iter().map(|(name, host)| (record_name(lab, name), host.span));
    let records = dns.records.iter().map(|(name, record)| (record_name(lab, name), record.span));
    let mut names: BTreeMap<String, Span> = hosts.chain(records).collect();
    for placement in &parsed.placements {
        let span = lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span);
        names.extend(service_names(lab, placement).into_iter().map(|name| (name, span)));
    }
    names
}

/// Names of others that the lab cannot do without, with what they are.
fn needed(lab: &Lab, dns: &Dns) -> BTreeMap<String, (&'static str, Span)> {
    let mut names: BTreeMap<String, (&'static str, Span)> = BTreeMap::new();
    let host = |url: &str| url.contains("://").then(|| host_of_url(lab, url));
    let mut add = |name: Option<String>, what, span| {
        if let Some(name) = name.filter(|name| name.contains('.') && name.parse::<std::net::IpAddr>().is_err()) {
            names.entry(name).or_insert((what, span));
        }
    };
    for text in dns.upstream.iter() {
        add(upstream(text).ok().map(|upstream| upstream.host), "an upstream", text.span);
    }
    for list in dns.block.iter() {
        add(host(list), "which a list comes from", list.span);
    }
    if let Some(registry) = &lab.platform.registry {
        for cache in registry.cache.iter() {
            add(host(cache).or_else(|| Some(cache.value.clone())), "a registry that is cached", cache.span);
        }
    }
    if let Some(acme) = lab.platform.reverse_proxy.as_ref().and_then(|proxy| proxy.tls.acme.as_ref()) {
        // The directories that Let's Encrypt documents.
        let directory = match acme.value.as_str() {
            "letsencrypt" => Some("acme-v02.api.letsencrypt.org".to_string()),
            "letsencrypt-staging" => Some("acme-staging-v02.api.letsencrypt.org".to_string()),
            url => host(url),
        };
        add(directory, "which gives the certificates", acme.span);
    }
    names
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn rules_over_own_and_needed_names() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.20.53 }, p: { address: 10.0.20.80 } } }
platform:
  dns:
    on: d
    upstream: [9.9.9.9, tls://dns.quad9.net]
    block: https://lists.example.org/hosts
    rules: [home.arpa, "||letsencrypt.org^", "|quad9.net^", "|dns.quad9.net^", example.org, "@@||lists.example.org^", "/^p/", ads.example]
    groups: { children: { clients: 10.0.30.0/24, rules: ghcr.io } }
  registry: { on: d, cache: [https://ghcr.io, docker.io], garbage_collect: daily, watch_disk: 10GiB }
  reverse_proxy: { on: p, tls: letsencrypt }
"#,
            expect![[r#"
                8:13 advice LW-PLT-022: `home.arpa` has no say over `d.lab.home.arpa` and 1 more names: the lab's own names are answered first
                    help: remove the rule, or write the name that is meant
                    2:21: the name
                8:24 warning LW-PLT-022: `||letsencrypt.org^` blocks `acme-v02.api.letsencrypt.org`, which gives the certificates
                    help: remove the rule, or add `allow: acme-v02.api.letsencrypt.org`
                    11:32: needed here
                8:61 warning LW-PLT-022: `|dns.quad9.net^` blocks `dns.quad9.net`, an upstream
                    help: remove the rule, or add `allow: dns.quad9.net`
                    6:25: needed here
                9:57 warning LW-PLT-022: `ghcr.io` blocks `ghcr.io`, a registry that is cached
                    help: remove the rule, or add `allow: ghcr.io`
                    10:30: needed here
            "#]],
        );
    }

    #[test]
    fn what_is_allowed_is_no_fault() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.20.53 } } }
platform:
  dns: { on: d, upstream: [9.9.9.9, tls://dns.quad9.net], allow: dns.quad9.net, rules: quad9.net }
"#,
            expect![[""]],
        );
    }
}
