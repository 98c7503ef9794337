//! What the containers of a lab file become, and what is said of those that cannot be.

use std::collections::BTreeMap;

use labwright_model::Files;
use labwright_plan::{Input, Lowered, Provider, Value};

use super::super::Docker;

struct One(String);

impl Files for One {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "lab.yaml" { Ok(self.0.clone().into_bytes()) } else { Err("not there".into()) }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lower(services: &str, lock: Option<&str>) -> Lowered {
    let services: String = services.lines().map(|line| format!("  {line}\n")).collect();
    let yaml = format!("compute: {{ hosts: {{ here: {{ address: 10.0.0.7 }} }} }}\nservices:\n{services}");
    let parsed = labwright_model::parse("lab.yaml", &One(yaml));
    let assets: BTreeMap<String, Result<Vec<u8>, String>> =
        lock.map(|lock| ("lab.lock".to_string(), Ok(lock.as_bytes().to_vec()))).into_iter().collect();
    let mut lowered = Lowered::default();
    Docker.lower(&Input { parsed: &parsed, assets: &assets }, &mut lowered);
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
    assert!(findings("{ image: x, command: \"run --password ${secret.pg}\" }").contains("could be read by everybody"));
    let lowered =
        lower("web: { on: here, containers: { app: { image: x, environment: { PG_FILE: \"${secret.pg}\" } } } }", None);
    assert!(lowered.findings.is_empty(), "{:?}", lowered.findings);
    let container = "here/docker/container/web-app-1";
    assert_eq!(field(&lowered, container, "environment"), "{PG_FILE: /run/secrets/pg}");
    assert_eq!(
        field(&lowered, container, "mounts"),
        "[/etc/labwright/stacks/web/app_run_secrets_pg:/run/secrets/pg:ro]"
    );
    assert_eq!(field(&lowered, container, "secrets"), "{/run/secrets/pg: secret `pg`}");
    let file = "here/host/file//etc/labwright/stacks/web/app_run_secrets_pg";
    assert_eq!(field(&lowered, file, "kept"), "in memory");
    assert_eq!(field(&lowered, file, "content"), "secret `pg`");
}

#[test]
fn what_is_not_understood_is_named() {
    for (container, says) in [
        ("{ image: x, deploy: {} }", "`deploy` of container `app` is not supported yet"),
        ("{ image: x, healthcheck: { tset: x } }", "`tset` of container `app.healthcheck`"),
        ("{ image: x, logging: { driver: syslog, tag: a } }", "`tag` of container `app.logging`"),
        ("{ build: . }", "labwright builds no images"),
        ("{ image: x, networks: [other] }", "name it in `needs`"),
        ("{ image: x, volumes: [\"./data:/data\"] }", "a path on the host is absolute"),
        ("{ image: x, depends_on: [db] }", "there is no such container"),
        ("{ image: x, mem_limit: much }", "is not a size"),
        ("hello", "is not a table"),
    ] {
        let said = findings(container);
        assert!(said.contains(says), "{container}: {said}");
    }
    assert_eq!(findings("{ image: x, x-note: anything }"), "");
}

#[test]
fn ports_are_bound_to_the_hosts_own_address_and_needs_get_a_link() {
    let services = "db: { on: here, containers: { pg: { image: \"pg:16\" } } }
web: { on: here, needs: [db], containers: { app: { image: x, ports: [\"8080:80\", \"0.0.0.0:81:81/udp\", \"[::1]:82:82\"] } } }";
    let lowered = lower(services, None);
    assert_eq!(
        field(&lowered, "here/docker/container/web-app-1", "ports"),
        "[0.0.0.0:81:81/udp, 10.0.0.7:8080:80/tcp, [::1]:82:82/tcp]"
    );
    assert_eq!(
        field(&lowered, "here/docker/container/db-pg-1", "networks"),
        "{db_default: {aliases: [pg]}, web_to_db: {aliases: [db, db-pg]}}"
    );
    assert_eq!(field(&lowered, "here/docker/network/web_to_db", "internal"), "true");
    let web = lowered.resources.iter().find(|r| r.id.as_str() == "here/docker/container/web-app-1").unwrap();
    assert!(web.after.iter().any(|id| id.as_str() == "here/docker/container/db-pg-1"), "{:?}", web.after);
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
