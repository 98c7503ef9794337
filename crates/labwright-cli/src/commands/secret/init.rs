//! `labwright secret init`: an empty store for the people whom the lab names, and a key for whoever has none.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use labwright_model::Parsed;
use labwright_secrets::identity::Identity;
use labwright_secrets::rules::{self, Rule, Selection};
use labwright_secrets::store::{self, Document};

use super::{Common, shown};
use crate::error::{CliError, Exit};
use crate::secrets;
use crate::terminal::Terminal;

/// Begins the store that `platform.secrets` names.
///
/// It is encrypted to `admins`, to `recovery`, and to whom a `.sops.yaml` names; where none of them says anybody, to your
/// own key, which is made if you have none.
#[derive(clap::Args)]
pub struct Init {
    #[command(flatten)]
    common: Common,
}

impl Init {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        let path = secrets::path(&parsed)?;
        let _lock = store::file::lock(&path).map_err(secrets::error)?;
        if path.exists() {
            let error = CliError::usage(format!("{} is there already, and stays as it is", shown(&path)));
            return Err(error.hint("`labwright secret list` shows what is in it"));
        }
        let rule = rule(&path)?;
        let mut recipients = recipients(&parsed, rule.as_ref());
        let named = !recipients.is_empty();
        if !named {
            recipients = self.own(terminal)?;
        }
        let rule = rule.unwrap_or(Rule {
            recipients: Vec::new(),
            selection: Selection::UnencryptedSuffix("_unencrypted".into()),
            mac_only_encrypted: false,
        });
        let opened = Document::create(&path.to_string_lossy(), &recipients, &rule).map_err(secrets::error)?;
        let text = opened.to_text(labwright_engine::now()).map_err(secrets::error)?;
        store::file::replace(&path, text.as_bytes()).map_err(secrets::error)?;
        terminal.say(&format!("{} is there, empty, and can be opened by:", shown(&path)));
        recipients.iter().for_each(|recipient| terminal.say(&format!("  {recipient}")));
        if !named {
            let first = recipients.first().map_or("", String::as_str);
            let owner = parsed.lab.owner.as_ref().map_or("me", |owner| owner.value.as_str());
            terminal.hint(&format!("say in the lab file whose key that is: `admins: {{ {owner}: {first} }}`"));
        }
        let recovery = parsed.lab.platform.secrets.as_ref().and_then(|secrets| secrets.recovery.as_ref());
        if recovery.is_none() {
            terminal.hint("if that key is lost, so is every secret. Make a second one for a drawer: `age-keygen -o recovery.txt`,");
            terminal.hint("put its public half under `platform.secrets.recovery`, then `labwright secret rekey`");
        }
        Ok(Exit::Done)
    }

    /// Whoever runs this: their key, or a new one where SOPS looks for it.
    fn own(&self, terminal: &Terminal) -> Result<Vec<String>, CliError> {
        let identities = secrets::identities(&self.common.identity).map_err(secrets::error)?;
        if let Some(first) = identities.recipients().into_iter().next() {
            return Ok(vec![first]);
        }
        let path = key_path()?;
        let (content, recipient) = Identity::generate();
        let cannot = |error: std::io::Error| CliError::usage(format!("cannot write {}: {error}", shown(&path)));
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
        file.write_all(content.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
        terminal.say(&format!("made a key for you: {}", shown(&path)));
        terminal.warn("without that file nothing in the store can be read: copy it to a safe place now");
        Ok(vec![recipient])
    }
}

/// Where `sops` looks for keys.
fn key_path() -> Result<PathBuf, CliError> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    let config = config.ok_or_else(|| {
        CliError::usage("there is no key, and no home to make one in").hint("name a key: `--identity FILE`")
    })?;
    Ok(config.join("sops/age/keys.txt"))
}

/// Whom the lab file and the rules of SOPS name, each once.
pub fn recipients(parsed: &Parsed, rule: Option<&Rule>) -> Vec<String> {
    let declared = parsed.lab.platform.secrets.as_ref();
    let admins = declared.into_iter().flat_map(|secrets| secrets.admins.values()).flat_map(|keys| keys.value.iter());
    let recovery = declared.and_then(|secrets| secrets.recovery.as_ref());
    let named = admins.chain(recovery).map(|key| key.value.clone());
    let mut all: Vec<String> = Vec::new();
    for recipient in named.chain(rule.into_iter().flat_map(|rule| rule.recipients.iter().cloned())) {
        let plain = recipient.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        if !all.contains(&plain) {
            all.push(plain);
        }
    }
    all
}

/// The rule of a `.sops.yaml` here or above that is meant for the store.
pub fn rule(path: &Path) -> Result<Option<Rule>, CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder =
        folder.canonicalize().map_err(|error| CliError::usage(format!("cannot use {}: {error}", shown(folder))))?;
    let read = |path: &Path| match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    };
    let Some((found, rules)) = rules::find(&folder, read).map_err(secrets::error)? else { return Ok(None) };
    let whole = folder.join(path.file_name().unwrap_or_default());
    let relative = whole.strip_prefix(found.parent().unwrap_or(&folder)).unwrap_or(&whole);
    rules.for_path(&relative.to_string_lossy()).map_err(secrets::error)
}
