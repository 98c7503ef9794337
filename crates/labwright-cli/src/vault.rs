//! The lab's Vault as whoever runs this sees it: where it is, how they log in, and the lab's secrets in it.
//! Hosts never speak to it for their secrets: what they need is read here and sealed for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use labwright_model::{Parsed, beside, lab};
use labwright_secrets::vault::{Client, Kv, Login, Options};
use labwright_secrets::{ErrorKind, SecretError, SecretText};

use crate::error::{CliError, Exit};

/// The port of a server that says nothing else.
const PORT: u16 = 8200;
/// The fields that hold the public halves of what is in `value`.
pub const HALVES: [&str; 2] = ["public", "chain"];
/// The field of a secret whose name has no dot.
const VALUE: &str = "value";

/// The Vault that the lab names.
pub fn declared(parsed: &Parsed) -> Option<&lab::Vault> {
    parsed.lab.platform.secrets.as_ref()?.vault.as_ref()
}

/// The same fault, for the command line. The messages begin with the place that was asked.
pub fn error(error: SecretError) -> CliError {
    let exit = if error.kind == ErrorKind::Unreachable { Exit::Unreachable } else { Exit::Usage };
    CliError::new(exit, error.message).hint(error.help.unwrap_or_default())
}

/// A way into the server. Nothing is asked of it before the first secret is.
pub struct Vault {
    pub client: Client,
    declared: lab::Vault,
    lab: String,
    address: String,
}

impl Vault {
    /// Finds the server and a login. Neither is tried.
    pub fn open(parsed: &Parsed) -> Result<Vault, CliError> {
        let Some(declared) = declared(parsed) else {
            return Err(CliError::usage("the lab names no Vault")
                .hint("add `platform: { secrets: { vault: { url: \"https://HOST:8200\" } } }` to the lab file"));
        };
        let address = address(parsed, declared)?;
        let mut options = Options::new(&address);
        options.ca_file = match &declared.ca {
            Some(ca) => {
                let from = parsed.sources.get(ca.span.file).map_or("", |source| source.name.as_str());
                Some(PathBuf::from(beside(from, ca)))
            }
            None => std::env::var_os("VAULT_CACERT").or_else(|| std::env::var_os("BAO_CACERT")).map(PathBuf::from),
        };
        options.namespace = declared
            .namespace
            .as_ref()
            .map(|name| name.value.clone())
            .or_else(|| either("VAULT_NAMESPACE", "BAO_NAMESPACE"));
        let client = Client::new(&options, login(&address)?).map_err(error)?;
        Ok(Vault { client, declared: declared.clone(), lab: parsed.lab.lab.value.clone(), address })
    }

    /// Where it is, as messages show it.
    pub fn shown(&self) -> String {
        format!("the Vault at `{}`", self.address)
    }

    pub fn kv(&self) -> Kv<'_> {
        self.client.kv(&self.declared.mount)
    }

    /// Where a secret is kept, and in which field.
    pub fn place(&self, name: &str) -> (String, String) {
        self.declared.place(&self.lab, name)
    }

    /// The folder that holds all of the lab's secrets.
    pub fn folder(&self) -> String {
        let (path, _) = self.place("x");
        path.strip_suffix('x').unwrap_or_default().trim_matches('/').to_string()
    }

    /// One value.
    ///
    /// # Errors
    /// `NoSuchSecret` where there is no such path or no such field of it.
    pub fn get(&self, name: &str) -> Result<SecretText, SecretError> {
        let (path, field) = self.place(name);
        let absent = |what: &str| {
            let message = format!("{} has no {what} of secret `{name}`", self.shown());
            SecretError::new(ErrorKind::NoSuchSecret, message).help(format!("`labwright secret set {name}`"))
        };
        match self.kv().read(&path) {
            Ok(version) => version
                .fields
                .get(&field)
                .cloned()
                .ok_or_else(|| absent(&format!("field `{field}` in `{path}`, which is the place"))),
            // A mount that is not there is a fault of the lab file, and says so itself.
            Err(error) if error.kind == ErrorKind::NoSuchSecret && !error.message.ends_with("is below no mount") => {
                Err(absent(&format!("`{path}`, which is the place")))
            }
            Err(error) => Err(error),
        }
    }

    /// Every secret of the lab that is in it, with the day of its newest version. Reads them all: fields have no list.
    pub fn names(&self) -> Result<BTreeMap<String, String>, SecretError> {
        let folder = self.folder();
        let mut names = BTreeMap::new();
        for path in self.kv().list_all(&folder)? {
            let version = match self.kv().read(&path) {
                Ok(version) => version,
                // The newest version is deleted; the path stays until somebody deletes its metadata.
                Err(error) if error.kind == ErrorKind::NoSuchSecret => continue,
                Err(error) => return Err(error),
            };
            let stem = path.strip_prefix(&folder).unwrap_or(&path).trim_matches('/').replace('/', ".");
            let day = version.created.get(..10).unwrap_or_default().to_string();
            let fields: Vec<&str> = version.fields.keys().map(String::as_str).collect();
            for field in fields.iter().filter(|field| !is_half(field, &fields)) {
                let name = if *field == VALUE { stem.clone() } else { format!("{stem}.{field}") };
                names.insert(name, day.clone());
            }
        }
        Ok(names)
    }
}

/// The field of a public half beside its secret's own.
pub fn half_field(field: &str, half: &str) -> String {
    if field == VALUE { half.to_string() } else { format!("{field}_{half}") }
}

fn is_half(field: &str, fields: &[&str]) -> bool {
    HALVES.iter().any(|half| fields.iter().any(|whole| *whole != field && half_field(whole, half) == field))
}

fn either(first: &str, second: &str) -> Option<String> {
    [first, second].into_iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty())
}

fn address(parsed: &Parsed, declared: &lab::Vault) -> Result<String, CliError> {
    if let Some(url) = &declared.url {
        return Ok(url.value.clone());
    }
    if let Some(address) = either("VAULT_ADDR", "BAO_ADDR") {
        return Ok(address.trim_end_matches('/').to_string());
    }
    let host = declared.on.as_ref().and_then(|on| parsed.lab.host(on));
    match host.and_then(|host| host.address.first()) {
        Some(address) => Ok(lab::https(&address.to_string(), PORT)),
        None => Err(CliError::usage("nothing says where the lab's Vault is")
            .hint("give its host an `address`, or the Vault a `url`; or set VAULT_ADDR")),
    }
}

/// Whoever runs this: a token of theirs, or a role for machines.
fn login(address: &str) -> Result<Login, CliError> {
    if let Some(token) = either("VAULT_TOKEN", "BAO_TOKEN") {
        return Ok(Login::Token(SecretText::new(token)));
    }
    let role = either("VAULT_ROLE_ID", "BAO_ROLE_ID").zip(either("VAULT_SECRET_ID", "BAO_SECRET_ID"));
    if let Some((role_id, secret_id)) = role {
        return Ok(Login::AppRole { mount: "approle".into(), role_id, secret_id: SecretText::new(secret_id) });
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let file = home.map(|home| home.join(".vault-token"));
    if let Some(file) = file {
        match std::fs::read_to_string(&file) {
            Ok(token) if !token.trim().is_empty() => {
                return Ok(Login::Token(SecretText::new(token.trim().to_string())));
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("cannot read the Vault's token in `{}`: {error}", file.display());
                return Err(CliError::usage(message).hint("make it yours, or set VAULT_TOKEN"));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Err(CliError::usage(format!("nothing at hand logs in to the Vault at `{address}`")).hint(
        "`vault login` leaves a token in `~/.vault-token`; or set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID",
    ))
}
