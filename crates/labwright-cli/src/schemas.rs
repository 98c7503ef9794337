//! The JSON Schema of every JSON document that the program prints, beside the words that it prints them with.
//! Kept by hand, and held true by a test that checks what the program really prints. Knows no lab file: the model does.

use labwright_plan::{Action, Consequence, PLAN_VERSION};
use serde_json::{Map, Value, json};

// Another program reads this file by its path, so the folder beside it is named.
#[path = "schemas/answers.rs"]
mod answers;
#[path = "schemas/dns.rs"]
mod dns;
#[path = "schemas/network.rs"]
mod network;
#[path = "schemas/running.rs"]
mod running;

/// The version of every document but the plan, which has its own. It rises when a reader of the old form would fail.
pub const VERSION: u32 = 1;

/// The documents by name; `labwright schema NAME` prints the schema.
pub const NAMES: [&str; 30] = [
    "check",
    "inventory",
    "model",
    "desired",
    "observed",
    "plan",
    "drift",
    "history",
    "run",
    "locks",
    "events",
    "secrets",
    "doctor",
    "assess",
    "blast",
    "points",
    "graph",
    "flows",
    "work-order",
    "reach",
    "exposed",
    "rehearsal",
    "docs",
    "written",
    "status",
    "logs",
    "dns-status",
    "dns-queries",
    "ps",
    "up",
];

/// The schema of a document.
pub fn schema(name: &str) -> Option<Value> {
    let (title, body) = match name {
        "check" => ("`labwright check --json`", document(json!({ "findings": list("finding") }))),
        "inventory" => (
            "`labwright inventory --json`",
            document(json!({
                "hosts": rows(&["host", "zone", "address", "site", "os", "tier", "owner", "roles"]),
                "services": rows(&["service", "on", "tier", "exposed", "owner", "backup"]),
            })),
        ),
        "model" => ("`labwright show model --json`", model()),
        "desired" => ("`labwright show desired --json`", document(json!({ "resources": list("resource") }))),
        "observed" => ("`labwright show observed --json`", document(json!({ "hosts": by_name("sight") }))),
        "plan" => ("`labwright plan --json`, `labwright show plan`, a saved plan", definition("plan")?),
        "drift" => (
            "`labwright drift --json`",
            document(json!({ "drift": reference("drift"), "edits_not_applied": { "type": "integer" } })),
        ),
        "history" => (
            "`labwright history --json`",
            document(json!({ "runs": list("entry"), "unreadable": list("unreadable_run") })),
        ),
        "run" => ("`labwright history --run RUN --json`", document(entry())),
        "locks" => ("`labwright locks --json`, with `--break` or without", document(json!({ "locks": list("lock") }))),
        "events" => ("one line of `labwright apply --json` or `labwright destroy --json`", line()),
        "secrets" => ("`labwright secret list --json`", document(json!({ "secrets": list("kept_secret") }))),
        "doctor" => ("`labwright secret doctor --json`", document(json!({ "complaints": list("complaint") }))),
        _ => {
            let ours = answers::document_of(name).or_else(|| network::document_of(name));
            ours.or_else(|| running::document_of(name)).or_else(|| dns::document_of(name))?
        }
    };
    let mut schema = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    merge(&mut schema, body);
    let definitions = definitions_for(&schema);
    if !definitions.is_empty() {
        merge(&mut schema, json!({ "$defs": definitions }));
    }
    Some(schema)
}

/// The lab with every default filled in has the form of a lab file, so its schema is the lab file's.
fn model() -> Value {
    let Value::Object(mut lab) = labwright_model::schema() else { return Value::Bool(false) };
    let mut definitions = lab.remove("$defs").unwrap_or_else(|| json!({}));
    lab.remove("$schema");
    merge(&mut definitions, json!({ "lab_file": lab }));
    let mut schema = document(json!({ "model": reference("lab_file") }));
    merge(&mut schema, json!({ "$defs": definitions }));
    schema
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Every definition that a schema refers to, and that those refer to.
fn definitions_for(schema: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    let mut open = names(schema);
    while let Some(name) = open.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let Some(definition) = definition(&name) else { continue };
        open.extend(names(&definition));
        found.insert(name, definition);
    }
    found.sort_keys();
    found
}

/// The names behind every `$ref`.
fn names(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(object) => {
            let own = object.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            own.map(str::to_string).into_iter().chain(object.values().flat_map(names)).collect()
        }
        Value::Array(items) => items.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn list(name: &str) -> Value {
    json!({ "type": "array", "items": reference(name) })
}

fn by_name(name: &str) -> Value {
    json!({ "type": "object", "additionalProperties": reference(name) })
}

/// An object with these properties and no other; one whose name ends with `?` may be left out.
fn object(properties: Value) -> Value {
    let Value::Object(properties) = properties else { return Value::Bool(false) };
    let required: Vec<&String> = properties.keys().filter(|name| !name.ends_with('?')).collect();
    let required = json!(required);
    let properties: Map<String, Value> =
        properties.into_iter().map(|(name, schema)| (name.trim_end_matches('?').to_string(), schema)).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// A whole document: its version, and its own properties.
fn document(properties: Value) -> Value {
    let mut all = json!({ "version": { "const": VERSION, "description": "Of the form of this document." } });
    merge(&mut all, properties);
    object(all)
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn seconds(description: &str) -> Value {
    json!({ "type": "integer", "description": description })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn or_null(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn schema_or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn one_of(words: impl IntoIterator<Item = &'static str>) -> Value {
    json!({ "enum": words.into_iter().collect::<Vec<_>>() })
}

fn names_of(what: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": format!("The {what}.") })
}

/// Pairs, as lists of two.
fn pairs(first: Value, second: Value) -> Value {
    json!({
        "type": "array",
        "items": { "type": "array", "prefixItems": [first, second], "items": false, "minItems": 2 },
    })
}

/// The rows of a table: every column a text, or null where the table has a dash.
fn rows(columns: &[&str]) -> Value {
    let columns: Map<String, Value> = columns.iter().map(|name| (name.to_string(), or_null("string"))).collect();
    json!({ "type": "array", "items": object(Value::Object(columns)) })
}

/// One of several forms, each an object with one property that names it.
fn variants(forms: &[(&str, Value)]) -> Vec<Value> {
    forms.iter().map(|(name, schema)| object(json!({ (*name): schema }))).collect()
}

fn line() -> Value {
    let begin = object(json!({
        "verb": one_of(["apply", "destroy"]),
        "lab": text("The lab's name."),
    }));
    let result = object(json!({
        "run": reference("run"),
        "outcomes": { "type": "array", "items": object(json!({ "id": reference("id"), "outcome": reference("outcome") })) },
    }));
    let mut forms = vec![document(json!({ "begin": begin }))];
    forms.extend(variants(&[("plan", reference("plan")), ("event", reference("event")), ("result", result)]));
    json!({
        "description": "The first line is `begin`, the second `plan`; `result` is the last, and is there when anything was to be done.",
        "oneOf": forms,
    })
}

fn entry() -> Value {
    json!({
        "id": text("The run: sorts by time."),
        "by": text("Who ran it: user@machine."),
        "plan": text("The plan's id."),
        "lab": text("The lab's name."),
        "started": text("RFC 3339."),
        "ended": { "type": ["string", "null"], "description": "RFC 3339; null if the run was cut off." },
        "steps": { "type": "array", "items": object(json!({
            "id": reference("id"),
            "action": reference("action"),
            "consequence": reference("consequence"),
            "because": text("Why."),
            "outcome?": reference("outcome"),
        })) },
    })
}

/// What several documents hold.
fn definition(name: &str) -> Option<Value> {
    let because = || object(json!({ "because": text("Why.") }));
    Some(match name {
        "id" => json!({ "type": "string", "pattern": "^[^/]+/[^/]+/[^/]+/", "description": "host/provider/kind/name" }),
        "action" => one_of(
            [Action::Create, Action::Update, Action::Replace, Action::Delete, Action::Adopt, Action::Release]
                .map(Action::word),
        ),
        "consequence" => one_of(Consequence::ALL.map(Consequence::word)),
        "value" => value(),
        "digest" => {
            object(json!({ "blake3": text("Of the content, in hex."), "bytes": count("The content's length.") }))
        }
        "spec" => json!({
            "type": "object", "additionalProperties": reference("value"), "description": "Fields of a resource, by name."
        }),
        "finding" => object(json!({
            "code": { "type": "string", "pattern": "^LW-[A-Z]+-[0-9]{3}$" },
            "severity": one_of(["error", "warning", "advice"]),
            "at": text("The path in the lab file: compute.hosts.docker-01.zone."),
            "file": or_null("string"),
            "line": or_null("integer"),
            "column": or_null("integer"),
            "end_line": or_null("integer"),
            "end_column": or_null("integer"),
            "message": text("What is wrong."),
            "help": text("What to type; empty where the message says it."),
        })),
        "resource" => object(json!({
            "id": reference("id"),
            "spec": reference("spec"),
            "after": list("id"),
            "adopt": flag("Whether it is taken over if it is there and is not the lab's."),
        })),
        "plan" => plan(),
        "step" => object(json!({
            "id": reference("id"),
            "action": reference("action"),
            "consequence": reference("consequence"),
            "because": text("Why."),
            "spec": reference("spec"),
            "changes?": list("change"),
            "needs?": list("id"),
            "after?": list("id"),
            "expect": { "description": "What must still be true when the step runs.", "oneOf": variants(&[
                ("fingerprint", text("Of what was seen.")),
                ("after_step", object(json!({ "steps": reference("id"), "seen": text("Fingerprint of what was seen.") }))),
            ]) },
        })),
        "change" => object(json!({
            "field": text("The field's name."), "before": reference("value"), "after": reference("value"),
        })),
        "blocked" => object(json!({
            "id": reference("id"),
            "why": one_of(["conflict", "unknown", "refused", "dependency", "brake"]),
            "reason": text("In words."),
            "help?": text("What to type."),
        })),
        "away" => object(json!({
            "host": text("The host's name."),
            "intermittent": flag("Whether being away is normal for it."),
            "reason": text("In words."),
            "help?": text("What to type."),
            "resources": count("How many resources are declared there."),
        })),
        "interrupted" => object(json!({
            "run": text("The run's id."),
            "by": text("user@machine"),
            "done": count("Steps with an outcome."),
            "unknown": list("id"),
            "not_started": count("Steps that never began."),
        })),
        "drift" => object(json!({
            "drifted": { "type": "array", "items": object(json!({
                "id": reference("id"),
                "what": one_of(["changed", "removed", "unfinished"]),
                "changes": list("change"),
                "declared": flag("Whether the lab file still declares it."),
            })) },
            "steady": count("As the last apply left it."),
            "unknown": pairs(reference("id"), text("Why.")),
            "away": pairs(text("The host's name."), text("Why.")),
        })),
        "error" => object(json!({
            "kind": one_of(["unreachable", "auth", "rejected", "conflict", "timeout", "reverted", "bug"]),
            "retry": flag("Whether the same may go through later."),
            "message": text("What went wrong."),
            "help": text("What to type; empty where the message says it."),
        })),
        "outcome" => {
            let mut forms = vec![json!({ "const": "done" })];
            forms.extend(variants(&[
                ("failed", reference("error")),
                ("reverted", reference("error")),
                ("skipped", because()),
                ("not_started", because()),
                ("unknown", because()),
            ]));
            json!({ "oneOf": forms })
        }
        "event" => json!({ "oneOf": variants(&[
            ("started", object(json!({ "id": reference("id") }))),
            ("progress", object(json!({ "id": reference("id"), "text": text("What goes on.") }))),
            ("ended", object(json!({ "id": reference("id"), "outcome": reference("outcome") }))),
        ]) }),
        "run" => object(json!({
            "id": text("Sorts by time."), "by": text("user@machine"), "plan": text("The plan's id."),
        })),
        "entry" => object(entry()),
        "unreadable_run" => object(json!({
            "run": text("The run, by the name of its journal."),
            "path": text("Its journal, on this machine."),
            "why": text("What cannot be read of it, and why."),
        })),
        "lease" => object(json!({
            "run": reference("run"),
            "pid": count("The process on the host."),
            "acquired": seconds("Since 1970."),
            "expires": seconds("Since 1970; renewed while the holder lives."),
            "age": seconds("Since it was acquired, by the host's own clock."),
        })),
        "lock" => lock(),
        "kept_secret" => object(json!({
            "name": text("The secret's name, as `${secret.NAME}` has it."),
            "state": one_of(["kept", "in the clear", "in Vault", "not there"]),
            "made": { "type": ["string", "null"], "description": "The day it was last set or made; null if nobody wrote it down." },
            "hosts": names_of("hosts that it is delivered to"),
            "services": names_of("services that refer to it, as `service NAME`"),
        })),
        "complaint" => object(json!({
            "about": text("The secret's name, or `store`."),
            "message": text("What should be done something about."),
            "help": text("What to do, or to type."),
        })),
        "sealed" => object(json!({
            "pieces?": { "type": "array", "description": "What the content is made of, in order.", "items": {
                "oneOf": variants(&[
                    ("text", text("Stands in the lab file.")),
                    ("secret", text("The name of a secret.")),
                    ("quoted", text("The name of a secret; it stands between double quotes.")),
                ]),
            } },
            "hash?": text("Of the whole content, in hex, by a key that only its host has."),
        })),
        "sight" => json!({ "oneOf": variants(&[("reached", reference("host")), ("away", reference("error"))]) }),
        "host" => object(json!({
            "facts": reference("facts"),
            "marks": by_name("mark"),
            "seen": by_name("seen"),
            "renamed?": { "type": "object", "description": "Ids that marks have on the host under a name that it had before, by what they are here.", "additionalProperties": reference("id") },
            "interrupted?": reference("interrupted"),
        })),
        "facts" => object(json!({
            "hostname": text("As the kernel has it."),
            "os": text("PRETTY_NAME of /etc/os-release."),
            "os_id": text("ID of /etc/os-release."),
            "kernel": text("Its release."),
            "systemd": flag("Whether systemd is the init."),
            "apt": flag("Whether packages come from apt."),
            "root": flag("Whether labwright is root there."),
            "user": text("Whom it runs as."),
            "boot_id": text("Changes with each boot."),
            "clock": seconds("The host's clock, since 1970."),
        })),
        "mark" => object(json!({
            "origin": one_of(["created", "adopted"]),
            "applied": reference("spec"),
            "after?": list("id"),
            "in_flight?": flag("Whether a step was begun whose result was never written."),
        })),
        "seen" => {
            let present = object(json!({ "spec": reference("spec"), "data?": text("What would be lost with it.") }));
            let mut forms = vec![json!({ "const": "absent" })];
            forms.extend(variants(&[("present", present), ("unknown", reference("error"))]));
            json!({ "oneOf": forms })
        }
        _ => {
            return answers::definition(name)
                .or_else(|| network::definition(name))
                .or_else(|| running::definition(name))
                .or_else(|| dns::definition(name));
        }
    })
}

/// A field of a resource. What JSON has no form for is an object with one key that begins with `$`.
fn value() -> Value {
    let mut forms = vec![
        json!({ "type": ["null", "boolean", "integer", "string"] }),
        list("value"),
        json!({
            "type": "object",
            "propertyNames": { "not": { "pattern": "^\\$" } },
            "additionalProperties": reference("value"),
        }),
    ];
    forms.extend(variants(&[
        ("$bytes", text("Content that is not text, in base64.")),
        ("$secret", reference("sealed")),
        ("$digest", reference("digest")),
        ("$same", json!({ "const": true })),
    ]));
    json!({ "oneOf": forms })
}

fn plan() -> Value {
    object(json!({
        "version": { "const": PLAN_VERSION, "description": "Of the form of a plan." },
        "id": text("Derived from everything else: equal plans have equal ids."),
        "lab": text("The lab's name."),
        "lab_hash": text("BLAKE3 over the lab's files."),
        "steps": list("step"),
        "report": object(json!({
            "unchanged": count("As declared."),
            "blocked": list("blocked"),
            "kept": { "type": "array", "items": object(json!({ "id": reference("id"), "reason": text("In words.") })) },
            "away": list("away"),
            "left_out": count("Left out by --only, --exclude or --tag."),
            "interrupted?": pairs(text("The host's name."), reference("interrupted")),
            "clock_skew?": pairs(text("The host's name."), seconds("Ahead of this machine.")),
        })),
    }))
}

/// One host of `locks`: who holds it, what came of ending the holder, or why that is not known.
fn lock() -> Value {
    let host = || text("The host's name.");
    let lease = || schema_or_null(reference("lease"));
    json!({ "oneOf": [
        object(json!({ "host": host(), "lease": lease() })),
        object(json!({
            "host": host(),
            "lease": lease(),
            "ended": flag("Whether the holder that was there is gone."),
            "now": lease(),
        })),
        object(json!({ "host": host(), "error": reference("error") })),
    ] })
}
