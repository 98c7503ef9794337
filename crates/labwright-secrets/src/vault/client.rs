//! A client of one server: who it is, and its token while that is good.
//! The endpoints are in the other files of this folder.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::Method;

use super::address::escaped;
use super::answer::{granted, number, passing, text};
use super::transport::{Call, Transport};
use super::{AppRole, Kv, Sys, Tokens, Transit};
use crate::{ErrorKind, SecretError, SecretText};

const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Whether `http://` is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only with this machine.
    #[default]
    LoopbackOnly,
    /// With any host: tokens and secrets are readable on the way.
    Anywhere,
}

/// Where the server is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://host:port`
    pub address: String,
    /// Certificates, in PEM, that are believed instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// As `ca_file`, and before it: the certificates themselves.
    pub ca_pem: Option<String>,
    /// OpenBao's and Vault Enterprise's division of a server.
    pub namespace: Option<String>,
    /// How long one call may take, answer included.
    pub timeout: Duration,
    pub plain_http: PlainHttp,
}

impl Options {
    /// Ten seconds for a call, the system's certificates, no namespace.
    pub fn new(address: impl Into<String>) -> Options {
        Options {
            address: address.into(),
            ca_file: None,
            ca_pem: None,
            namespace: None,
            timeout: Duration::from_secs(10),
            plain_http: PlainHttp::LoopbackOnly,
        }
    }
}

/// Who the client is.
#[derive(Clone, Debug)]
pub enum Login {
    /// Nobody: enough for the state of the seal, and for opening it.
    Nobody,
    Token(SecretText),
    /// A machine; `mount` is usually `approle`. Its token is renewed, or taken anew, when the lease runs out.
    AppRole {
        mount: String,
        role_id: String,
        secret_id: SecretText,
    },
}

pub struct Client {
    transport: Transport,
    patience: Duration,
    login: Login,
    lease: Mutex<Option<Lease>>,
}

/// A token that was given for a while.
#[derive(Clone)]
struct Lease {
    token: SecretText,
    since: Instant,
    lasts: Duration,
    renewable: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.transport.address.authority).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to nothing yet: the first call does, and logs in if it has to.
    ///
    /// # Errors
    /// `Invalid` for an address that makes no sense or is not encrypted; `Io`, `Malformed` for the file of certificates.
    pub fn new(options: &Options, login: Login) -> Result<Client, SecretError> {
        let transport = Transport::new(options)?;
        Ok(Client { transport, patience: options.timeout, login, lease: Mutex::new(None) })
    }

    /// The key/value engine, version 2, mounted there: usually `secret`.
    pub fn kv<'a>(&'a self, mount: &'a str) -> Kv<'a> {
        Kv { client: self, mount }
    }

    pub fn sys(&self) -> Sys<'_> {
        Sys { client: self }
    }

    /// Logins for machines, enabled there: usually `approle`.
    pub fn approle<'a>(&'a self, mount: &'a str) -> AppRole<'a> {
        AppRole { client: self, mount }
    }

    /// The transit engine mounted there: usually `transit`.
    pub fn transit<'a>(&'a self, mount: &'a str) -> Transit<'a> {
        Transit { client: self, mount }
    }

    pub fn tokens(&self) -> Tokens<'_> {
        Tokens { client: self }
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, SecretError> {
        self.call(&Call { method: Method::GET, path, body: None })
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, SecretError> {
        self.call(&Call { method: Method::POST, path, body: Some(body) })
    }

    /// What is there, or none if there is nothing.
    pub(super) fn find(&self, path: &str) -> Result<Option<Value>, SecretError> {
        absent(self.get(path))
    }

    pub(super) fn place(&self, path: &str) -> String {
        self.transport.place(path)
    }

    /// A request with this client's token. One to an engine that is not ready is made until it is; one that is denied because the machine's token was revoked is made once more.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Value, SecretError> {
        let token = self.token()?;
        let started = Instant::now();
        let mut answer = self.with(call, token.as_ref());
        while answer.as_ref().is_err_and(passing) && started.elapsed() < self.patience {
            std::thread::sleep(BETWEEN_TRIES);
            answer = self.with(call, token.as_ref());
        }
        match (&answer, &self.login) {
            (Err(error), Login::AppRole { .. }) if error.kind == ErrorKind::Denied && !self.alive(token.as_ref()) => {
                *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let token = self.token()?;
                self.with(call, token.as_ref())
            }
            _ => answer,
        }
    }

    /// A request without token.
    pub(super) fn open(&self, call: &Call<'_>) -> Result<Value, SecretError> {
        self.with(call, None)
    }

    /// A request without token, whatever status it is answered with.
    pub(super) fn raw(&self, path: &str) -> Result<(u16, Value), SecretError> {
        let raw = self.transport.send(&Call { method: Method::GET, path, body: None }, None)?;
        Ok((raw.status, raw.body))
    }

    fn with(&self, call: &Call<'_>, token: Option<&SecretText>) -> Result<Value, SecretError> {
        let token = token.map(SecretText::expose);
        let raw = self.transport.send(call, token)?;
        granted(raw, call, &self.place(call.path), token)
    }

    fn alive(&self, token: Option<&SecretText>) -> bool {
        let call = Call { method: Method::GET, path: "auth/token/lookup-self", body: None };
        self.with(&call, token).is_ok()
    }

    fn token(&self) -> Result<Option<SecretText>, SecretError> {
        let (mount, role_id, secret_id) = match &self.login {
            Login::Nobody => return Ok(None),
            Login::Token(token) => return Ok(Some(token.clone())),
            Login::AppRole { mount, role_id, secret_id } => (mount, role_id, secret_id),
        };
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lease.take().and_then(|held| self.kept(held));
        let held = match kept {
            Some(held) => held,
            None => self.log_in(mount, role_id, secret_id)?,
        };
        let token = held.token.clone();
        *lease = Some(held);
        Ok(Some(token))
    }

    /// The lease if it is young; renewed after two thirds of its time; none if that does not work.
    fn kept(&self, held: Lease) -> Option<Lease> {
        let age = held.since.elapsed();
        // A lease of no length does not run out.
        if held.lasts.is_zero() || age < held.lasts * 2 / 3 {
            return Some(held);
        }
        if !held.renewable || age >= held.lasts {
            return None;
        }
        let call = Call { method: Method::POST, path: "auth/token/renew-self", body: Some(&json!({})) };
        let answer = self.with(&call, Some(&held.token)).ok()?;
        let renewed = lease(&answer["auth"]).ok()?;
        // What was renewed up to its last end would have to be renewed again with every call from here on.
        (renewed.lasts > held.lasts / 3).then_some(renewed)
    }

    fn log_in(&self, mount: &str, role_id: &str, secret_id: &SecretText) -> Result<Lease, SecretError> {
        let path = format!("auth/{}/login", escaped(mount)?);
        let body = json!({ "role_id": role_id, "secret_id": secret_id.expose() });
        let answer = self.with(&Call { method: Method::POST, path: &path, body: Some(&body) }, None)?;
        lease(&answer["auth"])
    }
}

fn lease(auth: &Value) -> Result<Lease, SecretError> {
    Ok(Lease {
        token: SecretText::new(text(auth, "client_token")?),
        since: Instant::now(),
        lasts: Duration::from_secs(number(auth, "lease_duration")?),
        renewable: auth["renewable"].as_bool().unwrap_or(false),
    })
}

/// Turns "does not exist" into none.
pub(super) fn absent(answer: Result<Value, SecretError>) -> Result<Option<Value>, SecretError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::NoSuchSecret && !error.message.ends_with("is below no mount") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
