//! The ports that a service listens on at its host, as far as the lab file says. Guesses nothing: what is not said is not
//! known, and what is not known is not opened.

use labwright_model::lab::Service;
use labwright_model::units::Traffic;
use labwright_model::{Parsed, Placement};

use super::allowed::Allowed;
use crate::check::containers::{Container, containers};

/// What can be reached of a service at its hosts; empty where the file does not say.
pub fn of(parsed: &Parsed, placement: &Placement) -> Allowed {
    let service = &placement.entry;
    let mut allowed = Allowed::default();
    let said = service.port.as_ref().and_then(|port| port.rsplit(':').next()?.trim().parse::<u16>().ok());
    let mut translated = false;
    for (inside, traffic) in published(parsed, placement) {
        translated |= Some(inside) == said;
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
pub fn web(parsed: &Parsed, placement: &Placement) -> Allowed {
    let service = &placement.entry;
    let said = service.port.as_ref().and_then(|port| port.rsplit(':').next()?.trim().parse::<u16>().ok());
    let Some(said) = said else { return of(parsed, placement) };
    let outside = published(parsed, placement).into_iter().find(|(inside, _)| *inside == said);
    let mut allowed = Allowed::default();
    match outside {
        Some((_, traffic)) => allowed.add(&traffic),
        None => allowed.tcp.add(said.into(), said.into()),
    }
    allowed
}

/// Ports that containers publish to more than the host itself: the port inside, and what is open.
fn published(parsed: &Parsed, placement: &Placement) -> Vec<(u16, Traffic)> {
    containers(parsed, placement)
        .filter(Container::has_own_network)
        .flat_map(|container| container.says.value.ports.iter())
        .filter(|port| port.host_ip.as_ref().is_none_or(|address| !is_local(&address.value)))
        .filter_map(|port| {
            let outside = &port.published.as_ref()?.value;
            Some((port.target, format!("{outside}/{}", port.protocol).parse().ok()?))
        })
        .collect()
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
    use super::*;
    use labwright_model::{Files, parse};

    struct One(String);

    impl Files for One {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }
        fn list(&self, _: &str) -> Option<Vec<String>> {
            None
        }
    }

    fn opened(of: fn(&Parsed, &Placement) -> Allowed, port: &str, ports: &str) -> String {
        let lab = format!("services: {{ a: {{ {port} containers: {{ app: {{ image: x, ports: {ports} }} }} }} }}\n");
        let parsed = parse("lab.yaml", &One(lab));
        of(&parsed, &parsed.placements[0]).to_string()
    }

    #[test]
    fn published_ports_count_and_those_of_the_host_alone_do_not() {
        let ports = r#"["8080:80", "127.0.0.1:5432:5432", "53:53/udp", "[::1]:1:1", "2456-2458:2456-2458/udp", 7,
            { target: 9000, published: "9001" }, { target: 1, published: 2, host_ip: 127.0.0.1 }]"#;
        assert_eq!(opened(of, "", ports), "53/udp, 2456-2458/udp, 8080/tcp, 9001/tcp");
        assert_eq!(opened(web, "port: \"app:80\",", ports), "8080/tcp");
        assert_eq!(opened(web, "port: \"app:9000\",", ports), "9001/tcp");
    }

    #[test]
    fn a_port_that_is_said_is_on_the_host_unless_it_is_published_as_another() {
        assert_eq!(opened(of, "port: \"app:3000\",", "[]"), "3000/tcp");
        assert_eq!(opened(of, "port: 80,", "[\"8080:80\"]"), "8080/tcp");
        assert_eq!(opened(of, "", "[]"), "nothing");
    }
}
