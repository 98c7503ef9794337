//! The schemas of answers about the network: flows, work order, reach, exposed, rehearsal.

use serde_json::{Value, json};

use super::{count, document, flag, list, names_of, object, one_of, reference, text};

/// Title and body of a document.
pub fn document_of(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "flows" => (
            "`labwright flows --json`",
            document(json!({
                "pairs": { "type": "array", "items": object(json!({
                    "from": text("The zone, or `internet`."),
                    "to": text("The zone, or `internet`."),
                    "flows": list("way"),
                })) },
                "withheld": { "type": "array", "description": "Ways that only a flow of their own opens.",
                    "items": with_way(json!({
                        "crosses": text("What it would cross."),
                        "add": text("The flow to add."),
                    })) },
                "portless": { "type": "array", "items": object(json!({
                    "service": text("A service whose port nothing says."),
                    "because": text("Why somebody has to reach it."),
                    "place": text("`file:line`, or empty."),
                })) },
                "guards": { "type": "array", "items": object(json!({
                    "host": text("The host's name."),
                    "firewall": one_of(["enforced", "off", "foreign"]),
                    "router": flag("Whether it is the router."),
                })) },
                "unenforced": { "type": "array", "description": "Denied by the matrix and by nothing else.",
                    "items": object(json!({
                        "from": text("The zone, or `internet`."),
                        "to": text("The zone, or `internet`."),
                        "pairs": count("How many ordered pairs."),
                        "such_as": super::pairs(text("Who."), text("To whom.")),
                    })) },
            })),
        ),
        "work-order" => (
            "`labwright flows --export json`",
            document(json!({
                "lab": text("The lab's name."),
                "router": super::or_null("string"),
                "zones": { "type": "array", "items": object(json!({
                    "name": text("The zone."),
                    "vlan": super::or_null("integer"),
                    "interface": super::or_null("string"),
                    "subnets": names_of("subnets"),
                })) },
                "hosts": { "type": "array", "items": object(json!({
                    "name": text("A host that rules name."), "addresses": names_of("addresses"),
                })) },
                "rules": { "type": "array", "description": "In this order; everything else is denied and logged.",
                    "items": object(json!({
                        "number": count("From 1."),
                        "from": text("A zone, a host, or `internet`."),
                        "to": text("A zone, a host, or `internet`."),
                        "allows": text("`any`, `icmp`, ports and ranges with their protocol; without one both."),
                        "because": text("Why."),
                        "place": text("`file:line`, or empty."),
                    })) },
                "routes": { "type": "array", "description": "Networks behind a host that a VPN ends at.",
                    "items": object(json!({
                        "to": text("The network."),
                        "via": text("The address that leads there."),
                        "host": text("Whose it is."),
                    })) },
                "forwards": { "type": "array", "items": object(json!({
                    "ports": text("Ports of the public address."),
                    "to": text("The host."),
                    "address": text("Its address."),
                })) },
            })),
        ),
        "reach" => (
            "`labwright reach FROM TO --json`",
            document(json!({
                "allowed": flag("Whether all of them are."),
                "answers": { "type": "array", "items": reference("reached") },
            })),
        ),
        "exposed" => (
            "`labwright exposed --json`",
            document(json!({ "exposed": { "type": "array", "items": object(json!({
                "from": text("`internet`, or the zone."),
                "kind": one_of(["internet", "vpn", "guest", "iot"]),
                "reaches": { "type": "array", "items": object(json!({
                    "to": text("Who."),
                    "allows": text("What is open."),
                    "because": list("way"),
                    "services": names_of("services that are led to from there by name"),
                    "enforced": flag("Whether anything on the way denies the rest."),
                })) },
            })) } })),
        ),
        "rehearsal" => (
            "`labwright rehearse --json`",
            document(json!({
                "zones": count("Zones of the lab."),
                "hosts": count("Hosts of the lab."),
                "rulesets": count("Firewalls that were loaded."),
                "pairs": count("Ordered pairs that were tried."),
                "tries": count("Connections, datagrams and echo requests."),
                "seconds": { "type": "number", "description": "From the first namespace to the last answer." },
                "leaks": list("mismatch"),
                "false_blocks": list("mismatch"),
                "unanswered?": list("mismatch"),
                "unenforced": { "type": "array", "items": object(json!({
                    "from": text("Who."), "to": text("To whom."), "ports": count("How many got through."),
                })) },
                "fault?": text("The host that was stopped."),
                "lost": list("mismatch"),
            })),
        ),
        _ => return None,
    })
}

/// The properties of a way that is open.
fn way() -> Value {
    json!({
        "from": text("A zone, a host, or `internet`."),
        "to": text("A zone, a host, or `internet`."),
        "allows": text("`any`, `icmp`, ports and ranges with their protocol; without one both."),
        "why": one_of([
            "flow", "names", "time", "addresses", "needs", "exposed", "upstream", "watching", "backup", "mount", "vpn",
            "tunnel", "administration", "updates", "hairpin",
        ]),
        "because": text("In words."),
        "place": text("`file:line`, or empty."),
    })
}

fn with_way(mut properties: Value) -> Value {
    super::merge(&mut properties, way());
    object(properties)
}

pub fn definition(name: &str) -> Option<Value> {
    Some(match name {
        "way" => object(way()),
        "reached" => object(json!({
            "from": text("Who opens it."),
            "to": text("Who takes it."),
            "port?": text("What was asked about; absent: anything."),
            "allowed": flag("The answer."),
            "open": text("Everything that is open between the two."),
            "because": list("way"),
            "hops": { "type": "array", "items": object(json!({
                "name": text("The machine."),
                "does": one_of(["opens", "forwards", "takes"]),
                "enforces": flag("Whether it denies what no flow allows."),
            })) },
            "turn": text("The nearest change that would turn the answer."),
            "enforced": flag("Whether anything on the way enforces it."),
        })),
        "mismatch" => object(json!({
            "from": text("Who tried."),
            "to": text("Whom."),
            "address": text("The address that was tried."),
            "ports": names_of("ports"),
            "because": text("The flow that lets it through, or empty."),
        })),
        _ => return None,
    })
}
