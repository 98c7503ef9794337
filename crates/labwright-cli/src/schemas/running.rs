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
        "ps" => ("`labwright ps --json`", document(lab_here())),
        "up" => ("one line of `labwright up --json`", up()),
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
        "unit" => object(unit()),
        "container-here" => object(json!({
            "key": text("What it is called in its service."),
            "name": text("What it is called in the engine."),
            "id": text("The engine's number of it; empty where it is not made yet."),
            "image": text("As the lab names it."),
            "state": one_of(["waiting", "starting", "running", "healthy", "unhealthy", "ended", "failed", "stopped"]),
            "code?": { "type": "integer", "description": "Its exit code, where it has ended." },
            "ports?": { "type": "array", "items": text("`127.0.0.1:8080:80/tcp`: where it is reached here, and the port inside.") },
        })),
        "left-out" => object(json!({
            "what": text("The service, or the part of the lab."),
            "reason": text("In words."),
            "help": text("What would bring it here; empty where nothing would."),
            "fault": flag("Whether something that is wanted cannot run."),
        })),
        _ => return None,
    })
}

/// A lab that is up on this machine.
fn lab_here() -> Value {
    json!({
        "lab": text("Its name."),
        "pid": count("The process that supervises it."),
        "since": count("Seconds since 1970: since when."),
        "digest": text("BLAKE3 of what is run, in hex."),
        "units": list("unit"),
        "left_out": list("left-out"),
        "notes": { "type": "array", "items": text("What is other here than in the lab, in words.") },
        "settled": flag("Whether nothing is under way."),
        "ending": flag("Whether everything is being stopped."),
        "authority": or_null("string"),
        "dashboard": or_null("string"),
    })
}

fn unit() -> Value {
    let phases = ["waiting", "starting", "ready", "unwell", "pausing", "done", "failed", "stopping", "stopped"];
    json!({
        "name": text("The service, or what it is called."),
        "kind": one_of(["process", "containers", "seeds", "doors", "names", "pages"]),
        "phase": one_of(phases),
        "pid": or_null("integer"),
        "port": or_null("integer"),
        "links": { "type": "array", "items": text("Where a person looks at it.") },
        "reason": text("Why it is as it is, where that is not plain."),
        "last": { "type": "array", "items": text("What it said last, where it is not well.") },
        "restarts": count("How often it was started again."),
        "took": schema_or_null(count("Milliseconds from its start until it was well.")),
        "started": schema_or_null(count("Seconds since 1970: its last start.")),
        "began": schema_or_null(count("Milliseconds from the start of the supervisor until its last start.")),
        "containers?": list("container-here"),
    })
}

fn up() -> Value {
    let told = |word: &'static str, mut fields: Value| {
        fields["tell"] = one_of([word]);
        object(fields)
    };
    let line = json!({
        "unit": text("Who said it."),
        "at": count("Milliseconds since 1970."),
        "source": one_of(["out", "err", "note"]),
        "text": text("The line."),
    });
    json!({
        "description": "The first line says which lab; then comes how everything is, and each change.",
        "oneOf": [
            document(json!({ "begin": object(json!({ "verb": text("`up`."), "lab": text("Its name.") })) })),
            told("state", lab_here()),
            told("unit", unit()),
            told("line", line),
            told("settled", json!({})),
            told("note", json!({ "text": text("In words.") })),
            told("missed", json!({ "lines": count("Lines that came too fast to be told.") })),
            told("ended", json!({})),
        ],
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
    line["source"] = one_of(["stdout", "stderr", "log", "note"]);
    line["text"] = text("The line; of a note, what labwright or systemd says of the part.");
    json!({
        "description": "The first line says which parts are read.",
        "oneOf": [document(json!({ "parts": list("part") })), object(line)],
    })
}
