//! AdGuard Home: names are DNS rewrites, pairs of a domain and an answer, behind a user and a password.
//! https://github.com/AdguardTeam/AdGuardHome/blob/master/openapi/openapi.yaml

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_plan::{ErrorKind, ProviderError};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use ureq::http::Method;
use zeroize::Zeroizing;

use super::book::{Book, Entry, spelled};
use crate::api::{Answer, Api};

/// The way to one AdGuard Home.
pub struct AdGuard {
    api: Api,
    /// The value of `Authorization` (RFC 7617).
    authorization: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Rewrite {
    domain: String,
    answer: String,
    /// Since 0.107.68; one that is off answers nothing.
    #[serde(default = "on")]
    enabled: bool,
}

fn on() -> bool {
    true
}

/// What an entry that is off is answered with: nothing that the lab could want.
const OFF: &str = "nothing: it is off";

impl AdGuard {
    pub fn new(api: Api, user: &str, password: &str) -> AdGuard {
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let authorization = Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())));
        AdGuard { api, authorization }
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Answer, ProviderError> {
        let answer = self.api.send(method, path, &[("Authorization", self.authorization.as_str())], body)?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let said = answer.text.trim();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let message = format!("{} answers {}{said}", self.api.place(), answer.status);
        Err(match answer.status {
            401 | 403 => ProviderError::new(ErrorKind::Auth, message)
                .help("look at `platform.dns.api`: `user`, and what its `password` refers to (`labwright secret set NAME`)"),
            429 => ProviderError::new(ErrorKind::Auth, message)
                .help("somebody tried wrong passwords too often: wait for as long as its setting `block_auth_min` says, 15 minutes"),
            302 | 307 => ProviderError::rejected(message).help("it is not set up yet: open its page once in a browser"),
            _ => ProviderError::rejected(message)
                .help("look whether `platform.dns.api.url` is where AdGuard Home's own page is"),
        })
    }

    fn put(&self, path: &str, domain: &str, answer: &str) -> Result<(), ProviderError> {
        self.ask(Method::POST, path, Some(&json!({ "domain": domain, "answer": answer }))).map(drop)
    }
}

impl Book for AdGuard {
    fn entries(&self) -> Result<Vec<Entry>, ProviderError> {
        let answer = self.ask(Method::GET, "/control/rewrite/list", None)?;
        let all: Option<Vec<Rewrite>> = serde_json::from_value(answer.body).unwrap_or_default();
        let Some(all) = all else {
            let message = format!("{} does not tell its rewrites as a list", self.api.place());
            return Err(
                ProviderError::rejected(message).help("something else listens there: look at `platform.dns.api.url`")
            );
        };
        let entry = |rewrite: Rewrite| Entry {
            names: vec![rewrite.domain.to_lowercase()],
            text: rewrite.answer.clone(),
            answer: if rewrite.enabled { spelled(&rewrite.answer) } else { OFF.to_string() },
        };
        Ok(all.into_iter().map(entry).collect())
    }

    fn add(&self, name: &str, answer: &str) -> Result<(), ProviderError> {
        self.put("/control/rewrite/add", name, answer)
    }

    fn remove(&self, entry: &Entry) -> Result<(), ProviderError> {
        let Some(name) = entry.names.first() else { return Ok(()) };
        self.put("/control/rewrite/delete", name, &entry.text)
    }
}
