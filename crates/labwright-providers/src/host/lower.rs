//! From the lab to what its hosts shall be, kind by kind.
//! Pure: files beside the lab file are handed in, and the order of the lab file changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{Host, Os};
use labwright_model::{Finding, Findings, Parsed, Span, Spanned, beside, codes, reference};
use labwright_plan::{Input, Lowered, Resource, ResourceId, Sealed, Value};

use super::{
    authorized_keys, directory, file, group, hostname, interface, mount, order, package, sshd, symlink, sysctl, unit,
    unit_environment, user,
};

pub use labwright_plan::check::{NO_SUCH_ASSET, NOT_A_PUBLIC_KEY};

/// One host, and what lowering it reads.
pub struct Ground<'a> {
    pub name: &'a str,
    pub host: &'a Host,
    pub parsed: &'a Parsed,
    pub assets: &'a BTreeMap<String, Result<Vec<u8>, String>>,
}

impl Ground<'_> {
    /// The id of one of the host's resources.
    pub fn id(&self, kind: &str, name: &str) -> ResourceId {
        ResourceId::new(self.name, "host", kind, name)
    }

    /// A resource of the host without any field yet.
    pub fn resource(&self, kind: &str, name: &str, span: Span) -> Resource {
        Resource::new(self.id(kind, name), span)
    }

    /// A string as it is meant. `None` where it needs a secret: a rule of its own says that this cannot be yet.
    pub fn text(&self, text: &str) -> Option<String> {
        reference::secrets(text).is_empty().then(|| reference::unescape(text))
    }

    /// A text that may hold secrets, as content.
    pub fn content(&self, text: &str) -> Value {
        match reference::secrets(text).is_empty() {
            true => Value::Text(reference::unescape(text)),
            false => Value::Secret(Sealed::template(text)),
        }
    }

    /// As `text`, for what may be absent: the inner `None` is absent.
    pub fn maybe(&self, text: Option<&Spanned<String>>) -> Option<Option<String>> {
        text.map_or(Some(None), |text| self.text(text).map(Some))
    }

    /// A place in the model, for findings.
    pub fn at(&self, rest: &str) -> String {
        format!("compute.hosts.{}.{rest}", self.name).trim_end_matches('.').to_string()
    }

    /// An error at a place of this host.
    pub fn error(&self, code: &'static str, rest: &str, span: Span, message: String) -> Finding {
        Finding::error(code, self.at(rest), span, message)
    }
}

/// Every resource of every host that Labwright changes, by id.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let mut resources: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    crate::process::check(input.parsed, &mut out.findings);
    for (name, host) in hosts(input.parsed) {
        let host = crate::firewall::implied(input.parsed, crate::vault::implied(input.parsed, name, host));
        let host = crate::serve::implied(input.parsed, name, host);
        let host = crate::wireguard::implied(input.parsed, name, host);
        let host = &*crate::process::implied(input.parsed, name, host);
        let ground = Ground { name, host, parsed: input.parsed, assets: input.assets };
        let mut part = one(&ground, &mut out.findings);
        part.retain(|resource| has_name(&ground, resource, &mut out.findings));
        order::link(&ground, &mut part);
        // Two spellings of one path are one thing; which of them counts must not hang on the order of the file.
        for resource in part {
            resources.entry(resource.id.clone()).or_insert(resource);
        }
    }
    out.resources.extend(resources.into_values());
}

/// Whether a resource has a name at all: without one nothing could speak of it.
fn has_name(ground: &Ground<'_>, resource: &Resource, findings: &mut Findings) -> bool {
    let named = !resource.id.name().is_empty();
    if !named {
        let message = format!("an empty name stands for a {} of `{}`", resource.id.kind(), ground.name);
        findings.push(ground.error(codes::WRONG_VALUE, "", resource.span, message).help("name it, or take it out"));
    }
    named
}

fn one(ground: &Ground<'_>, findings: &mut Findings) -> Vec<Resource> {
    let mut resources = package::lower(ground);
    resources.extend(group::lower(ground));
    resources.extend(user::lower(ground));
    resources.extend(authorized_keys::lower(ground, findings));
    resources.extend(directory::lower(ground));
    resources.extend(file::lower(ground, findings));
    resources.extend(symlink::lower(ground));
    resources.extend(mount::lower(ground));
    resources.extend(sysctl::lower(ground));
    resources.extend(hostname::lower(ground));
    resources.extend(sshd::lower(ground));
    resources.extend(interface::lower(ground));
    unit_environment::lower(ground, &mut resources);
    let units = unit::lower(ground, &resources);
    resources.extend(units);
    resources
}

/// Whether Labwright changes a host at all.
pub fn managed(host: &Host) -> bool {
    matches!(host.os, Os::Debian | Os::Ubuntu | Os::Proxmox)
}

/// The hosts that Labwright changes, by name.
fn hosts(parsed: &Parsed) -> BTreeMap<&str, &Host> {
    let hosts = parsed.lab.compute.hosts.iter().filter(|(_, host)| managed(&host.value));
    hosts.map(|(name, host)| (name.as_str(), &host.value)).collect()
}

/// Entries of a table by name, so that the order of the file does not matter.
pub fn sorted<T>(table: &labwright_model::Table<T>) -> BTreeMap<&str, &Spanned<T>> {
    table.iter().map(|(name, entry)| (name.as_str(), entry)).collect()
}

/// The files beside the lab file that hosts get copies of: what `Input::assets` has to hold, sorted.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    let files = hosts(parsed).into_values().flat_map(|host| host.files.values());
    let paths: BTreeSet<String> =
        files.filter(|file| file.content.is_none()).filter_map(|file| asset(parsed, file.source.as_ref()?)).collect();
    paths.into_iter().collect()
}

/// Where a `source:` leads, as `Input::assets` is keyed; `None` where it needs a secret.
pub fn asset(parsed: &Parsed, source: &Spanned<String>) -> Option<String> {
    if !reference::secrets(source).is_empty() {
        return None;
    }
    let from = parsed.sources.get(source.span.file).map_or("", |file| file.name.as_str());
    Some(beside(from, &reference::unescape(source)))
}
