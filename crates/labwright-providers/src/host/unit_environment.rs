//! The environment and the credentials of a unit, as files that systemd reads: secrets stay out of the unit itself.
//! A drop-in names them; `systemctl show` and the unit's file tell where they are, and not what they are.

use labwright_model::{Spanned, Table, reference};
use labwright_plan::sealed::Piece;
use labwright_plan::sealed::quoted;
use labwright_plan::{Resource, Sealed, Value};

use super::entry::What;
use super::lower::{Ground, sorted};
use super::secret_file;
use super::systemd::UNITS;

const FOLDER: &str = "/etc/labwright";
const DROP_IN: &str = "50-labwright.conf";

type Unit = labwright_model::lab::Unit;

fn environment_path(unit: &str) -> String {
    format!("{FOLDER}/{unit}.environment")
}

fn credential_path(unit: &str, name: &str) -> String {
    format!("{FOLDER}/{unit}.credential.{name}")
}

/// The files that a unit reads because of its `environment` and `credentials`, its drop-in first.
pub fn paths(name: &str, unit: &Unit) -> Vec<String> {
    if unit.environment.is_empty() && unit.credentials.is_empty() {
        return Vec::new();
    }
    let mut paths = vec![format!("{UNITS}/{name}.d/{DROP_IN}")];
    paths.extend((!unit.environment.is_empty()).then(|| environment_path(name)));
    paths.extend(unit.credentials.keys().map(|credential| credential_path(name, credential)));
    paths
}

/// Adds the files of every unit that has any.
pub fn lower(ground: &Ground<'_>, resources: &mut Vec<Resource>) {
    for (name, entry) in sorted(&ground.host.units) {
        let unit = &entry.value;
        if unit.environment.is_empty() && unit.credentials.is_empty() {
            continue;
        }
        let directory = |path: &str| {
            ground.resource("directory", path, entry.span).with("type", What::Directory.word()).with("mode", "0755")
        };
        // A folder that the lab file declares itself keeps what is said of it there.
        for path in [FOLDER.to_string(), format!("{UNITS}/{name}.d")] {
            if !resources.iter().any(|other| other.id == ground.id("directory", &path)) {
                resources.push(directory(&path));
            }
        }
        let mut drop_in = String::from("# Written by labwright.\n[Service]\n");
        if !unit.environment.is_empty() {
            let path = environment_path(name);
            drop_in.push_str(&format!("EnvironmentFile={path}\n"));
            resources.push(file(ground, entry, &path, environment(&unit.environment)));
        }
        for (credential, value) in sorted(&unit.credentials) {
            let path = credential_path(name, credential);
            drop_in.push_str(&format!("LoadCredential={credential}:{path}\n"));
            resources.push(file(ground, entry, &path, ground.content(value)));
        }
        let path = format!("{UNITS}/{name}.d/{DROP_IN}");
        resources.push(file(ground, entry, &path, Value::Text(drop_in)));
    }
}

fn file(ground: &Ground<'_>, entry: &Spanned<Unit>, path: &str, content: Value) -> Resource {
    let secret = matches!(content, Value::Secret(_));
    ground
        .resource("file", path, entry.span)
        .with("type", What::File.word())
        .with("mode", if secret { "0400" } else { "0644" })
        .with_some("kept", secret.then_some(secret_file::IN_MEMORY))
        .with("content", content)
}

/// An `EnvironmentFile`: one variable a line, between double quotes.
fn environment(variables: &Table<String>) -> Value {
    let mut pieces: Vec<Piece> = Vec::new();
    let text = |text: &str, pieces: &mut Vec<Piece>| match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_string())),
    };
    for (name, value) in sorted(variables) {
        text(&format!("{name}=\""), &mut pieces);
        for piece in Sealed::template(value).pieces {
            match piece {
                Piece::Text(literal) => text(&quoted(&literal), &mut pieces),
                Piece::Secret(secret) | Piece::Quoted(secret) => pieces.push(Piece::Quoted(secret)),
            }
        }
        text("\"\n", &mut pieces);
    }
    let secret = variables.values().any(|value| !reference::secrets(value).is_empty());
    let sealed = Sealed { pieces, hash: None };
    match secret {
        true => Value::Secret(sealed),
        false => Value::Text(sealed.as_template()),
    }
}
