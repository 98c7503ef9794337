//! The schemas of what runs: status, logs.

use labwright_plan::State;
use serde_json::{Value, json};

use super::{by_name, count, document, flag, list, object, one_of, or_null, schema_or_null, text};

/// Title and body of a document.
pub fn document_of(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "status" => (
            "`labwright status --json`",
            document(json!({
                "services": list("fares"),
                "not_looked_at": { "type": "array", "items": object(json!({
                    "service": text("The service."),
                    "environment": or_null("string"),
                    "why": text("In words, such as who runs it."),
                })) },
                "away": by_name("error"),
            })),
        ),
        "logs" => ("one line of `labwright logs --json`", logs()),
        _ => return None,
    })
}

pub fn definition(name: &str) -> Option<Value> {
    Some(match name {
        "fares" => object(json!({
            "service": text("The service."),
            "environment": or_null("string"),
            "host": text("Where it runs."),
            "well": schema_or_null(flag("Whether all of it does what it is there for; null where nobody can say.")),
            "parts": list("running"),
        })),
        "running" => object(json!({
            "service": text("The service."),
            "environment": or_null("string"),
            "part": text("What it is called in its service: its key in the Compose file, or its unit."),
            "name": text("The container's or unit's name."),
            "declared": flag("Whether the lab declares it; what it does not is a leftover, or somebody else's."),
            "state": one_of(State::ALL.map(State::word)),
            "health": schema_or_null(one_of(["healthy", "starting", "unhealthy"])),
            "exit_code": or_null("integer"),
            "since": schema_or_null(count("Seconds since 1970: since when it is in this state.")),
            "restarts": schema_or_null(count("How often it was started again by itself.")),
            "image": schema_or_null(object(json!({
                "name": text("Registry and repository."),
                "tag": or_null("string"),
                "digest": text("What its registry knows it by, or the engine's own id."),
                "created": schema_or_null(count("Seconds since 1970: when it was built.")),
            }))),
            "says": or_null("string"),
        })),
        "part" => object(part()),
        _ => return None,
    })
}

fn part() -> Value {
    json!({
        "service": text("The service."),
        "environment": or_null("string"),
        "part": text("What it is called in its service."),
        "host": text("Where it runs."),
        "name": text("The container's or unit's name."),
    })
}

fn logs() -> Value {
    let mut line = part();
    line["at"] = text("RFC 3339, by the host's clock.");
    line["source"] = one_of(["stdout", "stderr", "note"]);
    line["text"] = text("The line; of a note, what labwright or systemd says of the part.");
    json!({
        "description": "The first line says which parts are read.",
        "oneOf": [document(json!({ "parts": list("part") })), object(line)],
    })
}
