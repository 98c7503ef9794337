//! What the containers of a lab file become, and what is said of those that cannot be.

use std::collections::BTreeMap;

use labwright_model::Files;
use labwright_plan::{Input, Lowered, Provider, Value};

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

fn lower(services: &str, lock: Option<&str>) -> Lowered {
    let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
    let yaml = format!(
        "environments: [dev, prod]
compute: {{ hosts: {{ here: {{ address: 10.0.0.7 }}, there: {{ address: 10.0.0.8 }} }} }}\nservices:\n{services}"
    );
    let parsed = labwright_model::parse("lab.yaml", &One(yaml));
    let assets: BTreeMap<String, Result<Vec<u8>, String>> =
        lock.map(|lock| ("lab.lock".to_string(), Ok(lock.as_bytes().to_vec()))).into_iter().collect();
    let mut lowered = Lowered::default();
    Docker.lower(&Input::of(&parsed, &assets), &mut lowered);
    lowered
}

fn findings(container: &str) -> String {
    let lowered = lower(&format!("web: {{ on: here, containers: {{ app: {container} }} }}"), None);
    lowered.findings.iter().map(|finding| format!("{}; {}\n", finding.message, finding.help)).collect()
}

fn field(lowered: &Lowered, id: &str, field: &str) -> String {
    let resource = lowered.resources.iter().find(|resource| resource.id.as_str() == id);
    let ids = || lowered.resources.iter().map(|resource| resource.id.to_string()).collect::<Vec<_>>().join("\n");
    let resource = resource.unwrap_or_else(|| panic!("no `{id}` in\n{}", ids()));
    resource.spec.get(field).map(Value::to_string).unwrap_or_default()
}

#[test]
fn a_secret_is_a_file_or_a_finding() {
    let said = findings("{ image: x, environment: { PASSWORD: \"${secret.pg}\" } }");
    assert!(said.contains("`docker inspect` shows it") && said.contains("PASSWORD_FILE: \"${secret.pg}\""), "{said}");
    let wide = findings("{ image: x, secrets: [{ source: tls, mode: \"0440\" }] }");
    assert!(
        wide.contains("the secret `tls` of `app` has the mode 0440; here it is 0400")
            && wide.contains("leave `mode` out"),
        "{wide}"
    );
    let lowered =
        lower("web: { on: here, containers: { app: { image: x, environment: { URL: \"a:${secret.pg}@b\" } } } }", None);
    assert_eq!(lowered.findings[0].severity, labwright_model::Severity::Error);
    assert_eq!(field(&lowered, "here/docker/container/web-app-1", "environment"), "{URL: secret `pg`}");
    assert!(findings("{ image: x, command: \"run --password ${secret.pg}\" }").contains("can be read by everybody"));
    assert!(findings("{ image: x, hostname: \"${secret.pg}\" }").contains("`hostname` can be read by everybody"));
    let lowered = lower(
        "web: { on: here, containers: { app: { image: x, environment: { PG_FILE: \"${secret.pg}\", A: \"$${b}\" }, secrets: [db, { source: tls, target: /etc/tls.key, uid: \"70\", mode: \"0400\" }] } } }",
        None,
    );
    assert!(lowered.findings.is_empty(), "{:?}", lowered.findings);
    let container = "here/docker/container/web-app-1";
    assert_eq!(field(&lowered, container, "environment"), "{A: ${b}, PG_FILE: /run/secrets/pg}");
    assert_eq!(field(&lowered, container, "mounts"), "[]");
    assert_eq!(
        field(&lowered, container, "secrets"),
        "{/etc/tls.key: secret `tls`, /run/secrets/db: secret `db`, /run/secrets/pg: secret `pg`}"
    );
    assert_eq!(field(&lowered, container, "owners"), "{/etc/tls.key: 70:}");
}

#[test]
fn what_is_not_understood_is_named() {
    let parsed = |container: &str| {
        let yaml = format!("services: {{ web: {{ on: here, containers: {{ app: {container} }} }} }}");
        let parsed = labwright_model::parse("lab.yaml", &One(yaml));
        parsed.findings.iter().map(|finding| format!("{}; {}\n", finding.message, finding.help)).collect::<String>()
    };
    for (container, says) in [
        ("{ image: x, healthcheck: { tset: x } }", "unknown key `tset`"),
        ("{ build: . }", "images are built elsewhere"),
        ("{ image: x, depends_on: [db] }", "there is no service `db`"),
        ("{ image: x, mem_limit: much }", "must be a size"),
        ("hello", "must be"),
    ] {
        let said = parsed(container);
        assert!(said.contains(says), "{container}: {said}");
    }
    for (container, says) in [
        ("{ image: x, volumes: [{ type: image, source: y, target: /y }] }", "mounting an image is not supported"),
        ("{ image: x, volumes: [\"~/data:/data\"] }", "no path that the host could know"),
        ("{ image: x, security_opt: [\"seccomp:./profile.json\"] }", "a seccomp profile in a file"),
        ("{ image: x, deploy: { placement: { constraints: [a] } } }", "only a swarm heeds `deploy.placement`"),
        ("{ image: x, deploy: { replicas: 2 }, ports: [\"80:80\"] }", "cannot all have the one port"),
        ("{ image: x, pull_policy: always }", "labwright update"),
    ] {
        let said = findings(container);
        assert!(said.contains(says), "{container}: {said}");
    }
    assert_eq!(findings("{ image: x, x-note: anything, networks: [other] }"), "");
}

#[test]
fn ports_are_bound_to_the_hosts_own_address_and_needs_get_a_link() {
    let services = "db: { on: here, port: \"pg:5432\", containers: { pg: { image: \"pg:16\" }, exporter: { image: e } } }
web: { on: here, needs: [db], containers: { app: { image: x, ports: [\"8080:80\", \"0.0.0.0:81:81/udp\", \"[::1]:82:82\"] } } }
far: { on: there, needs: [db], containers: { app: { image: x } } }";
    let lowered = lower(services, None);
    assert_eq!(
        field(&lowered, "here/docker/container/web-app-1", "ports"),
        "[0.0.0.0:81:81/udp, 10.0.0.7:8080:80/tcp, [::1]:82:82/tcp]"
    );
    assert_eq!(
        field(&lowered, "here/docker/container/db-pg-1", "networks"),
        "{db_default: {aliases: [pg]}, web_to_db: {aliases: [db, db-pg]}}"
    );
    // What the port is not of is shown to nobody.
    assert_eq!(
        field(&lowered, "here/docker/container/db-exporter-1", "networks"),
        "{db_default: {aliases: [exporter]}}"
    );
    assert_eq!(field(&lowered, "here/docker/network/web_to_db", "internal"), "true");
    // Somebody on another host needs it: its port is open there, and its name leads to it.
    assert_eq!(field(&lowered, "here/docker/container/db-pg-1", "ports"), "[10.0.0.7:5432:5432/tcp]");
    assert_eq!(field(&lowered, "there/docker/container/far-app-1", "options"), "{extra_hosts: [db:10.0.0.7]}");
    assert_eq!(field(&lowered, "here/docker/container/web-app-1", "options"), "{}");
    for needer in ["here/docker/container/web-app-1", "there/docker/container/far-app-1"] {
        let web = lowered.resources.iter().find(|r| r.id.as_str() == needer).unwrap();
        assert!(web.after.iter().any(|id| id.as_str() == "here/docker/container/db-pg-1"), "{:?}", web.after);
    }
}

#[test]
fn environments_have_everything_apart() {
    let services = "db: { on: here, environments: [dev, prod], containers: { pg: { image: \"pg:16\", volumes: [\"data:/data\"] } } }
web: { on: here, needs: [db], environments: [dev, prod], containers: { app: { image: \"x:${env}\" } } }";
    let lowered = lower(services, None);
    let ids: Vec<&str> = lowered.resources.iter().map(|resource| resource.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "here/docker/container/db-dev-pg-1",
            "here/docker/container/db-prod-pg-1",
            "here/docker/container/web-dev-app-1",
            "here/docker/container/web-prod-app-1",
            "here/docker/image/pg:16",
            "here/docker/image/x:dev",
            "here/docker/image/x:prod",
            "here/docker/network/db-dev_default",
            "here/docker/network/db-prod_default",
            "here/docker/network/web-dev_default",
            "here/docker/network/web-dev_to_db-dev",
            "here/docker/network/web-prod_default",
            "here/docker/network/web-prod_to_db-prod",
            "here/docker/volume/db-dev_data",
            "here/docker/volume/db-prod_data",
        ]
    );
}

#[test]
fn tags_are_held_to_what_the_lock_says() {
    let lock = r#"{ "version": 1, "images": { "pg:16": "sha256:abc" } }"#;
    let lowered = lower("db: { on: here, containers: { pg: { image: \"pg:16\" } } }", Some(lock));
    assert_eq!(field(&lowered, "here/docker/image/pg:16", "digest"), "sha256:abc");
    assert_eq!(field(&lowered, "here/docker/container/db-pg-1", "image"), "pg:16@sha256:abc");
    let broken = lower("db: { on: here, containers: { pg: { image: \"pg:16\" } } }", Some("{"));
    assert!(broken.findings.iter().any(|finding| finding.message.contains("cannot read `lab.lock`")));
}
