//! Which secrets have to be made: those that are missing, or the named ones and all that is derived from them.
//! Writes nothing: it hands back what is to be stored.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rand::CryptoRng;

use super::make::Making;
use super::order::{dependents, order};
use super::{Generator, Made};
use crate::{ErrorKind, SecretError, SecretText};

/// The public halves of one secret, by name.
pub type Publics = BTreeMap<String, String>;

/// What is stored already, and who is asked for what nothing can make.
pub struct Given<'a> {
    /// The private value of a secret, if it is stored. An error where nobody can say: nothing is made in place of that.
    pub existing: &'a dyn Fn(&str) -> Result<Option<SecretText>, SecretError>,
    /// The public halves of a secret that are stored, by name; empty if there are none.
    pub publics: &'a dyn Fn(&str) -> Result<Publics, SecretError>,
    /// Asks a person: the secret's name, and the message of its specification.
    pub prompt: &'a mut dyn FnMut(&str, &str) -> Result<SecretText, SecretError>,
}

/// Everything that has to be stored so that all of `specs` is there: what did not exist, what is derived from something
/// that was made now, and existing values whose public halves were lost or do not fit. What is in order is left out.
///
/// # Errors
/// Whatever the first fault is: in the graph, in a specification, in a stored value, or what `prompt` says.
pub fn missing(
    specs: &BTreeMap<String, Generator>,
    given: &mut Given<'_>,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<BTreeMap<String, Made>, SecretError> {
    let ordered = order(specs).map_err(joined)?;
    let made = walk(specs, &ordered, &BTreeSet::new(), given, rng, now)?;
    Ok(made.into_iter().collect())
}

/// The named secrets and all that is derived from them, made again, in the order of making. Nothing else is touched; what
/// they are made from has to exist.
///
/// # Errors
/// As [`missing`]; and `NoSuchSecret` for a name that is not in `specs`, or a source that does not exist.
pub fn rotate(
    specs: &BTreeMap<String, Generator>,
    names: &[&str],
    given: &mut Given<'_>,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<Vec<(String, Made)>, SecretError> {
    let concerned = dependents(specs, names).map_err(joined)?;
    let again: BTreeSet<&str> = concerned.iter().copied().collect();
    walk(specs, &concerned, &again, given, rng, now)
}

/// Makes what is in `again`, what does not exist, and what is derived from either; mends public halves of the rest.
fn walk(
    specs: &BTreeMap<String, Generator>,
    ordered: &[&str],
    again: &BTreeSet<&str>,
    given: &mut Given<'_>,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<Vec<(String, Made)>, SecretError> {
    let mut result: Vec<(String, Made)> = Vec::new();
    let mut renewed = BTreeSet::new();
    for &name in ordered {
        let Some(spec) = specs.get(name) else { continue };
        let kept = stored(given, name)?;
        let source_name = spec.source();
        let source = match source_name {
            None => None,
            Some(source) => match result.iter().find(|(made, _)| made == source) {
                Some((_, made)) => Some(made.clone()),
                None => stored(given, source)?,
            },
        };
        let stale = source_name.is_some_and(|source| renewed.contains(source));
        let mut making = Making { name, specs, prompt: &mut *given.prompt, rng: &mut *rng, now };
        let made = match &kept {
            Some(kept) if !stale && !again.contains(name) => making.public(spec, kept, source.as_ref()),
            _ => {
                renewed.insert(name);
                making.make(spec, source.as_ref())
            }
        };
        let made = made.map_err(|error| about(name, error))?;
        if kept.as_ref() != Some(&made) {
            result.push((name.to_string(), made));
        }
    }
    Ok(result)
}

fn stored(given: &Given<'_>, name: &str) -> Result<Option<Made>, SecretError> {
    let Some(private) = (given.existing)(name)? else { return Ok(None) };
    Ok(Some(Made { private, public: (given.publics)(name)? }))
}

fn about(name: &str, error: SecretError) -> SecretError {
    SecretError { message: format!("make secret `{name}`: {}", error.message), ..error }
}

/// One error out of several faults, for callers that stop at the first.
fn joined(errors: Vec<SecretError>) -> SecretError {
    let kind = errors.first().map_or(ErrorKind::Invalid, |error| error.kind);
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    let help = errors.iter().find_map(|error| error.help.clone());
    SecretError { kind, message: messages.join("; "), help }
}
