//! A host with more networks than its engine has addresses for.

use std::path::Path;

use labwright_testkit::Engine;

use crate::docker::{Dock, SERVE};
use crate::world::{Desk, Ran};

/// An engine with room for its own bridge and one network more.
fn dock() -> Dock {
    let desk = Desk::new("");
    let engine = Engine::start_with_pool(&desk.path("engine"), "10.213.0.0/25", 26).unwrap();
    Dock { desk, engine }
}

impl Dock {
    /// Runs the program where the engine is: the host's routes are the engine's.
    fn beside(&self, args: &[&str]) -> Ran {
        let mut command = self.engine.beside(Path::new(env!("CARGO_BIN_EXE_labwright"))).unwrap();
        command.args(args).env("LABWRIGHT_STATE_DIR", self.desk.path("state")).current_dir(self.desk.dir.path());
        command.output().unwrap().into()
    }

    fn subnets(&self, network: &str) -> Vec<String> {
        let said = self.inspect("{{range .IPAM.Config}}{{.Subnet}} {{end}}", network);
        said.split_whitespace().map(str::to_string).collect()
    }
}

const LAB: &str = "db: { on: here, containers: { app: { image: \"REG/app:1\" } } }
web: { on: here, needs: [db], containers: { app: { image: \"REG/app:1\" } } }
wiki: { on: here, needs: [db], containers: { app: { image: \"REG/app:1\" } } }
said: { on: here, compose: said.yaml }";
const ZONES: &str = "network: { zones: { lan: { subnet: 172.30.1.0/24 } } }\n";

#[test]
fn an_engine_without_room_is_given_some_where_nobody_is() {
    let dock = dock();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    // A route of another table than the main one, as VPNs have them, and an address.
    for line in [
        "link add tunnel type veth peer name far",
        "link set tunnel up",
        "route add 172.30.0.0/25 dev tunnel table 52",
        "address add 172.30.0.200/32 dev lo",
    ] {
        dock.engine.within(&[&["ip"][..], &line.split(' ').collect::<Vec<_>>()].concat()).unwrap();
    }
    dock.desk.write(
        "said.yaml",
        "services: { app: { image: REG/app:1, networks: [own] } }\nnetworks: { own: { ipam: { config: [{ subnet: 172.30.2.0/24 }] } } }\n"
            .replace("REG", labwright_testkit::engine::REGISTRY),
    );
    dock.lab_with(ZONES, LAB);
    dock.beside(&["apply", "--yes"]).code(0).says("the engine has no address pool left").says("gets `172.30.");
    let mut found = Vec::new();
    for network in ["db_default", "web_default", "wiki_default", "web_to_db", "wiki_to_db"] {
        let subnets = dock.subnets(network);
        assert_eq!(subnets.len(), 1, "{network}: {subnets:?}");
        found.extend(subnets);
    }
    found.sort();
    // The engine's own; then the first that neither the tunnel, nor the address, nor the zone, nor the file has.
    assert_eq!(found, ["10.213.0.64/26", "172.30.0.128/26", "172.30.3.0/26", "172.30.3.128/26", "172.30.3.64/26"]);
    assert_eq!(dock.subnets("said_own"), ["172.30.2.0/24"]);
    // What was chosen is no drift, and another zone is no reason to touch what is there.
    dock.beside(&["plan", "--exit-code"]).code(0).says("nothing to do");
    dock.beside(&["drift"]).code(0);
    dock.lab_with("network: { zones: { lan: { subnet: 172.30.1.0/24 }, iot: { subnet: 10.77.0.0/24 } } }\n", LAB);
    dock.beside(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // Containers in it reach each other by name.
    dock.engine.docker(&["exec", "web-app-1", "nslookup", "db", "127.0.0.11"]).unwrap();
    // One that is made anew is given room again.
    dock.engine.docker(&["network", "disconnect", "-f", "web_to_db", "web-app-1"]).unwrap();
    dock.engine.docker(&["network", "disconnect", "-f", "web_to_db", "db-app-1"]).unwrap();
    dock.engine.docker(&["network", "rm", "web_to_db"]).unwrap();
    dock.beside(&["apply", "--yes"]).code(0);
    dock.beside(&["plan", "--exit-code"]).code(0).says("nothing to do");
}

#[test]
fn ipv6_is_given_where_the_lab_wants_it_and_nowhere_else() {
    let dock = dock();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    let file = "services: { app: { image: REG/app:1 } }\nnetworks: { default: { enable_ipv6: true } }\n"
        .replace("REG", labwright_testkit::engine::REGISTRY);
    dock.desk.write("six.yaml", file);
    dock.lab("six: { on: here, compose: six.yaml }\nfour: { on: here, containers: { app: { image: \"REG/app:1\" } } }");
    dock.beside(&["apply", "--yes"]).code(0);
    let six = dock.subnets("six_default");
    assert!(six.iter().any(|subnet| subnet.starts_with("fd") && subnet.ends_with("::/64")), "{six:?}");
    assert_eq!(six.len(), 2, "{six:?}");
    let four = dock.subnets("four_default");
    assert!(four.len() == 1 && !four[0].contains(':'), "{four:?}");
    dock.beside(&["plan", "--exit-code"]).code(0).says("nothing to do");
}

#[test]
fn where_every_address_is_taken_it_is_told_what_to_type() {
    let dock = dock();
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.engine.docker(&["network", "create", "theirs"]).unwrap();
    let zones = "network: { zones: { a: { subnet: 172.16.0.0/12 }, b: { subnet: 10.0.0.0/8 } } }\n";
    dock.lab_with(zones, "web: { on: here, containers: { app: { image: \"REG/app:1\" } } }");
    dock.beside(&["apply", "--yes"])
        .code(5)
        .says("no addresses are left for a network of containers")
        .says("docker network prune");
}
