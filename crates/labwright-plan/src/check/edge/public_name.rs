//! LW-EDGE-002: a public service without a way to it, or a way in that leads to nothing.

use labwright_model::lab::{Cloudflare, Expose};
use labwright_model::{Finding, Findings, Parsed, Span};

use super::names::{cloudflare, names, zone_of};
use crate::check::network::telling::{Stake, and_here, listed};
use crate::check::{Case, Examples, Rule};

pub struct PublicName;

const CODE: &str = "LW-EDGE-002";

impl Rule for PublicName {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a public service without a public way"
    }

    fn doc(&self) -> &'static str {
        "What is `expose: public` needs a name in one of the DNS `zones` at Cloudflare and the tunnel that carries it. A \
         short `url` is a name in the lab's own domain, which nobody outside can ask for. The other way round, a tunnel, a \
         zone and a standby with no public service at all are a way in that leads to nothing.\n\n\
         Document 4 keeps public names, tunnel routes and records in one declared place, so that a new name is one change; \
         document 3 lets all public traffic in by the tunnel and binds nothing else; document 0 has one review what is \
         exposed.\n\n\
         A public service without a public name, or without a tunnel, is an error for `tier: production` and a warning for \
         an experiment. A way in that leads to nothing is advice.\n\n\
         The way out: give it a name in a zone, `url: wiki.example.net`, add the zone or the tunnel, or expose the service \
         to `lan` or `vpn`. Take out the tunnel that nothing uses."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { public: { cloudflare: { zones: [example.net], tunnel: docker-01 } } }\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nplatform: { dns: docker-01 }\nservices:\n  wiki: { use: wiki, on: docker-01, expose: public, url: wiki }",
            passes: "edge: { public: { cloudflare: { zones: [example.net], tunnel: docker-01 } } }\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nplatform: { dns: docker-01 }\nservices:\n  wiki: { use: wiki, on: docker-01, expose: public, url: [wiki, wiki.example.net] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(cloudflare) = cloudflare(&parsed.lab) else { return };
        let public: Vec<_> =
            parsed.placements.iter().filter(|placement| placement.entry.expose == Expose::Public).collect();
        if public.is_empty() {
            findings.extend(unused(parsed, cloudflare));
            return;
        }
        let own: Vec<_> = public.into_iter().filter(|placement| placement.entry.external.is_none()).collect();
        let spans = |service: &str| parsed.lab.services.get(service).map_or(Span::NONE, |service| service.span);
        if let (None, Some(first)) = (&cloudflare.tunnel, own.first()) {
            let stake = own.iter().map(|placement| Stake::of(placement.entry.tier)).max().unwrap_or(Stake::Lab);
            let mut services: Vec<&str> = own.iter().map(|placement| placement.service.as_str()).collect();
            services.dedup();
            let is = if services.len() == 1 { "is" } else { "are" };
            let message = format!("{} {is} public, and there is no tunnel", listed(services.iter().copied()));
            let finding = stake
                .contradiction(CODE, "edge.public.cloudflare.tunnel", spans(&first.service), message)
                .help("name the host that runs its outbound end: `cloudflare: { tunnel: HOST }`");
            let others = services.iter().skip(1).map(|service| (spans(service), *service));
            findings.push(and_here(finding, others, "so is {}"));
        }
        // Services without any name, and services whose names are in no zone: each one fault, and one finding.
        let (mut bare, mut strange) = (Vec::new(), Vec::new());
        for placement in own {
            let names = names(&parsed.lab, placement);
            let read = names.len() == placement.entry.url.iter().filter(|url| !url.is_empty()).count();
            if !read || names.iter().any(|name| zone_of(cloudflare, &name.full).is_some()) {
                continue;
            }
            let (stake, service) = (Stake::of(placement.entry.tier), placement.service.as_str());
            match names.into_iter().next() {
                Some(name) => strange.push((stake, service, name.url.span, name.full)),
                None => bare.push((stake, service, spans(service), String::new())),
            }
        }
        for (mut all, named) in [(bare, false), (strange, true)] {
            // What people rely on comes first, and what environments share is told once.
            all.sort_by_key(|(stake, _, span, _)| (std::cmp::Reverse(*stake), *span));
            all.dedup_by(|a, b| (a.1, a.2) == (b.1, b.2));
            let Some((stake, service, span, full)) = all.first() else { continue };
            let message = match named {
                false => {
                    let has = if all.len() == 1 { "is public, and has" } else { "are public, and have" };
                    format!("{} {has} no public name", listed(all.iter().map(|(_, service, ..)| *service)))
                }
                true if cloudflare.zones.is_empty() => {
                    format!("`{service}` is public as `{full}`, and there is no zone to make names in")
                }
                true => {
                    let zones = listed(cloudflare.zones.iter().map(|zone| zone.value.as_str()));
                    format!("`{service}` is public as `{full}`, which is not in {zones}")
                }
            };
            let finding = stake.contradiction(CODE, format!("services.{service}.url"), *span, message);
            let others = all.iter().skip(1).map(|(_, service, span, _)| (*span, *service));
            findings.push(and_here(finding.help(way_out(cloudflare, service)), others, "so is {}"));
        }
    }
}

fn way_out(cloudflare: &Cloudflare, service: &str) -> String {
    match cloudflare.zones.first() {
        Some(zone) => format!("give it a name there, `url: {service}.{}`, or expose it to `lan` or `vpn`", zone.value),
        None => "add the domain to `edge.public.cloudflare.zones`, or expose it to `lan` or `vpn`".to_string(),
    }
}

/// A way in, and nothing public.
fn unused(parsed: &Parsed, cloudflare: &Cloudflare) -> Option<Finding> {
    let kept =
        [("a tunnel", "tunnel", cloudflare.tunnel.is_some()), ("a standby", "standby", cloudflare.standby.is_some())];
    let mut kept = kept.into_iter().filter(|(_, _, is)| *is);
    let (what, key, _) = kept.next()?;
    let and = kept.next().map_or(String::new(), |(what, ..)| format!(" and {what}"));
    let message = format!("there is {what}{and}, and no service is public");
    let span = parsed.span_of(&["edge", "public", "cloudflare", key]);
    let finding = Finding::advice(CODE, format!("edge.public.cloudflare.{key}"), span, message);
    Some(finding.help("say which services it carries, `expose: public`, or take it out"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn names_and_zones() {
        says(
            r#"
domain: lab.example.tech
edge:
  public:
    cloudflare:
      zones: [example.net, example.tech]
      tunnel: a
      access: { all: { covers: ["*.example.net", "*.example.tech", "*.example.org", "nameless", "nameless-too"], domains: example.net } }
platform: { dns: a }
compute: { hosts: { a: { address: 10.0.0.1 } } }
services:
  short: { use: a, on: a, expose: public, url: short }
  full: { use: a, on: a, expose: public, url: "https://Full.Example.net/path" }
  elsewhere: { use: a, on: a, expose: public, url: e.example.org, tier: production }
  almost: { use: a, on: a, expose: public, url: a.notexample.net }
  nameless: { use: a, on: a, expose: public }
  nameless-too: { use: a, on: a, expose: public, tier: production }
  theirs: { external: x, expose: public, url: x.example.com }
"#,
            expect![[r#"
                12:48 advice LW-EDGE-005: the certificate at Cloudflare's edge covers `*.example.tech`, which is one label, and not `short.lab.example.tech`
                    help: write `short-lab.example.tech`, or buy an advanced certificate for it
                14:52 error LW-EDGE-002: `elsewhere` is public as `e.example.org`, which is not in `example.net` and `example.tech`
                    help: give it a name there, `url: elsewhere.example.net`, or expose it to `lan` or `vpn`
                    15:49: so is `almost`
                15:3 advice LW-EDGE-001: `almost` is public, and nothing says for whom
                    help: add `access: { POLICY: { covers: almost, emails: … } }` under `edge.public.cloudflare`, or `expose: vpn`, or `access: everyone` if it is
                17:3 error LW-EDGE-002: `nameless-too` and `nameless` are public, and have no public name
                    help: give it a name there, `url: nameless-too.example.net`, or expose it to `lan` or `vpn`
                    16:3: so is `nameless`
            "#]],
        );
    }

    #[test]
    fn no_tunnel_no_zones_nothing_public() {
        let lab = |cloudflare: &str, expose: &str| {
            format!(
                "edge: {{ public: {{ cloudflare: {{ {cloudflare} }} }} }}\ncompute: {{ hosts: {{ a: {{ address: 10.0.0.1 }} }} }}\nplatform: {{ identity: a }}\nservices:\n  s: {{ use: a, on: a, expose: {expose}, url: s.example.net }}\n  t: {{ use: a, on: a, expose: {expose}, url: t.example.net }}\n"
            )
        };
        says(
            &lab("zones: [example.net]", "public"),
            expect![[r#"
            5:3 warning LW-EDGE-002: `s` and `t` are public, and there is no tunnel
                help: name the host that runs its outbound end: `cloudflare: { tunnel: HOST }`
                6:3: so is `t`
        "#]],
        );
        says(
            &lab("tunnel: a", "public"),
            expect![[r#"
                5:44 warning LW-EDGE-002: `s` is public as `s.example.net`, and there is no zone to make names in
                    help: add the domain to `edge.public.cloudflare.zones`, or expose it to `lan` or `vpn`
                    6:44: so is `t`
            "#]],
        );
        says(
            &lab("zones: [example.net], tunnel: a, standby: { pages: x.pages.dev }", "lan"),
            expect![[r#"
            1:63 advice LW-EDGE-002: there is a tunnel and a standby, and no service is public
                help: say which services it carries, `expose: public`, or take it out
        "#]],
        );
        says(&lab("zones: [example.net]", "lan"), expect![[""]]);
        says(&lab("zones: [example.net], tunnel: a", "public"), expect![[""]]);
    }
}
