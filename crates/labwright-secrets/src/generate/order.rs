//! In which order secrets are made, when some are made from others.
//! Tells everything that is wrong with the graph at once, in the same words whatever the order of asking.

use std::collections::{BTreeMap, BTreeSet};

use super::Generator;
use crate::{ErrorKind, SecretError};

/// Names in an order in which each comes after what it is made from; otherwise alphabetical.
///
/// # Errors
/// `Invalid`, one for each unknown name, wrong kind of source, and cycle.
pub fn order(specs: &BTreeMap<String, Generator>) -> Result<Vec<&str>, Vec<SecretError>> {
    let mut errors: Vec<_> = specs.iter().filter_map(|(name, spec)| source_fault(specs, name, spec)).collect();
    errors.extend(cycles(specs).iter().map(|cycle| cycle_fault(cycle)));
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut ordered = Vec::with_capacity(specs.len());
    let mut placed = BTreeSet::new();
    for name in specs.keys() {
        let mut chain = upward(specs, name);
        chain.reverse();
        ordered.extend(chain.into_iter().filter(|name| placed.insert(*name)));
    }
    Ok(ordered)
}

/// These secrets and everything made from them, however far, in the order of making.
///
/// # Errors
/// As [`order`]; and `NoSuchSecret` for each name that is not a generated secret.
pub fn dependents<'a>(
    specs: &'a BTreeMap<String, Generator>,
    names: &[&str],
) -> Result<Vec<&'a str>, Vec<SecretError>> {
    let ordered = order(specs)?;
    let unknown: Vec<_> = names.iter().filter(|name| !specs.contains_key(**name)).map(|name| no_such(name)).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let concerned = |name: &&str| upward(specs, name).iter().any(|above| names.contains(above));
    Ok(ordered.into_iter().filter(concerned).collect())
}

/// A secret, what it is made from, what that is made from, and so on, until one that is made from nothing or was met before.
fn upward<'a>(specs: &'a BTreeMap<String, Generator>, name: &str) -> Vec<&'a str> {
    let mut chain: Vec<&str> = Vec::new();
    let mut next = specs.get_key_value(name);
    while let Some((name, spec)) = next {
        if chain.contains(&name.as_str()) {
            break;
        }
        chain.push(name);
        next = spec.source().and_then(|source| specs.get_key_value(source));
    }
    chain
}

fn source_fault(specs: &BTreeMap<String, Generator>, name: &str, spec: &Generator) -> Option<SecretError> {
    let source = spec.source()?;
    let invalid = |message: String| SecretError::new(ErrorKind::Invalid, message);
    match (spec, specs.get(source)) {
        (_, None) => Some(
            invalid(format!("secret `{name}` is made from `{source}`, which is not a secret of this lab"))
                .help(format!("declare `{source}`, or correct its name")),
        ),
        (Generator::X509 { .. }, Some(Generator::X509Ca { .. })) => None,
        (Generator::X509 { .. }, Some(_)) if source != name => Some(
            invalid(format!("secret `{name}` is to be signed by `{source}`, which is not a certificate authority"))
                .help("write the name of a secret of kind `x509_ca` into `ca`"),
        ),
        _ => None,
    }
}

/// Every cycle once, beginning with its first name in the alphabet.
fn cycles(specs: &BTreeMap<String, Generator>) -> BTreeSet<Vec<&str>> {
    // Each secret is made from one other at most, so whoever comes back to where it began stands on a cycle.
    let closes = |chain: &Vec<&str>| {
        let last = chain.last().and_then(|last| specs.get(*last)).and_then(Generator::source);
        last.is_some() && last == chain.first().copied()
    };
    let first = |chain: &Vec<&str>| chain.iter().min() == chain.first();
    specs.keys().map(|name| upward(specs, name)).filter(|chain| closes(chain) && first(chain)).collect()
}

fn cycle_fault(cycle: &[&str]) -> SecretError {
    let error = match cycle {
        [only] => SecretError::new(ErrorKind::Invalid, format!("secret `{only}` is made from itself")),
        _ => {
            let path: Vec<_> = cycle.iter().chain(cycle.first()).map(|name| format!("`{name}`")).collect();
            SecretError::new(ErrorKind::Invalid, format!("secrets are made from each other: {}", path.join(" from ")))
        }
    };
    error.help("one of them has to be made from nothing, or be asked for with `prompt`")
}

pub(super) fn no_such(name: &str) -> SecretError {
    SecretError::new(ErrorKind::NoSuchSecret, format!("there is no secret `{name}` that could be generated"))
}
