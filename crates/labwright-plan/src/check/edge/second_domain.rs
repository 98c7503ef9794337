//! LW-EDGE-006: a service with two domains, and a certificate for one of them.

use std::collections::BTreeMap;

use labwright_model::lab::{Expose, Lab};
use labwright_model::{Findings, Placement, Span};

use super::names::{Name, cloudflare, is_at_cloudflare, is_exposed, is_private, names, zone_of};
use crate::check::network::telling::{Stake, and_here, listed};
use crate::check::{Case, Examples, Rule};

pub struct SecondDomain;

const CODE: &str = "LW-EDGE-006";

impl Rule for SecondDomain {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "two domains, and a certificate for one"
    }

    fn doc(&self) -> &'static str {
        "A service has names in two public domains, and only one of them is a zone at Cloudflare: for the other there is no \
         certificate, and where the service is public, no record and no route either. It works by one name and fails by \
         the other, and whoever tries it knows only one of them.\n\n\
         Document 4 has two domains that point at the same place: both go through the same tunnel, both have valid \
         certificates at the edge; inside, one of them has a wildcard certificate and the other none, so only the one can be \
         led to the inner proxy. It took a while to find out.\n\n\
         Told where certificates come from Cloudflare: of public services, and of all where `dns01: cloudflare`. Names in \
         the lab's own domain are not counted. Advice; a warning for `tier: production`.\n\n\
         The way out: add the second domain to `edge.public.cloudflare.zones`, or take the name out."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "edge: { public: { cloudflare: { zones: [example.net], tunnel: docker-01, access: { all: { covers: jobs, emails: me@example.net } } } } }\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  jobs: { use: jobs, on: docker-01, expose: public, url: [jobs.example.net, jobs.example.tech] }",
            passes: "edge: { public: { cloudflare: { zones: [example.net, example.tech], tunnel: docker-01, access: { all: { covers: jobs, emails: me@example.net } } } } }\ncompute: { hosts: { docker-01: { address: 10.0.20.21 } } }\nservices:\n  jobs: { use: jobs, on: docker-01, expose: public, url: [jobs.example.net, jobs.example.tech] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let lab = &parsed.lab;
        let Some(cloudflare) = cloudflare(lab) else { return };
        // One missing zone is one fault, however many services have a name in it.
        let mut told: BTreeMap<String, Vec<Fault<'_>>> = BTreeMap::new();
        for placement in parsed.placements.iter().filter(|placement| placement.entry.url.len() > 1) {
            let Some((with, without)) = halves(lab, placement) else { continue };
            let covered = listed(with.iter().map(|name| name.full.as_str()));
            for name in without {
                let domain = name.full.split_once('.').map_or(name.full.as_str(), |(_, domain)| domain);
                let stake = Stake::of(placement.entry.tier);
                let faults = told.entry(domain.to_string()).or_default();
                // Environments share what they do not say anew.
                if faults.last().is_none_or(|fault| fault.span != name.url.span) {
                    let covered = covered.clone();
                    faults.push(Fault {
                        stake,
                        service: &placement.service,
                        covered,
                        full: name.full,
                        span: name.url.span,
                    });
                }
            }
        }
        for (domain, mut faults) in told {
            faults.sort_by_key(|fault| (std::cmp::Reverse(fault.stake), fault.span));
            let Some(first) = faults.first() else { continue };
            let zones = listed(cloudflare.zones.iter().map(|zone| zone.value.as_str()));
            let message = format!(
                "`{}` has a certificate as {}, and none as `{}`, which is not in {zones}",
                first.service, first.covered, first.full
            );
            let finding = first.stake.finding(CODE, format!("services.{}.url", first.service), first.span, message);
            let help = format!("add `{domain}` to `edge.public.cloudflare.zones`, or take the name out");
            let others = faults.iter().skip(1).map(|fault| (fault.span, fault.full.as_str()));
            findings.push(and_here(finding.help(help), others, "nor is {}"));
        }
    }
}

struct Fault<'a> {
    stake: Stake,
    service: &'a str,
    /// The names that have a certificate, in words.
    covered: String,
    full: String,
    span: Span,
}

/// Whether some public names of a service have a certificate and some have none.
pub fn is_split(lab: &Lab, placement: &Placement) -> bool {
    placement.entry.url.len() > 1 && halves(lab, placement).is_some()
}

/// The names of a service that are in a zone at Cloudflare, and those that are in none and would have to be.
fn halves<'a>(lab: &Lab, placement: &'a Placement) -> Option<(Vec<Name<'a>>, Vec<Name<'a>>)> {
    let cloudflare = cloudflare(lab)?;
    let proven = lab.platform.reverse_proxy.as_ref().is_some_and(|proxy| is_at_cloudflare(&proxy.tls));
    if !is_exposed(placement) || !(proven || placement.entry.expose == Expose::Public) {
        return None;
    }
    let own = |name: &Name<'_>| is_private(&name.full) || name.full.ends_with(&format!(".{}", lab.domain.value));
    let public = names(lab, placement).into_iter().filter(|name| !own(name));
    let (with, without): (Vec<_>, Vec<_>) = public.partition(|name| zone_of(cloudflare, &name.full).is_some());
    (!with.is_empty() && !without.is_empty()).then_some((with, without))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn one_of_two_domains() {
        says(
            r#"
edge: { public: { cloudflare: { zones: [example.net], tunnel: p, access: { a: { covers: "*.example.net" } } } } }
platform: { dns: p, reverse_proxy: { on: p, tls: { acme: letsencrypt, dns01: cloudflare } } }
compute: { hosts: { p: { address: 10.0.0.80 } } }
services:
  jobs: { use: a, on: p, expose: public, url: [jobs.example.net, jobs.example.tech], tier: production }
  inner: { use: a, on: p, expose: lan, url: [inner.example.net, inner.example.tech, inner2.example.tech] }
  own: { use: a, on: p, expose: public, url: [own.example.net, own2.example.net] }
  hidden: { use: a, on: p, url: [h.example.net, h.example.tech] }
"#,
            expect![[r#"
                3:78 warning LW-EDGE-009: proofs at `cloudflare` need `token`
                    help: say it beside: `tls: { dns01: …, proof: { token: "${secret.NAME}" } }`
                6:66 warning LW-EDGE-006: `jobs` has a certificate as `jobs.example.net`, and none as `jobs.example.tech`, which is not in `example.net`
                    help: add `example.tech` to `edge.public.cloudflare.zones`, or take the name out
                    7:65: nor is `inner.example.tech`
                    7:85: nor is `inner2.example.tech`
            "#]],
        );
    }
}
