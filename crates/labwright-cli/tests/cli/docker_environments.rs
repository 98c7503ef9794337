//! One stack, placed twice on one engine: what each of them has of its own, and that work on one leaves the other alone.

use crate::docker::{CHECK, Dock, SERVE};
use crate::stacks::Safe;

impl Dock {
    /// As `lab`, with two environments.
    fn environments(&self, services: &str) {
        self.lab(services);
        self.with_environments();
    }

    fn with_environments(&self) {
        let text = std::fs::read_to_string(self.desk.path("lab.yaml")).unwrap();
        self.desk.lab(&format!("environments: [dev, prod]\n{text}"));
    }

    fn names(&self, what: &[&str]) -> Vec<String> {
        let printed = self.engine.docker(what).unwrap();
        let mut names: Vec<String> = printed.lines().map(str::to_string).collect();
        names.sort();
        names
    }
}

const SHOP: &str = "db:
  on: here
  environments: [dev, prod]
  containers: { pg: { image: \"REG/app:1\", volumes: [\"data:/data\"] } }
shop:
  on: here
  needs: [db]
  environments:
    dev:
    prod: { containers: { app: { image: \"REG/shop:${env}\", environment: { WHERE: \"${env}\", LOUD: \"no\" }, volumes: [\"data:/data\"] } } }
  containers: { app: { image: \"REG/shop:${env}\", environment: { WHERE: \"${env}\" }, volumes: [\"data:/data\"] } }";

#[test]
fn one_stack_in_two_environments_is_two_stacks() {
    let dock = Dock::new();
    dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    let dev = dock.engine.publish("shop:dev", &["ENV V=dev", SERVE, CHECK]).unwrap();
    let prod = dock.engine.publish("shop:prod", &["ENV V=prod", SERVE, CHECK]).unwrap();
    assert_ne!(dev, prod);
    dock.environments(SHOP);
    dock.apply().code(0);
    dock.settled();
    let containers = dock.names(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(containers, ["db-dev-pg-1", "db-prod-pg-1", "shop-dev-app-1", "shop-prod-app-1"]);
    assert_eq!(dock.names(&["volume", "ls", "-q"]), ["db-dev_data", "db-prod_data", "shop-dev_data", "shop-prod_data"]);
    let networks = dock.names(&["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"]);
    assert_eq!(
        networks,
        [
            "db-dev_default",
            "db-prod_default",
            "shop-dev_default",
            "shop-dev_to_db-dev",
            "shop-prod_default",
            "shop-prod_to_db-prod"
        ]
    );
    // Each has the image of its tag, what its environment says, and what the other does not.
    for (container, digest, says) in [("shop-dev-app-1", &dev, "WHERE=dev"), ("shop-prod-app-1", &prod, "WHERE=prod")] {
        assert!(dock.inspect("{{.Config.Image}}", container).ends_with(digest.as_str()));
        let environment = dock.engine.docker(&["exec", container, "env"]).unwrap();
        assert!(environment.contains(says), "{environment}");
        assert_eq!(environment.contains("LOUD=no"), container.contains("prod"), "{environment}");
    }
    dock.engine.docker(&["exec", "shop-dev-app-1", "touch", "/data/of-dev"]).unwrap();
    assert_eq!(dock.engine.docker(&["exec", "shop-prod-app-1", "ls", "/data"]).unwrap(), "");
    // Each finds its own database under the one name, and no way to the other's.
    let address = |container: &str, network: &str| {
        dock.inspect(&format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"), container)
    };
    for (environment, other) in [("dev", "prod"), ("prod", "dev")] {
        let found = dock
            .engine
            .docker(&["exec", &format!("shop-{environment}-app-1"), "/bin/busybox", "nslookup", "db"])
            .unwrap();
        let own = address(&format!("db-{environment}-pg-1"), &format!("shop-{environment}_to_db-{environment}"));
        let theirs = address(&format!("db-{other}-pg-1"), &format!("shop-{other}_to_db-{other}"));
        assert!(found.contains(&own) && !found.contains(&theirs), "{found}");
    }

    // Work on one environment leaves the other alone, to the second.
    let before = dock.inspect("{{.Id}} {{.State.StartedAt}}", "shop-prod-app-1");
    dock.environments(&SHOP.replace("WHERE: ", "MORE: yes, WHERE: "));
    dock.desk.run(&["plan", "--environment", "dev"]).says("shop-dev-app-1").says_not("shop-prod");
    dock.desk.run(&["apply", "--yes", "--environment", "dev"]).code(0);
    assert!(dock.engine.docker(&["exec", "shop-dev-app-1", "env"]).unwrap().contains("MORE=yes"));
    assert_eq!(dock.inspect("{{.Id}} {{.State.StartedAt}}", "shop-prod-app-1"), before);
    dock.desk
        .run(&["plan", "--only", "here/docker/container/shop-prod-*"])
        .says("shop-prod-app-1")
        .says_not("shop-dev");
    dock.desk
        .run(&["plan", "--environment", "pord"])
        .code(2)
        .says("no environment `pord`")
        .says("did you mean `prod`?");
    dock.desk.run(&["plan", "--environment", "dev", "--only", "here"]).code(2);
    dock.apply().code(0);
    dock.settled();
}

/// Each has a secret of its own under the one name, and a database of its own.
const APART: &str = "db:
  on: here
  environments: [dev, prod]
  containers: { pg: { image: \"REG/db:1\", environment: { PAGE: \"${env}\" } } }
shop:
  on: here
  needs: [db]
  environments: [dev, prod]
  containers:
    app:
      image: \"REG/shop:${env}\"
      secrets: [{ source: \"token_${env}\", target: token }]
      volumes: [\"data:/data\"]";

#[test]
fn neither_of_two_environments_gets_at_what_the_other_has() {
    let safe = Safe::new();
    let page = r#"CMD ["/bin/sh","-c","mkdir -p /tmp/www; echo $PAGE > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"]"#;
    safe.dock.engine.publish("db:1", &[page]).unwrap();
    for environment in ["dev", "prod"] {
        let variable = format!("ENV V={environment}");
        safe.dock.engine.publish(&format!("shop:{environment}"), &["USER app", &variable, SERVE, CHECK]).unwrap();
    }
    let lab = |services: &str| {
        safe.lab("{}", services);
        safe.dock.with_environments();
    };
    lab(APART);
    safe.run(&["secret", "init"]).code(0);
    safe.set("token_dev", "canary-of-dev");
    safe.set("token_prod", "canary-of-prod");
    safe.run(&["check"]).says_not("LW-PLT-004");
    safe.apply().code(0).says_not("canary");
    safe.settled();
    let address = |container: &str| {
        let networks = safe.dock.inspect("{{json .NetworkSettings.Networks}}", container);
        let networks: serde_json::Value = serde_json::from_str(&networks).unwrap();
        let all = networks.as_object().unwrap().values().map(|one| one["IPAddress"].as_str().unwrap().to_string());
        all.collect::<Vec<String>>()
    };
    let wget = |container: &str, host: &str| {
        let url = format!("http://{host}/");
        let wget = ["exec", container, "/bin/busybox", "timeout", "2", "/bin/busybox", "wget", "-q", "-O-", &url];
        safe.dock.engine.docker(&wget).unwrap_or_default()
    };
    for (own, other) in [("dev", "prod"), ("prod", "dev")] {
        let app = format!("shop-{own}-app-1");
        assert_eq!(safe.exec(&app, &["cat", "/run/secrets/token"]), format!("canary-of-{own}"));
        // Nothing that it can read holds the other's, nor is anything of the other's mounted.
        let hunt = format!("busybox grep -rls canary-of-{other} /run /data /tmp /etc /dev/shm /proc/1/environ; true");
        assert_eq!(safe.exec(&app, &["sh", "-c", &hunt]), "");
        let hunt = format!("busybox grep -rls canary-of-{own} /run /data /tmp /etc /dev/shm /proc/1/environ; true");
        assert_eq!(safe.exec(&app, &["sh", "-c", &hunt]), "/run/secrets/token");
        let mounts = safe.dock.inspect("{{range .Mounts}}{{.Source}} {{.Name}} {{end}}", &app);
        assert!(mounts.contains(&format!("shop-{own}")) && !mounts.contains(&format!("shop-{other}")), "{mounts}");
        // Its own database answers; the other's does not, by whatever address it is asked.
        assert_eq!(wget(&app, "db"), own);
        let theirs = address(&format!("db-{other}-pg-1"));
        assert_eq!(theirs.len(), 2);
        for address in theirs.iter().map(String::as_str).chain([&*format!("db-{other}-pg-1")]) {
            assert_eq!(wget(&app, address), "", "{app} reaches {address}");
        }
    }
    // On the host each has a folder of its own in memory, which nobody but its container's user reads.
    let kept: Vec<String> = safe.kept().iter().map(|path| path.display().to_string()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].contains("/shop-dev-app-1/") && kept[1].contains("/shop-prod-app-1/"), "{kept:?}");

    // A new value in one is nothing to the other; what is changed by hand in one is no drift of the other's.
    let prod = safe.dock.inspect("{{.Id}} {{.State.StartedAt}}", "shop-prod-app-1");
    safe.set("token_dev", "canary-of-dev-again");
    safe.run(&["plan"]).says("shop-dev-app-1").says("1 to replace").says_not("shop-prod").says_not("canary");
    safe.run(&["apply", "--yes", "--environment", "dev"]).code(0);
    assert_eq!(safe.exec("shop-dev-app-1", &["cat", "/run/secrets/token"]), "canary-of-dev-again");
    assert_eq!(safe.dock.inspect("{{.Id}} {{.State.StartedAt}}", "shop-prod-app-1"), prod);
    safe.settled();
    safe.dock.engine.docker(&["stop", "-t", "1", "shop-prod-app-1"]).unwrap();
    safe.run(&["drift", "--environment", "dev"]).code(0).says("0 drifted").says_not("prod");
    safe.run(&["drift", "--environment", "prod"]).code(4).says("shop-prod-app-1").says_not("shop-dev");
    safe.run(&["drift", "--environment", "test"]).code(2).says("no environment `test`");
    safe.run(&["drift"]).code(4).says("shop-prod-app-1");

    // One secret for both is said.
    lab(&APART.replace("token_${env}", "token_dev"));
    safe.run(&["check"]).says("LW-PLT-004").says("`token_dev` is read in the environments `dev`");
}

#[test]
fn what_two_environments_must_not_share_is_an_error() {
    let dock = Dock::new();
    for (service, says) in [
        ("containers: { app: { image: \"REG/app:latest\" } }", "`dev` and `prod` of service `shop` run the same"),
        ("containers: { app: { image: \"REG/app:1\", container_name: shop } }", "both have the container `shop`"),
        (
            "containers: { app: { image: \"REG/app:1\", volumes: [\"/srv/shop:/data\"] } }",
            "both have the path `/srv/shop`",
        ),
        ("containers: { app: { image: \"REG/app:1\", ports: [\"8080:80\"] } }", "both publish port 8080"),
        ("compose: shop/compose.yaml", "both have the volume `shared`"),
    ] {
        let file =
            "services: { app: { image: \"x:1\", volumes: [\"data:/data\"] } }\nvolumes: { data: { name: shared } }\n";
        dock.desk.write("shop/compose.yaml", file);
        dock.environments(&format!("shop: {{ on: here, environments: [dev, prod], {service} }}"));
        let ran = dock.desk.run(&["plan"]).says(says);
        assert_eq!(ran.code, 3, "{service}\n{}{}", ran.out, ran.err);
    }
    // A path for each, and what is only read, are no contradiction.
    dock.engine.publish("app:1", &[SERVE]).unwrap();
    dock.environments(
        "shop: { on: here, environments: [dev, prod], containers: { app: { image: \"REG/app:1\", volumes: [\"/srv/lw-shop/${env}:/data\", \"/srv/lw-shop:/all:ro\"] } } }",
    );
    dock.desk.run(&["plan"]).code(0).says_not("both have");
}
