//! The interface: its key, its peers, its addresses and routes, as the kernel has them.
//! No file holds its key; after a reboot it is made again from what was sealed to this host.

use std::fmt::Write;

use labwright_plan::{
    Call, Change, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, ResourceId, Sealed, Spec,
    Value, Wanted, WayBack,
};
use zeroize::Zeroizing;

use super::session::Here;
use super::tool;
use crate::host::command::{SHORT, run};

/// The kind `interface`, named as the kernel names it.
pub const KIND: Kind = Kind {
    name: "interface",
    doc: "A WireGuard interface. Its private key is in the kernel alone; a reboot brings it back from what is sealed to the host.",
    fields: &[
        field("addresses", "Its own addresses in the VPN, each with the length of its network."),
        field("port", "The UDP port it listens on; 0 for any."),
        field("key", "Its private key."),
        Field {
            consequence: Consequence::Hot,
            ..field(
                "peers",
                "Who may connect, by public key: the addresses that are theirs, and how they are kept alive.",
            )
        },
        Field { consequence: Consequence::Hot, ..field("endpoints", "Where peers are called at, by public key.") },
        field("routes", "Networks that are reached over it."),
        field("up", "Whether it is up."),
    ],
    ownership: Ownership::Thing,
    create: Consequence::CutsManagement,
    delete: Consequence::CutsManagement,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence: Consequence::CutsManagement, content: false }
}

/// A peer more cuts nobody off; one that goes, or that other addresses are given to, may be the one we come in by.
pub fn price(changes: &[Change]) -> Consequence {
    let stays = |change: &&Change| match (&change.before, &change.after) {
        (Value::Map(before), Value::Map(after)) => before.iter().all(|(key, peer)| after.get(key) == Some(peer)),
        _ => false,
    };
    match changes.iter().filter(|change| change.field == "peers").all(|change| stays(&change)) {
        true => Consequence::None,
        false => Consequence::CutsManagement,
    }
}

pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Result<Option<Observed>, ProviderError> {
    let name = wanted.id.name();
    let Some(dump) = tool::dump(name)? else { return Ok(None) };
    let key = Sealed::found(&mut dump.private.as_bytes(), &here.context.change_key.0)
        .map_err(|error| ProviderError::bug(format!("cannot hash the key of `{name}`: {error}")))?;
    let list = |items: Vec<String>| items.into_iter().collect::<Value>();
    // Peers move about, and WireGuard follows them: where they are now says nothing of where they shall be called at.
    let endpoints = here.context.applied.get(wanted.id).and_then(|applied| applied.get("endpoints")).cloned();
    let mut spec = Spec::from([
        ("addresses".to_string(), list(tool::addresses(name)?)),
        ("key".to_string(), Value::Secret(key)),
        ("peers".to_string(), Value::Map(dump.peers)),
        ("endpoints".to_string(), endpoints.unwrap_or_else(|| Value::Map(Spec::new()))),
        ("routes".to_string(), list(tool::routes(name)?)),
        ("up".to_string(), tool::is_up(name)?.into()),
    ]);
    // Whoever calls and is not called takes any port, and a new one with each start.
    let any = wanted.spec.get("port") == Some(&Value::Int(0));
    spec.insert("port".into(), Value::Int(if any { 0 } else { dump.port }));
    Ok(Some(Observed { spec, data: None }))
}

/// Makes it, or makes it as it shall be.
pub fn bring(here: &Here, id: &ResourceId, spec: &Spec) -> Result<(), ProviderError> {
    let name = id.name();
    for program in ["wg", "ip"] {
        if !tool::has(program) {
            let package = if program == "wg" { "wireguard-tools" } else { "iproute2" };
            return Err(ProviderError::rejected(format!("`{program}` is not installed there"))
                .help(format!("add `{package}` to `packages` of this host")));
        }
    }
    let config = config(here, name, spec)?;
    if tool::dump(name)?.is_none() {
        tool::create(name, here.context.facts.systemd)?;
    }
    tool::configure(name, &config)?;
    let texts = |field: &str| spec.get(field).and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text);
    let addresses: Vec<&str> = texts("addresses").collect();
    let set = || -> Result<(), ProviderError> {
        addresses.iter().try_for_each(|address| {
            run("ip", &["address", "replace", address, "dev", name], SHORT)?.require().map(drop)
        })
    };
    set()?;
    // With the first address of a network the kernel takes the others of that network away, so it is asked after each.
    while let Some(other) = tool::addresses(name)?.into_iter().find(|other| !addresses.contains(&other.as_str())) {
        run("ip", &["address", "delete", &other, "dev", name], SHORT)?.require()?;
    }
    set()?;
    run("ip", &["link", "set", "dev", name, "up"], SHORT)?.require()?;
    let routes: Vec<&str> = texts("routes").collect();
    for route in &routes {
        run("ip", &["route", "replace", route, "dev", name, "proto", "static"], SHORT)?.require()?;
    }
    for other in tool::routes(name)?.iter().filter(|other| !routes.contains(&other.as_str())) {
        run("ip", &["route", "delete", other, "dev", name, "proto", "static"], SHORT)?.require()?;
    }
    Ok(())
}

/// What `wg syncconf` reads.
fn config(here: &Here, name: &str, spec: &Spec) -> Result<Zeroizing<String>, ProviderError> {
    let Some(Value::Secret(key)) = spec.get("key") else {
        return Err(ProviderError::bug(format!("the interface `{name}` has no key")));
    };
    let key = key.reveal(&here.context.secrets).map_err(|secret| {
        ProviderError::rejected(format!("secret `{secret}` of `{name}` did not come with this run")).help("plan again")
    })?;
    let port = spec.get("port").and_then(Value::int).unwrap_or_default();
    let mut rest = format!("ListenPort = {port}\n");
    let endpoints = spec.get("endpoints");
    let peers = match spec.get("peers") {
        Some(Value::Map(peers)) => peers.iter().collect(),
        _ => Vec::new(),
    };
    for (public, peer) in peers {
        let Value::Map(peer) = peer else { continue };
        let allowed: Vec<&str> =
            peer.get("allowed").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect();
        let _ = write!(rest, "\n[Peer]\nPublicKey = {public}\nAllowedIPs = {}\n", allowed.join(", "));
        let endpoint = match endpoints {
            Some(Value::Map(endpoints)) => endpoints.get(public).and_then(Value::text),
            _ => None,
        };
        if let Some(endpoint) = endpoint {
            let _ = writeln!(rest, "Endpoint = {endpoint}");
        }
        if let Some(seconds) = peer.get("keepalive").and_then(Value::int) {
            let _ = writeln!(rest, "PersistentKeepalive = {seconds}");
        }
    }
    // One allocation: what a growing string leaves behind is not wiped.
    let parts = ["[Interface]\nPrivateKey = ", key.trim(), "\n", rest.as_str()];
    let mut whole = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.push_str(part));
    Ok(whole)
}

/// Takes it away.
pub fn remove(here: &Here, name: &str) -> Result<(), ProviderError> {
    if here.context.facts.systemd {
        // Where the kernel has the interface there is no such unit.
        crate::host::systemd::stop(&tool::unit(name))?;
    }
    if tool::dump(name)?.is_some() {
        run("ip", &["link", "delete", "dev", name], SHORT)?.require()?;
    }
    Ok(())
}

/// The interface as the kernel has it now, or that there is none.
pub fn way_back(here: &Here, name: &str) -> Result<WayBack, ProviderError> {
    let mut calls = Vec::new();
    if tool::dump(name)?.is_none() {
        if here.context.facts.systemd {
            calls.push(Call::new("systemctl", &["stop", &tool::unit(name)]).may_fail());
        }
        let gone = format!("if ip link show dev {name} >/dev/null 2>&1; then exec ip link delete dev {name}; fi");
        calls.push(Call::new("sh", &["-c", &gone]));
        return Ok(WayBack { calls, ..WayBack::default() });
    }
    let now = run("wg", &["showconf", name], SHORT)?.require()?.stdout;
    calls.push(Call::new("wg", &["syncconf", name, "/dev/stdin"]).input(now));
    calls.push(Call::new("ip", &["address", "flush", "dev", name, "scope", "global"]).may_fail());
    for address in tool::addresses(name)? {
        calls.push(Call::new("ip", &["address", "replace", &address, "dev", name]));
    }
    let state = if tool::is_up(name)? { "up" } else { "down" };
    calls.push(Call::new("ip", &["link", "set", "dev", name, state]));
    for family in ["-4", "-6"] {
        calls.push(Call::new("ip", &[family, "route", "flush", "dev", name, "proto", "static"]).may_fail());
    }
    for route in tool::routes(name)? {
        calls.push(Call::new("ip", &["route", "replace", &route, "dev", name, "proto", "static"]));
    }
    Ok(WayBack { calls, secret: true, ..WayBack::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(keys: &[(&str, &str)]) -> Value {
        let peer = |(key, allowed): &(&str, &str)| {
            let allowed = [*allowed].into_iter().collect::<Value>();
            (key.to_string(), Value::Map(Spec::from([("allowed".to_string(), allowed)])))
        };
        Value::Map(keys.iter().map(peer).collect())
    }

    #[test]
    fn a_peer_more_is_cheap_and_one_less_is_not() {
        let change = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            [Change { field: "peers".into(), before: peers(before), after: peers(after) }]
        };
        assert_eq!(price(&change(&[("a", "1")], &[("a", "1"), ("b", "2")])), Consequence::None);
        assert_eq!(price(&change(&[("a", "1"), ("b", "2")], &[("a", "1")])), Consequence::CutsManagement);
        assert_eq!(price(&change(&[("a", "1")], &[("a", "2")])), Consequence::CutsManagement);
    }
}
