//! The schemas of answers: assess, blast, graph, docs.

use serde_json::{Value, json};

use super::{count, document, flag, list, names_of, object, one_of, reference, text};

/// Title and body of a document.
pub fn document_of(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "assess" => ("`labwright assess --json`", document(json!({ "services": list("assessed") }))),
        "blast" => (
            "`labwright blast NAME --json`",
            document(json!({
                "fails": object(thing()),
                "about": text("What it is for, in words; empty where the file does not say."),
                "then?": text("How to bring it back, where the file says."),
                "affected": { "type": "array", "description": "The most urgent first.", "items": reference("affected") },
                "recovery?": {
                    "type": "array",
                    "description": "What fails and goes down with it, in the order of `protection.recovery`; absent where the file gives none.",
                    "items": object(thing()),
                },
            })),
        ),
        "points" => (
            "`labwright blast --all --json`",
            document(
                json!({ "points": { "type": "array", "description": "The worst first.", "items": reference("point") } }),
            ),
        ),
        "graph" => (
            "`labwright graph --json`",
            document(json!({
                "by": one_of(["layer", "zone", "domain"]),
                "groups": { "type": "array", "items": object(json!({
                    "name": text("The group's name."), "note": text("What it says of itself, such as a VLAN; or empty."),
                })) },
                "boxes": { "type": "array", "items": object(json!({
                    "id": text("Unique: `host/docker-01`."),
                    "name": text("As it is drawn."),
                    "note": text("The second line, or empty."),
                    "shape": one_of(["internet", "role", "zone", "host", "service", "repository", "domain"]),
                    "group": count("The number of its group, from 0."),
                })) },
                "arrows": { "type": "array", "items": object(json!({
                    "from": count("The number of its box, from 0."),
                    "to": count("The number of its box, from 0."),
                    "relation": one_of(["runs-on", "needs", "backs-up-to", "flow", "routes", "fails-with"]),
                    "label": text("What a flow lets through; else empty."),
                })) },
            })),
        ),
        "docs" => (
            "`labwright docs --json`, with `--page` or without",
            document(json!({ "pages": { "type": "array", "items": object(json!({
                "path": text("Below the folder of the documentation."),
                "title": text("The page's first heading."),
                "text": text("Markdown."),
            })) } })),
        ),
        "written" => (
            "`labwright docs --out DIR --json`",
            document(json!({
                "written": names_of("pages that are new or changed"),
                "unchanged": names_of("pages that were as they should be"),
                "removed": names_of("pages that the lab no longer has"),
            })),
        ),
        _ => return None,
    })
}

/// The properties of something that can fail.
fn thing() -> Value {
    json!({
        "kind": one_of(["host", "service", "zone", "site", "domain", "role"]),
        "name": text("As the lab file has it; `wiki (dev)` in an environment, a role in words."),
    })
}

fn with_thing(mut properties: Value) -> Value {
    super::merge(&mut properties, thing());
    object(properties)
}

pub fn definition(name: &str) -> Option<Value> {
    Some(match name {
        "assessed" => object(json!({
            "service": text("The service; `wiki (dev)` in an environment."),
            "level": one_of(["0", "1", "2", "3a", "3b"]),
            "tier": one_of(["lab", "production"]),
            "hardware": text("Who answers for the hardware."),
            "os": text("Who answers for system and software."),
            "backups": text("Who answers for backups and recovery."),
            "answers": list("answer"),
        })),
        "answer" => object(json!({
            "question": one_of(["restore", "detect", "security", "rebuild"]),
            "verdict": one_of(["no", "partly", "yes"]),
            "proven": flag("Whether it was tried, and not only declared."),
            "evidence": names_of("points that speak for it"),
            "wanting": names_of("things that would make it a yes"),
        })),
        "affected" => with_thing(json!({
            "urgency": one_of(["dark", "degraded", "unprotected", "held"]),
            "production": flag("Whether people rely on it."),
            "what": text("What that means, where it is more than being gone; else empty."),
            "because": names_of("reasons, link by link, from the thing to what fails"),
            "then?": text("What to do, where the file says what is left."),
        })),
        "point" => with_thing(json!({
            "about": text("What it is for, in words."),
            "dark": count("Services that go dark with it."),
            "production": count("Those of them that people rely on."),
            "roles": count("Roles and zones that go dark."),
            "degraded": count("What works with less."),
            "unprotected": count("Services that lose copies, or have none."),
            "held": count("What cannot be deployed, changed or watched."),
        })),
        _ => return None,
    })
}
