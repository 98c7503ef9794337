//! LW-EDGE-005: a name that no certificate of the lab can cover.

use std::collections::BTreeMap;

use labwright_model::lab::{Cloudflare, Expose, Lab, ReverseProxy};
use labwright_model::{Finding, Findings, Parsed, Span, Spanned};

use super::names::{cloudflare, full, is_at_cloudflare, is_exposed, is_in, is_private, is_public_acme, names, zone_of};
use super::second_domain::is_split;
use crate::check::network::telling::{Stake, and_here, listed};
use crate::check::{Case, Examples, Rule};

pub struct Certificate;

const CODE: &str = "LW-EDGE-005";

impl Rule for Certificate {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a name that no certificate can cover"
    }

    fn doc(&self) -> &'static str {
        "A service is exposed by a name, and no certificate that the lab would ask for can be had for it:\n\n\
         - `tls: { acme: letsencrypt }` and a name in a domain that the world does not have (`home.arpa`, `internal`, `lan`): \
         public authorities have signed no such name since 2015;\n\
         - ACME without `dns01`, and a public name that the internet does not reach: HTTP-01 asks the name itself over port \
         80, and nobody answers;\n\
         - ACME without `dns01`, and a wildcard: authorities give those for DNS-01 alone;\n\
         - `dns01: cloudflare`, and a name in none of the `zones` there: the proof cannot be put into a zone that is not \
         yours to write;\n\
         - a public name two labels below its zone: the certificate at Cloudflare's edge (Universal SSL, as its documentation \
         says) covers the zone and `*.zone`, and a wildcard stands for one label;\n\
         - a record of `platform.dns` that leads a public name to the proxy inside, and `tls: internal`: the same name has a \
         certificate that everybody trusts outside, and one of the lab's own authority inside;\n\
         - a record of `platform.dns` that leads all names of a domain (`*.example.tech`) to the proxy, whose \
         `tls: { wildcard: … }` is for another domain.\n\n\
         Document 4 learned the last ones the hard way: its resolver overrides all names of one domain, which a wildcard \
         certificate on the inner proxy makes work; the same does not work for its other domain, which has none.\n\n\
         Advice; a warning for `tier: production`. An ACME directory that is not one of the well-known public ones may be \
         the lab's own, and is left alone.\n\n\
         The way out: `tls: internal` for names of the lab's own; `dns01` with the provider of the domain; the domain among \
         `edge.public.cloudflare.zones`; `app-dev.example.net` in place of `app.dev.example.net`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  dns: proxy-01\n  reverse_proxy: { on: proxy-01, tls: { acme: letsencrypt } }\ncompute: { hosts: { proxy-01: { address: 10.0.20.80 } } }\nservices:\n  wiki: { use: wiki, on: proxy-01, expose: lan, url: wiki.example.net }",
            passes: "edge: { public: { cloudflare: { zones: [example.net] } } }\nplatform:\n  dns: proxy-01\n  reverse_proxy: { on: proxy-01, tls: { acme: letsencrypt, dns01: cloudflare } }\ncompute: { hosts: { proxy-01: { address: 10.0.20.80 } } }\nservices:\n  wiki: { use: wiki, on: proxy-01, expose: lan, url: wiki.example.net }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let (proxy, cloudflare) = (lab.platform.reverse_proxy.as_ref(), cloudflare(lab));
        if proxy.is_none() && cloudflare.is_none() {
            return;
        }
        let overrides = Overrides::of(parsed);
        let mut told: BTreeMap<Why, Vec<Fault<'_>>> = BTreeMap::new();
        for placement in parsed.placements.iter().filter(|placement| is_exposed(placement)) {
            let split = is_split(lab, placement);
            for name in names(lab, placement) {
                let public = placement.entry.expose == Expose::Public;
                let mut why = of_edge(cloudflare, &name.full, public);
                if let (None, Some(proxy)) = (why, proxy) {
                    why = of_proxy(proxy, cloudflare, &name.full, public, &overrides);
                }
                // That one of two domains has no certificate is told by LW-EDGE-006.
                let Some(why) = why.filter(|why| *why != Why::OtherZone || !split) else { continue };
                told.entry(why).or_default().push(Fault {
                    service: &placement.service,
                    url: name.url,
                    full: name.full,
                    stake: Stake::of(placement.entry.tier),
                });
            }
        }
        findings.extend(wildcards(parsed));
        for (why, mut faults) in told {
            // Environments share what they do not say anew.
            faults.dedup_by(|a, b| a.url.span == b.url.span && a.full == b.full);
            tell(lab, why, &faults, findings);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Private,
    Unreachable,
    Wildcard,
    OtherZone,
    TooDeep,
    OwnAuthority,
}

struct Fault<'a> {
    service: &'a str,
    url: &'a Spanned<String>,
    full: String,
    stake: Stake,
}

/// What is wrong with the certificate at Cloudflare's edge.
fn of_edge(cloudflare: Option<&Cloudflare>, name: &str, public: bool) -> Option<Why> {
    let zone = zone_of(cloudflare?, name).filter(|_| public)?;
    let below = name.strip_suffix(&zone.to_lowercase())?.trim_end_matches('.');
    below.contains('.').then_some(Why::TooDeep)
}

/// What is wrong with the certificate at the lab's proxy.
fn of_proxy(
    proxy: &ReverseProxy,
    cloudflare: Option<&Cloudflare>,
    name: &str,
    public: bool,
    overrides: &Overrides,
) -> Option<Why> {
    let tls = &proxy.tls;
    let zone = cloudflare.and_then(|cloudflare| zone_of(cloudflare, name));
    // From outside a public name ends at Cloudflare; the proxy's own certificate is for those who come from inside.
    let behind_tunnel = public && zone.is_some();
    if tls.acme.is_none() {
        let inside = behind_tunnel && overrides.has(name);
        return inside.then_some(Why::OwnAuthority);
    }
    if !is_public_acme(tls) {
        return None;
    }
    match &tls.dns01 {
        _ if is_private(name) => Some(Why::Private),
        None if name.starts_with("*.") => Some(Why::Wildcard),
        None if !public => Some(Why::Unreachable),
        None => None,
        // Without any zones there is nothing to compare with.
        Some(_) if is_at_cloudflare(tls) && zone.is_none() => {
            cloudflare.is_some_and(|cloudflare| !cloudflare.zones.is_empty()).then_some(Why::OtherZone)
        }
        Some(_) => None,
    }
}

/// Domains that a resolver leads to the proxy as a whole, where its one wildcard certificate is for another.
fn wildcards(parsed: &Parsed) -> Vec<Finding> {
    let lab = &parsed.lab;
    let Some(proxy) = &lab.platform.reverse_proxy else { return Vec::new() };
    if proxy.tls.wildcard.is_empty() || !is_public_acme(&proxy.tls) {
        return Vec::new();
    }
    let covered =
        |domain: &str| proxy.tls.wildcard.iter().any(|own| own.trim_start_matches("*.").eq_ignore_ascii_case(domain));
    let overrides = Overrides::of(parsed);
    let mut found = Vec::new();
    for record in &overrides.names {
        let Some(domain) = record.strip_prefix("*.").filter(|domain| !covered(domain) && !is_private(domain)) else {
            continue;
        };
        let relied_on = parsed.placements.iter().filter(|placement| is_exposed(placement)).any(|placement| {
            let within = names(lab, placement).iter().any(|name| name.full != domain && is_in(&name.full, domain));
            within && placement.entry.tier == labwright_model::lab::Tier::Production
        });
        let stake = if relied_on { Stake::Production } else { Stake::Lab };
        let own = listed(proxy.tls.wildcard.iter().map(|own| own.value.as_str()));
        let message =
            format!("every name of `{record}` is led to the proxy inside, whose wildcard certificate is for {own}");
        let all: Vec<&str> = proxy.tls.wildcard.iter().map(|own| own.value.as_str()).chain([domain]).collect();
        let span = parsed.span_of(&["platform", "dns", "records", record]);
        let finding = stake.finding(CODE, "platform.dns.records", span, message);
        found
            .push(finding.help(format!("add it, `tls: {{ wildcard: [{}] }}`, or take the record out", all.join(", "))));
    }
    found
}

/// Names that the lab's resolvers lead to its proxy.
struct Overrides {
    names: Vec<String>,
}

impl Overrides {
    fn of(parsed: &Parsed) -> Overrides {
        let lab = &parsed.lab;
        let (Some(dns), Some(proxy)) = (&lab.platform.dns, &lab.platform.reverse_proxy) else {
            return Overrides { names: Vec::new() };
        };
        let addresses = proxy.on.iter().filter_map(|on| lab.host(on)).flat_map(|host| host.address.iter());
        let mut targets: Vec<String> = addresses.map(|address| address.value.to_string()).collect();
        targets.extend(proxy.on.iter().map(|on| on.value.clone()));
        let to_proxy = dns.records.iter().filter(|(_, entry)| entry.to.iter().any(|to| targets.contains(&to.value)));
        Overrides { names: to_proxy.map(|(record, _)| full(lab, record)).collect() }
    }

    /// Whether a name leads there: by a record of its own, or below a wildcard, which in DNS takes in every depth.
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|record| match record.strip_prefix("*.") {
            Some(below) => name != below && is_in(name, below),
            None => name == record,
        })
    }
}

/// A proof by DNS as it is typed: with a token, unless the lab has one for Cloudflare or the proxy is somebody's own.
fn proven(lab: &Lab) -> &'static str {
    let own = lab.platform.reverse_proxy.as_ref().is_some_and(|proxy| proxy.service.is_some());
    match own || cloudflare(lab).is_some() {
        true => "`tls: { acme: letsencrypt, dns01: cloudflare }`",
        false => {
            "`tls: { acme: letsencrypt, dns01: cloudflare, proof: { token: \"${secret.dns_token}\" } }`, after \
             `labwright secret set dns_token`"
        }
    }
}

fn tell(lab: &Lab, why: Why, faults: &[Fault<'_>], findings: &mut Findings) {
    let stake = faults.iter().map(|fault| fault.stake).max().unwrap_or(Stake::Lab);
    let Some(first) = faults.iter().find(|fault| fault.stake == stake) else { return };
    let all = listed(faults.iter().map(|fault| fault.full.as_str()));
    let zone = cloudflare(lab).and_then(|cloudflare| zone_of(cloudflare, &first.full));
    let (message, help) = match why {
        Why::Private => (
            format!("no public authority signs {all}: the world has no such domain"),
            "write `tls: internal`, or give the lab a `domain` below one that is yours".to_string(),
        ),
        Why::Unreachable => (
            format!("no proof for {all}: it is not reached from the internet, and there is no `dns01`"),
            format!("name the domain's provider: {}; or write `tls: internal`", proven(lab)),
        ),
        Why::Wildcard => (
            format!("{all} needs a wildcard certificate, which is given for a proof by DNS alone"),
            format!("name the domain's provider: {}", proven(lab)),
        ),
        Why::OtherZone => (
            format!("certificates are proven at Cloudflare, and {all} is in none of the zones there"),
            "add the domain to `edge.public.cloudflare.zones`, or choose a name in one of them".into(),
        ),
        Why::TooDeep => {
            let zone = zone.unwrap_or_default();
            let below = first.full.strip_suffix(zone).unwrap_or_default().trim_end_matches('.');
            (
                format!("the certificate at Cloudflare's edge covers `*.{zone}`, which is one label, and not {all}"),
                format!("write `{}.{zone}`, or buy an advanced certificate for it", below.replace('.', "-")),
            )
        }
        Why::OwnAuthority => (
            format!("{all} is led to the proxy inside, where its certificate is one of the lab's own authority"),
            format!("get the same kind of certificate inside: {}", proven(lab)),
        ),
    };
    let finding = stake.finding(CODE, format!("services.{}.url", first.service), first.url.span, message).help(help);
    let others = faults.iter().filter(|fault| fault.url.span != first.url.span);
    let others: Vec<(Span, &str)> = others.map(|fault| (fault.url.span, fault.full.as_str())).collect();
    findings.push(and_here(finding, others, "{}"));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    const SERVICES: &str = r#"
compute: { hosts: { p: { address: 10.0.0.80 } } }
services:
  own: { use: a, on: p, expose: lan, url: own }
  inner: { use: a, on: p, expose: vpn, url: inner.example.net, tier: production }
  outer: { use: a, on: p, expose: public, url: outer.example.net }
  deep: { use: a, on: p, expose: public, url: app.dev.example.net }
  other: { use: a, on: p, expose: lan, url: other.example.org }
  wild: { use: a, on: p, expose: lan, url: "*.apps.example.net" }
  hidden: { use: a, on: p, url: hidden.example.org }
  theirs: { external: x, expose: public, url: x.example.com }
"#;

    fn lab(tls: &str, records: &str) -> String {
        format!(
            "edge: {{ public: {{ cloudflare: {{ zones: [example.net], tunnel: p, access: {{ a: {{ covers: '*.example.net' }} }} }} }} }}\nplatform: {{ dns: {{ on: p, records: {{ {records} }} }}, reverse_proxy: {{ on: p, tls: {tls} }} }}\n{SERVICES}"
        )
    }

    #[test]
    fn acme_with_and_without_dns() {
        says(
            &lab("{ acme: letsencrypt, dns01: cloudflare }", ""),
            expect![[r#"
                2:101 warning LW-EDGE-009: proofs at `cloudflare` need `token`
                    help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
                6:43 advice LW-EDGE-005: no public authority signs `own.lab.home.arpa`: the world has no such domain
                    help: write `tls: internal`, or give the lab a `domain` below one that is yours
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
                10:45 advice LW-EDGE-005: certificates are proven at Cloudflare, and `other.example.org` is in none of the zones there
                    help: add the domain to `edge.public.cloudflare.zones`, or choose a name in one of them
            "#]],
        );
        says(
            &lab("{ acme: letsencrypt }", ""),
            expect![[r#"
                6:43 advice LW-EDGE-005: no public authority signs `own.lab.home.arpa`: the world has no such domain
                    help: write `tls: internal`, or give the lab a `domain` below one that is yours
                7:45 warning LW-EDGE-005: no proof for `inner.example.net` and `other.example.org`: it is not reached from the internet, and there is no `dns01`
                    help: name the domain's provider: `tls: { acme: letsencrypt, dns01: cloudflare }`; or write `tls: internal`
                    10:45: `other.example.org`
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
                11:44 advice LW-EDGE-005: `*.apps.example.net` needs a wildcard certificate, which is given for a proof by DNS alone
                    help: name the domain's provider: `tls: { acme: letsencrypt, dns01: cloudflare }`
            "#]],
        );
        says(
            &lab("{ acme: letsencrypt, dns01: hetzner }", ""),
            expect![[r#"
                2:101 error LW-EDGE-009: nothing here knows how to prove names at `hetzner`
                    help: known are `cloudflare`, `desec`, `rfc2136`, `acme-dns`; `acme-dns` works beside any provider
                6:43 advice LW-EDGE-005: no public authority signs `own.lab.home.arpa`: the world has no such domain
                    help: write `tls: internal`, or give the lab a `domain` below one that is yours
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
            "#]],
        );
    }

    #[test]
    fn a_domain_that_is_led_past_its_certificate() {
        let lab = |wildcard: &str, record: &str| {
            format!(
                "edge: {{ public: {{ cloudflare: {{ zones: [example.net, example.tech], tunnel: p, access: {{ a: {{ covers: wiki }} }} }} }} }}\nplatform:\n  dns: {{ on: p, records: {{ \"*.example.net\": p, \"{record}\": p, \"*.elsewhere.tech\": 10.0.0.9 }} }}\n  reverse_proxy: {{ on: p, tls: {{ acme: letsencrypt, dns01: cloudflare{wildcard} }} }}\ncompute: {{ hosts: {{ p: {{ address: 10.0.0.80 }} }} }}\nservices:\n  wiki: {{ use: a, on: p, expose: public, url: [wiki.example.net, wiki.example.tech] }}\n"
            )
        };
        says(
            &lab(", wildcard: example.net", "*.example.tech"),
            expect![[r#"
                3:66 advice LW-EDGE-005: every name of `*.example.tech` is led to the proxy inside, whose wildcard certificate is for `example.net`
                    help: add it, `tls: { wildcard: [example.net, example.tech] }`, or take the record out
                4:60 warning LW-EDGE-009: proofs at `cloudflare` need `token`
                    help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
            "#]],
        );
        says(
            &lab(", wildcard: [example.net, example.tech]", "*.example.tech"),
            expect![[r#"
            4:60 warning LW-EDGE-009: proofs at `cloudflare` need `token`
                help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
        "#]],
        );
        says(
            &lab(", wildcard: example.net", "wiki.example.tech"),
            expect![[r#"
            4:60 warning LW-EDGE-009: proofs at `cloudflare` need `token`
                help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
        "#]],
        );
        says(
            &lab("", "*.example.tech"),
            expect![[r#"
            4:60 warning LW-EDGE-009: proofs at `cloudflare` need `token`
                help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
        "#]],
        );
    }

    #[test]
    fn an_authority_of_the_labs_own() {
        says(
            &lab("{ acme: \"https://ca.lab.home.arpa/acme\" }", ""),
            expect![[r#"
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
            "#]],
        );
        says(
            &lab("internal", ""),
            expect![[r#"
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
            "#]],
        );
        says(
            &lab("internal", "'*.example.net': p"),
            expect![[r#"
                8:48 advice LW-EDGE-005: `outer.example.net` is led to the proxy inside, where its certificate is one of the lab's own authority
                    help: get the same kind of certificate inside: `tls: { acme: letsencrypt, dns01: cloudflare }`
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
            "#]],
        );
        says(
            &lab("internal", "outer.example.net: 10.0.0.80, deep.example.net: 10.0.0.9"),
            expect![[r#"
                8:48 advice LW-EDGE-005: `outer.example.net` is led to the proxy inside, where its certificate is one of the lab's own authority
                    help: get the same kind of certificate inside: `tls: { acme: letsencrypt, dns01: cloudflare }`
                9:47 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.net`, which is one label, and not `app.dev.example.net`
                    help: write `app-dev.example.net`, or buy an advanced certificate for it
            "#]],
        );
    }
}
