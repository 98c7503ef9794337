//! `labwright secret list`: names, who reads them, how old they are. No values.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::store::Store;
use labwright_plan::sealed::readers;
use serde_json::json;

use super::Common;
use crate::error::{CliError, Exit};
use crate::lab;
use crate::render::table;
use crate::terminal::Terminal;
use crate::vault;

/// Lists the secrets and who reads each: the hosts that it is delivered to, and the parts of the lab that refer to it.
///
/// What a host can decrypt is exactly what `--host` lists: nothing else is ever sealed for its key.
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    common: Common,
    /// Only what is delivered to this host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let ready = lab::ready(&self.common.lab, terminal)?;
        let parsed = &ready.parsed;
        let store = parsed.store.clone().unwrap_or_default();
        let vault = in_vault(parsed, terminal);
        if let Some(host) = self.host.as_ref().filter(|host| parsed.lab.host(host).is_none()) {
            return Err(CliError::usage(format!("there is no host `{host}` in this lab")));
        }
        let mut hosts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (host, names) in readers(&ready.desired) {
            for name in names {
                hosts.entry(name).or_default().insert(host);
            }
        }
        let mut services: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for secret in &parsed.secrets {
            for (name, _) in parsed.lab.services.iter() {
                let whole = parsed.span_of(&["services", name]);
                let at = secret.span;
                if at.file == whole.file && whole.start <= at.start && at.end <= whole.end {
                    services.entry(secret.value.as_str()).or_default().insert(format!("service {name}"));
                }
            }
        }
        let declared = parsed.lab.platform.secrets.iter().flat_map(|secrets| secrets.generate.keys());
        let used = parsed.secrets.iter().map(|secret| secret.value.as_str());
        let mut names: BTreeSet<&str> = store.names.keys().map(String::as_str).collect();
        names.extend(declared.map(String::as_str).chain(used));
        names.extend(vault.iter().flat_map(BTreeMap::keys).map(String::as_str));
        if let Some(only) = &self.host {
            names.retain(|name| hosts.get(name).is_some_and(|hosts| hosts.contains(only.as_str())));
        }
        let rows: Vec<Row> =
            names.into_iter().map(|name| Row::of(name, &store, vault.as_ref(), &hosts, &services)).collect();
        if self.json {
            let rows: Vec<_> = rows.iter().map(Row::json).collect();
            terminal.document(&json!({ "secrets": rows }))?;
        } else {
            let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
            terminal.data(&table::text(&["SECRET", "STATE", "MADE", "READ BY"], &cells));
        }
        Ok(Exit::Done)
    }
}

/// What the lab's Vault holds, by name, with the day. `None`: there is none, or it did not answer, which is told.
fn in_vault(parsed: &labwright_model::Parsed, terminal: &Terminal) -> Option<BTreeMap<String, String>> {
    vault::declared(parsed)?;
    let names = vault::Vault::open(parsed).and_then(|vault| vault.names().map_err(vault::error));
    names
        .map_err(|error| {
            terminal.warn(&format!("what is in the Vault is not listed: {}", error.message));
            error.hints.iter().for_each(|hint| terminal.hint(hint));
        })
        .ok()
}

struct Row {
    name: String,
    state: &'static str,
    made: Option<String>,
    hosts: Vec<String>,
    services: Vec<String>,
}

impl Row {
    fn of(
        name: &str,
        store: &Store,
        vault: Option<&BTreeMap<String, String>>,
        hosts: &BTreeMap<&str, BTreeSet<&str>>,
        services: &BTreeMap<&str, BTreeSet<String>>,
    ) -> Row {
        let in_vault = vault.and_then(|vault| vault.get(name));
        let state = match store.names.get(name) {
            Some(entry) if entry.encrypted => "kept",
            Some(_) => "in the clear",
            None if in_vault.is_some() => "in Vault",
            None => "not there",
        };
        Row {
            name: name.to_string(),
            state,
            made: store.made.get(&super::flat(name)).map(|made| made.value.clone()).or_else(|| in_vault.cloned()),
            hosts: hosts.get(name).into_iter().flatten().map(|host| host.to_string()).collect(),
            services: services.get(name).into_iter().flatten().cloned().collect(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let read_by: Vec<&str> = self.hosts.iter().chain(&self.services).map(String::as_str).collect();
        let read_by = if read_by.is_empty() { "-".to_string() } else { read_by.join(", ") };
        vec![self.name.clone(), self.state.to_string(), self.made.clone().unwrap_or("-".into()), read_by]
    }

    fn json(&self) -> serde_json::Value {
        json!({ "name": self.name, "state": self.state, "made": self.made, "hosts": self.hosts, "services": self.services })
    }
}
