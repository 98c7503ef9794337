//! Two Vaults on two hosts over SSH: one unseals the other, set up by an apply and proven by a restart. The servers are
//! the strict fake, as systemd units; TLS between all of them is real.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use labwright_secrets::SecretText;
use labwright_secrets::generate::{self, Generator, Given};
use labwright_testkit::{Host, program};
use serde_json::{Value, json};

use crate::secrets::feed;
use crate::secrets_hosts::{Safe, opened};
use crate::world::Ran;

const UNIT: &str = "[Unit]\nDescription=fake Vault\n[Service]\nExecStart=/usr/local/bin/fake-vault server -config=/etc/vault.d\n[Install]\nWantedBy=multi-user.target\n";

/// Two hosts with a server each, neither initialised.
struct Pair {
    safe: Safe,
    program: PathBuf,
    main: Host,
    opener: Host,
}

impl Pair {
    fn new() -> Pair {
        let program = program("fake-vault", env!("CARGO_BIN_EXE_labwright")).unwrap();
        let safe = Safe::new();
        let main = safe.world.net.systemd_host("vault-01").unwrap();
        let opener = safe.world.net.systemd_host("infra-01").unwrap();
        let pair = Pair { safe, program, main, opener };
        pair.install();
        pair
    }

    fn install(&self) {
        let hosts = [&self.main, &self.opener];
        let names = |host: &Host| vec![host.address().to_string()];
        let specs = BTreeMap::from([
            ("ca".to_string(), Generator::x509_ca("test")),
            ("vault-01".to_string(), Generator::x509("ca", names(&self.main))),
            ("infra-01".to_string(), Generator::x509("ca", names(&self.opener))),
        ]);
        let mut nobody = |_: &str, _: &str| Ok(SecretText::from(""));
        let mut given = Given { existing: &|_| Ok(None), publics: &|_| Ok(BTreeMap::new()), prompt: &mut nobody };
        let made = generate::missing(&specs, &mut given, &mut rand::rng(), jiff::Timestamp::now()).unwrap();
        self.safe.world.desk.write("ca.pem", &made["ca"].public["public"]);
        let binary = fs::read(&self.program).unwrap();
        for host in hosts {
            let certificate = &made[host.name()];
            host.write("/usr/local/bin/fake-vault", &binary).unwrap();
            host.write("/etc/vault.d/chain.pem", &certificate.public["chain"]).unwrap();
            host.write("/etc/vault.d/key.pem", certificate.private.expose()).unwrap();
            host.write(
                "/etc/vault.d/vault.hcl",
                "storage \"file\" { path = \"/var/lib/vault\" }\nlistener \"tcp\" {\n  address = \"0.0.0.0:8200\"\n  tls_cert_file = \"/etc/vault.d/chain.pem\"\n  tls_key_file = \"/etc/vault.d/key.pem\"\n}\n",
            )
            .unwrap();
            host.write("/etc/systemd/system/vault.service", UNIT).unwrap();
            host.ssh_stdout(
                "chmod 755 /usr/local/bin/fake-vault && systemctl daemon-reload && systemctl enable --now vault",
            )
            .unwrap();
            host.ssh_stdout("until systemctl is-active vault; do sleep 0.1; done").unwrap();
        }
    }

    /// `rest` stands in `vault:`.
    fn lab(&self, rest: &str, files: &str) {
        self.safe.lab(
            &format!(
                "    generate: {{ vault_unseal_token: uuid }}\n    vault: {{ on: vault-01, unseal: transit, with: infra-01, ca: ca.pem{rest} }}\n"
            ),
            &format!(
                "compute:\n  hosts:\n    vault-01: {{ address: {} }}\n    infra-01: {{ address: {}{files} }}\n",
                self.main.address(),
                self.opener.address()
            ),
        );
    }

    fn ask(&self, host: &Host, method: &str, path: &str, token: &str, body: &Value) -> Value {
        let mut command = self.safe.world.net.command(&self.program);
        command.args(["ask", method, &format!("https://{}:8200/v1/{path}", host.address())]);
        command.env("VAULT_CACERT", self.safe.world.desk.path("ca.pem")).env("VAULT_TOKEN", token);
        let ran = feed(command, if method == "GET" { String::new() } else { body.to_string() });
        assert_eq!(ran.code, 0, "{method} {path}: {}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).unwrap_or_default()
    }

    /// Initialises the server that nobody else opens, and opens it. Its root token, and its only share.
    fn open_opener(&self) -> (String, String) {
        let made = self.ask(&self.opener, "PUT", "sys/init", "", &json!({ "secret_shares": 1, "secret_threshold": 1 }));
        let share = made["keys"][0].as_str().unwrap().to_string();
        self.ask(&self.opener, "PUT", "sys/unseal", "", &json!({ "key": share }));
        (made["root_token"].as_str().unwrap().to_string(), share)
    }

    fn sealed(&self) -> Value {
        self.ask(&self.main, "GET", "sys/seal-status", "", &Value::Null)
    }

    /// With the token of whoever administers the main server, for secrets that are kept in it.
    fn run(&self, token: &str, args: &[&str]) -> Ran {
        let mut command: Command = self.safe.world.with_ssh(args);
        command.env("VAULT_TOKEN", token).output().unwrap().into()
    }
}

/// Everything on a host where something could have been left behind: records, journals, arguments, units.
fn traces(host: &Host) -> String {
    let look = "cat /var/lib/labwright/labs/*/* 2>/dev/null; journalctl -o cat --no-pager; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; systemctl show vault.service; cat /etc/vault.d/*.hcl; ls -R /etc/labwright";
    host.ssh_stdout(&format!("{{ {look}; }} | tr -d '\\000' | LC_ALL=C tr -cd '\\11\\12\\40-\\176'")).unwrap()
}

#[test]
fn one_server_opens_the_other_after_every_restart() {
    let pair = Pair::new();
    let (opener_root, share) = pair.open_opener();
    pair.lab("", "");
    pair.safe.run(&["secret", "generate"]).code(0);

    // Without the token nobody knows what is there, and that is not absent.
    let before = pair.safe.world.run(&["plan"]);
    assert!(before.out.contains("vault_with_token"), "{}{}", before.out, before.err);
    pair.safe.set("vault_with_token", &opener_root);

    // One apply does what needs no key share; the rest is the owner's.
    let plan = pair.safe.world.run(&["plan"]).code(0);
    for what in [
        "transit_key transit/autounseal",
        "policy labwright-test-unseal",
        "token labwright-test-unseal",
        "seal vault.service",
    ] {
        assert!(plan.out.contains(what), "`{what}` is not in\n{}", plan.out);
    }
    let first = pair.safe.world.apply().code(5);
    assert!(
        first.err.contains("is not initialised") || first.out.contains("is not initialised"),
        "{}{}",
        first.out,
        first.err
    );
    let made = pair.ask(&pair.main, "PUT", "sys/init", "", &json!({ "recovery_shares": 1, "recovery_threshold": 1 }));
    let main_root = made["root_token"].as_str().unwrap().to_string();

    let second = pair.run(&main_root, &["apply", "--yes", "--approve", "downtime"]).code(0);
    assert_eq!((&pair.sealed()["type"], &pair.sealed()["sealed"]), (&json!("transit"), &json!(false)));
    pair.main.ssh_stdout("systemctl restart vault").unwrap();
    pair.main.ssh_stdout("for i in 1 2 3 4 5 6 7 8 9; do journalctl -u vault -o cat --no-pager | tail -1 | grep -q 'is unsealed' && exit; sleep 1; done; exit 1").unwrap();
    assert_eq!(pair.sealed()["sealed"], json!(false));
    let nothing = pair.safe.world.run(&["plan"]).code(0).says("nothing to do");

    // The main server keeps secrets, and gives policies for exactly those that are read.
    pair.ask(
        &pair.main,
        "POST",
        "sys/mounts/secret",
        &main_root,
        &json!({ "type": "kv", "options": { "version": "2" } }),
    );
    pair.safe.set("vault_token", &main_root);
    pair.lab(", token: \"${secret.vault_token}\"", ", files: { /etc/app: { content: \"${secret.app.key}\" } }");
    let mut set = pair.safe.world.command();
    set.args(["secret", "set", "app.key", "--vault"]).env("VAULT_TOKEN", &main_root);
    feed(set, "canary-of-the-app").code(0);
    let third = pair.run(&main_root, &["apply", "--yes"]).code(0);
    assert_eq!(pair.opener.ssh_stdout("cat /etc/app").unwrap(), "canary-of-the-app");
    let policy = pair.ask(&pair.main, "GET", "sys/policies/acl/labwright-test-infra-01", &main_root, &Value::Null);
    assert!(policy["data"]["policy"].as_str().unwrap().starts_with("path \"secret/data/test/app\" {"), "{policy}");
    pair.run(&main_root, &["plan"]).code(0).says("nothing to do");

    // The other one is closed: this one stays closed with its next restart, and nothing is undone because of it.
    pair.opener.ssh_stdout("systemctl restart vault").unwrap();
    pair.main.ssh_stdout("systemctl restart vault; sleep 1").unwrap();
    assert_eq!(pair.sealed()["sealed"], json!(true));
    let closed = pair.run(&main_root, &["plan"]);
    assert!(closed.out.contains("could not be looked at") && closed.out.contains("sealed"), "{}", closed.out);
    assert!(closed.out.contains("0 to create") || !closed.out.contains("to create"), "{}", closed.out);
    let anyway = pair.run(&main_root, &["apply", "--yes", "--prune"]);
    assert!(!anyway.out.contains("to delete") && anyway.code != 0, "{}{}", anyway.out, anyway.err);
    pair.ask(&pair.opener, "PUT", "sys/unseal", "", &json!({ "key": share }));
    pair.run(&main_root, &["apply", "--yes"]);
    let again = pair.run(&main_root, &["plan"]).code(0).says("nothing to do");
    assert_eq!(pair.sealed()["sealed"], json!(false));

    // A token that may not do what the seal needs.
    pair.ask(
        &pair.opener,
        "PUT",
        "sys/policies/acl/labwright-test-unseal",
        &opener_root,
        &json!({ "policy": "path \"x\" { capabilities = [\"read\"] }" }),
    );
    pair.main.ssh_stdout("systemctl restart vault; sleep 1").unwrap();
    let mended = pair.run(&main_root, &["plan"]);
    assert!(mended.out.contains("policy labwright-test-unseal"), "{}", mended.out);
    let only_seal =
        pair.run(&main_root, &["apply", "--yes", "--only", "vault-01/vault/seal", "--exclude", "infra-01"]).code(5);
    let said = format!("{}{}", only_seal.out, only_seal.err);
    assert!(said.contains("stays sealed; its log ends:") && said.contains("permission denied"), "{said}");
    // What is kept in the closed server could not be read for this run, and could for the next.
    let mended_run = pair.run(&main_root, &["apply", "--yes"]).says("2 of 2 steps done");
    pair.run(&main_root, &["apply", "--yes"]).code(0).says("nothing to do");
    assert_eq!(pair.sealed()["sealed"], json!(false));

    // A new token: known to the one before the other restarts with it. That costs a server that is open now, so it is asked.
    let first_token = pair.safe.get("vault_unseal_token");
    let rotate = ["secret", "rotate", "vault_unseal_token", "--yes"];
    pair.run(&main_root, &rotate).says("costs downtime, which was not approved");
    assert_eq!(pair.safe.get("vault_unseal_token"), first_token);
    let rotated = pair.run(&main_root, &[&rotate[..], &["--approve", "downtime"]].concat()).code(0);
    assert_ne!(pair.safe.get("vault_unseal_token"), first_token);
    assert!(
        rotated.out.contains("not there as it is declared now") && !rotated.out.contains("by hand"),
        "{}",
        rotated.out
    );
    assert_eq!(pair.sealed()["sealed"], json!(false));
    pair.run(&main_root, &["plan"]).code(0).says("nothing to do");

    // No token is anywhere but where it is used.
    let unseal = pair.safe.get("vault_unseal_token");
    let plan = pair.run(&main_root, &["plan", "--json"]).code(0);
    let desired = pair.run(&main_root, &["show", "observed", "--json"]);
    let texts = [
        before, plan, desired, first, second, nothing, third, closed, anyway, again, mended, only_seal, mended_run,
        rotated,
    ]
    .map(|ran| format!("{}{}", ran.out, ran.err))
    .concat();
    let history = fs::read_dir(pair.safe.world.desk.path("state")).map(|_| {
        let mut grep = Command::new("grep");
        grep.args(["-rhoa", "."]).arg(pair.safe.world.desk.path("state"));
        String::from_utf8_lossy(&grep.output().unwrap().stdout).into_owned()
    });
    let all = [texts, traces(&pair.main), traces(&pair.opener), history.unwrap_or_default()];
    for (number, text) in all.iter().enumerate() {
        for canary in [opener_root.as_str(), &main_root, &unseal, &first_token, "canary-of-the-app"] {
            let at = text.find(canary);
            let around = at.map(|at| text.get(at.saturating_sub(120)..at).unwrap_or_default());
            assert!(at.is_none(), "a token is in text {number}, after: {around:?}");
        }
    }
    // For the next boot a host keeps what its units need, and no token of an administrator.
    let kept = |host: &Host| opened(&pair.safe, host, host).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!((kept(&pair.main), kept(&pair.opener)), (vec!["vault_unseal_token".into()], vec!["app.key".into()]));
}
