//! The ports that a service listens on at its host, as far as the lab file says. Guesses nothing: what is not said is not
//! known, and what is not known is not opened.

use labwright_model::lab::Service;
use labwright_model::units::Traffic;
use serde_json::Value;

use super::allowed::Allowed;

/// What can be reached of a service at its hosts; empty where the file does not say.
pub fn of(service: &Service) -> Allowed {
    let mut allowed = Allowed::default();
    let said = service.port.as_ref().and_then(|port| port.rsplit(':').next()?.trim().parse::<u16>().ok());
    let mut translated = false;
    for (inside, traffic) in published(service) {
        translated |= said.is_some() && inside == said;
        allowed.add(&traffic);
    }
    if let Some(port) = said.filter(|_| !translated) {
        allowed.tcp.add(port.into(), port.into());
    }
    if let Some(port) = probed(service).filter(|_| allowed.is_empty()) {
        allowed.tcp.add(port.into(), port.into());
    }
    allowed
}

/// The port that the service's name leads to, at its host.
pub fn web(service: &Service) -> Allowed {
    let said = service.port.as_ref().and_then(|port| port.rsplit(':').next()?.trim().parse::<u16>().ok());
    let Some(said) = said else { return of(service) };
    let outside = published(service).into_iter().find(|(inside, _)| *inside == Some(said));
    let mut allowed = Allowed::default();
    match outside {
        Some((_, traffic)) => allowed.add(&traffic),
        None => allowed.tcp.add(said.into(), said.into()),
    }
    allowed
}

/// Ports that containers publish to more than the host itself: the port inside, where there is one, and what is open.
fn published(service: &Service) -> Vec<(Option<u16>, Traffic)> {
    let containers = service.containers.0.as_object().into_iter().flat_map(|all| all.values());
    containers
        .filter(|container| container.get("network_mode").and_then(Value::as_str).is_none_or(|mode| mode == "bridge"))
        .filter_map(|container| container.get("ports")?.as_array())
        .flatten()
        .filter_map(one)
        .collect()
}

fn one(port: &Value) -> Option<(Option<u16>, Traffic)> {
    match port {
        Value::String(text) => short(text),
        Value::Object(long) => {
            let local = |address: &str| is_local(address);
            if long.get("host_ip").and_then(Value::as_str).is_some_and(local) {
                return None;
            }
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
            let protocol = long.get("protocol").and_then(Value::as_str).unwrap_or("tcp");
            let outside = text(long.get("published")?);
            let inside = long.get("target").and_then(|target| text(target).parse().ok());
            Some((inside, format!("{outside}/{protocol}").parse().ok()?))
        }
        _ => None,
    }
}

/// `[address:]outside:inside[/protocol]`.
fn short(text: &str) -> Option<(Option<u16>, Traffic)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, inside) = ports.rsplit_once(':')?;
    let (address, outside) = rest.rsplit_once(':').unwrap_or(("", rest));
    if is_local(address.trim_matches(['[', ']'])) {
        return None;
    }
    Some((inside.parse().ok(), format!("{outside}/{protocol}").parse().ok()?))
}

fn is_local(address: &str) -> bool {
    address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The port of a probe that says where it connects: `tcp://docker-01:5432`.
fn probed(service: &Service) -> Option<u16> {
    let url = service.probe.as_ref()?.url.as_ref()?;
    let rest = url.strip_prefix("tcp://")?;
    rest.split('/').next()?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use labwright_model::{Foreign, Spanned};
    use serde_json::json;

    use super::*;

    fn service(port: Option<&str>, ports: Value) -> Service {
        let containers = Foreign(json!({ "app": { "image": "x", "ports": ports } }));
        Service { containers, port: port.map(|port| Spanned::from(port.to_string())), ..Service::default() }
    }

    #[test]
    fn published_ports_count_and_those_of_the_host_alone_do_not() {
        let ports = json!(["8080:80", "127.0.0.1:5432:5432", "53:53/udp", "[::1]:1:1", "2456-2458:2456-2458/udp", 7,
            { "target": 9000, "published": "9001" }, { "target": 1, "published": 2, "host_ip": "127.0.0.1" }]);
        assert_eq!(of(&service(None, ports.clone())).to_string(), "53/udp, 2456-2458/udp, 8080/tcp, 9001/tcp");
        assert_eq!(web(&service(Some("app:80"), ports.clone())).to_string(), "8080/tcp");
        assert_eq!(web(&service(Some("app:9000"), ports)).to_string(), "9001/tcp");
    }

    #[test]
    fn a_port_that_is_said_is_on_the_host_unless_it_is_published_as_another() {
        assert_eq!(of(&service(Some("app:3000"), json!([]))).to_string(), "3000/tcp");
        assert_eq!(of(&service(Some("80"), json!(["8080:80"]))).to_string(), "8080/tcp");
        assert_eq!(of(&service(None, json!([]))).to_string(), "nothing");
        assert_eq!(of(&service(Some("80"), json!(["${PORT}:80"]))).to_string(), "80/tcp");
    }
}
