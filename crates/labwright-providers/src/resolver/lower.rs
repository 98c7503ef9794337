//! From the lab's names to the records of a resolver that is there already. Pure.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{Dns, DnsSoftware};
use labwright_model::snapshot::dns::{Data, dns, record_name};
use labwright_model::{Parsed, Span, reference};
use labwright_plan::{Input, Lowered, Resource, ResourceId, Sealed, Value};

use crate::host::managed;

/// Every name on every host with such a resolver. What the two cannot be told is a finding (LW-PLT-024).
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let parsed = input.parsed;
    let Some(declared) = parsed.lab.platform.dns.as_ref().filter(|dns| dns.software != DnsSoftware::Labwright) else {
        return;
    };
    let on: BTreeMap<&str, Span> = declared.on.iter().map(|on| (on.value.as_str(), on.span)).collect();
    for (host, span) in on {
        if !parsed.lab.host(host).is_some_and(managed) {
            continue;
        }
        for (name, answers) in names(parsed, declared, host) {
            let mut resource = Resource::new(
                ResourceId::new(host, "resolver", "record", &name),
                span_of(parsed, declared, &name, span),
            )
            .with("answers", answers.into_iter().collect::<Value>());
            resource = reached(resource, declared);
            // It may come with this very run.
            for (provider, kind) in [("host", "package"), ("host", "unit"), ("docker", "container")] {
                resource.after.insert(ResourceId::all(host, provider, kind));
            }
            out.resources.push(resource);
        }
    }
}

/// A record with the way to whoever keeps it.
fn reached(resource: Resource, declared: &Dns) -> Resource {
    let api = &declared.api;
    let usual = match declared.software {
        DnsSoftware::AdGuard => "http://127.0.0.1:3000",
        _ => "http://127.0.0.1",
    };
    let address = api.url.as_ref().map_or(usual.to_string(), |url| reference::unescape(url));
    let password = api.password.as_ref().map(|text| Value::Secret(Sealed::template(text)));
    resource
        .with("software", declared.software.word())
        .with("address", address)
        .with_some("user", api.user.as_ref().map(|user| reference::unescape(user)))
        .with_some("password", password)
}

/// The names that such a resolver keeps, with what they are answered with, in order.
fn names(parsed: &Parsed, declared: &Dns, host: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in dns(parsed, host).into_iter().flat_map(|snapshot| snapshot.records) {
        // A Pi-hole's local records are lines of a hosts file, which has no wildcards.
        if declared.software == DnsSoftware::PiHole && record.name.starts_with("*.") {
            continue;
        }
        let answer = match record.data {
            Data::Address(address) => address.to_string(),
            Data::Cname(name) => name,
            Data::Ptr(_) | Data::Txt(_) | Data::Mx { .. } | Data::Srv { .. } => continue,
        };
        names.entry(record.name).or_default().insert(answer);
    }
    names
}

fn span_of(parsed: &Parsed, declared: &Dns, name: &str, otherwise: Span) -> Span {
    let mut records = declared.records.iter();
    let declared = records.find(|(key, _)| record_name(&parsed.lab, key) == name);
    declared.map_or(otherwise, |(_, record)| record.span)
}
