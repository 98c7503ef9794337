//! Who meets whom among the containers of a lab on this machine: those of whom one needs the other, and nobody else.

use std::fs;

use crate::up_containers::{Dock, QUIET, until};

/// A server that ends when it is told to, unlike one that is the first process of its container.
const SERVES: &str = r#"CMD ["/bin/sh","-c","trap 'exit 0' TERM; httpd -f -p 80 -h /etc & wait"]"#;

impl Dock {
    /// Whether a container connects to an address.
    fn reaches(&self, container: &str, address: &str, port: &str) -> bool {
        self.engine.docker(&["exec", container, "nc", "-w", "1", address, port, "-e", "/bin/true"]).is_ok()
    }

    /// Where a container has a name lead to; nothing where it does not.
    fn resolves(&self, container: &str, name: &str) -> Option<String> {
        let said = self.engine.docker(&["exec", container, "nslookup", name, "127.0.0.11"]).ok()?;
        let (_, answer) = said.split_once(name)?;
        let mut addresses = answer.split_whitespace().filter_map(|word| word.parse::<std::net::Ipv4Addr>().ok());
        addresses.find(|address| !address.is_loopback()).map(|address| address.to_string())
    }

    fn addresses(&self, container: &str) -> Vec<String> {
        let all = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        self.docker(&["inspect", "-f", all, container]).split_whitespace().map(str::to_string).collect()
    }
}

#[test]
fn who_needs_nobody_reaches_nobody_and_finds_no_names() {
    let dock = Dock::new("");
    dock.engine.publish("pages:1", &[SERVES]).unwrap();
    dock.engine.publish("quiet:1", &[QUIET]).unwrap();
    // As many networks as an engine has room for by itself: those of a lab need none of that.
    let mut many = 0;
    while dock.engine.docker(&["network", "create", &format!("foreign{many}")]).is_ok() {
        many += 1;
    }
    fs::create_dir(dock.desk.path("site")).unwrap();
    dock.desk.write("site/index.html", "from a process\n");
    dock.services(
        "  db: { on: box, containers: { app: { image: REG/pages:1, container_name: the-db }, side: { image: REG/pages:1 } }, port: app:80 }\n\
         \x20 own: { on: box, run: { command: [/bin/sh, -c, 'cd site; exec python3 -m http.server --bind 127.0.0.1 ${port}'] }, up: { directory: . } }\n\
         \x20 api: { on: box, needs: [db, own], containers: { app: { image: REG/pages:1, environment: { OWN: \"${service.own.url}\" } } }, port: app:80 }\n\
         \x20 two: { on: box, needs: [db], containers: { app: { image: REG/quiet:1 } } }\n\
         \x20 alone: { on: box, containers: { app: { image: REG/quiet:1, environment: { DB: \"http://db:80/\" } } } }\n",
    );
    dock.up(&[])
        .code(0)
        .says("5 of 5 are well")
        .says("`DB` of `app` in `alone` points to `db`, and `alone` does not say that it needs it")
        .says("add `needs: [db]` to `alone`");
    let (db, side, api) = (dock.container("db", "app"), dock.container("db", "side"), dock.container("api", "app"));
    let (two, alone) = (dock.container("two", "app"), dock.container("alone", "app"));
    // Who needs it finds it and reaches it, by each of its names.
    for name in ["db", "db-app", "the-db"] {
        let found = dock.resolves(&api, name).unwrap_or_else(|| panic!("`{name}`: {:?}", dock.addresses(&db)));
        assert!(dock.reaches(&api, &found, "80"), "{name} at {found}");
    }
    assert!(dock.reaches(&two, &dock.resolves(&two, "db").unwrap(), "80"));
    // What stands beside its port is its own business, and so is who else needs it.
    for (from, to, names) in [
        (&alone, &db, vec!["db", "the-db"]),
        (&alone, &api, vec![]),
        (&two, &api, vec!["api"]),
        (&two, &side, vec!["side"]),
        (&api, &two, vec!["two"]),
        (&db, &alone, vec![]),
    ] {
        for address in dock.addresses(to) {
            assert!(!dock.reaches(from, &address, "80"), "{from} reaches {to} at {address}");
        }
        for name in names {
            assert_eq!(dock.resolves(from, name), None, "{from} finds `{name}`");
        }
    }
    assert!(dock.reaches(&db, &dock.resolves(&db, "side").unwrap(), "80"), "in one service they meet");
    // The same for processes: who needs one has its name, and nobody else is answered there.
    let environment = dock.docker(&["exec", &api, "env"]);
    let port = environment.lines().find_map(|line| line.strip_prefix("OWN=http://own:")).unwrap().to_string();
    let hosts = |container: &str| dock.docker(&["exec", container, "cat", "/etc/hosts"]);
    let address =
        hosts(&api).lines().find(|line| line.ends_with("\town")).unwrap().split('\t').next().unwrap().to_string();
    let url = format!("http://{address}:{port}/index.html");
    assert_eq!(dock.docker(&["exec", &api, "wget", "-q", "-O-", &url]), "from a process");
    for other in [&two, &alone, &db] {
        assert!(!hosts(other).contains("\town"), "{}", hosts(other));
        assert!(dock.engine.docker(&["exec", other, "wget", "-q", "-O-", &url]).is_err(), "{other}");
    }
    // What is made anew is met again.
    dock.run(&["restart", "db"]).code(0);
    until("it is well again", || dock.unit("db")["phase"] == "ready" && dock.unit("db")["restarts"] == 1);
    for from in [&api, &two] {
        assert!(dock.reaches(from, &dock.resolves(from, "db").unwrap(), "80"));
    }
    dock.run(&["stop", "api"]).code(0);
    dock.run(&["start", "api"]).code(0);
    let api = dock.container("api", "app");
    assert!(dock.reaches(&api, &dock.resolves(&api, "db").unwrap(), "80"));
    dock.run(&["down"]).code(0);
    let (containers, networks) = dock.left();
    assert_eq!((containers.as_str(), networks.lines().count()), ("", many));
}

#[test]
fn what_files_share_by_name_is_shared_and_what_has_no_way_out_has_none() {
    let dock = Dock::new("");
    dock.engine.publish("pages:1", &[SERVES]).unwrap();
    dock.services(
        "  one: { on: box, compose: one.yaml, port: web:80 }\n\
         \x20 two: { on: box, compose: two.yaml }\n\
         \x20 shut: { on: box, compose: shut.yaml, port: web:80 }\n",
    );
    let registry = labwright_testkit::engine::REGISTRY;
    let web = format!("services: {{ web: {{ image: {registry}/pages:1, networks: [front] }} }}\n");
    dock.desk.write("one.yaml", format!("{web}networks: {{ front: {{ name: shared }} }}\n"));
    dock.desk.write("two.yaml", format!("{web}networks: {{ front: {{ name: shared, external: true }} }}\n"));
    dock.desk.write("shut.yaml", format!("{web}networks: {{ front: {{ internal: true }} }}\n"));
    // A network of that name is there already, and is not touched.
    dock.docker(&["network", "create", "shared"]);
    dock.up(&[]).code(0).says("3 of 3 are well");
    let (one, two, shut) = (dock.container("one", "web"), dock.container("two", "web"), dock.container("shut", "web"));
    assert!(dock.reaches(&two, &dock.resolves(&two, "one").unwrap(), "80"));
    assert!(dock.reaches(&one, &dock.resolves(&one, "two").unwrap(), "80"));
    for address in dock.addresses(&shut) {
        assert!(!dock.reaches(&one, &address, "80"), "{address}");
    }
    // Its port is this machine's all the same.
    let port = dock.unit("shut")["port"].to_string();
    dock.engine.within(&["curl", "-fsS", &format!("http://127.0.0.1:{port}/passwd")]).unwrap();
    assert_eq!(dock.docker(&["network", "inspect", "-f", "{{len .Containers}}", "shared"]), "0");
    dock.run(&["down"]).code(0);
    assert_eq!(dock.left(), (String::new(), "shared".to_string()));
}
