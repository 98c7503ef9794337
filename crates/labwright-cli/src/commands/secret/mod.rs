//! `labwright secret`: the store of secrets, and everything that is done with it by hand. One file a verb.
//! No verb takes a value on the command line: other users see the list of processes.

mod doctor;
mod edit;
mod generate;
mod get;
mod history;
mod in_vault;
mod init;
mod keeper;
mod list;
mod rekey;
mod remove;
mod rotate;
mod set;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use labwright_model::Parsed;
use labwright_model::lab::{Generate, GenerateKind};
use labwright_model::store::{MADE, PUBLIC};
use labwright_secrets::generate::{Alphabet, Generator};
use labwright_secrets::store::{self, Opened};
use labwright_secrets::{ErrorKind, SecretError, SecretText};

use crate::error::{CliError, Exit};
use crate::lab::{self, LabArg};
use crate::secrets;
use crate::terminal::Terminal;

/// Keeps the lab's secrets: encrypted beside the lab file, decrypted only where they are used.
///
/// The store is a SOPS file, encrypted to age or SSH keys; `sops` reads and writes it too. The key that opens it is
/// looked for in `--identity`, `SOPS_AGE_KEY`, `SOPS_AGE_KEY_FILE`, `~/.config/sops/age/keys.txt` and your SSH key.
///
/// A lab that names a Vault and no file keeps them there: `a` in field `value` of `FOLDER/a`, `a.b` in field `b`. You
/// log in by `VAULT_TOKEN`, `~/.vault-token`, or `VAULT_ROLE_ID` and `VAULT_SECRET_ID`.
#[derive(clap::Args)]
pub struct Secret {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Init(init::Init),
    Set(set::Set),
    Get(get::Get),
    Edit(edit::Edit),
    List(list::List),
    Remove(remove::Remove),
    Generate(generate::GenerateCommand),
    Rotate(rotate::Rotate),
    Rekey(rekey::RekeyCommand),
    Doctor(doctor::Doctor),
}

impl Secret {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Init(verb) => verb.run(terminal),
            Verb::Set(verb) => verb.run(terminal),
            Verb::Get(verb) => verb.run(terminal),
            Verb::Edit(verb) => verb.run(terminal),
            Verb::List(verb) => verb.run(terminal),
            Verb::Remove(verb) => verb.run(terminal),
            Verb::Generate(verb) => verb.run(terminal),
            Verb::Rotate(verb) => verb.run(terminal),
            Verb::Rekey(verb) => verb.run(terminal),
            Verb::Doctor(verb) => verb.run(terminal),
        }
    }
}

/// What every verb takes.
#[derive(clap::Args, Clone, Debug)]
struct Common {
    #[command(flatten)]
    lab: LabArg,
    /// A file with the key that opens the store; may be given more than once.
    #[arg(long, short, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// The lab's Vault, where it has a SOPS file as well.
    #[arg(long)]
    vault: bool,
}

/// The store of a lab, opened, and held so that nobody else changes it meanwhile.
struct Kept {
    path: PathBuf,
    opened: Opened,
    _lock: store::file::Lock,
}

impl Common {
    /// The lab as far as it can be read: a store can be mended while the lab still has findings.
    fn parsed(&self) -> Result<Parsed, CliError> {
        Ok(lab::read(&self.lab)?.parsed)
    }

    /// The store, opened to be read.
    fn open(&self, parsed: &Parsed, terminal: &Terminal) -> Result<Opened, CliError> {
        Ok(secrets::open(parsed, &self.identity, terminal)?.1)
    }

    /// The store, opened to be changed.
    fn hold(&self, parsed: &Parsed, terminal: &Terminal) -> Result<Kept, CliError> {
        if self.vault {
            return Err(CliError::usage("only a file is edited and encrypted anew as a whole; a Vault is not")
                .hint("`labwright secret set NAME --vault` changes one secret there"));
        }
        let path = secrets::path(parsed)?;
        let lock = store::file::lock(&path).map_err(secrets::error)?;
        if let Some(before) = keeper::interrupted(&path)? {
            let error = CliError::usage(format!("a rotation did not come to its end: `{}` is there", before.display()));
            return Err(error
                .hint("`labwright secret rotate --undo` puts the old values back everywhere")
                .hint("`labwright secret rotate --finish` applies the new ones"));
        }
        let (path, opened) = secrets::open(parsed, &self.identity, terminal)?;
        Ok(Kept { path, opened, _lock: lock })
    }
}

impl Kept {
    /// Writes the store: whoever reads it sees the old one or this one.
    fn save(&self) -> Result<(), CliError> {
        let text = self.opened.to_text(labwright_engine::now()).map_err(secrets::error)?;
        store::file::replace(&self.path, text.as_bytes()).map_err(secrets::error)
    }

    /// Notes that a secret was made today. A store whose rules encrypt that note goes without.
    fn dated(&mut self, name: &str) {
        let today = labwright_engine::now().strftime("%Y-%m-%d").to_string();
        drop(self.opened.set_plain(&format!("{MADE}.{}", flat(name)), &today));
    }
}

/// A name in a map that holds no maps: `a.b` is two names to the store.
fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// The key of a public half: `wg` for the one that matters, `web_chain` for others.
fn public_name(name: &str, half: &str) -> String {
    if half == "public" { flat(name) } else { format!("{}_{half}", flat(name)) }
}

/// The generators that the lab declares.
fn generators(parsed: &Parsed) -> BTreeMap<String, Generator> {
    let declared = parsed.lab.platform.secrets.iter().flat_map(|secrets| secrets.generate.iter());
    declared.map(|(name, entry)| (name.clone(), generator(name, &entry.value))).collect()
}

fn generator(name: &str, entry: &Generate) -> Generator {
    let number = |value: &Option<labwright_model::Spanned<u32>>| value.as_ref().map(|value| value.value);
    let text = |value: &Option<labwright_model::Spanned<String>>| value.as_ref().map(|value| value.value.clone());
    let comment = || text(&entry.comment).unwrap_or_else(|| name.to_string());
    let of = || text(&entry.of).unwrap_or_default();
    let bytes = || number(&entry.bytes).unwrap_or(32) as usize;
    match entry.kind {
        GenerateKind::Password => Generator::Password {
            length: number(&entry.length).unwrap_or(32) as usize,
            alphabet: alphabet(text(&entry.alphabet)),
        },
        GenerateKind::Hex => Generator::Hex { bytes: bytes() },
        GenerateKind::Base64 => Generator::Base64 { bytes: bytes(), url_safe: false },
        GenerateKind::Uuid => Generator::Uuid,
        GenerateKind::SshKey => Generator::SshKey { comment: comment() },
        GenerateKind::WireGuard => Generator::WireGuard,
        GenerateKind::AgeKey => Generator::AgeKey,
        GenerateKind::Ca => Generator::X509Ca { common_name: comment(), days: number(&entry.days).unwrap_or(3650) },
        GenerateKind::Certificate => Generator::X509 {
            ca: text(&entry.ca).unwrap_or_default(),
            names: entry.names.iter().map(|name| name.value.clone()).collect(),
            days: number(&entry.days).unwrap_or(365),
            client: false,
        },
        GenerateKind::Htpasswd => Generator::Htpasswd { user: text(&entry.user).unwrap_or_default(), of: of() },
        GenerateKind::Bcrypt => Generator::bcrypt(of()),
        GenerateKind::Ask => Generator::Prompt { message: comment() },
    }
}

fn alphabet(word: Option<String>) -> Alphabet {
    match word.as_deref() {
        None | Some("alphanumeric") => Alphabet::Alphanumeric,
        Some("letters") => Alphabet::Letters,
        Some("digits") => Alphabet::Digits,
        Some("symbols") => Alphabet::Symbols,
        Some(_) => Alphabet::Custom(word.unwrap_or_default()),
    }
}

/// Asks for a value twice, without showing it.
fn ask_value(name: &str, message: &str) -> Result<SecretText, SecretError> {
    let invalid = |why: &str, help: &str| {
        SecretError::new(labwright_secrets::ErrorKind::Invalid, format!("read a value for `{name}`: {why}")).help(help)
    };
    let nobody = || invalid("nobody is there to type it", &format!("pipe it in: `labwright secret set {name} < FILE`"));
    let first = secrets::ask_hidden(&format!("{message}: ")).ok_or_else(nobody)?;
    let second = secrets::ask_hidden("once more: ").ok_or_else(nobody)?;
    if first != second {
        return Err(invalid("the two were not the same", "try again"));
    }
    Ok(first)
}

/// The public halves of a secret that the store holds.
fn publics(opened: &Opened, name: &str) -> Result<BTreeMap<String, String>, SecretError> {
    let mut halves = BTreeMap::new();
    for half in ["public", "chain"] {
        match opened.get(&format!("{PUBLIC}.{}", public_name(name, half))) {
            Ok(value) => drop(halves.insert(half.to_string(), value.expose().to_string())),
            Err(error) if error.kind == ErrorKind::NoSuchSecret => {}
            Err(error) => return Err(error),
        }
    }
    Ok(halves)
}

/// A path as messages show it.
fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}
