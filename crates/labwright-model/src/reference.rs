//! Interpolation: `${host.x.address}`, `${service.x.url}`, `${secret.x}`, `${env}`, `${port}` in any string.
//! What the file itself answers is put in before values are typed; secrets and ports stay references.

use std::rc::Rc;

use crate::codes;
use crate::finding::{Finding, Findings, nearest};
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
        match rest[at..].find('}') {
            Some(end) => {
                parts.push(Part::Reference(&rest[at + 2..at + end]));
                rest = &rest[at + end + 1..];
            }
            None => {
                parts.push(Part::Unclosed);
                rest = "";
            }
        }
    }
    parts.push(Part::Literal(rest));
    parts.retain(|part| *part != Part::Literal(""));
    parts
}

/// The names of the secrets that a string refers to.
pub fn secrets(text: &str) -> Vec<&str> {
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
    pub root: &'a Node,
    /// The environment of the service being placed, if it is placed in one.
    pub environment: Option<&'a str>,
    /// Whether the string belongs to a service; `${port}` and `${env}` mean something only there.
    pub in_service: bool,
}

const HOST_FIELDS: &[&str] = &["address", "name", "fqdn", "zone", "site", "owner"];
const SERVICE_FIELDS: &[&str] = &["url", "name", "fqdn", "host"];
const ZONE_FIELDS: &[&str] = &["subnet", "vlan", "interface"];

impl Scope<'_> {
    fn domain(&self) -> String {
        self.top("domain").unwrap_or_else(|| "lab.home.arpa".into())
    }

    fn top(&self, key: &str) -> Option<String> {
        self.root.get(key).and_then(|node| node.text()).map(str::to_string)
    }

    fn fqdn(&self, name: &str) -> String {
        if name.contains('.') { name.to_string() } else { format!("{name}.{}", self.domain()) }
    }

    /// `Ok(None)`: a reference that is resolved later. `Err`: message and help.
    fn resolve(&self, reference: &str) -> Result<Option<String>, (String, String)> {
        let unknown = |help: String| Err((format!("unknown reference `${{{reference}}}`"), help));
        match reference.split_once('.') {
            None => match reference {
                "lab" => Ok(Some(self.top("lab").unwrap_or_else(|| "home".into()))),
                "domain" => Ok(Some(self.domain())),
                "env" if self.environment.is_some() => Ok(self.environment.map(str::to_string)),
                "env" | "port" if self.in_service => Ok(None),
                "env" | "port" => unknown(format!("`${{{reference}}}` means something only inside a service")),
                _ => {
                    let near = nearest(reference, ["lab", "domain", "env", "port"]);
                    unknown(match near {
                        Some(name) => format!("did you mean `${{{name}}}`?"),
                        None => "references are `${host.NAME.address}`, `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${env}`, `${port}`, `${lab}`, `${domain}`; a literal `${` is written `$${`".into(),
                    })
                }
            },
            Some(("secret", name)) if !name.is_empty() => Ok(None),
            Some(("host", rest)) => self.field(reference, rest, "host", &["compute", "hosts"], HOST_FIELDS),
            Some(("service", rest)) => self.field(reference, rest, "service", &["services"], SERVICE_FIELDS),
            Some(("zone", rest)) => self.field(reference, rest, "zone", &["network", "zones"], ZONE_FIELDS),
            Some((kind, _)) => {
                let near = nearest(kind, ["host", "service", "zone", "secret"]);
                unknown(near.map_or_else(
                    || "a reference starts with `host.`, `service.`, `zone.` or `secret.`; a literal `${` is written `$${`".to_string(),
                    |near| format!("did you mean `${{{near}.…}}`?"),
                ))
            }
        }
    }

    fn field(
        &self,
        reference: &str,
        rest: &str,
        kind: &str,
        table: &[&str],
        fields: &[&str],
    ) -> Result<Option<String>, (String, String)> {
        let message = || format!("unknown reference `${{{reference}}}`");
        let Some((name, field)) = rest.rsplit_once('.') else {
            return Err((message(), format!("write `${{{kind}.{rest}.{}}}`", fields[0])));
        };
        if !fields.contains(&field) {
            let near = nearest(field, fields.iter().copied());
            let known = format!("a {kind} has {}", fields.join(", "));
            return Err((message(), near.map_or(known, |near| format!("did you mean `${{{kind}.{name}.{near}}}`?"))));
        }
        let table = table.iter().try_fold(self.root, |node, key| node.get(key).map(Rc::as_ref));
        let Some(entry) = table.and_then(|table| table.get(name)) else {
            let names: Vec<&str> = match table.map(|t| &t.kind) {
                Some(Kind::Map(entries)) => entries.iter().map(|(key, _)| key.text.as_str()).collect(),
                _ => Vec::new(),
            };
            let help = nearest(name, names).map_or_else(
                || format!("there is no {kind} named `{name}`"),
                |near| format!("did you mean `${{{kind}.{near}.{field}}}`?"),
            );
            return Err((message(), help));
        };
        let value = match (kind, field) {
            (_, "name") => Some(name.to_string()),
            ("host", "fqdn") => Some(self.fqdn(name)),
            ("host", "owner") => first_text(entry.get("owner")).or_else(|| self.top("owner")),
            ("service", "fqdn" | "url") => {
                let url = first_text(entry.get("url")).unwrap_or_else(|| name.to_string());
                let fqdn = self.fqdn(&url);
                let proxied = self.root.get("platform").is_some_and(|platform| platform.get("reverse_proxy").is_some());
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
        value.map(Some).ok_or_else(|| {
            (
                format!("`${{{reference}}}` has no value: {kind} `{name}` has no `{field}`"),
                format!("give {kind} `{name}` a `{field}`"),
            )
        })
    }
}

fn first_text(node: Option<&Rc<Node>>) -> Option<String> {
    match &node?.kind {
        Kind::Scalar { text, .. } => Some(text.clone()),
        Kind::List(items) => items.first().and_then(|item| item.text()).map(str::to_string),
        _ => None,
    }
}

/// The tree with every reference put in that the file answers; unchanged parts are shared.
pub(crate) fn interpolate(node: &Rc<Node>, scope: &Scope<'_>, findings: &mut Findings) -> Rc<Node> {
    let kind = match &node.kind {
        Kind::Null => return node.clone(),
        Kind::Scalar { text, .. } if !text.contains("${") => return node.clone(),
        Kind::Scalar { text, plain } => Kind::Scalar { text: replace(text, node, scope, findings), plain: *plain },
        Kind::List(items) => {
            let new: Vec<_> = items.iter().map(|item| interpolate(item, scope, findings)).collect();
            if new.iter().zip(items).all(|(a, b)| Rc::ptr_eq(a, b)) {
                return node.clone();
            }
            Kind::List(new)
        }
        Kind::Map(entries) => {
            let new: Vec<_> =
                entries.iter().map(|(key, value)| (key.clone(), interpolate(value, scope, findings))).collect();
            if new.iter().zip(entries).all(|(a, b)| Rc::ptr_eq(&a.1, &b.1)) {
                return node.clone();
            }
            Kind::Map(new)
        }
    };
    Rc::new(Node { kind, span: node.span })
}

fn replace(text: &str, node: &Node, scope: &Scope<'_>, findings: &mut Findings) -> String {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Escape => out.push_str("$${"),
            Part::Unclosed => {
                let finding = Finding::error(codes::BAD_REFERENCE, "", node.span, "`${` has no closing `}`");
                findings.push(finding.help("close it, or write `$${` for a literal `${`"));
                out.push_str("$${");
            }
            Part::Reference(reference) => match scope.resolve(reference) {
                Ok(Some(value)) => out.push_str(&value),
                Ok(None) => {
                    out.push_str("${");
                    out.push_str(reference);
                    out.push('}');
                }
                Err((message, help)) => {
                    findings.push(Finding::error(codes::BAD_REFERENCE, "", node.span, message).help(help));
                    out.push_str(reference);
                }
            },
        }
    }
    out
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
        assert_eq!(parts("${open"), [Unclosed]);
        assert_eq!(unescape("$${HOME}"), "${HOME}");
        assert_eq!(secrets("x ${secret.pg} ${secret.a.b}"), ["pg", "a.b"]);
    }
}
