//! LW-PLT-021: an upstream that cannot be asked.

use std::net::IpAddr;

use labwright_model::lab::{Dns, Lab};
use labwright_model::snapshot::dns::{MAX_LISTS, in_domain, upstream};
use labwright_model::{Finding, Findings, Spanned};

use crate::check::{Case, Examples, Rule};

pub struct UnaskableUpstream;

const CODE: &str = "LW-PLT-021";

impl Rule for UnaskableUpstream {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "an upstream that cannot be asked"
    }

    fn doc(&self) -> &'static str {
        "A resolver asks others for every name that is not the lab's. It cannot if\n\n\
         - an upstream is written in a way that says nobody: what is understood is an address, `udp://`, `tcp://`, \
         `tls://` (RFC 7858) and `https://…/dns-query` (RFC 8484), with `:port` and, for a certificate with another \
         name, `#name` behind it;\n\
         - an upstream has a name, and nobody is named who knows it: neither a `bootstrap` resolver nor an upstream with \
         an address. After a power cut the resolver would ask itself for the way to its upstream;\n\
         - there are more than 64 lists of blocked names: so many are told apart.\n\n\
         Those are errors. DNS with lists or rules and without any `upstream` answers the lab's own names and nothing else, so \
         that there is nothing to block: advice.\n\n\
         The way out: `upstream: tls://9.9.9.9`, or `bootstrap: 9.9.9.9` beside names."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  dns: { on: dns-01, upstream: https://cloudflare-dns.com/dns-query }\ncompute: { hosts: { dns-01: { address: 10.0.20.53 } } }",
            passes: "platform:\n  dns: { on: dns-01, upstream: https://cloudflare-dns.com/dns-query, bootstrap: 1.1.1.1 }\ncompute: { hosts: { dns-01: { address: 10.0.20.53 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(dns) = &parsed.lab.platform.dns else { return };
        let sets = std::iter::once(("platform.dns.upstream".to_string(), &dns.upstream.0))
            .chain(dns.forward.iter().map(|(domain, to)| (format!("platform.dns.forward.{domain}"), &to.value.0)));
        for (at, set) in sets {
            of_set(&parsed.lab, dns, &at, set, findings);
        }
        let lists: std::collections::BTreeSet<&str> = dns
            .block
            .iter()
            .chain(dns.groups.values().flat_map(|group| group.block.iter().flat_map(|many| many.iter())))
            .map(|list| list.value.as_str())
            .collect();
        let own = 2 + 2 * dns.groups.len();
        if lists.len() + own > MAX_LISTS
            && let Some(first) = dns.block.first()
        {
            let message =
                format!("there are {} lists, and a resolver tells {} apart here", lists.len(), MAX_LISTS - own);
            let finding = Finding::error(CODE, "platform.dns.block", first.span, message);
            findings.push(finding.help("choose lists that are put together already; most of them share their names"));
        }
        // What is about names of others has no use without somebody to ask.
        let about_others = dns.dnssec || !dns.block.is_empty() || !dns.rules.is_empty() || !dns.groups.is_empty();
        if about_others && dns.upstream.is_empty() {
            let place = parsed.span_of(&["platform", "dns"]);
            let finding =
                Finding::advice(CODE, "platform.dns.upstream", place, "names that are not the lab's are asked nowhere");
            findings.push(finding.help("say where: `upstream: tls://9.9.9.9`"));
        }
    }
}

fn of_set(lab: &Lab, dns: &Dns, at: &str, set: &[Spanned<String>], findings: &mut Findings) {
    let read: Vec<_> = set.iter().map(|text| (text, upstream(text))).collect();
    for (text, fault) in read.iter().filter_map(|(text, read)| Some((text, read.as_ref().err()?))) {
        let message = format!("`{}` is no upstream: {fault}", text.value);
        let help = if text.starts_with("[/") {
            "write domains under `forward:`, `corp.example: 10.9.0.1`".to_string()
        } else {
            "write an address, `tls://9.9.9.9` or `https://dns.quad9.net/dns-query`".to_string()
        };
        findings.push(Finding::error(CODE, at, text.span, message).help(help));
    }
    let by_address = |upstream: &labwright_model::snapshot::dns::Upstream| upstream.host.parse::<IpAddr>().is_ok();
    let known = !dns.bootstrap.is_empty() || read.iter().any(|(_, read)| read.as_ref().is_ok_and(by_address));
    // A name of the lab is LW-PLT-010's.
    let own = |host: &str| in_domain(host, &lab.domain.value) || !host.contains('.');
    let named = |(text, read): &(&Spanned<String>, Result<labwright_model::snapshot::dns::Upstream, String>)| {
        let upstream = read.as_ref().ok()?;
        (upstream.host.parse::<IpAddr>().is_err() && !own(&upstream.host)).then_some((text.span, upstream.host.clone()))
    };
    let mut named = read.iter().filter_map(named);
    if let (false, Some((span, host))) = (known, named.next()) {
        let message = format!("nobody is named who knows where upstream `{host}` is");
        let mut finding = Finding::error(CODE, at, span, message).help("name one by its address: `bootstrap: 9.9.9.9`");
        for (span, _) in named.take(5) {
            finding = finding.related(span, "nor this one");
        }
        findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn upstreams_that_say_nobody() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.20.53 } } }
platform:
  dns:
    on: d
    upstream: [quic://dns.example, "[/lan/]10.0.0.1", "10.0.0.1:dns", "tls://1.1.1.1/x", 9.9.9.9, "[fd00::1]:53", "tls://1.1.1.1#one.one"]
    forward: { corp.example: "10.0.0.1:x" }
"#,
            expect![[r#"
                6:16 error LW-PLT-021: `quic://dns.example` is no upstream: `quic` is not spoken here: write `tls://` or `https://`
                    help: write an address, `tls://9.9.9.9` or `https://dns.quad9.net/dns-query`
                6:36 error LW-PLT-021: `[/lan/]10.0.0.1` is no upstream: a `]` is missing
                    help: write domains under `forward:`, `corp.example: 10.9.0.1`
                6:55 error LW-PLT-021: `10.0.0.1:dns` is no upstream: `dns` is no port
                    help: write an address, `tls://9.9.9.9` or `https://dns.quad9.net/dns-query`
                6:71 error LW-PLT-021: `tls://1.1.1.1/x` is no upstream: `/x` is a path, which only `https://` has
                    help: write an address, `tls://9.9.9.9` or `https://dns.quad9.net/dns-query`
                7:30 error LW-PLT-021: `10.0.0.1:x` is no upstream: `x` is no port
                    help: write an address, `tls://9.9.9.9` or `https://dns.quad9.net/dns-query`
            "#]],
        );
    }

    #[test]
    fn a_name_that_nobody_knows() {
        for (more, golden) in [
            (
                "",
                expect![[r#"
            2:38 error LW-PLT-021: nobody is named who knows where upstream `dns.quad9.net` is
                help: name one by its address: `bootstrap: 9.9.9.9`
                2:59: nor this one
        "#]],
            ),
            (", bootstrap: 9.9.9.9", expect![[""]]),
        ] {
            let lab = format!(
                "compute: {{ hosts: {{ d: {{ address: 10.0.20.53 }} }} }}\nplatform: {{ dns: {{ on: d, upstream: [tls://dns.quad9.net, https://dns.google/dns-query]{more} }} }}\n"
            );
            says(&lab, golden);
        }
        says(
            "compute: { hosts: { d: { address: 10.0.20.53 } } }\nplatform: { dns: { on: d, upstream: [tls://dns.quad9.net, 9.9.9.9] } }\n",
            expect![[""]],
        );
    }

    #[test]
    fn nowhere_to_ask_and_too_many_lists() {
        says(
            "compute: { hosts: { d: { address: 10.0.20.53 } } }\nplatform: { dns: { on: d, block: a.txt } }\n",
            expect![[r#"
                2:18 advice LW-PLT-021: names that are not the lab's are asked nowhere
                    help: say where: `upstream: tls://9.9.9.9`
            "#]],
        );
        let lists: Vec<String> = (0..70).map(|n| format!("l{n}.txt")).collect();
        let lab = format!(
            "compute: {{ hosts: {{ d: {{ address: 10.0.20.53 }} }} }}\nplatform: {{ dns: {{ on: d, upstream: 9.9.9.9, block: [{}] }} }}\n",
            lists.join(", ")
        );
        says(
            &lab,
            expect![[r#"
            2:54 error LW-PLT-021: there are 70 lists, and a resolver tells 62 apart here
                help: choose lists that are put together already; most of them share their names
        "#]],
        );
    }
}
