//! Who may do what: policies as they are written in HCL, and which of their paths decides about a request.
//! Follows the published rules of priority; knows capabilities, not constraints on parameters.

use std::collections::BTreeMap;

use super::hcl::{self, Item, Term};

const CAPABILITIES: &[&str] = &["create", "read", "update", "patch", "delete", "list", "sudo", "deny"];

/// The capabilities that one policy grants on each path it names.
pub(crate) type Rules = BTreeMap<String, Vec<String>>;

/// Reads a policy, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Rules, String> {
    let mut rules = Rules::new();
    for item in hcl::parse(text)? {
        let Item::Block { kind, label, items } = item else {
            return Err("only `path` blocks make a policy".to_string());
        };
        let (true, Some(path)) = (kind == "path", label) else {
            return Err(format!("invalid key \"{kind}\": only `path` blocks with a path make a policy"));
        };
        if path.contains("+*") {
            return Err(format!("path \"{path}\": invalid use of wildcards ('+*' is forbidden)"));
        }
        let rule = rules.entry(path.trim_start_matches('/').to_string()).or_default();
        for item in items {
            let Item::Attribute(name, term) = item else { return Err(format!("path \"{path}\": unexpected block")) };
            if name != "capabilities" {
                return Err(format!("path \"{path}\": invalid key \"{name}\""));
            }
            rule.extend(capabilities(&path, &term)?);
        }
    }
    Ok(rules)
}

fn capabilities(path: &str, term: &Term) -> Result<Vec<String>, String> {
    let all = term.texts().ok_or_else(|| format!("path \"{path}\": capabilities are not a list of strings"))?;
    match all.iter().find(|capability| !CAPABILITIES.contains(&capability.as_str())) {
        Some(unknown) => Err(format!("path \"{path}\": invalid capability \"{unknown}\"")),
        None => Ok(all),
    }
}

/// What somebody with these policies may do on a path. `deny` leaves nothing.
pub(crate) fn granted(policies: &[Rules], path: &str, listing: bool) -> Vec<String> {
    let without_slash = path.strip_suffix('/').filter(|_| listing);
    let candidates = policies.iter().flat_map(BTreeMap::keys);
    let matching = candidates.filter(|rule| matches(rule, path) || without_slash.is_some_and(|path| *rule == path));
    let Some(best) = matching.max_by(|a, b| priority(a).cmp(&priority(b))) else { return Vec::new() };
    let all: Vec<String> = policies.iter().filter_map(|rules| rules.get(best)).flatten().cloned().collect();
    if all.iter().any(|capability| capability == "deny") { Vec::new() } else { all }
}

/// Of two paths that match, the greater one decides: a later wildcard, no glob at the end, fewer `+`, longer, greater text.
fn priority(rule: &str) -> (usize, bool, std::cmp::Reverse<usize>, usize, &str) {
    let plus = rule.split('/').filter(|segment| *segment == "+").count();
    let segment = rule.split_inclusive('/').scan(0, |at, segment| {
        let here = *at;
        *at += segment.len();
        Some((here, segment))
    });
    let first_plus = segment.filter(|(_, segment)| segment.trim_end_matches('/') == "+").map(|(at, _)| at).min();
    let glob = rule.ends_with('*');
    let first = first_plus.unwrap_or(if glob { rule.len() - 1 } else { usize::MAX });
    (first, !glob, std::cmp::Reverse(plus), rule.len(), rule)
}

/// `+` stands for one segment, a `*` at the end for anything.
fn matches(rule: &str, path: &str) -> bool {
    let (body, glob) = match rule.strip_suffix('*') {
        Some(body) => (body, true),
        None => (rule, false),
    };
    let (rules, segments): (Vec<_>, Vec<_>) = (body.split('/').collect(), path.split('/').collect());
    if segments.len() < rules.len() || (!glob && segments.len() != rules.len()) {
        return false;
    }
    let last = rules.len() - 1;
    rules.iter().zip(&segments).enumerate().all(|(at, (rule, segment))| match *rule {
        "+" => !segment.is_empty(),
        rule if glob && at == last => segment.starts_with(rule),
        rule => rule == *segment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(policy: &str, path: &str) -> String {
        granted(&[parse(policy).expect("a policy")], path, false).join(" ")
    }

    #[test]
    fn the_most_specific_path_decides() {
        let policy = r#"
            path "secret/*" { capabilities = ["read"] }
            path "secret/data/+/key" { capabilities = ["update"] }
            path "secret/data/app*" { capabilities = ["list"] }
            path "secret/data/app" { capabilities = ["create"] }
            path "secret/data/app/never" { capabilities = ["read", "deny"] }
        "#;
        for (path, expected) in [
            ("secret/x", "read"),
            ("secret/data/app", "create"),
            ("secret/data/apple", "list"),
            ("secret/data/other/key", "update"),
            ("secret/data/app/key", "list"),
            ("secret/data/app/never", ""),
            ("secret", ""),
            ("other", ""),
        ] {
            assert_eq!(may(policy, path), expected, "{path}");
        }
    }

    #[test]
    fn what_makes_no_policy_is_refused() {
        for (policy, expected) in [
            (r#"path "x" { capabilities = ["raed"] }"#, "path \"x\": invalid capability \"raed\""),
            (r#"path "x" { capability = ["read"] }"#, "path \"x\": invalid key \"capability\""),
            (r#"paths "x" { }"#, "invalid key \"paths\": only `path` blocks with a path make a policy"),
            (r#"path "x/+*" { }"#, "path \"x/+*\": invalid use of wildcards ('+*' is forbidden)"),
        ] {
            assert_eq!(parse(policy), Err(expected.to_string()));
        }
    }
}
