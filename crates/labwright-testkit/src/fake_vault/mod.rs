//! A strict Vault (or OpenBao) on loopback, made from the published HTTP API, for tests of whoever talks to one.
//! Not a secret store: it encrypts nothing on disk, and what it does not model it refuses instead of guessing.
//!
//! It keeps state, tokens with policies and ends, versions, and the seal; the clock can be put forward, answers can be
//! delayed or sent elsewhere. As a process of its own: `fake-vault server -config=FILE`.

mod approle;
mod ask;
mod core;
mod kv;
mod seal;
mod sys;
mod token;
mod transit;

mod acl;
mod config;
mod fields;
mod hcl;
mod http;
mod random;
mod reply;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

pub use ask::{Question, ask};
use config::Config;
use core::Core;
use http::{Request, Server};
use reply::Reply;
use seal::Seal;
use state::State;

const RETRY_UNSEAL: Duration = Duration::from_secs(5);

/// How far a server is when the test gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prepared {
    /// New: the test initialises it.
    Empty,
    /// Initialised with three shares, of which two open it, and sealed.
    Sealed,
    /// Initialised likewise, and open.
    #[default]
    Unsealed,
}

/// What a server is to be; `default()` listens on loopback without TLS and keeps everything in memory.
#[derive(Clone, Debug, Default)]
pub struct VaultOptions {
    /// A folder that outlives the server.
    pub storage: Option<PathBuf>,
    /// None: any free port on 127.0.0.1.
    pub address: Option<SocketAddr>,
    /// Certificate chain and key, in PEM.
    pub tls: Option<(String, String)>,
    /// The text `seal "transit" { … }`, as it would stand in the server's configuration.
    pub seal: Option<String>,
    /// What `VAULT_TOKEN` is for a process: the token for the seal, unless the text has one.
    pub seal_token: Option<String>,
    /// Only requests for this namespace find anything.
    pub namespace: Option<String>,
    pub prepared: Prepared,
}

#[derive(Default)]
struct Trouble {
    delay: Duration,
    redirect: Option<String>,
}

/// A server that ends with this value.
pub struct FakeVault {
    core: Arc<Mutex<Core>>,
    trouble: Arc<Mutex<Trouble>>,
    server: Server,
    secure: bool,
    shares: Vec<String>,
    root_token: String,
}

impl FakeVault {
    /// A server on loopback, initialised and open.
    pub fn start() -> Result<FakeVault> {
        FakeVault::with(VaultOptions::default())
    }

    pub fn with(options: VaultOptions) -> Result<FakeVault> {
        let seal = options.seal.as_deref().map(|text| stanza(text, options.seal_token.clone())).transpose()?;
        let state = options.storage.as_deref().map(State::read).transpose()?.unwrap_or_default();
        let mut core = Core::new(state, seal, options.storage);
        core.namespace = options.namespace;
        let (mut shares, mut root_token) = (Vec::new(), String::new());
        if options.prepared != Prepared::Empty && !core.state.initialized {
            (shares, root_token) = core.initialize(3, 2).map_err(|fault| anyhow!(fault.errors.join("; ")))?;
            core.sealed = core.sealed || options.prepared == Prepared::Sealed;
            if let Some(folder) = &core.storage {
                core.state.write(folder)?;
            }
        }
        core.open_with_seal();
        if options.prepared == Prepared::Unsealed && core.seal.is_none() {
            core.sealed = false;
        }
        let (core, trouble) = (Arc::new(Mutex::new(core)), Arc::<Mutex<Trouble>>::default());
        let tls = options.tls.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
        let address = options.address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let server = Server::start(address, tls, responder(&core, &trouble))?;
        Ok(FakeVault { core, trouble, server, secure: tls.is_some(), shares, root_token })
    }

    /// As clients write it: scheme, address, port.
    pub fn address(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.server.address)
    }

    /// Empty unless this value initialised the server.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// Key shares in hexadecimal; two of them open it. Empty unless this value initialised the server.
    pub fn shares(&self) -> &[String] {
        &self.shares
    }

    pub fn sealed(&self) -> bool {
        self.core().sealed
    }

    /// Ends and starts anew: it comes back sealed, and asks the server of its seal, if it has one.
    pub fn restart(&self) {
        let mut core = self.core();
        core.sealed = true;
        core.progress.clear();
        core.open_with_seal();
    }

    /// Puts its clock forward.
    pub fn advance(&self, by: Duration) {
        self.core().ahead += by;
    }

    /// Its key/value engines are not ready for so long, as the real ones are not right after they were mounted.
    pub fn upgrade(&self, lasts: Duration) {
        self.core().upgrading = Some(Instant::now() + lasts);
    }

    /// Every answer from now on takes so long.
    pub fn delay(&self, by: Duration) {
        self.trouble().delay = by;
    }

    /// Every answer from now on is 307 with this address before the path; none ends it.
    pub fn redirect(&self, to: Option<&str>) {
        self.trouble().redirect = to.map(str::to_string);
    }

    /// What it would have written into its log.
    pub fn log(&self) -> Vec<String> {
        self.core().log.clone()
    }

    /// Every request so far, as `METHOD v1/path`.
    pub fn requests(&self) -> Vec<String> {
        self.core().requests.clone()
    }

    /// Fields that clients sent and the server does not know, as `path: field`; the real one only warns.
    pub fn ignored_fields(&self) -> Vec<String> {
        self.core().ignored.clone()
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stanza(text: &str, token: Option<String>) -> Result<Seal> {
    let items = hcl::parse(text).map_err(|error| anyhow!(error))?;
    let [hcl::Item::Block { kind, label: Some(label), items }] = items.as_slice() else {
        bail!("expected one block, `seal \"transit\" {{ … }}`");
    };
    if (kind.as_str(), label.as_str()) != ("seal", "transit") {
        bail!("`{kind} \"{label}\"` is not `seal \"transit\"`");
    }
    let seal = Seal::read(items)?;
    Ok(Seal { token: seal.token.clone().or(token), ..seal })
}

fn responder(core: &Arc<Mutex<Core>>, trouble: &Arc<Mutex<Trouble>>) -> Arc<http::Respond> {
    let (core, trouble) = (Arc::clone(core), Arc::clone(trouble));
    Arc::new(move |request: &Request| {
        let (delay, redirect) = {
            let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
            (trouble.delay, trouble.redirect.clone())
        };
        thread::sleep(delay);
        if let Some(to) = redirect {
            let location = Some(format!("{to}{}", request.target));
            return Reply { status: 307, body: None, location };
        }
        core.lock().unwrap_or_else(PoisonError::into_inner).respond(request)
    })
}

/// Runs a server from its configuration until the process is ended; says what happens on `log`. The seal's token is
/// `token`, unless the configuration has one. A server whose seal does not open tries again every few seconds.
pub fn serve(config: &Path, token: Option<String>, log: &mut dyn std::io::Write) -> Result<()> {
    let mut config = Config::read(config)?;
    if let Some(seal) = &mut config.seal {
        seal.token = seal.token.take().or(token);
    }
    let state = config.storage.as_deref().map(State::read).transpose()?.unwrap_or_default();
    let core = Arc::new(Mutex::new(Core::new(state, config.seal, config.storage)));
    let tls = config.tls.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
    let server = Server::start(config.address, tls, responder(&core, &Arc::default()))?;
    writeln!(log, "listening at {}", server.address).context("write the log")?;
    loop {
        let lines = {
            let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
            core.open_with_seal();
            std::mem::take(&mut core.log)
        };
        for line in lines {
            writeln!(log, "{line}").context("write the log")?;
        }
        log.flush().context("write the log")?;
        thread::sleep(RETRY_UNSEAL);
    }
}
