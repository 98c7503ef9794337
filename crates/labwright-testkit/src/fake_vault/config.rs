//! The server's configuration, in the words of Vault's own: storage, listener, seal.
//! Refuses what it does not know, where Vault would only warn.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::hcl::{self, Item, Term};
use super::seal::Seal;

#[derive(Debug)]
pub(crate) struct Config {
    /// None keeps everything in memory.
    pub storage: Option<PathBuf>,
    pub address: SocketAddr,
    /// Certificate and key, in PEM.
    pub tls: Option<(String, String)>,
    pub seal: Option<Seal>,
}

/// Settings of Vault that change nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "api_addr",
    "cluster_addr",
    "cluster_name",
    "default_lease_ttl",
    "disable_mlock",
    "log_level",
    "max_lease_ttl",
    "ui",
];

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Config> {
        let text = text(path).with_context(|| format!("read {}", path.display()))?;
        Config::parse(&text).with_context(|| format!("read {}", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Config> {
        let mut config =
            Config { storage: None, address: SocketAddr::from(([127, 0, 0, 1], 8200)), tls: None, seal: None };
        let (mut stored, mut listens) = (false, false);
        for item in hcl::parse(text).map_err(|error| anyhow!(error))? {
            match item {
                Item::Attribute(name, _) if WITHOUT_EFFECT.contains(&name.as_str()) => {}
                Item::Attribute(name, _) => bail!("unknown setting `{name}`"),
                Item::Block { kind, label, items } => match (kind.as_str(), label.as_deref().unwrap_or_default()) {
                    ("storage", "file") => {
                        config.storage = Some(only_text(&items, "path")?.into());
                        stored = true;
                    }
                    ("storage", "inmem") if items.is_empty() => stored = true,
                    ("listener", "tcp") => {
                        listener(&mut config, &items)?;
                        listens = true;
                    }
                    ("seal", "transit") => config.seal = Some(Seal::read(&items)?),
                    (kind, label) => bail!("unknown block `{kind} \"{label}\"`"),
                },
            }
        }
        match (stored, listens) {
            (true, true) => Ok(config),
            (false, _) => bail!("a storage backend must be specified"),
            (_, false) => bail!("at least one listener must be specified"),
        }
    }
}

/// A file, or every `.hcl` file of a folder, in the order of their names.
fn text(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return Ok(std::fs::read_to_string(path)?);
    }
    let entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "hcl"));
    files.sort();
    Ok(files.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn only_text(items: &[Item], wanted: &str) -> Result<String> {
    match items {
        [Item::Attribute(name, Term::Text(text))] if name == wanted => Ok(text.clone()),
        _ => bail!("expected `{wanted} = \"…\"` and nothing else"),
    }
}

fn listener(config: &mut Config, items: &[Item]) -> Result<()> {
    let (mut certificate, mut key, mut plain) = (None, None, false);
    for item in items {
        let Item::Attribute(name, term) = item else { bail!("unexpected block in `listener`") };
        let text = || term.text().with_context(|| format!("`{name}` is not a string"));
        match name.as_str() {
            "address" => config.address = text()?.parse().context("`address` is not an address with a port")?,
            "tls_cert_file" => certificate = Some(std::fs::read_to_string(text()?).context("read `tls_cert_file`")?),
            "tls_key_file" => key = Some(std::fs::read_to_string(text()?).context("read `tls_key_file`")?),
            "tls_disable" => plain = term.flag().context("`tls_disable` is neither true nor false")?,
            other => bail!("unknown setting `{other}` of a listener"),
        }
    }
    config.tls = match (plain, certificate, key) {
        (true, ..) => None,
        (false, Some(certificate), Some(key)) => Some((certificate, key)),
        (false, ..) => bail!("`tls_cert_file` and `tls_key_file` are missing, and `tls_disable` is not true"),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vault_would_refuse_or_ignore_is_refused() {
        let listener = "listener \"tcp\" { address = \"127.0.0.1:0\" tls_disable = true }";
        let storage = "storage \"inmem\" {}";
        assert!(Config::parse(&format!("{listener}\n{storage}\nui = true")).is_ok());
        for broken in [
            storage.to_string(),
            listener.to_string(),
            format!("{listener}\n{storage}\ncolour = \"red\""),
            format!("{storage}\nlistener \"tcp\" {{ address = \"127.0.0.1:0\" }}"),
            format!("{listener}\n{storage}\nseal \"transit\" {{ address = \"http://127.0.0.1:1\" }}"),
            format!("{listener}\n{storage}\nseal \"magic\" {{ }}"),
        ] {
            assert!(Config::parse(&broken).is_err(), "{broken}");
        }
    }
}
