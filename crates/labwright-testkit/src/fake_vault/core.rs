//! One server: sealed or not, who asks, whether they may, and which engine answers.
//! Knows requests and replies, not sockets.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::acl::{self, Rules};
use super::fields::Fields;
use super::http::Request;
use super::random;
use super::reply::{Answer, Fault, Reply};
use super::seal::Seal;
use super::state::{Mount, State, StoredKey};
use super::{approle, kv, sys, token, transit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Read,
    List,
    /// Creating or updating.
    Write,
    Patch,
    Delete,
}

/// One request that got past the door.
pub(crate) struct Call<'a> {
    pub op: Op,
    pub path: &'a str,
    pub token: &'a str,
    pub fields: &'a Fields,
    pub content_type: &'a str,
    pub request: &'a Request,
}

impl Call<'_> {
    pub(crate) fn query_number(&self, name: &str) -> Result<Option<u64>, Fault> {
        let number = |text: &String| text.parse().map_err(|_| Fault::bad(format!("`{name}` is not a number")));
        self.request.query.get(name).map(number).transpose()
    }
}

pub(crate) struct Core {
    pub state: State,
    pub sealed: bool,
    /// Shares that were given since the last reset.
    pub progress: Vec<String>,
    pub seal: Option<Seal>,
    pub storage: Option<PathBuf>,
    pub namespace: Option<String>,
    /// Until then key/value engines are not ready.
    pub upgrading: Option<Instant>,
    /// How far this server's clock is ahead.
    pub ahead: Duration,
    /// What a real server would write into its log.
    pub log: Vec<String>,
    /// Requests, as method and path, and fields that nobody knew.
    pub requests: Vec<String>,
    pub ignored: Vec<String>,
}

/// What `default` grants: the part of it that is about things which exist here.
const DEFAULT_POLICY: &str = r#"
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"#;

/// Paths that want `sudo` beside the capability itself.
const ROOT_PROTECTED: &[&str] = &["sys/auth/*", "sys/seal", "auth/token/accessors/*", "auth/token/revoke-orphan"];

impl Core {
    pub(crate) fn new(state: State, seal: Option<Seal>, storage: Option<PathBuf>) -> Core {
        Core {
            state,
            sealed: true,
            progress: Vec::new(),
            seal,
            storage,
            namespace: None,
            upgrading: None,
            ahead: Duration::ZERO,
            log: Vec::new(),
            requests: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// Seconds since 1970, by this server's clock.
    pub(crate) fn now(&self) -> u64 {
        (SystemTime::now() + self.ahead).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    pub(crate) fn stamp(&self) -> String {
        jiff::Timestamp::try_from(SystemTime::now() + self.ahead)
            .map_or_else(|_| String::new(), |time| time.to_string())
    }

    pub(crate) fn respond(&mut self, request: &Request) -> Reply {
        self.requests.push(format!("{} {}", request.method, request.path));
        let answer = self.answer(request);
        let changed = request.method != "GET" && request.method != "LIST";
        if let (true, Some(folder)) = (changed, &self.storage)
            && let Err(error) = self.state.write(folder)
        {
            self.log.push(format!("{error:#}"));
            return Fault::new(500, "internal error").reply();
        }
        answer.unwrap_or_else(Fault::reply)
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path.strip_prefix("v1/").ok_or_else(Fault::not_found)?;
        if path.split('/').any(|part| part == "..") {
            return Err(Fault::bad("relative paths not supported"));
        }
        if let Some(answer) = sys::open(self, request, path) {
            return answer;
        }
        if self.sealed {
            return Err(Fault::sealed());
        }
        if let Some(wanted) = &self.namespace
            && request.headers.get("x-vault-namespace").map(|name| name.trim_matches('/')) != Some(wanted)
        {
            return Err(Fault::no_route(path));
        }
        let listing = request.query.get("list").is_some_and(|value| value == "true");
        let op = match request.method.as_str() {
            "GET" if listing => Op::List,
            "GET" => Op::Read,
            "LIST" => Op::List,
            "POST" | "PUT" => Op::Write,
            "PATCH" => Op::Patch,
            "DELETE" => Op::Delete,
            _ => return Err(Fault { status: 405, errors: Vec::new() }),
        };
        let path = if op == Op::List && !path.ends_with('/') { format!("{path}/") } else { path.to_string() };
        let fields = match op {
            Op::Write | Op::Patch => Fields::read(&request.body)?,
            Op::Delete if !request.body.is_empty() => Fields::read(&request.body)?,
            _ => Fields::default(),
        };
        let answer = self.authorised(request, op, &path, &fields);
        if answer.is_ok() {
            let unknown = fields.unknown();
            self.ignored.extend(unknown.iter().map(|field| format!("{path}: {field}")));
            if let (Ok(Reply { body: Some(body), .. }), false) = (&answer, unknown.is_empty())
                && body["warnings"].is_null()
            {
                let mut body = body.clone();
                body["warnings"] =
                    json!([format!("Endpoint ignored these unrecognized parameters: [{}]", unknown.join(" "))]);
                return answer.map(|reply| Reply { body: Some(body), ..reply });
            }
        }
        answer
    }

    fn authorised(&mut self, request: &Request, op: Op, path: &str, fields: &Fields) -> Answer {
        if let Some((mount, "login")) = self.auth_mount(path)
            && op == Op::Write
            && self.state.auths[&mount].kind == "approle"
        {
            return approle::login(self, fields, &mount);
        }
        let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let token = request.headers.get("x-vault-token").map(String::as_str).or(bearer).unwrap_or_default();
        self.forget_expired();
        if !self.state.tokens.contains_key(token) {
            return Err(Fault::denied());
        }
        let needed = match op {
            Op::Read => "read",
            Op::List => "list",
            Op::Patch => "patch",
            Op::Delete => "delete",
            Op::Write if self.exists(path) == Some(false) => "create",
            Op::Write => "update",
        };
        let protected = ROOT_PROTECTED.iter().any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path.trim_end_matches('/') == *rule,
        });
        if !self.may(token, path, needed) || (protected && !self.may(token, path, "sudo")) {
            return Err(Fault::denied());
        }
        self.count_use(token);
        let content_type = request.headers.get("content-type").map(String::as_str).unwrap_or_default();
        let call = Call { op, path, token, fields, content_type, request };
        let answer = self.dispatch(&call);
        if self.state.tokens.get(token).is_some_and(|token| token.uses_left == Some(0)) {
            self.state.tokens.remove(token);
        }
        answer
    }

    fn dispatch(&mut self, call: &Call<'_>) -> Answer {
        if let Some(rest) = call.path.strip_prefix("sys/") {
            return sys::answer(self, call, rest);
        }
        if let Some((mount, rest)) = self.auth_mount(call.path) {
            return match self.state.auths[&mount].kind.as_str() {
                "token" => token::answer(self, call, rest.trim_end_matches('/')),
                _ => approle::answer(self, call, &mount, rest),
            };
        }
        match self.mount(call.path) {
            Some((mount, rest)) => match self.state.mounts[&mount].kind.as_str() {
                "kv" if self.upgrading.is_some_and(|until| Instant::now() < until) => Err(Fault::bad(
                    "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period \
                     and will resume service shortly.",
                )),
                "kv" => kv::answer(self, call, &mount, rest),
                "transit" => transit::answer(self, call, &mount, rest),
                _ => Err(Fault::unsupported_path()),
            },
            None => Err(Fault::no_route(call.path)),
        }
    }

    fn exists(&self, path: &str) -> Option<bool> {
        if let Some((mount, rest)) = self.auth_mount(path) {
            return approle::exists(self, &mount, rest);
        }
        let (mount, rest) = self.mount(path)?;
        match self.state.mounts[&mount].kind.as_str() {
            "kv" => kv::exists(self, &mount, rest),
            "transit" => transit::exists(self, &mount, rest),
            _ => None,
        }
    }

    fn mount<'p>(&self, path: &'p str) -> Option<(String, &'p str)> {
        let mount =
            self.state.mounts.keys().filter(|mount| path.starts_with(mount.as_str())).max_by_key(|m| m.len())?;
        Some((mount.clone(), &path[mount.len()..]))
    }

    fn auth_mount<'p>(&self, path: &'p str) -> Option<(String, &'p str)> {
        let path = path.strip_prefix("auth/")?;
        let mount = self.state.auths.keys().find(|mount| path.starts_with(mount.as_str()))?;
        Some((mount.clone(), &path[mount.len()..]))
    }

    /// Whether a token grants this on a path.
    pub(crate) fn may(&self, token: &str, path: &str, capability: &str) -> bool {
        let granted = self.capabilities(token, path, capability == "list" || path.ends_with('/'));
        granted.iter().any(|one| one == "root" || one == capability)
    }

    pub(crate) fn capabilities(&self, token: &str, path: &str, listing: bool) -> Vec<String> {
        let Some(token) = self.state.tokens.get(token) else { return Vec::new() };
        if token.policies.iter().any(|policy| policy == "root") {
            return vec!["root".to_string()];
        }
        let texts = token.policies.iter().filter_map(|policy| self.state.policies.get(policy));
        let rules: Vec<Rules> = texts.filter_map(|text| acl::parse(text).ok()).collect();
        acl::granted(&rules, path, listing)
    }

    fn forget_expired(&mut self) {
        let now = self.now();
        let tokens = &mut self.state.tokens;
        loop {
            let gone = |id: &String| !tokens.contains_key(id);
            let dead = tokens.iter().find(|(_, token)| {
                token.expires.is_some_and(|expires| expires <= now) || token.parent.as_ref().is_some_and(gone)
            });
            let Some(dead) = dead.map(|(id, _)| id.clone()) else { return };
            tokens.remove(&dead);
        }
    }

    fn count_use(&mut self, token: &str) {
        if let Some(left) = self.state.tokens.get_mut(token).and_then(|token| token.uses_left.as_mut()) {
            *left = left.saturating_sub(1);
        }
    }

    /// A new server: shares, the root token, what is mounted from the beginning. Gives the shares and the token.
    pub(crate) fn initialize(&mut self, shares: usize, threshold: usize) -> Result<(Vec<String>, String), Fault> {
        if self.state.initialized {
            return Err(Fault::bad("Vault is already initialized"));
        }
        if let Some(seal) = &self.seal {
            let key = random::bytes::<32>();
            let ciphertext = seal
                .encrypt(&key)
                .map_err(|error| Fault::bad(format!("failed to encrypt keys for storage: {error:#}")))?;
            self.state.stored_key = Some(StoredKey { ciphertext, digest: blake3::hash(&key).to_string() });
        }
        let keys: Vec<String> = (0..shares).map(|_| random::hex(&random::bytes::<33>())).collect();
        self.state.initialized = true;
        self.state.shares.clone_from(&keys);
        self.state.threshold = threshold;
        self.state.cluster = random::uuid();
        self.state.policies.insert("default".to_string(), DEFAULT_POLICY.to_string());
        self.state.auths.insert("token/".to_string(), mount("token", "token based credentials"));
        for (path, kind) in [("sys/", "system"), ("cubbyhole/", "cubbyhole"), ("identity/", "identity")] {
            self.state.mounts.insert(path.to_string(), mount(kind, ""));
        }
        let root = token::make(
            self,
            token::Draft {
                policies: vec!["root".to_string()],
                parent: None,
                path: "auth/token/root".to_string(),
                display_name: "root".to_string(),
                meta: std::collections::BTreeMap::new(),
                ttl: None,
                period: 0,
                max_ttl: 0,
                renewable: false,
                num_uses: 0,
            },
        );
        if self.seal.is_some() {
            self.open_with_seal();
        }
        Ok((keys, root))
    }

    /// What happens at a start: nothing, or the other server is asked for the key.
    pub(crate) fn open_with_seal(&mut self) {
        let (Some(seal), Some(stored), true) = (self.seal.clone(), &self.state.stored_key, self.sealed) else { return };
        if let Some(warning) = seal.renew() {
            self.log.push(warning);
        }
        match seal.decrypt(&stored.ciphertext) {
            Ok(key) if blake3::hash(&key).to_string() == stored.digest => {
                self.sealed = false;
                self.log.push("vault is unsealed".to_string());
            }
            Ok(_) => self.log.push("failed to unseal core: stored key is another one".to_string()),
            Err(error) => {
                self.log.push(format!("failed to unseal core: fetching stored unseal keys failed: {error:#}"))
            }
        }
    }
}

pub(crate) fn mount(kind: &str, description: &str) -> Mount {
    Mount {
        kind: kind.to_string(),
        description: description.to_string(),
        options: std::collections::BTreeMap::new(),
        accessor: format!("{kind}_{}", &random::name()[..8]),
        uuid: random::uuid(),
    }
}
