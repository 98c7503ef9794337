//! Interpolation: `${host.x.address}`, `${service.x.url}`, `${secret.x}`, `${env}`, `${port}` in any string.
//! What the file itself answers is put in before values are typed; secrets and ports stay references.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use crate::codes;
use crate::finding::{Finding, Findings, nearest};
use crate::here::Ports;
use crate::span::{Sources, Span, Spanned};
use crate::store::Store;
use crate::tree::{Kind, Node};

/// A piece of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Literal(&'a str),
    /// What stands between `${` and `}`.
    Reference(&'a str),
    /// `$${`, which stands for a literal `${`.
    Escape,
    /// `${` without its `}`.
    Unclosed,
}

/// Splits a string at its references.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if at > 0 && rest.as_bytes()[at - 1] == b'$' {
            parts.push(Part::Literal(&rest[..at - 1]));
            parts.push(Part::Escape);
            rest = &rest[at + 2..];
            continue;
        }
        parts.push(Part::Literal(&rest[..at]));
        let after = &rest[at + 2..];
        // What would run over a line or over the next reference was not closed.
        let stop = after.bytes().enumerate().find(|&(i, byte)| {
            matches!(byte, b'}' | b'\n') || (byte == b'$' && after.as_bytes().get(i + 1) == Some(&b'{'))
        });
        match stop.and_then(|(end, byte)| (byte == b'}').then_some(end)) {
            Some(end) => {
                parts.push(Part::Reference(&after[..end]));
                rest = &after[end + 1..];
            }
            None => {
                parts.push(Part::Unclosed);
                rest = after;
            }
        }
    }
    parts.push(Part::Literal(rest));
    parts.retain(|part| *part != Part::Literal(""));
    parts
}

/// The names of the secrets that a string refers to.
pub fn secrets(text: &str) -> Vec<&str> {
    if !text.contains("${") {
        return Vec::new();
    }
    let secret = |part| match part {
        Part::Reference(reference) => reference_name(reference, "secret."),
        _ => None,
    };
    parts(text).into_iter().filter_map(secret).collect()
}

fn reference_name<'a>(reference: &'a str, kind: &str) -> Option<&'a str> {
    reference.strip_prefix(kind)
}

/// Turns `$${` into `${`; what is still a reference stays one.
pub fn unescape(text: &str) -> String {
    text.replace("$${", "${")
}

/// What references are resolved against.
pub(crate) struct Scope<'a> {
    pub known: &'a Known<'a>,
    pub within: Within<'a>,
    /// What `${port}` stands for, where the service says so or a port was chosen for it.
    pub port: Option<u16>,
}

/// The lab's named things, looked up once.
pub(crate) struct Known<'a> {
    root: &'a Node,
    sources: &'a Sources,
    hosts: HashMap<&'a str, &'a Node>,
    services: HashMap<&'a str, &'a Node>,
    zones: HashMap<&'a str, &'a Node>,
    store: Option<&'a Store>,
    here: Option<&'a Ports>,
}

impl<'a> Known<'a> {
    pub fn new(root: &'a Node, sources: &'a Sources, store: Option<&'a Store>) -> Self {
        let table = |path: &[&str]| {
            let node = path.iter().try_fold(root, |node, key| node.get(key).map(Arc::as_ref));
            match node.map(|node| &node.kind) {
                Some(Kind::Map(entries)) => {
                    entries.iter().map(|(key, node)| (key.text.as_str(), node.as_ref())).collect()
                }
                _ => HashMap::new(),
            }
        };
        Known {
            root,
            sources,
            hosts: table(&["compute", "hosts"]),
            services: table(&["services"]),
            zones: table(&["network", "zones"]),
            store,
            here: None,
        }
    }

    /// Where every host is this machine: addresses are its loopback, and services answer at the ports that they have here.
    pub fn placed(mut self, here: Option<&'a Ports>) -> Self {
        self.here = here;
        self
    }
}

/// Where a string stands; `${port}` and `${env}` mean something only in a service.
#[derive(Clone, Copy)]
pub(crate) enum Within<'a> {
    Lab,
    /// A service of no environment.
    Service,
    /// A service of some environments, before it is placed in one.
    Environments,
    /// A service as it is placed in one.
    Placed(&'a str),
}

/// Why a reference stands for nothing, and the way out.
struct Fault {
    message: String,
    help: String,
    /// Values that refer to one another: a fault wherever one of them is asked for.
    circle: bool,
}

impl Fault {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Fault { message: message.into(), help: help.into(), circle: false }
    }
}

const HOST_FIELDS: &[&str] = &["address", "name", "fqdn", "zone", "site", "owner"];
const SERVICE_FIELDS: &[&str] = &["url", "name", "fqdn", "host"];
const ZONE_FIELDS: &[&str] = &["subnet", "vlan", "interface"];

const ALL_FORMS: &str = "write `$${` for a literal `${`; references are `${host.NAME.address}`, `${service.NAME.url}`, \
    `${zone.NAME.subnet}`, `${secret.NAME}`, `${public.NAME}`, `${env}`, `${port}`, `${lab}` and `${domain}`";
/// How a public half that is not made yet is called among the secrets.
pub const PUBLIC: &str = "public.";
/// A value that refers to another is followed this far; further is a circle.
const MAX_HOPS: usize = 8;
/// Nobody reads more findings than this, and looking for near names is dear.
const MAX_FINDINGS: usize = 1000;
const MAX_FAULTS_OF_ONE_VALUE: usize = 100;

impl Scope<'_> {
    fn domain(&self) -> String {
        self.top("domain").unwrap_or_else(|| "lab.home.arpa".into())
    }

    fn top(&self, key: &str) -> Option<String> {
        self.known.root.get(key).and_then(|node| node.text()).map(str::to_string)
    }

    fn fqdn(&self, name: &str) -> String {
        if name.contains('.') { name.to_string() } else { format!("{name}.{}", self.domain()) }
    }

    /// `Ok(None)`: a reference that is resolved later.
    fn resolve(&self, reference: &str, hops: usize) -> Result<Option<String>, Fault> {
        let unknown = |help: String| Err(Fault::new(format!("unknown reference `${{{reference}}}`"), help));
        match reference.split_once('.') {
            None => match (reference, self.within) {
                ("lab", _) => Ok(Some(self.top("lab").unwrap_or_else(|| "home".into()))),
                ("domain", _) => Ok(Some(self.domain())),
                ("env", Within::Placed(environment)) => Ok(Some(environment.to_string())),
                ("env", Within::Environments) => Ok(None),
                ("env", Within::Service) => Err(Fault::new(
                    "`${env}` has no value: this service is in no environment",
                    "add `environments: [dev, prod]` to the service, or write the value out",
                )),
                ("port", Within::Lab) | ("env", Within::Lab) => {
                    unknown(format!("`${{{reference}}}` means something only inside a service"))
                }
                ("port", Within::Environments) => Ok(None),
                ("port", _) => match self.port {
                    Some(port) => Ok(Some(port.to_string())),
                    None => Err(Fault::new(
                        "`${port}` has no value: this service has no `port`",
                        "add `port: 8080` to the service",
                    )),
                },
                _ => unknown(match nearest(reference, ["lab", "domain", "env", "port"]) {
                    Some(name) => format!("did you mean `${{{name}}}`?"),
                    None => ALL_FORMS.into(),
                }),
            },
            Some(("secret", "")) => unknown("name the secret: `${secret.NAME}`".into()),
            Some(("secret", _)) => Ok(None),
            Some(("public", name)) => self.public(reference, name),
            Some(("host", rest)) => self.field(reference, rest, "host", HOST_FIELDS, hops),
            Some(("service", rest)) => self.field(reference, rest, "service", SERVICE_FIELDS, hops),
            Some(("zone", rest)) => self.field(reference, rest, "zone", ZONE_FIELDS, hops),
            Some((kind, _)) => unknown(match nearest(kind, ["host", "service", "zone", "secret", "public"]) {
                Some(near) => format!("did you mean `${{{near}.…}}`?"),
                None => ALL_FORMS.into(),
            }),
        }
    }

    /// The name of a public half that the lab declares to be generated, and that the store does not hold yet.
    fn not_made(&self, reference: &str) -> Option<String> {
        let name = reference.strip_prefix("public.")?;
        let store = self.known.store?;
        let secrets = self.known.root.get("platform")?.get("secrets")?;
        let declared = secrets.get("generate")?.get(name).is_some();
        (declared && !store.public.contains_key(name) && !store.names.contains_key(name))
            .then(|| format!("{PUBLIC}{name}"))
    }

    /// The public half of a generated secret, which stands in the store in the clear.
    fn public(&self, reference: &str, name: &str) -> Result<Option<String>, Fault> {
        let Some(store) = self.known.store else {
            let platform = self.known.root.get("platform").and_then(|platform| platform.get("secrets"));
            if platform.and_then(|secrets| secrets.get("vault")).is_some() {
                return Err(Fault::new(
                    format!(
                        "`${{{reference}}}` has no value: public halves are read from a SOPS file, and the lab has none"
                    ),
                    "a Vault is not asked while a lab is read: keep the pair in `platform: { secrets: { age: secrets.yaml } }`",
                ));
            }
            return Err(Fault::new(
                format!("`${{{reference}}}` has no value: the lab keeps no secrets"),
                "declare where they are: `platform: { secrets: { age: secrets.yaml } }`",
            ));
        };
        if let Some(value) = store.public.get(name) {
            return Ok(Some(value.value.clone()));
        }
        Err(Fault::new(
            format!("`${{{reference}}}` has no value: `{}` holds no public half of `{name}`", store.path),
            match nearest(name, store.public.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `${{public.{near}}}`?"),
                None => "declare it under `platform.secrets.generate`, and run `labwright secret generate`".into(),
            },
        ))
    }

    fn field(
        &self,
        reference: &str,
        rest: &str,
        kind: &str,
        fields: &[&str],
        hops: usize,
    ) -> Result<Option<String>, Fault> {
        let unknown = |help: String| Err(Fault::new(format!("unknown reference `${{{reference}}}`"), help));
        let Some((name, field)) = rest.rsplit_once('.') else {
            let name = if rest.is_empty() { "NAME" } else { rest };
            return unknown(format!("write `${{{kind}.{name}.{}}}`", fields[0]));
        };
        if !fields.contains(&field) {
            return unknown(match nearest(field, fields.iter().copied()) {
                Some(near) => format!("did you mean `${{{kind}.{name}.{near}}}`?"),
                None => format!("a {kind} has {}", fields.join(", ")),
            });
        }
        let (table, path) = match kind {
            "host" => (&self.known.hosts, "compute.hosts"),
            "zone" => (&self.known.zones, "network.zones"),
            _ => (&self.known.services, "services"),
        };
        let Some(entry) = table.get(name) else {
            let mut names: Vec<&str> = table.keys().copied().collect();
            names.sort_unstable();
            return unknown(match nearest(name, names) {
                Some(near) => format!("did you mean `${{{kind}.{near}.{field}}}`?"),
                None => format!("there is no {kind} `{name}` under `{path}`: add it there"),
            });
        };
        if let Some(value) = self.known.here.and_then(|here| here.answer(kind, name, field)) {
            return Ok(Some(value));
        }
        let value = match (kind, field) {
            (_, "name") => Some(name.to_string()),
            ("host", "fqdn") => Some(self.fqdn(name)),
            ("host", "owner") => first_text(entry.get("owner")).or_else(|| self.top("owner")),
            ("service", "fqdn" | "url") => {
                let url = first_text(entry.get("url")).unwrap_or_else(|| name.to_string());
                let fqdn = self.fqdn(&url);
                let proxied =
                    self.known.root.get("platform").is_some_and(|platform| platform.get("reverse_proxy").is_some());
                Some(match field {
                    "url" if url.contains("://") => url,
                    "url" if proxied => format!("https://{fqdn}"),
                    "url" => format!("http://{fqdn}"),
                    _ => fqdn,
                })
            }
            ("service", "host") => first_text(entry.get("on")),
            _ => first_text(entry.get(field)),
        };
        match value {
            Some(value) if value.contains("${") => self.follow(reference, &value, hops),
            Some(value) => Ok(Some(value)),
            None => {
                let key = if (kind, field) == ("service", "host") { "on" } else { field };
                Err(Fault::new(
                    format!("`${{{reference}}}` has no value: {kind} `{name}` has no `{key}`"),
                    format!("add `{key}: …` to {kind} `{name}`"),
                ))
            }
        }
    }

    /// A value that holds references itself.
    fn follow(&self, reference: &str, value: &str, hops: usize) -> Result<Option<String>, Fault> {
        if hops >= MAX_HOPS {
            let fault =
                Fault::new(format!("`${{{reference}}}` leads round in a circle"), "write one of the values out");
            return Err(Fault { circle: true, ..fault });
        }
        let mut out = String::new();
        for part in parts(value) {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Escape | Part::Unclosed => out.push_str("$${"),
                Part::Reference(inner) => match self.resolve(inner, hops + 1) {
                    Ok(Some(value)) => out.push_str(&value),
                    Ok(None) if inner == "env" => return Ok(None),
                    Ok(None) => {
                        let _ = write!(out, "${{{inner}}}");
                    }
                    Err(_) if matches!(inner, "env" | "port") => {
                        return Err(Fault::new(
                            format!("`${{{reference}}}` has no one value: it depends on `${{{inner}}}`"),
                            "write the value out here",
                        ));
                    }
                    Err(fault) if fault.circle => return Err(fault),
                    // Reported where it stands.
                    Err(_) => out.push_str(inner),
                },
            }
        }
        Ok(Some(out))
    }
}

fn first_text(node: Option<&Arc<Node>>) -> Option<String> {
    match &node?.kind {
        Kind::Scalar { text, .. } => Some(text.clone()),
        Kind::List(items) => items.first().and_then(|item| item.text()).map(str::to_string),
        _ => None,
    }
}

/// What interpolation finds on its way.
#[derive(Default)]
pub(crate) struct Found {
    pub findings: Findings,
    /// The secrets that are referred to, each time they are.
    pub secrets: Vec<Spanned<String>>,
}

/// The tree with every reference put in that the file answers; unchanged parts are shared.
pub(crate) fn interpolate(node: &Arc<Node>, scope: &Scope<'_>, found: &mut Found) -> Arc<Node> {
    let kind = match &node.kind {
        Kind::Null => return node.clone(),
        Kind::Scalar { text, .. } if !text.contains("${") || found.findings.len() > MAX_FINDINGS => {
            return node.clone();
        }
        Kind::Scalar { text, plain } => Kind::Scalar { text: replace(text, node.span, scope, found), plain: *plain },
        Kind::List(items) => {
            let mut new = Cow::Borrowed(items);
            for (at, item) in items.iter().enumerate() {
                let put_in = interpolate(item, scope, found);
                if !Arc::ptr_eq(&put_in, item) {
                    new.to_mut()[at] = put_in;
                }
            }
            match new {
                Cow::Borrowed(_) => return node.clone(),
                Cow::Owned(new) => Kind::List(new),
            }
        }
        Kind::Map(entries) => {
            let mut new = Cow::Borrowed(entries);
            for (at, (_, value)) in entries.iter().enumerate() {
                let put_in = interpolate(value, scope, found);
                if !Arc::ptr_eq(&put_in, value) {
                    new.to_mut()[at].1 = put_in;
                }
            }
            match new {
                Cow::Borrowed(_) => return node.clone(),
                Cow::Owned(new) => Kind::Map(new),
            }
        }
    };
    Arc::new(Node { kind, span: node.span })
}

fn replace(text: &str, span: Span, scope: &Scope<'_>, found: &mut Found) -> String {
    let mut out = String::with_capacity(text.len());
    let mut faults: Vec<(Fault, Span)> = Vec::new();
    let source =
        scope.known.sources.get(span.file).and_then(|source| source.text.get(span.start as usize..span.end as usize));
    let mut looked = 0;
    // A long text is one value: the place of a reference inside it is looked up in the file.
    let mut place = |written: &str| {
        let at = source.and_then(|source| source.get(looked..)).and_then(|rest| rest.find(written));
        let Some(at) = at.map(|at| looked + at) else { return span };
        looked = at + written.len();
        let start = span.start + at as u32;
        Span { start, end: start + written.len() as u32, ..span }
    };
    for part in parts(text) {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Escape => {
                place("$${");
                out.push_str("$${");
            }
            Part::Unclosed if faults.len() >= MAX_FAULTS_OF_ONE_VALUE => out.push_str("$${"),
            Part::Unclosed => {
                let fault = Fault::new("`${` has no closing `}`", "close it, or write `$${` for a literal `${`");
                faults.push((fault, place("${")));
                out.push_str("$${");
            }
            Part::Reference(reference) if faults.len() >= MAX_FAULTS_OF_ONE_VALUE => out.push_str(reference),
            Part::Reference(reference) => {
                let at = place(&format!("${{{reference}}}"));
                if let Some(name) = scope.not_made(reference) {
                    // Until it is made it is as unknown as the secret that it belongs to, and blocks what needs it.
                    found.secrets.push(Spanned::new(name.clone(), at));
                    let _ = write!(out, "${{secret.{name}}}");
                    continue;
                }
                match scope.resolve(reference, 0) {
                    Ok(Some(value)) => out.push_str(&value),
                    Ok(None) => {
                        if let Some(name) = reference_name(reference, "secret.") {
                            found.secrets.push(Spanned::new(name.to_string(), at));
                        }
                        let _ = write!(out, "${{{reference}}}");
                    }
                    Err(fault) => {
                        faults.push((fault, at));
                        out.push_str(reference);
                    }
                }
            }
        }
    }
    report(faults, found);
    out
}

/// One finding for all faults of one value that have the same way out: a shell script has many `${…}` of its own.
fn report(faults: Vec<(Fault, Span)>, found: &mut Found) {
    let mut findings: Vec<Finding> = Vec::new();
    for (fault, span) in faults {
        match findings.iter_mut().find(|finding| finding.help == fault.help) {
            Some(first) if first.related.len() < 4 => *first = first.clone().related(span, fault.message),
            Some(_) => {}
            None => findings.push(Finding::error(codes::BAD_REFERENCE, "", span, fault.message).help(fault.help)),
        }
    }
    found.findings.extend(findings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_split_at_references() {
        use Part::*;
        assert_eq!(parts("a${host.x.address}b"), [Literal("a"), Reference("host.x.address"), Literal("b")]);
        assert_eq!(parts("$${HOME} ${port}"), [Escape, Literal("HOME} "), Reference("port")]);
        assert_eq!(parts("no reference"), [Literal("no reference")]);
        assert_eq!(parts("${open"), [Unclosed, Literal("open")]);
        assert_eq!(parts("${a ${b}"), [Unclosed, Literal("a "), Reference("b")]);
        assert_eq!(parts("${a\n}"), [Unclosed, Literal("a\n}")]);
        assert_eq!(unescape("$${HOME}"), "${HOME}");
        assert_eq!(secrets("x ${secret.pg} ${secret.a.b}"), ["pg", "a.b"]);
    }
}
