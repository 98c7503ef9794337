//! The fake Vault as processes that are killed and started again, one opened by the other.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(config: &Path, token: &str) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fake-vault"))
            .arg("server")
            .arg(format!("-config={}", config.display()))
            .env_clear()
            .env("VAULT_TOKEN", token)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let line = log.next().expect("it says where").expect("it is text");
        // Somebody has to read on, or the server would stop at a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        let address = line.strip_prefix("listening at ").unwrap_or_else(|| panic!("{line}"));
        Server(child, format!("http://{address}"))
    }

    fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.1))
            .header("X-Vault-Token", token)
            .body(if method == "GET" { String::new() } else { body.to_string() })
            .expect("it is plain");
        let mut response = agent.run(request).expect("it listens");
        let text = response.body_mut().read_to_string().expect("it is text");
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    fn sealed(&self) -> bool {
        self.ask("GET", "sys/seal-status", "", &Value::Null).1["sealed"].as_bool().expect("it says so")
    }
}

fn config(folder: &Path, name: &str, address: &str, more: &str) -> std::path::PathBuf {
    let file = folder.join(format!("{name}.hcl"));
    let storage = folder.join(name);
    let text = format!(
        "ui = false\nstorage \"file\" {{ path = \"{}\" }}\n\
         listener \"tcp\" {{\n  address = \"{address}\"\n  tls_disable = true\n}}\n{more}",
        storage.display()
    );
    fs::write(&file, text).expect("the folder is ours");
    file
}

#[test]
fn a_killed_server_comes_back_open_because_another_opens_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = Server::start(&config(folder.path(), "first", "127.0.0.1:0", ""), "");
    let (_, made) = first.ask("PUT", "sys/init", "", &json!({ "secret_shares": 1, "secret_threshold": 1 }));
    let (key, root) = (&made["keys"][0], made["root_token"].as_str().expect("it was made"));
    assert_eq!(first.ask("PUT", "sys/unseal", "", &json!({ "key": key })).0, 200);
    assert_eq!(first.ask("POST", "sys/mounts/transit", root, &json!({ "type": "transit" })).0, 204);
    assert_eq!(first.ask("POST", "transit/keys/autounseal", root, &json!({})).0, 200);

    let seal = format!(
        "seal \"transit\" {{\n  address = \"{}\"\n  key_name = \"autounseal\"\n  mount_path = \"transit/\"\n}}\n",
        first.1
    );
    let second_config = config(folder.path(), "second", "127.0.0.1:0", &seal);
    let second = Server::start(&second_config, root);
    let refused = second.ask("PUT", "sys/init", "", &json!({ "secret_shares": 1, "secret_threshold": 1 }));
    assert_eq!(refused.0, 400, "{refused:?}");
    let (_, made) = second.ask("PUT", "sys/init", "", &json!({ "recovery_shares": 1, "recovery_threshold": 1 }));
    let own = made["root_token"].as_str().expect("it was made").to_string();
    assert!(!second.sealed());
    let kv = json!({ "type": "kv", "options": { "version": "2" } });
    assert_eq!(second.ask("POST", "sys/mounts/secret", &own, &kv).0, 204);
    assert_eq!(second.ask("POST", "secret/data/x", &own, &json!({ "data": { "k": "v" } })).0, 200);

    drop(second);
    let second = Server::start(&second_config, root);
    assert!(!within(Duration::from_secs(5), || second.sealed()));
    assert_eq!(second.ask("GET", "secret/data/x", &own, &Value::Null).1["data"]["data"]["k"], "v");

    // With a token that is nobody's it stays sealed, and says nothing of what it holds.
    drop(second);
    let second = Server::start(&second_config, "hvs.nobody");
    assert!(within(Duration::from_secs(1), || second.sealed()));
    assert_eq!(second.ask("GET", "secret/data/x", &own, &Value::Null).0, 503);
}

#[test]
fn what_the_real_server_refuses_is_refused_in_its_words() {
    let vault = labwright_testkit::fake_vault::FakeVault::start().expect("it starts");
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .proxy(None)
        .build()
        .new_agent();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", vault.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent.run(request.body(body.to_string()).expect("it is plain")).expect("it listens");
        let text = response.body_mut().read_to_string().expect("it is text");
        format!("{} {}", response.status().as_u16(), text.trim_end())
    };
    let root = ("X-Vault-Token", vault.root_token());
    let bearer = format!("Bearer {}", vault.root_token());
    let denied = r#"403 {"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
    assert_eq!(ask("POST", "/v1/sys/mounts/secret", &[root], r#"{"type":"kv-v2"}"#), "204 ");
    assert!(ask("GET", "/v1/sys/mounts", &[("Authorization", &bearer)], "").starts_with("200 "));
    for (method, path, token, body, expected) in [
        ("GET", "/v1/sys/mounts", None, "", denied),
        ("GET", "/v1/sys/mounts", Some("hvs.nobody"), "", denied),
        ("GET", "/v1/secret/data/gone", Some(root.1), "", r#"404 {"errors":[]}"#),
        ("LIST", "/v1/secret/metadata", Some(root.1), "", r#"404 {"errors":[]}"#),
        ("GET", "/v1/secret/data", Some(root.1), "", r#"400 {"errors":["missing path"]}"#),
        ("GET", "/elsewhere", Some(root.1), "", r#"404 {"errors":[]}"#),
        ("GET", "/v1/sys/unseal", None, "", r#"405 {"errors":[]}"#),
        ("BREW", "/v1/sys/mounts", Some(root.1), "", r#"405 {"errors":[]}"#),
        (
            "DELETE",
            "/v1/secret/config",
            Some(root.1),
            "",
            r#"405 {"errors":["1 error occurred:\n\t* unsupported operation\n\n"]}"#,
        ),
        (
            "GET",
            "/v1/nothing/x",
            Some(root.1),
            "",
            r#"404 {"errors":["no handler for route \"nothing/x\". route entry not found."]}"#,
        ),
        ("POST", "/v1/secret/data/x", Some(root.1), r#"{"k":"v"}"#, r#"400 {"errors":["no data provided"]}"#),
        ("POST", "/v1/secret/data/../x", Some(root.1), "{}", r#"400 {"errors":["relative paths not supported"]}"#),
    ] {
        let headers: Vec<_> = token.map(|token| ("X-Vault-Token", token)).into_iter().collect();
        assert_eq!(ask(method, path, &headers, body), expected, "{method} {path}");
    }
    let broken = ask("POST", "/v1/secret/data/x", &[root], "{");
    assert!(broken.starts_with(r#"400 {"errors":["failed to parse JSON input: "#), "{broken}");
    let typed = ask("POST", "/v1/secret/data/x", &[root], r#"{"data":"text"}"#);
    assert!(typed.starts_with(r#"400 {"errors":["Field validation failed"#), "{typed}");
    let extra = ask("POST", "/v1/secret/data/x", &[root], r#"{"data":{},"colour":1}"#);
    assert!(extra.contains("Endpoint ignored these unrecognized parameters: [colour]"), "{extra}");
    assert_eq!(vault.ignored_fields(), ["secret/data/x: colour"]);
}

/// What it is after so long, or earlier if it turns false.
fn within(time: Duration, sealed: impl Fn() -> bool) -> bool {
    let until = Instant::now() + time;
    while sealed() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    sealed()
}

#[test]
fn a_configuration_that_makes_no_sense_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = config(folder.path(), "odd", "127.0.0.1:0", "colour = \"red\"\n");
    let output = Command::new(env!("CARGO_BIN_EXE_fake-vault"))
        .arg("server")
        .arg("-config")
        .arg(&file)
        .output()
        .expect("it was built");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("unknown setting `colour`"), "{told}");
}
