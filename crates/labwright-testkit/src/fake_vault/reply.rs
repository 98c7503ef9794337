//! What the server says: the envelopes of Vault's HTTP API, and its ways to say no.
//! The texts are those of the published server, because clients look into them.

use serde_json::{Value, json};

/// A status and a body; no body at all with 204.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: Option<Value>,
    pub location: Option<String>,
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub status: u16,
    pub errors: Vec<String>,
}

pub(crate) type Answer = Result<Reply, Fault>;

impl Reply {
    pub(crate) fn none() -> Reply {
        Reply { status: 204, body: None, location: None }
    }

    /// A body without envelope, as some endpoints below `sys/` answer.
    pub(crate) fn raw(status: u16, body: Value) -> Reply {
        Reply { status, body: Some(body), location: None }
    }

    pub(crate) fn data(data: Value) -> Reply {
        Reply::raw(200, envelope(data, Value::Null))
    }

    /// What is found, but deleted: 404 with data.
    pub(crate) fn gone(data: Value) -> Reply {
        Reply::raw(404, envelope(data, Value::Null))
    }

    pub(crate) fn auth(auth: Value) -> Reply {
        Reply::raw(200, envelope(Value::Null, auth))
    }

    /// A list of names; an empty one is not found.
    pub(crate) fn keys(keys: Vec<String>) -> Answer {
        match keys.is_empty() {
            true => Err(Fault::not_found()),
            false => Ok(Reply::data(json!({ "keys": keys }))),
        }
    }
}

fn envelope(data: Value, auth: Value) -> Value {
    json!({
        "request_id": super::random::uuid(), "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": data, "wrap_info": null, "warnings": null, "auth": auth,
    })
}

impl Fault {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Fault {
        Fault { status, errors: vec![text.into()] }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Fault {
        Fault::new(400, text)
    }

    pub(crate) fn denied() -> Fault {
        Fault::new(403, "1 error occurred:\n\t* permission denied\n\n")
    }

    pub(crate) fn not_found() -> Fault {
        Fault { status: 404, errors: Vec::new() }
    }

    pub(crate) fn unsupported_path() -> Fault {
        Fault::new(404, "1 error occurred:\n\t* unsupported path\n\n")
    }

    pub(crate) fn unsupported_operation() -> Fault {
        Fault::new(405, "1 error occurred:\n\t* unsupported operation\n\n")
    }

    pub(crate) fn no_route(path: &str) -> Fault {
        Fault::new(404, format!("no handler for route \"{path}\". route entry not found."))
    }

    pub(crate) fn sealed() -> Fault {
        Fault::new(503, "Vault is sealed")
    }

    pub(crate) fn reply(self) -> Reply {
        Reply::raw(self.status, json!({ "errors": self.errors }))
    }
}
