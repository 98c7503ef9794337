//! LW-PLT-020: a record of the lab's zone that no resolver can serve, or that hides something.

use std::collections::BTreeMap;
use std::net::IpAddr;

use labwright_model::lab::{Dns, DnsRecord};
use labwright_model::snapshot::dns::{mx, record_name, service_names, srv};
use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::{Case, Examples, Rule};

pub struct UnservableRecord;

const CODE: &str = "LW-PLT-020";

impl Rule for UnservableRecord {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a record that cannot be served, or that hides something"
    }

    fn doc(&self) -> &'static str {
        "Records under `platform.dns.records` become names that every device of the lab asks for. Some cannot be served:\n\n\
         - an `mx` or `srv` that is none: those are written as in a zone file, `10 mail.example.net` and \
         `0 5 5060 sip.example.net` (RFC 1035, RFC 2782);\n\
         - a name that is an alias (`cname`) and anything else besides: an alias has no other records (RFC 1034, 3.6.2);\n\
         - aliases that lead in a circle;\n\
         - a name with an empty label, or one of more than 63 characters.\n\n\
         Those are errors: a resolver refuses the whole snapshot rather than serve half of it, and goes on with the one \
         before.\n\n\
         A record with the name of a host or a service takes its place. That is how a name is led elsewhere on purpose; \
         if it leads past the host's own address, people reach something else under its name. Advice.\n\n\
         The way out: mend the record, or rename it; accept it where it is meant."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform:\n  dns: { on: dns-01, upstream: 9.9.9.9, records: { sip: { srv: 5060 pbx } } }\ncompute: { hosts: { dns-01: { address: 10.0.20.53 }, pbx: { address: 10.0.20.9 } } }",
            passes: "platform:\n  dns: { on: dns-01, upstream: 9.9.9.9, records: { _sip._udp: { srv: 0 5 5060 pbx } } }\ncompute: { hosts: { dns-01: { address: 10.0.20.53 }, pbx: { address: 10.0.20.9 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(dns) = &parsed.lab.platform.dns else { return };
        for (name, record) in dns.records.iter() {
            let mut found = faults(parsed, name, record);
            found.extend(label(parsed, name));
            for (span, message, help) in found {
                let at = format!("platform.dns.records.{name}");
                findings.push(
                    Finding::error(CODE, at, if span.is_none() { record.span } else { span }, message).help(help),
                );
            }
        }
        circles(parsed, dns, findings);
        hidden(parsed, dns, findings);
    }
}

type Fault = (Span, String, String);

fn faults(parsed: &Parsed, name: &str, record: &DnsRecord) -> Vec<Fault> {
    let lab = &parsed.lab;
    let mut found = Vec::new();
    for text in record.mx.iter().filter(|text| mx(lab, text).is_none()) {
        let message = format!("`{}` is no mail exchanger", text.value);
        found.push((text.span, message, "write preference and name: `10 mail.example.net`".into()));
    }
    for text in record.srv.iter().filter(|text| srv(lab, text).is_none()) {
        let message = format!("`{}` is no service record", text.value);
        let help = "write priority, weight, port and name: `0 5 5060 sip.example.net`".into();
        found.push((text.span, message, help));
    }
    if let Some(cname) = &record.cname {
        let others = [
            (!record.to.is_empty(), "to"),
            (!record.txt.is_empty(), "txt"),
            (!record.mx.is_empty(), "mx"),
            (!record.srv.is_empty(), "srv"),
        ];
        if let Some((_, other)) = others.iter().find(|(is, _)| *is) {
            let message = format!("`{name}` is an alias and has `{other}` as well, which no name can");
            found.push((
                cname.span,
                message,
                "give the alias a name of its own, or write `to:` with the same target".into(),
            ));
        }
    }
    // A name that is no host and no service is an alias too, so there can be only one, and nothing beside it.
    let aliases: Vec<&str> = record.to.iter().map(|to| to.value.as_str()).filter(|to| is_alias(parsed, to)).collect();
    let alone = record.to.len() == 1 && record.txt.is_empty() && record.mx.is_empty() && record.srv.is_empty();
    if let (Some(alias), false) = (aliases.first(), alone) {
        let message = format!("`{name}` leads to `{alias}`, which makes it an alias, and has other records besides");
        let help = "write the address in place of the name, or give the alias a name of its own".into();
        found.push((record.to.first().map_or(Span::NONE, |to| to.span), message, help));
    }
    found
}

fn is_alias(parsed: &Parsed, to: &str) -> bool {
    let lab = &parsed.lab;
    let has_address = lab.host(to).is_some_and(|host| !host.address.is_empty());
    to.parse::<IpAddr>().is_err() && !has_address && !lab.services.contains_key(to)
}

fn label(parsed: &Parsed, name: &str) -> Option<Fault> {
    let full = record_name(&parsed.lab, name);
    let fault = match full.split('.').find(|label| label.is_empty() || label.len() > 63) {
        Some("") => "has an empty part".to_string(),
        Some(long) => format!("has a part of {} characters, and 63 are the most", long.len()),
        None if full.len() > 253 => format!("has {} characters, and 253 are the most", full.len()),
        None => return None,
    };
    Some((
        Span::NONE,
        format!("the name `{name}` {fault}"),
        "names are parts with dots between them: `files.apps`".into(),
    ))
}

/// Aliases that lead back to themselves.
fn circles(parsed: &Parsed, dns: &Dns, findings: &mut Findings) {
    let lab = &parsed.lab;
    let target = |record: &DnsRecord| {
        let alone = record.to.first().filter(|to| record.to.len() == 1 && is_alias(parsed, to));
        record.cname.as_ref().or(alone).map(|to| record_name(lab, to))
    };
    let leads: BTreeMap<String, (String, Span)> = dns
        .records
        .iter()
        .filter_map(|(name, record)| Some((record_name(lab, name), (target(record)?, record.span))))
        .collect();
    let mut told: Vec<&str> = Vec::new();
    for (name, (_, span)) in &leads {
        let mut way: Vec<&str> = vec![name];
        while let Some((next, _)) = way.last().and_then(|last| leads.get(*last)) {
            if way.contains(&next.as_str()) {
                if next == name && !told.contains(&name.as_str()) {
                    way.push(next);
                    let shown = way.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ");
                    let finding =
                        Finding::error(CODE, "platform.dns.records", *span, format!("aliases in a circle: {shown}"));
                    findings.push(finding.help("let one of them lead to an address or a host"));
                    told.extend(&way);
                }
                break;
            }
            way.push(next);
        }
    }
}

/// Records that take the place of a host or a service and lead elsewhere.
fn hidden(parsed: &Parsed, dns: &Dns, findings: &mut Findings) {
    let lab = &parsed.lab;
    let names: BTreeMap<String, (&str, &DnsRecord, Span)> = dns
        .records
        .iter()
        .map(|(name, record)| (record_name(lab, name), (name.as_str(), &record.value, record.span)))
        .collect();
    for (host, entry) in lab.compute.hosts.iter() {
        let Some((name, record, span)) = names.get(&record_name(lab, host)) else { continue };
        let own = entry.address.iter().map(|address| address.value.to_string());
        let leads_there = own.clone().any(|address| record.to.iter().any(|to| to.value == address));
        if !record.to.is_empty() && !leads_there && !entry.address.is_empty() {
            let message = format!(
                "the record `{name}` leads past the host of that name, which has {}",
                own.collect::<Vec<_>>().join(" and ")
            );
            findings.push(tell(name, *span, message).related(entry.span, "the host"));
        }
    }
    for placement in parsed.placements.iter().filter(|placement| !placement.entry.url.is_empty()) {
        for full in service_names(lab, placement) {
            let Some((name, _, span)) = names.get(&full) else { continue };
            let service = &placement.service;
            let place = lab.services.get(service).map_or(Span::NONE, |service| service.span);
            let message =
                format!("the record `{name}` takes the name of service `{service}`, which has it as its `url`");
            findings.push(tell(name, *span, message).related(place, "the service"));
        }
    }
}

fn tell(name: &str, span: Span, message: String) -> Finding {
    Finding::advice(CODE, format!("platform.dns.records.{name}"), span, message)
        .help("remove the record: hosts and services have their names anyway; or rename one of the two")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn records_that_are_none() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.20.53 } } }
platform:
  dns:
    on: d
    upstream: 9.9.9.9
    records:
      a: { mx: [ten mail, 10 mail, mail], srv: [0 5 99999 x, 0 5 5060 x] }
      b: { cname: x.example, txt: hello }
      c: [x.example, 10.0.0.1]
      x..y: 10.0.0.2
      ok: { to: [10.0.0.1, d], txt: [a, b], mx: 10 m.example.net, srv: 0 5 5060 d, ttl: 5m }
"#,
            expect![[r#"
                8:17 error LW-PLT-020: `ten mail` is no mail exchanger
                    help: write preference and name: `10 mail.example.net`
                8:49 error LW-PLT-020: `0 5 99999 x` is no service record
                    help: write priority, weight, port and name: `0 5 5060 sip.example.net`
                9:19 error LW-PLT-020: `b` is an alias and has `txt` as well, which no name can
                    help: give the alias a name of its own, or write `to:` with the same target
                10:11 error LW-PLT-020: `c` leads to `x.example`, which makes it an alias, and has other records besides
                    help: write the address in place of the name, or give the alias a name of its own
                11:7 error LW-PLT-020: the name `x..y` has an empty part
                    help: names are parts with dots between them: `files.apps`
            "#]],
        );
    }

    #[test]
    fn aliases_in_a_circle_are_told_once() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.20.53 } } }
platform: { dns: { on: d, upstream: 9.9.9.9, records: { a: b, b: { cname: c }, c: a.lab.home.arpa, e: a, f: f } } }
"#,
            expect![[r#"
                3:57 error LW-PLT-020: aliases in a circle: `a.lab.home.arpa` → `b.lab.home.arpa` → `c.lab.home.arpa` → `a.lab.home.arpa`
                    help: let one of them lead to an address or a host
                3:106 error LW-PLT-020: aliases in a circle: `f.lab.home.arpa` → `f.lab.home.arpa`
                    help: let one of them lead to an address or a host
            "#]],
        );
    }

    #[test]
    fn records_in_place_of_a_host_or_a_service() {
        says(
            r#"
compute: { hosts: { d: { address: 10.0.20.53 }, nas: { address: 10.0.20.5 }, p: { address: 10.0.20.80 } } }
platform:
  dns: { on: d, upstream: 9.9.9.9, records: { nas: 10.0.20.6, d: { txt: me }, p: [10.0.20.80, fd00::80], wiki: 10.0.20.7, "*.apps": p } }
services:
  wiki: { run: x, on: p, url: wiki, probe: /x }
"#,
            expect![[r#"
                4:14 advice LW-PLT-014: `d` is the only resolver: while it is away, no name is found
                    help: add a second one on another machine: `dns: [d, p]`
                4:47 advice LW-PLT-020: the record `nas` leads past the host of that name, which has 10.0.20.5
                    help: remove the record: hosts and services have their names anyway; or rename one of the two
                    2:49: the host
                4:106 advice LW-PLT-020: the record `wiki` takes the name of service `wiki`, which has it as its `url`
                    help: remove the record: hosts and services have their names anyway; or rename one of the two
                    6:3: the service
            "#]],
        );
    }
}
