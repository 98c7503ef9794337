//! `labwright inventory`: hosts and services with zone, address, roles and owner.

use std::collections::BTreeMap;

use labwright_model::{Parsed, role_hosts};
use serde_json::json;

use crate::error::{CliError, Exit};
use crate::lab::{LabArg, read};
use crate::render::table;
use crate::terminal::Terminal;

/// Lists hosts and services: zone, address, site, roles, owner. Asks no host.
#[derive(clap::Args)]
pub struct Inventory {
    #[command(flatten)]
    lab: LabArg,
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Markdown,
    Json,
}

const HOSTS: [&str; 8] = ["HOST", "ZONE", "ADDRESS", "SITE", "OS", "TIER", "OWNER", "ROLES"];
const SERVICES: [&str; 6] = ["SERVICE", "ON", "TIER", "EXPOSED", "OWNER", "BACKUP"];

impl Inventory {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = read(&self.lab)?.parsed;
        let (hosts, services) = (hosts(&parsed), services(&parsed));
        match self.format {
            Format::Json => terminal.document(&as_json(&hosts, &services))?,
            _ if self.json => terminal.document(&as_json(&hosts, &services))?,
            Format::Table => {
                terminal.data(&table::text(&HOSTS, &hosts));
                if !services.is_empty() {
                    terminal.data(&format!("\n{}", table::text(&SERVICES, &services)));
                }
            }
            Format::Markdown => {
                terminal.data(&format!("## Hosts\n\n{}", table::markdown(&HOSTS, &hosts)));
                if !services.is_empty() {
                    terminal.data(&format!("\n## Services\n\n{}", table::markdown(&SERVICES, &services)));
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

fn hosts(parsed: &Parsed) -> Vec<Vec<String>> {
    let lab = &parsed.lab;
    let mut roles: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (host, _, role) in role_hosts(lab) {
        let word = role.rsplit('.').next().unwrap_or(role);
        let own = roles.entry(host).or_default();
        if !own.contains(&word) {
            own.push(word);
        }
    }
    let text = |value: &Option<labwright_model::Spanned<String>>| {
        or_dash(value.as_ref().map(|value| value.value.clone()).unwrap_or_default())
    };
    lab.compute
        .hosts
        .iter()
        .map(|(name, host)| {
            let addresses = host.address.iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" ");
            let roles = roles.get(name).map(|roles| roles.join(" ")).unwrap_or_default();
            let os = if parsed.implied.contains(name) { "-" } else { host.os.word() };
            vec![
                name.clone(),
                text(&host.zone),
                or_dash(addresses),
                text(&host.site),
                os.into(),
                host.tier.word().into(),
                text(&host.owner),
                or_dash(roles),
            ]
        })
        .collect()
}

fn services(parsed: &Parsed) -> Vec<Vec<String>> {
    let row = |placement: &labwright_model::Placement| {
        let entry = &placement.entry;
        let name = match &placement.environment {
            Some(environment) => format!("{} ({environment})", placement.service),
            None => placement.service.clone(),
        };
        let on = entry.on.iter().map(|host| host.value.clone()).collect::<Vec<_>>().join(" ");
        let on = match &entry.external {
            Some(external) => external
                .provider
                .as_ref()
                .map_or("external".to_string(), |provider| format!("external: {}", provider.value)),
            None => on,
        };
        let owner =
            entry.owner.as_ref().or(parsed.lab.owner.as_ref()).map(|owner| owner.value.clone()).unwrap_or_default();
        let backup = entry
            .backup
            .as_ref()
            .and_then(|backup| backup.policy.as_ref())
            .map(|policy| policy.value.clone())
            .unwrap_or_default();
        vec![name, or_dash(on), entry.tier.word().into(), entry.expose.word().into(), or_dash(owner), or_dash(backup)]
    };
    parsed.placements.iter().map(row).collect()
}

fn as_json(hosts: &[Vec<String>], services: &[Vec<String>]) -> serde_json::Value {
    let objects = |heading: &[&str], rows: &[Vec<String>]| {
        let object = |row: &Vec<String>| {
            let field = |(key, cell): (&&str, &String)| {
                (key.to_lowercase(), if cell == "-" { serde_json::Value::Null } else { json!(cell) })
            };
            heading.iter().zip(row).map(field).collect::<serde_json::Map<_, _>>()
        };
        rows.iter().map(object).collect::<Vec<_>>()
    };
    json!({ "hosts": objects(&HOSTS, hosts), "services": objects(&SERVICES, services) })
}
