//! The schemas of what the lab's resolvers tell.

use labwright_model::snapshot::dns::told::OUTCOMES;
use serde_json::{Value, json};

use super::{by_name, count, document, flag, list, object, one_of, or_null, pairs, schema_or_null, text};

/// Title and body of a document.
pub fn document_of(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "dns-status" => (
            "`labwright dns status --json`",
            document(json!({ "resolvers": by_name("resolver"), "away": by_name("error") })),
        ),
        "dns-queries" => (
            "`labwright dns queries --json`",
            document(json!({ "queries": list("dns_query"), "away": by_name("error") })),
        ),
        _ => return None,
    })
}

pub fn definition(name: &str) -> Option<Value> {
    let number = count;
    let top = || pairs(text("A name, or a client."), count("How often, in the last day."));
    Some(match name {
        "resolver" => object(json!({
            "generation": number("Of the snapshot that is served."),
            "listening": { "type": "array", "items": text("address:port") },
            "up": number("Seconds since it was started."),
            "queries": number("Since it was started."),
            "blocked": number("Queries that were blocked."),
            "outcomes": { "type": "object", "additionalProperties": number("Queries with this outcome.") },
            "top": object(json!({ "names": top(), "blocked": top(), "clients": top() })),
            "lists": { "type": "array", "items": object(json!({
                "name": text("As the lab file has it."),
                "rules": number("Rules in use."),
                "passed_over": number("Lines that are for browsers, or need more than a name."),
                "malformed": number("Lines that are nothing."),
                "cut": number("Rules that no longer fitted."),
                "fault": or_null("string"),
                "checked": schema_or_null(number("Seconds since 1970: when its server was last heard.")),
            })) },
            "lists_ready": flag("Whether the lists of its snapshot have been read."),
            "listed": number("Names of all lists together."),
            "local_names": number("Names that are the lab's own."),
            "paused": { "type": "array", "items": object(json!({
                "group": text("Of clients, for which nothing is blocked now."),
                "left": number("Seconds that are left."),
            })) },
            "upstreams": { "type": "array", "items": object(json!({
                "upstream": text("As the lab file has it."),
                "asked": number("Questions to it."),
                "failed": number("Questions that it did not answer."),
                "micros": number("Microseconds that it takes of late; 0 where it was not asked yet."),
            })) },
        })),
        "dns_query" => object(json!({
            "resolver": text("The host that was asked."),
            "query": object(json!({
                "at": text("RFC 3339, by the resolver's clock."),
                "client?": text("Its name in the lab, or its address; left out where clients are not told apart."),
                "name": text("What was asked for."),
                "type": text("The record's type: AAAA."),
                "outcome": one_of(OUTCOMES),
                "list?": text("The list that blocked it."),
                "code": text("Of the reply: NOERROR, NXDOMAIN."),
                "micros": number("Microseconds that it took."),
            })),
        })),
        _ => return None,
    })
}
