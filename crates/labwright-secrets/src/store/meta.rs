//! The `sops:` block of a store: recipients with their copies of the data key, the seal (MAC), the rules.
//! Reads and writes text; decrypts nothing.

use crate::rules::Selection;
use crate::{ErrorKind, SecretError};

use super::edit::Splice;
use super::syntax::{Fault, Format, Kind, Node, column};
use super::value::{self, Place, Type, Value};

/// The key of the block.
pub(super) const KEY: &str = "sops";
/// Whose file format a new store has.
const VERSION: &str = "3.9.4";

/// Who else can open a store, as SOPS names them: entry in the block, and what a person calls it.
const OTHERS: [(&str, &str); 6] = [
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "Google Cloud KMS"),
    ("hckms", "Huawei Cloud KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
];

pub(super) struct Meta {
    pub age: Vec<AgeEntry>,
    /// Keys of other kinds, which are kept as they are.
    pub others: Vec<&'static str>,
    pub lastmodified: String,
    pub mac: String,
    pub selection: Selection,
    pub mac_only_encrypted: bool,
}

/// One recipient's copy of the data key.
#[derive(Clone)]
pub(super) struct AgeEntry {
    pub recipient: String,
    pub enc: String,
}

impl Meta {
    pub fn parse(name: &str, root: &Node) -> Result<Meta, SecretError> {
        let bad = |why: String, help: &str| {
            SecretError::new(ErrorKind::Malformed, format!("read `{name}`: {why}")).help(help)
        };
        let back =
            format!("take back the last whole version: `git log -- {name}`, then `git checkout COMMIT -- {name}`");
        let block = match root.get(KEY) {
            Some(block) if matches!(block.kind, Kind::Map { .. }) => block,
            Some(_) => return Err(bad("its `sops:` block is cut off".to_string(), &back)),
            None if has_encrypted(root) => {
                return Err(bad(
                    "it has encrypted values but no `sops:` block: the file is cut off".to_string(),
                    &back,
                ));
            }
            None => {
                let help = "a store has a `sops:` block at its end; encrypt this file with `sops encrypt -i`, or begin a new store";
                return Err(bad("it is not a SOPS file".to_string(), help));
            }
        };
        let filled = |key: &str| block.get(key).is_some_and(|node| !node.is_empty());
        let split =
            block.get("shamir_threshold").and_then(Node::text).is_some_and(|text| !matches!(text, "0" | "1" | ""));
        if filled("key_groups") || split {
            let help = "put all keys into one group: `sops` with one `key_groups` entry in `.sops.yaml`, then `sops updatekeys`";
            return Err(bad(
                "its key is split over several key groups (Shamir), which is not known here".to_string(),
                help,
            ));
        }
        let others: Vec<&str> = OTHERS.iter().filter(|(key, _)| filled(key)).map(|(_, title)| *title).collect();
        let mut age = Vec::new();
        if let Some(Node { kind: Kind::List { items, .. }, .. }) = block.get("age") {
            for item in items {
                let part = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default().to_string();
                let entry = AgeEntry { recipient: part("recipient"), enc: part("enc") };
                if !entry.enc.trim_end().ends_with("-----END AGE ENCRYPTED FILE-----") {
                    return Err(bad(format!("the key for `{}` is cut off", entry.recipient), &back));
                }
                age.push(entry);
            }
        }
        if age.is_empty() && !others.is_empty() {
            let kinds = others.join(" and ");
            let help =
                "add an age key with `sops`, where the other key is at hand: `sops rotate -i --add-age age1… FILE`";
            return Err(SecretError::new(
                ErrorKind::NoKey,
                format!("read `{name}`: it can only be opened with {kinds}; there is no age recipient in it"),
            )
            .help(help));
        }
        if age.is_empty() {
            return Err(bad("its `sops:` block names no recipient".to_string(), &back));
        }
        let text = |key: &str| block.get(key).and_then(Node::text).unwrap_or_default().to_string();
        let (lastmodified, mac) = (text("lastmodified"), text("mac"));
        for (key, text) in [("lastmodified", &lastmodified), ("mac", &mac)] {
            if text.is_empty() {
                return Err(bad(format!("its `sops:` block has no `{key}`: the file is cut off"), &back));
            }
        }
        let selection = Selection::parse(block)
            .map_err(|(why, help)| bad(format!("its `sops:` block cannot be followed: {why}"), help))?;
        let selection = selection.unwrap_or_default();
        let mac_only_encrypted = block.get("mac_only_encrypted").and_then(Node::text) == Some("true");
        Ok(Meta { age, others, lastmodified, mac, selection, mac_only_encrypted })
    }
}

fn has_encrypted(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(scalar) => super::cipher::is_encrypted(&scalar.text),
        Kind::List { items, .. } => items.iter().any(has_encrypted),
        Kind::Map { entries, .. } => entries.iter().any(|entry| has_encrypted(&entry.value)),
    }
}

/// Puts new text in the place of the seal and its time.
pub(super) fn seal(format: Format, root: &Node, lastmodified: &str, mac: &str) -> Vec<Splice> {
    let Some(block) = root.get(KEY) else { return Vec::new() };
    let flow = format == Format::Json || matches!(block.kind, Kind::Map { flow: true, .. });
    let mac = if flow { value::write_key(Format::Json, mac) } else { mac.to_string() };
    let texts = [("lastmodified", value::write_key(Format::Json, lastmodified)), ("mac", mac)];
    texts.into_iter().filter_map(|(key, text)| Some(Splice::new(block.get(key)?.span.clone(), text))).collect()
}

/// Puts a new list of recipients in the place of the old one.
pub(super) fn recipients(format: Format, text: &str, root: &Node, age: &[AgeEntry]) -> Result<Splice, Fault> {
    let unusual = |at| {
        Fault::new(at, "the `age` list of the `sops:` block is written in an unusual way", "write it as SOPS does")
    };
    let entry = root.get(KEY).and_then(|block| block.entry("age"));
    let Some(entry) = entry else { return Err(unusual(root.span.start)) };
    let column = column(text, entry.key_span.start);
    let lead = &text[entry.key_span.start - column..entry.key_span.start];
    let written = match (format, &entry.value.kind) {
        (Format::Json, _) if lead.trim().is_empty() => json_list(age, lead),
        (_, Kind::List { flow: true, .. }) => flow_list(age),
        (Format::Yaml, Kind::List { items, .. }) => {
            let first =
                items.first().map_or(column + 4, |item| super::syntax::column(text, item.span.start).saturating_sub(2));
            let Some(dash) = text[..entry.value.span.start + 1].rfind('-').filter(|_| !items.is_empty()) else {
                return Err(unusual(entry.key_span.start));
            };
            // The first dash stands where the list begins already.
            let span = dash..entry.value.span.end;
            return Ok(Splice::new(span, yaml_list(age, first).trim_start().to_string()));
        }
        _ => return Err(unusual(entry.key_span.start)),
    };
    Ok(Splice::new(entry.value.span.clone(), written))
}

/// The list in a block, every line indented; without the last line break.
fn yaml_list(age: &[AgeEntry], indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut out = Vec::new();
    for AgeEntry { recipient, enc } in age {
        out.push(format!("{pad}- recipient: {recipient}"));
        out.push(format!("{pad}  enc: |"));
        out.extend(enc.trim_end().lines().map(|line| format!("{pad}    {line}")));
    }
    out.join("\n")
}

fn json_list(age: &[AgeEntry], lead: &str) -> String {
    let step = if lead.starts_with('\t') { "\t".to_string() } else { " ".repeat((lead.len() / 2).max(1)) };
    let (item, field) = (format!("{lead}{step}"), format!("{lead}{step}{step}"));
    let items: Vec<String> = age
        .iter()
        .map(|AgeEntry { recipient, enc }| {
            let (recipient, enc) = (value::write_key(Format::Json, recipient), value::write_key(Format::Json, enc));
            format!("{item}{{\n{field}\"recipient\": {recipient},\n{field}\"enc\": {enc}\n{item}}}")
        })
        .collect();
    format!("[\n{}\n{lead}]", items.join(",\n"))
}

fn flow_list(age: &[AgeEntry]) -> String {
    let items: Vec<String> = age
        .iter()
        .map(|AgeEntry { recipient, enc }| {
            let (recipient, enc) = (value::write_key(Format::Json, recipient), value::write_key(Format::Json, enc));
            format!("{{\"recipient\": {recipient}, \"enc\": {enc}}}")
        })
        .collect();
    format!("[{}]", items.join(", "))
}

/// A new store with nothing in it. The seal is still to be put in.
pub(super) fn empty_store(format: Format, age: &[AgeEntry], selection: &Selection, mac_only_encrypted: bool) -> String {
    let (setting, text) = selection.setting();
    let mac_only = mac_only_encrypted;
    match format {
        Format::Yaml => {
            let text = value::write(format, Place::Flow, &Value::new(Type::Str, text));
            let mac_only = if mac_only { "    mac_only_encrypted: true\n" } else { "" };
            format!(
                "sops:\n    age:\n{}\n    lastmodified: \"-\"\n    mac: \"-\"\n    {setting}: {}\n{mac_only}    version: {VERSION}\n",
                yaml_list(age, 8),
                *text
            )
        }
        Format::Json => {
            let text = value::write_key(format, text);
            let mac_only = if mac_only { "\t\t\"mac_only_encrypted\": true,\n" } else { "" };
            format!(
                "{{\n\t\"sops\": {{\n\t\t\"age\": {},\n\t\t\"lastmodified\": \"-\",\n\t\t\"mac\": \"-\",\n\t\t\"{setting}\": {text},\n{mac_only}\t\t\"version\": \"{VERSION}\"\n\t}}\n}}\n",
                json_list(age, "\t\t")
            )
        }
    }
}
