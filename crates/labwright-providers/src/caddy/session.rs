//! A Caddy's routes and policies, seen and changed from its own host. What is to be written is worked out from the configuration
//! as it was read, and written only if it still is so; otherwise it is read and worked out again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hyper::Method;
use labwright_plan::{
    Action, Context, ErrorKind, Observed, Progress, ProviderError, ResourceId, Seen, Session, Spec, Step, Value, Wanted,
};
use serde_json::{Map, Value as Json, json};

use super::admin::{Admin, Edit, Wrote};
use super::route::{canonical, text as shown};
use crate::api::observe;
use crate::host::session::{number, text};

/// The server that is made where none listens on the port.
const OWN: &str = "labwright";
/// What ids of the lab's routes begin with.
const MARK: &str = "labwright-";
/// How often it is tried again where others change the configuration all the time.
const TRIES: usize = 8;

/// What the engine said of this host.
pub struct Here {
    pub context: Context,
    /// Steps of one run need not be in each other's way.
    pub writing: Mutex<()>,
}

/// Where the admin API is that a thing is told by.
fn admin(spec: &Spec) -> &str {
    text(spec, "admin").unwrap_or_default()
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let config = |spec| Admin::at(admin(spec))?.config();
        observe(wanted, admin, config, |wanted, config| match config {
            Ok(config) => look(&config.json, wanted),
            Err(error) if error.kind == ErrorKind::Unreachable && self.is_to_come(wanted) => Seen::Absent,
            Err(error) => Seen::Unknown(error.clone()),
        })
    }

    fn apply(&self, step: &Step, progress: &dyn Progress) -> Result<(), ProviderError> {
        if matches!(step.action, Action::Adopt | Action::Release) {
            return Ok(());
        }
        let admin = Admin::at(admin(&step.spec))?;
        let made = {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            change(&admin, step)?
        };
        if made && step.action == Action::Create && forgets() {
            progress.say(
                &step.id,
                "Caddy was started without `--resume`: it forgets this when it restarts or its Caddyfile is loaded again, and \
                 `labwright apply` tells it anew",
            );
        }
        Ok(())
    }

    /// Caddy writes down what it was told before it answers.
    fn persist(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}

impl Here {
    /// Whether Caddy comes with this very run: it was told nothing yet, and its program is not there.
    fn is_to_come(&self, wanted: &Wanted<'_>) -> bool {
        let there =
            ["/usr/local/bin", "/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join("caddy").is_file());
        !there && !self.context.applied.contains_key(wanted.id)
    }
}

/// Whether a Caddy of this host runs that begins anew with its Caddyfile; caddy run(1).
fn forgets() -> bool {
    let Ok(all) = std::fs::read_dir("/proc") else { return false };
    all.flatten().filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_caddy =
            words.first().is_some_and(|program| program.rsplit(|byte| *byte == b'/').next() == Some(b"caddy"));
        is_caddy && words.get(1) == Some(&&b"run"[..]) && !words.contains(&&b"--resume"[..])
    })
}

/// Something with an id in a configuration.
struct Found<'a> {
    value: &'a Json,
    /// The server that a route stands in, and how many routes that has.
    server: Option<(&'a str, usize)>,
}

fn servers(config: &Json) -> impl Iterator<Item = (&str, &Json)> {
    let servers = config.pointer("/apps/http/servers").and_then(Json::as_object);
    servers.into_iter().flatten().map(|(name, server)| (name.as_str(), server))
}

fn routes(server: &Json) -> &[Json] {
    server.get("routes").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn policies(config: &Json) -> &[Json] {
    config.pointer("/apps/tls/automation/policies").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn has_id(value: &Json, id: &str) -> bool {
    value.get("@id").and_then(Json::as_str) == Some(id)
}

fn find<'a>(config: &'a Json, kind: &str, id: &str) -> Option<Found<'a>> {
    match kind {
        "policy" => {
            policies(config).iter().find(|policy| has_id(policy, id)).map(|value| Found { value, server: None })
        }
        _ => servers(config).find_map(|(name, server)| {
            let routes = routes(server);
            let value = routes.iter().find(|route| has_id(route, id))?;
            Some(Found { value, server: Some((name, routes.len())) })
        }),
    }
}

/// The ports that a server listens on: `:443`, `10.0.0.1:443`, `tcp/:8000-8010`.
fn listens(server: &Json, port: u16) -> bool {
    let of = |address: &str| {
        let (_, ports) = address.rsplit_once(':')?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Some(first.parse::<u16>().ok()? <= port && port <= last.parse::<u16>().ok()?)
    };
    let all = server.get("listen").and_then(Json::as_array);
    all.into_iter().flatten().filter_map(Json::as_str).any(|address| of(address) == Some(true))
}

/// The first port that a server listens on.
fn first_port(server: &Json) -> Option<u16> {
    let first = server.get("listen")?.as_array()?.first()?.as_str()?;
    first.rsplit_once(':')?.1.split('-').next()?.parse().ok()
}

/// The names that a route of somebody else's answers to.
fn hosts(route: &Json) -> impl Iterator<Item = &str> {
    let matchers = route.get("match").and_then(Json::as_array);
    let hosts = matchers.into_iter().flatten().filter_map(|matcher| matcher.get("host")?.as_array());
    hosts.flatten().filter_map(Json::as_str)
}

/// A route that is not the lab's and answers to one of these names on this port: where, and to which.
fn foreign<'a>(config: &'a Json, port: u16, names: &[&str]) -> Option<(&'a str, &'a str)> {
    servers(config).filter(|(_, server)| listens(server, port)).find_map(|(server, body)| {
        let of_others = |route: &&Json| !route.get("@id").and_then(Json::as_str).is_some_and(|id| id.starts_with(MARK));
        let mut taken = routes(body).iter().filter(of_others).flat_map(hosts);
        taken.find(|host| names.iter().any(|name| name.eq_ignore_ascii_case(host))).map(|name| (server, name))
    })
}

fn port_of(spec: &Spec) -> u16 {
    number(spec, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or_default()
}

/// The texts of a list. What is content travels as a digest where somebody only looks; this does not.
fn texts<'a>(spec: &'a Spec, field: &str) -> Vec<&'a str> {
    spec.get(field).and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect()
}

fn wanted_config(spec: &Spec) -> Result<Json, ProviderError> {
    let text = text(spec, "config").unwrap_or_default();
    serde_json::from_str(text)
        .map_err(|error| ProviderError::bug(format!("what Caddy is to be told did not come as JSON: {error}")))
}

fn look(config: &Json, wanted: &Wanted<'_>) -> Seen {
    let id = text(wanted.spec, "id").unwrap_or_default();
    let Some(found) = find(config, wanted.id.kind(), id) else {
        return match foreign(config, port_of(wanted.spec), &texts(wanted.spec, "names")) {
            Some((server, name)) => Seen::Unknown(taken(server, name)),
            None => Seen::Absent,
        };
    };
    let mut spec = Spec::from([
        ("id".to_string(), Value::Text(id.to_string())),
        ("config".to_string(), Value::Text(shown(&canonical(found.value.clone())))),
    ]);
    if let Some((server, _)) = found.server {
        let server =
            config.pointer("/apps/http/servers").and_then(|servers| servers.get(server)).unwrap_or(&Json::Null);
        let port = Some(port_of(wanted.spec)).filter(|port| listens(server, *port)).or_else(|| first_port(server));
        spec.insert("port".into(), Value::Int(port.map_or(0, i64::from)));
    }
    Seen::Present(Observed { spec, data: None })
}

fn taken(server: &str, name: &str) -> ProviderError {
    ProviderError::new(
        ErrorKind::Conflict,
        format!("Caddy answers for `{name}` already, by a route of its server `{server}` that is not the lab's"),
    )
    .help(format!("take `{name}` out of the Caddyfile, or give the service another `url`"))
}

/// Makes one step true; whether anything had to be written.
fn change(admin: &Admin, step: &Step) -> Result<bool, ProviderError> {
    let id = text(&step.spec, "id").unwrap_or_default();
    let mut first: Option<Option<Json>> = None;
    let mut wrote = false;
    for _ in 0..TRIES {
        let config = admin.config()?;
        let now = find(&config.json, step.id.kind(), id).map(|found| found.value.clone());
        // What was compared with the plan is what was there the first time. Later only others' things may differ.
        if !wrote && *first.get_or_insert_with(|| now.clone()) != now {
            let message = format!("somebody else changed `{id}` in Caddy's configuration meanwhile");
            return Err(ProviderError::new(ErrorKind::Conflict, message).help("plan again"));
        }
        let Some(edit) = edit(&config.json, step)? else { return Ok(wrote) };
        // What may have been written shows when it is read again, and is not written twice: the state is another then.
        if admin.write(&config, &edit)? != Wrote::Moved {
            wrote = true;
        }
    }
    let message =
        format!("somebody else changes Caddy's configuration all the time: {TRIES} tries met another state each");
    Err(ProviderError::new(ErrorKind::Conflict, message).help("apply again once that is over"))
}

/// The next request on the way to what a step wants; `None`: it is so.
fn edit(config: &Json, step: &Step) -> Result<Option<Edit>, ProviderError> {
    let spec = &step.spec;
    let (kind, id) = (step.id.kind(), text(spec, "id").unwrap_or_default());
    let found = find(config, kind, id);
    if step.action == Action::Delete {
        return Ok(found.map(|found| removal(id, &found)));
    }
    let wanted = wanted_config(spec)?;
    let port = port_of(spec);
    if let Some(found) = found {
        let server = found.server.and_then(|(name, _)| servers(config).find(|(other, _)| *other == name));
        if server.is_some_and(|(_, server)| !listens(server, port)) {
            return Ok(Some(removal(id, &found)));
        }
        let same = canonical(found.value.clone()) == canonical(wanted.clone());
        return Ok((!same).then(|| Edit { method: Method::PATCH, path: format!("/id/{id}"), body: Some(wanted) }));
    }
    if kind == "policy" {
        let path = ["apps", "tls", "automation", "policies"];
        return Ok(Some(match config.pointer("/apps/tls/automation/policies").is_some_and(Json::is_array) {
            true => inserted(&path.join("/"), 0, policies(config).len(), wanted),
            false => made(config, &path, json!([wanted])),
        }));
    }
    let names = texts(spec, "names");
    if let Some((server, name)) = foreign(config, port, &names) {
        return Err(taken(server, name));
    }
    let Some((name, server)) = servers(config).find(|(_, server)| listens(server, port)) else {
        let listen = texts(spec, "listen");
        let mut server = json!({ "listen": listen, "routes": [wanted] });
        // Without a certificate for its names, which is what no policy says, it would answer in TLS on whatever port.
        if spec.get("tls").is_some_and(|tls| tls.bool() == Some(false)) {
            server["automatic_https"] = json!({ "disable": true });
        }
        return Ok(Some(made(config, &["apps", "http", "servers", OWN], server)));
    };
    let addressable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(addressable) {
        let message = format!("Caddy's server on port {port} is called `{name}`, which no path of its API can say");
        return Err(ProviderError::rejected(message).help("give that server a name of letters and digits"));
    }
    if !server.get("routes").is_some_and(Json::is_array) {
        return Ok(Some(made(config, &["apps", "http", "servers", name, "routes"], json!([wanted]))));
    }
    let there = routes(server);
    // Names before wildcards, and both before whatever is not the lab's and may answer to everything.
    let wild = names.iter().any(|name| name.starts_with('*'));
    let ours = |route: &Json| route.get("@id").and_then(Json::as_str).is_some_and(|id| id.starts_with(MARK));
    let at = if wild { there.iter().rposition(ours).map_or(0, |last| last + 1) } else { 0 };
    Ok(Some(inserted(&format!("apps/http/servers/{name}/routes"), at, there.len(), wanted)))
}

/// Takes something out; a server of the lab's own goes with its last route.
fn removal(id: &str, found: &Found<'_>) -> Edit {
    let path = match found.server {
        Some((OWN, 1)) => format!("/config/apps/http/servers/{OWN}"),
        _ => format!("/id/{id}"),
    };
    Edit { method: Method::DELETE, path, body: None }
}

/// Puts something into a list that has others: `PUT` goes before a place, `POST` to the end.
fn inserted(list: &str, at: usize, len: usize, value: Json) -> Edit {
    match at < len {
        true => Edit { method: Method::PUT, path: format!("/config/{list}/{at}"), body: Some(value) },
        false => Edit { method: Method::POST, path: format!("/config/{list}"), body: Some(value) },
    }
}

/// Sets something that is not there, with all that is missing on the way to it, in one request.
fn made(config: &Json, path: &[&str], value: Json) -> Edit {
    let mut there = config;
    let mut depth = 0;
    while depth + 1 < path.len() {
        match there.get(path[depth]).filter(|next| next.is_object()) {
            Some(next) => there = next,
            None => break,
        }
        depth += 1;
    }
    let wrap = |value: Json, key: &&str| Json::Object(Map::from_iter([((*key).to_string(), value)]));
    if !there.is_object() {
        // Caddy has no configuration at all.
        return Edit { method: Method::POST, path: "/config/".into(), body: Some(path.iter().rev().fold(value, wrap)) };
    }
    let body = path[depth + 1..].iter().rev().fold(value, wrap);
    Edit { method: Method::POST, path: format!("/config/{}", path[..=depth].join("/")), body: Some(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_in_one_request() {
        let path = ["apps", "http", "servers", "labwright"];
        let of = |config: Json| made(&config, &path, json!(1));
        let edit = of(Json::Null);
        assert_eq!(
            (edit.path.as_str(), edit.body),
            ("/config/", Some(json!({"apps":{"http":{"servers":{"labwright":1}}}})))
        );
        let edit = of(json!({ "apps": { "http": null, "tls": {} } }));
        assert_eq!((edit.path.as_str(), edit.body), ("/config/apps/http", Some(json!({"servers":{"labwright":1}}))));
        let edit = of(json!({ "apps": { "http": { "servers": { "srv0": {} } } } }));
        assert_eq!((edit.path.as_str(), edit.body), ("/config/apps/http/servers/labwright", Some(json!(1))));
    }

    #[test]
    fn a_server_is_known_by_its_port() {
        let server = json!({ "listen": [":80", "tcp/10.0.0.1:8000-8010", "unix//run/x.sock"] });
        for (port, is) in [(80, true), (8005, true), (443, false), (8011, false)] {
            assert_eq!(listens(&server, port), is, "{port}");
        }
    }
}
