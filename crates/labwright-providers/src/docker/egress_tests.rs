//! What a service becomes that leaves through a gateway, and what cannot leave through one.

use std::collections::BTreeMap;

use labwright_model::Files;
use labwright_plan::{Input, Lowered, Provider, Resource, Value};

use super::super::Docker;

struct One(String);

impl Files for One {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(self.0.clone().into_bytes()) } else { Err("no such file".into()) }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lower(services: &str) -> Lowered {
    let yaml = format!(
        "environments: [dev, prod]\ncompute: {{ hosts: {{ here: {{ address: 10.0.0.7 }}, there: {{ address: 10.0.0.8 }} }} }}\nservices:\n{services}"
    );
    let parsed = labwright_model::parse("lab.yaml", &One(yaml));
    let mut lowered = Lowered::default();
    Docker.lower(&Input::of(&parsed, &BTreeMap::new()), &mut lowered);
    lowered
}

fn said(services: &str) -> String {
    lower(services).findings.iter().map(|finding| format!("{}; {}\n", finding.message, finding.help)).collect()
}

fn of<'a>(lowered: &'a Lowered, id: &str) -> &'a Resource {
    let ids = || lowered.resources.iter().map(|resource| resource.id.to_string()).collect::<Vec<_>>().join("\n");
    let found = lowered.resources.iter().find(|resource| resource.id.as_str() == id);
    found.unwrap_or_else(|| panic!("no `{id}` in\n{}", ids()))
}

fn field(lowered: &Lowered, id: &str, field: &str) -> String {
    of(lowered, id).spec.get(field).map(Value::to_string).unwrap_or_default()
}

const GATEWAY: &str =
    "  vpn: { on: here, containers: { tunnel: { image: gluetun, cap_add: [NET_ADMIN], ports: [\"8888:8888\"] } } }\n";

#[test]
fn its_containers_live_in_the_gateways_network_and_their_ports_are_its() {
    let lowered = lower(&format!(
        "{GATEWAY}  seeds:
    on: here
    egress: vpn
    containers:
      app: {{ image: qbittorrent, ports: [\"8080:8080\"], extra_hosts: [\"nas:10.0.0.9\"] }}
      exporter: {{ image: exporter, network_mode: \"service:app\" }}
      tool: {{ image: tool, network_mode: none }}
  arr: {{ on: here, needs: [seeds], containers: {{ web: {{ image: sonarr }} }} }}
"
    ));
    assert!(lowered.findings.is_empty(), "{:?}", lowered.findings);
    let (vpn, app) = ("here/docker/container/vpn-tunnel-1", "here/docker/container/seeds-app-1");
    assert_eq!(field(&lowered, app, "networks"), "container:vpn-tunnel-1");
    assert_eq!(field(&lowered, "here/docker/container/seeds-exporter-1", "networks"), "container:vpn-tunnel-1");
    assert_eq!(field(&lowered, "here/docker/container/seeds-tool-1", "networks"), "none");
    assert_eq!(field(&lowered, app, "ports"), "[]");
    let ports = field(&lowered, vpn, "ports");
    assert!(ports.contains("10.0.0.7:8080") && ports.contains("10.0.0.7:8888"), "{ports}");
    assert!(field(&lowered, vpn, "options").contains("nas:10.0.0.9"));
    // It starts after its gateway, and is made anew with it.
    let gateway = &of(&lowered, vpn).id;
    assert!(of(&lowered, app).after.contains(gateway) && of(&lowered, app).moved_by.contains(gateway));
    assert!(field(&lowered, app, "beside").contains("vpn/tunnel"));
    // Who needs it finds it by its name, where its network is.
    let networks = field(&lowered, vpn, "networks");
    assert!(networks.contains("arr_to_seeds") && networks.contains("seeds"), "{networks}");
    assert!(field(&lowered, "here/docker/container/arr-web-1", "networks").contains("arr_to_seeds"));
    assert!(!lowered.resources.iter().any(|resource| resource.id.as_str().ends_with("network/seeds_default")));
    assert_eq!(field(&lowered, "here/docker/network/arr_to_seeds", "internal"), "true");
}

#[test]
fn what_would_leave_by_another_way_is_said() {
    for (services, says) in [
        (
            "  seeds: { on: there, egress: vpn, containers: { app: { image: x } } }",
            "no container of that runs on `there`",
        ),
        ("  seeds: { on: here, egress: vpn, run: seeds }", "only containers can live"),
        (
            "  seeds: { on: here, egress: vpn, containers: { app: { image: x, network_mode: host } } }",
            "leads past that",
        ),
        ("  seeds: { on: here, egress: vpn, containers: { app: { image: x, hostname: me } } }", "its own `hostname`"),
        (
            "  seeds: { on: here, egress: vpn, containers: { app: { image: x, networks: [media] } } }",
            "the network `media`",
        ),
        (
            "  seeds: { on: here, egress: vpn, containers: { app: { image: x, ports: [\"9:8888\"] } } }",
            "both listen on 8888",
        ),
        (
            "  pair: { on: here, containers: { a: { image: x }, b: { image: x } } }\n  seeds: { on: here, egress: pair, containers: { app: { image: x } } }",
            "which container of `pair`",
        ),
        (
            "  wide: { on: here, containers: { a: { image: x, network_mode: host } } }\n  seeds: { on: here, egress: wide, containers: { app: { image: x } } }",
            "no network of its own",
        ),
    ] {
        let said = said(&format!("{GATEWAY}{services}\n"));
        assert!(said.contains(says), "{services}\n{said}");
    }
}

#[test]
fn each_environment_has_its_own_gateway() {
    let lowered = lower(
        "  vpn: { on: here, environments: [dev, prod], containers: { tunnel: { image: \"gluetun:1\" } } }
  seeds: { on: here, environments: [dev, prod], egress: vpn, containers: { app: { image: \"x:1\" } } }
  more: { on: here, environments: [dev], egress: seeds, containers: { app: { image: \"x:1\" } } }
",
    );
    assert!(lowered.findings.is_empty(), "{:?}", lowered.findings);
    for (container, gateway) in [
        ("seeds-dev-app-1", "vpn-dev-tunnel-1"),
        ("seeds-prod-app-1", "vpn-prod-tunnel-1"),
        ("more-dev-app-1", "vpn-dev-tunnel-1"),
    ] {
        let networks = field(&lowered, &format!("here/docker/container/{container}"), "networks");
        assert_eq!(networks, format!("container:{gateway}"));
    }
}
