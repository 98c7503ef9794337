//! LW-EDGE-001: a public service, and nothing says who may reach it.

use std::collections::BTreeMap;

use labwright_model::lab::{Access, Expose, Lab};
use labwright_model::{Finding, Findings, Parsed, Placement, Span};

use super::names::{cloudflare, full, is_in, names};
use crate::check::network::telling::{Stake, and_here, listed};
use crate::check::{Case, Examples, Rule};

pub struct PublicWithoutAccess;

const CODE: &str = "LW-EDGE-001";

impl Rule for PublicWithoutAccess {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "public, and nothing says for whom"
    }

    fn doc(&self) -> &'static str {
        "A service is `expose: public`, no access policy at Cloudflare covers it, and the lab has no `platform.identity`. The \
         whole internet is at its login page, and what keeps it out is the application alone.\n\n\
         Document 2 warns of services that are exposed to the internet because it is only a homelab, and asks of each: do I \
         understand its security model? Document 0 has one review from time to time what is exposed, and document 3 puts \
         Access before the tunnel.\n\n\
         Some things are meant for everybody: a blog, a status page, the traces of document 4 that visitors may look at. \
         `access: everyone` says so, and the next reader knows. Where a policy covers such a service all the same, one of the \
         two is not meant, and that is told as well.\n\n\
         Advice; a warning for `tier: production`. Services that someone else runs are theirs to protect.\n\n\
         The way out: `access: { POLICY: { covers: [SERVICE], emails: [you@example.net] } }` under \
         `edge.public.cloudflare`, or `expose: vpn`; or `access: everyone` on the service."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { public: { cloudflare: { zones: [example.net], tunnel: docker-01 } } }\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  photos: { use: immich, on: docker-01, expose: public, url: photos.example.net }",
            passes: "edge:\n  public:\n    cloudflare:\n      zones: [example.net]\n      tunnel: docker-01\n      access: { family: { covers: photos, domains: [example.net] } }\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  photos: { use: immich, on: docker-01, expose: public, url: photos.example.net }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        both(parsed, findings);
        // Without anything that carries public traffic there is a greater fault, told by LW-PLT-001.
        if lab.platform.identity.is_some() || cloudflare(lab).is_none() {
            return;
        }
        let covers = Covers::of(lab);
        let mut bare: BTreeMap<&str, (Stake, Span)> = BTreeMap::new();
        for placement in &parsed.placements {
            let public = placement.entry.expose == Expose::Public && placement.entry.external.is_none();
            let meant = placement.entry.access == Access::Everyone;
            if !public || meant || covers.is_covered(lab, placement) {
                continue;
            }
            let span = lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span);
            let entry = bare.entry(&placement.service).or_insert((Stake::Lab, span));
            entry.0 = entry.0.max(Stake::of(placement.entry.tier));
        }
        let mut bare: Vec<(&str, Stake, Span)> =
            bare.into_iter().map(|(name, (stake, span))| (name, stake, span)).collect();
        // What people rely on comes first.
        bare.sort_by_key(|(_, stake, span)| (std::cmp::Reverse(*stake), *span));
        let Some((first, stake, span)) = bare.first() else { return };
        let is = if bare.len() == 1 { "is" } else { "are" };
        let message = format!("{} {is} public, and nothing says for whom", listed(bare.iter().map(|(name, ..)| *name)));
        let help = format!(
            "add `access: {{ POLICY: {{ covers: {first}, emails: … }} }}` under `edge.public.cloudflare`, or `expose: vpn`, \
             or `access: everyone` if it is"
        );
        let finding = stake.finding(CODE, format!("services.{first}.expose"), *span, message).help(help);
        findings.push(and_here(finding, bare.iter().skip(1).map(|(name, _, span)| (*span, *name)), "so is {}"));
    }
}

/// Services that are said to be for everyone, and for some.
fn both(parsed: &Parsed, findings: &mut Findings) {
    let lab = &parsed.lab;
    let covers = Covers::of(lab);
    let mut told: Vec<&str> = Vec::new();
    for placement in parsed.placements.iter().filter(|placement| placement.entry.access == Access::Everyone) {
        let name = placement.service.as_str();
        if told.contains(&name) || !covers.is_covered(lab, placement) {
            continue;
        }
        told.push(name);
        let span = parsed.span_of(&["services", name, "access"]);
        let message =
            format!("`{name}` is for everyone, and an access policy covers it: who is not on its list is turned away");
        let help = "take `access: everyone` out, or the service out of the policy's `covers`";
        findings.push(Finding::warning(CODE, format!("services.{name}.access"), span, message).help(help));
    }
}

/// What access policies cover: services and names, and everything below a wildcard.
struct Covers<'a> {
    exact: std::collections::BTreeSet<String>,
    below: Vec<&'a str>,
}

impl<'a> Covers<'a> {
    fn of(lab: &'a Lab) -> Covers<'a> {
        let policies = cloudflare(lab).into_iter().flat_map(|cloudflare| cloudflare.access.values());
        let mut covers = Covers { exact: Default::default(), below: Vec::new() };
        for name in policies.flat_map(|policy| policy.value.covers.iter()) {
            match name.strip_prefix("*.") {
                Some(below) => covers.below.push(below),
                None => covers.exact.extend([name.value.to_lowercase(), full(lab, name)]),
            }
        }
        covers
    }

    fn is_covered(&self, lab: &Lab, placement: &Placement) -> bool {
        let covered = |name: &str| self.exact.contains(name) || self.below.iter().any(|below| is_in(name, below));
        covered(&placement.service.to_lowercase()) || names(lab, placement).iter().any(|name| covered(&name.full))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn policies_cover_services_names_and_wildcards() {
        says(
            r#"
edge:
  public:
    cloudflare:
      zones: [example.net, example.tech]
      tunnel: a
      access:
        one: { covers: [by-service, Named.example.net/admin], emails: me@example.net }
        all: { covers: "*.example.tech", domains: example.net }
compute: { hosts: { a: { address: 10.0.0.1 } } }
services:
  by-service: { use: a, on: a, expose: public, url: a.example.net }
  by-name: { use: a, on: a, expose: public, url: named.example.net }
  by-wildcard: { use: a, on: a, expose: public, url: c.example.tech }
  inner: { use: a, on: a, expose: vpn, url: d }
  theirs: { external: x, expose: public }
  bare: { use: a, on: a, expose: public, url: e.example.net }
  relied-on: { use: a, on: a, expose: public, url: f.example.net, tier: production }
"#,
            expect![[r#"
                18:3 warning LW-EDGE-001: `relied-on` and `bare` are public, and nothing says for whom
                    help: add `access: { POLICY: { covers: relied-on, emails: … } }` under `edge.public.cloudflare`, or `expose: vpn`, or `access: everyone` if it is
                    17:3: so is `bare`
            "#]],
        );
    }

    #[test]
    fn what_is_for_everyone_says_so_and_for_everyone_is_not_for_some() {
        says(
            r#"
edge: { public: { cloudflare: { zones: [example.net], tunnel: a, access: { some: { covers: [both, named.example.net], emails: me@example.net } } } } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
services:
  blog: { use: a, on: a, expose: public, url: blog.example.net, access: everyone, tier: production, owner: mia }
  both: { use: a, on: a, expose: public, url: both.example.net, access: everyone }
  named: { use: a, on: a, expose: public, url: named.example.net, access: everyone }
  policy: { use: a, on: a, expose: public, url: policy.example.net, access: policy }
"#,
            expect![[r#"
                6:73 warning LW-EDGE-001: `both` is for everyone, and an access policy covers it: who is not on its list is turned away
                    help: take `access: everyone` out, or the service out of the policy's `covers`
                7:75 warning LW-EDGE-001: `named` is for everyone, and an access policy covers it: who is not on its list is turned away
                    help: take `access: everyone` out, or the service out of the policy's `covers`
                8:3 advice LW-EDGE-001: `policy` is public, and nothing says for whom
                    help: add `access: { POLICY: { covers: policy, emails: … } }` under `edge.public.cloudflare`, or `expose: vpn`, or `access: everyone` if it is
            "#]],
        );
    }

    #[test]
    fn an_identity_says_who() {
        says(
            r#"
edge: { vpn: tailscale, public: { cloudflare: { zones: [example.net], tunnel: a } } }
platform: { identity: { service: login } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
services:
  login: { use: authentik, on: a, expose: public, url: login.example.net }
"#,
            expect![[""]],
        );
    }
}
