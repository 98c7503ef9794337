//! One stack, placed twice on one engine: what each of them has of its own, and that work on one leaves the other alone.

use crate::docker::{CHECK, Dock, SERVE};

impl Dock {
    /// As `lab`, with two environments.
    fn environments(&self, services: &str) {
        self.lab(services);
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
