//! From a lab to the secrets it refers to: the admin's keys, the store, and the values that hosts need.
//! Prints none of them. What a host reads is decided by what is desired there, not here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use labwright_model::Parsed;
use labwright_plan::Secrets;
use labwright_secrets::identity::{Identities, Sources};
use labwright_secrets::store::{self, Document, Opened};
use labwright_secrets::{ErrorKind, SecretError, SecretText};
use zeroize::Zeroizing;

use crate::error::{CliError, Exit};
use crate::lab::Ready;
use crate::terminal::Terminal;
use crate::vault::{self, Vault};

/// The same fault, for the command line.
pub fn error(error: SecretError) -> CliError {
    let exit = if error.kind == ErrorKind::Unreachable { Exit::Unreachable } else { Exit::Usage };
    CliError::new(exit, format!("failed to {}", error.message)).hint(error.help.unwrap_or_default())
}

/// The keys of whoever runs this: named ones, those of SOPS' environment and places, their SSH key.
pub fn identities(named: &[PathBuf]) -> Result<Identities, SecretError> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let ssh = |name: &str| home.as_ref().map(|home| home.join(".ssh").join(name));
    let sources = Sources {
        files: named.to_vec(),
        env_key: std::env::var("SOPS_AGE_KEY").ok().map(SecretText::new),
        env_key_file: std::env::var_os("SOPS_AGE_KEY_FILE").map(PathBuf::from),
        config_dir: config.or_else(|| home.as_ref().map(|home| home.join(".config"))),
        ssh_keys: ["id_ed25519", "id_rsa"].into_iter().filter_map(ssh).collect(),
    };
    Ok(Identities::load(&sources)?.with_passphrase(ask_passphrase))
}

fn ask_passphrase(file: &Path) -> Option<SecretText> {
    ask_hidden(&format!("passphrase of `{}`: ", file.display()))
}

/// Asks for something that is not shown while it is typed; `None` where nobody is there.
pub fn ask_hidden(question: &str) -> Option<SecretText> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let term = console::Term::stderr();
    term.write_str(question).ok()?;
    term.read_secure_line().ok().filter(|line| !line.is_empty()).map(SecretText::new)
}

/// The store that the lab names, unopened.
pub fn document(parsed: &Parsed) -> Result<(PathBuf, Document), CliError> {
    let path = path(parsed)?;
    let bytes = store::file::load(&path).map_err(error)?;
    let document = Document::parse(&path.to_string_lossy(), &bytes).map_err(error)?;
    Ok((path, document))
}

/// Where the lab says that its store is.
pub fn path(parsed: &Parsed) -> Result<PathBuf, CliError> {
    match &parsed.store {
        Some(store) => Ok(PathBuf::from(&store.path)),
        None if vault::declared(parsed).is_some() => Err(CliError::usage(
            "the lab keeps its secrets in a Vault, and no file",
        )
        .hint(
            "`labwright secret set NAME` changes one; a file beside it is named by `platform: { secrets: { age: … } }`",
        )),
        None => Err(CliError::usage("the lab names no store of secrets")
            .hint("add `platform: { secrets: { age: secrets.yaml } }` to the lab file")),
    }
}

/// The store, opened with whatever key is at hand.
pub fn open(parsed: &Parsed, named: &[PathBuf], terminal: &Terminal) -> Result<(PathBuf, Opened), CliError> {
    let (path, document) = document(parsed)?;
    let identities = identities(named).map_err(error)?;
    for warning in identities.warnings() {
        terminal.warn(warning);
    }
    Ok((path, document.open(&identities).map_err(error)?))
}

/// The values that hosts need. What cannot be read is told and left out: the plan then says what waits for it.
pub fn values(ready: &Ready, names: &BTreeSet<&str>, terminal: &Terminal) -> Secrets {
    of_lab(&ready.parsed, names, terminal).into_iter().collect()
}

/// The values of these secrets, as far as they can be read; what cannot is told.
pub fn of_lab(parsed: &Parsed, names: &BTreeSet<&str>, terminal: &Terminal) -> BTreeMap<String, Zeroizing<String>> {
    let in_file = |name: &&str| parsed.store.as_ref().is_some_and(|store| store.names.contains_key(*name));
    let has_vault = vault::declared(parsed).is_some();
    let (beside, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with(BESIDE));
    let (of_file, of_vault): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| !has_vault || in_file(name));
    let mut values: BTreeMap<String, Zeroizing<String>> = BTreeMap::new();
    let mut keep = |name: &str, value: SecretText| {
        values.insert(name.to_string(), Zeroizing::new(value.expose().to_string()));
    };
    for name in beside {
        match read_beside(name) {
            Ok(value) => keep(name, value),
            Err(why) => terminal.warn(&format!("cannot read the secret `{name}`: {why}")),
        }
    }
    if !of_file.is_empty() {
        match open(parsed, &[], terminal) {
            Ok((_, opened)) => {
                for name in of_file {
                    match opened.get(name) {
                        Ok(value) => keep(name, value),
                        Err(error) => terminal.warn(&error.message),
                    }
                }
            }
            Err(error) => tell(&error, terminal),
        }
    }
    if !of_vault.is_empty() {
        match Vault::open(parsed) {
            Ok(vault) => from_vault(&vault, &of_vault, &mut keep, terminal),
            Err(error) => tell(&error, terminal),
        }
    }
    values
}

/// The front of the names of secrets that a Compose file keeps in files of its own: `file:wiki/db.txt`, and, for one
/// variable of a file of variables, `file:wiki/.env#NAME`.
const BESIDE: &str = "file:";

fn read_beside(name: &str) -> Result<SecretText, String> {
    let path = name.strip_prefix(BESIDE).unwrap_or(name);
    let (path, variable) = path.split_once('#').map_or((path, None), |(path, variable)| (path, Some(variable)));
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| error.to_string())?);
    match variable {
        None => Ok(SecretText::new(text.to_string())),
        Some(variable) => labwright_model::compose::variable(&text, variable)
            .map(SecretText::new)
            .ok_or_else(|| format!("`{path}` does not set `{variable}`")),
    }
}

fn tell(error: &CliError, terminal: &Terminal) {
    terminal.warn(&error.message);
    error.hints.iter().for_each(|hint| terminal.hint(hint));
}

/// Reads secrets out of the Vault. A server that does not answer is not asked again for each.
fn from_vault(vault: &Vault, names: &[&str], keep: &mut impl FnMut(&str, SecretText), terminal: &Terminal) {
    let mut left = names.iter();
    while let Some(name) = left.next() {
        match vault.get(name) {
            Ok(value) => keep(name, value),
            Err(error) if error.kind == ErrorKind::Unreachable => {
                let more = match left.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let message = format!("secret `{name}`{more} cannot be read: {}", error.message);
                return tell(&CliError::new(Exit::Unreachable, message).hint(error.help.unwrap_or_default()), terminal);
            }
            Err(error) => tell(&vault::error(error), terminal),
        }
    }
}
