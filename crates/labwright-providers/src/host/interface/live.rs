//! What the kernel has of an interface, as `ip` tells it in JSON. Leaves out what the network gives by itself: addresses and
//! routes that a router announces, and those that the kernel makes from the others.

use std::collections::BTreeMap;

use labwright_model::units::InterfaceAddress;
use labwright_plan::ProviderError;
use serde_json::Value;

use super::{Setup, way};
use crate::host::command::{SHORT, run};

/// An interface as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Sorted, as the fields of `Setup`.
    pub addresses: Vec<String>,
    pub gateway: Vec<String>,
    pub routes: BTreeMap<String, String>,
    pub up: bool,
}

/// Routes that somebody set, by hand or by a service; rtnetlink(7) has the others for the kernel and for routing daemons.
const SET_BY: &[&str] = &["static", "boot", "dhcp"];
/// What IPv6 has where nothing is said; linux/ipv6_route.h.
const METRIC6: u64 = 1024;

/// The interface; an error that names those that are there where it is not.
pub fn required(name: &str) -> Result<Live, ProviderError> {
    let output = run("ip", &["-j", "address", "show", "dev", name], SHORT)?;
    if !output.ok() {
        if !output.stderr.contains("does not exist") {
            return Err(output.error());
        }
        let others = names()?.join("`, `");
        return Err(ProviderError::rejected(format!("it has no interface `{name}`; it has `{others}`"))
            .help("correct the name below `interfaces`; `ip link` on the host shows them"));
    }
    let mut live = addresses(name, &json(&output.stdout)?);
    for family in ["-4", "-6"] {
        let output = run("ip", &["-j", family, "route", "show", "dev", name], SHORT)?.require()?;
        routes(&json(&output.stdout)?, family == "-6", &mut live);
    }
    live.gateway.sort_unstable();
    Ok(live)
}

fn names() -> Result<Vec<String>, ProviderError> {
    let output = run("ip", &["-j", "link", "show"], SHORT)?.require()?;
    let links = json(&output.stdout)?;
    let name = |link: &Value| Some(link.get("ifname")?.as_str()?.to_string());
    Ok(links.iter().filter_map(name).filter(|name| name != "lo").collect())
}

/// Where there is nothing to tell, `ip` says nothing at all.
fn json(text: &str) -> Result<Vec<Value>, ProviderError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text)
        .map_err(|error| ProviderError::rejected(format!("what `ip -j` says cannot be understood: {error}")))
}

fn addresses(name: &str, links: &[Value]) -> Live {
    let mut live = Live::default();
    let Some(link) = links.iter().find(|link| link.get("ifname").and_then(Value::as_str) == Some(name)) else {
        return live;
    };
    let listed = |field: &str| link.get(field).and_then(Value::as_array).into_iter().flatten();
    live.up = listed("flags").any(|flag| flag.as_str() == Some("UP"));
    for address in listed("addr_info") {
        let text = |field: &str| address.get(field).and_then(Value::as_str).unwrap_or_default();
        let flagged = |field: &str| address.get(field).and_then(Value::as_bool) == Some(true);
        let announced =
            text("family") == "inet6" && (flagged("dynamic") || flagged("mngtmpaddr") || flagged("temporary"));
        let length = address.get("prefixlen").and_then(Value::as_u64).unwrap_or_default();
        if text("scope") == "global" && !announced {
            live.addresses.push(canonical(&format!("{}/{length}", text("local"))));
        }
    }
    live.addresses.sort_unstable();
    live.addresses.dedup();
    live
}

fn routes(routes: &[Value], six: bool, live: &mut Live) {
    for route in routes {
        let text = |field: &str| route.get(field).and_then(Value::as_str);
        let (Some(target), Some(via)) = (text("dst"), text("gateway")) else { continue };
        if !text("protocol").is_none_or(|by| SET_BY.contains(&by)) {
            continue;
        }
        let metric = route.get("metric").and_then(Value::as_u64).filter(|metric| !(six && *metric == METRIC6));
        match target {
            "default" => live.gateway.push(via.to_string()),
            target => {
                live.routes.insert(network(target), spelled(via, metric));
            }
        }
    }
}

/// A network as the kernel spells it. `ip` leaves out the length of what is one address.
pub fn network(text: &str) -> String {
    match text {
        text if text.contains('/') => canonical(text),
        text if text.contains(':') => format!("{text}/128"),
        text => format!("{text}/32"),
    }
}

fn canonical(text: &str) -> String {
    text.parse::<InterfaceAddress>().map_or_else(|_| text.to_string(), |address| address.to_string())
}

/// Router and metric, as routes are told and compared.
pub fn spelled(via: &str, metric: Option<u64>) -> String {
    match metric.filter(|metric| !(via.contains(':') && *metric == METRIC6)) {
        Some(metric) => format!("{via} metric {metric}"),
        None => via.to_string(),
    }
}

/// Makes the kernel have exactly this, address for address: taking an interface down and up again would cut far more than what
/// changes. What is so already stays untouched.
pub fn set(name: &str, setup: &Setup) -> Result<(), ProviderError> {
    let ip = |args: &[&str]| run("ip", args, SHORT)?.require().map(drop);
    let lasting = ["valid_lft", "forever", "preferred_lft", "forever"];
    let add = |address: &String| ip(&[&["address", "replace", address, "dev", name][..], &lasting].concat());
    ip(&["link", "set", "dev", name, "up"])?;
    setup.addresses.iter().try_for_each(add)?;
    // With the first address of a network the kernel takes the others of that network away, so it is asked after each.
    while let Some(old) = required(name)?.addresses.into_iter().find(|old| !setup.addresses.contains(old)) {
        ip(&["address", "delete", &old, "dev", name])?;
    }
    setup.addresses.iter().try_for_each(add)?;
    let metric =
        |metric: Option<&str>| metric.map_or(Vec::new(), |metric| vec!["metric".to_string(), metric.to_string()]);
    let now = required(name)?;
    for gateway in setup.gateway.iter().filter(|gateway| !now.gateway.contains(gateway)) {
        ip(&["route", "replace", "default", "via", gateway, "dev", name, "proto", "static"])?;
    }
    for (net, route) in setup.routes.iter().filter(|(net, route)| now.routes.get(*net) != Some(*route)) {
        let (via, cost) = way(route);
        let cost = metric(cost);
        let cost: Vec<&str> = cost.iter().map(String::as_str).collect();
        ip(&[&["route", "replace", net, "via", via, "dev", name, "proto", "static"][..], &cost].concat())?;
    }
    for gateway in now.gateway.iter().filter(|gateway| !setup.gateway.contains(gateway)) {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        // One that was replaced in its place is gone already; whoever called looks whether all is as it shall be.
        drop(ip(&[family, "route", "delete", "default", "via", gateway, "dev", name]));
    }
    for (net, route) in now.routes.iter().filter(|(net, route)| setup.routes.get(*net) != Some(*route)) {
        let (via, cost) = way(route);
        let cost = metric(cost);
        let cost: Vec<&str> = cost.iter().map(String::as_str).collect();
        drop(ip(&[&["route", "delete", net, "via", via, "dev", name][..], &cost].concat()));
    }
    Ok(())
}

impl Live {
    /// The words of `ip` that set each route again that somebody set, just as it is.
    pub fn kept_routes(&self, name: &str) -> Result<Vec<Vec<String>>, ProviderError> {
        let mut kept = Vec::new();
        for family in ["-4", "-6"] {
            let output = run("ip", &[family, "route", "show", "dev", name], SHORT)?.require()?;
            for line in output.stdout.lines() {
                let words: Vec<&str> =
                    line.split_whitespace().filter(|word| !matches!(*word, "linkdown" | "dead")).collect();
                let by = words.windows(2).find(|pair| pair[0] == "proto").map(|pair| pair[1]);
                // Until when a lease holds is not for us to say.
                let words = words.split(|word| *word == "expires").next().unwrap_or_default();
                if !words.is_empty() && by.is_none_or(|by| SET_BY.contains(&by)) {
                    let all = [&[family, "route", "replace"][..], words, &["dev", name]].concat();
                    kept.push(all.into_iter().map(str::to_string).collect());
                }
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From iproute2 6.1: a leased address, one by hand, one that a router announced, one of the link.
    const ADDRESSES: &str = r#"[{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,
        "addr_info":[{"family":"inet","local":"10.0.0.9","prefixlen":24,"broadcast":"10.0.0.255","scope":"global","dynamic":true,"label":"eth0","valid_life_time":3000,"preferred_life_time":3000},
        {"family":"inet","local":"10.0.0.7","prefixlen":24,"scope":"global","secondary":true,"label":"eth0"},
        {"family":"inet6","local":"2001:db8::5054:ff:fe12:3456","prefixlen":64,"scope":"global","dynamic":true,"mngtmpaddr":true,"noprefixroute":true},
        {"family":"inet6","local":"fd00::7","prefixlen":64,"scope":"global"},
        {"family":"inet6","local":"fe80::5054:ff:fe12:3456","prefixlen":64,"scope":"link"}]}]"#;

    #[test]
    fn what_the_network_gives_by_itself_is_left_out() {
        let mut live = addresses("eth0", &json(ADDRESSES).unwrap());
        assert_eq!(live.addresses, ["10.0.0.7/24", "10.0.0.9/24", "fd00::7/64"]);
        assert!(live.up);
        let four = r#"[{"dst":"default","gateway":"10.0.0.1","protocol":"dhcp","prefsrc":"10.0.0.9","metric":100,"flags":[]},
            {"dst":"10.0.0.0/24","protocol":"kernel","scope":"link","prefsrc":"10.0.0.9","flags":[]},
            {"dst":"10.9.0.0/16","gateway":"10.0.0.254","flags":[]},
            {"dst":"10.8.0.1","gateway":"10.0.0.254","protocol":"static","metric":5,"flags":[]},
            {"dst":"10.7.0.0/16","gateway":"10.0.0.254","protocol":"bird","flags":[]}]"#;
        routes(&json(four).unwrap(), false, &mut live);
        let six = r#"[{"dst":"default","gateway":"fe80::1","protocol":"ra","metric":1024,"flags":[]},
            {"dst":"fd00:9::/48","gateway":"fd00::1","protocol":"static","metric":1024,"flags":[],"pref":"medium"}]"#;
        routes(&json(six).unwrap(), true, &mut live);
        assert_eq!(live.gateway, ["10.0.0.1"]);
        let told: Vec<(&str, &str)> = live.routes.iter().map(|(net, via)| (net.as_str(), via.as_str())).collect();
        assert_eq!(
            told,
            [("10.8.0.1/32", "10.0.0.254 metric 5"), ("10.9.0.0/16", "10.0.0.254"), ("fd00:9::/48", "fd00::1")]
        );
        assert!(json("").unwrap().is_empty() && json("x").is_err());
    }
}
