//! From a lab's Vault to policies, a key, a token and a seal.

use std::collections::BTreeMap;

use labwright_model::Files;
use labwright_plan::sealed::readers;
use labwright_plan::{Input, Lowered, Provider, ResourceId, Value};
use labwright_providers::{host::Host, vault::Vault};

struct Disk<'a>(&'a str);

impl Files for Disk<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "lab.yaml" => Ok(self.0.as_bytes().to_vec()),
            "secrets.yaml" => {
                Ok(b"vault_with_token: ENC[x]\nin_file: ENC[x]\nsops: { age: [{ recipient: age1x }] }\n".to_vec())
            }
            _ => Err("no such file".into()),
        }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fn lower(text: &str) -> Lowered {
    let parsed = labwright_model::parse("lab.yaml", &Disk(text));
    let assets = BTreeMap::from([("ca.pem".to_string(), Ok(b"PEM".to_vec()))]);
    let mut out = Lowered::default();
    [&Host as &dyn Provider, &Vault]
        .into_iter()
        .for_each(|provider| provider.lower(&Input::of(&parsed, &assets), &mut out));
    out
}

fn lab(vault: &str) -> String {
    format!(
        "lab: Home\nplatform: {{ secrets: {{ age: secrets.yaml, vault: {{ {vault} }} }} }}\ncompute:\n  hosts:\n    vault-01: {{ address: 10.0.0.5 }}\n    infra-01: {{ address: \"fd00::6\" }}\n    web:\n      address: 10.0.0.7\n      files: {{ /a: {{ content: \"${{secret.db}} ${{secret.cloud.key}} ${{secret.cloud.user}} ${{secret.in_file}}\" }} }}\nservices:\n  wiki: {{ on: web, run: {{ command: wiki, environment: {{ DB: \"${{secret.db}}\" }} }} }}\n"
    )
}

const PAIR: &str = "on: vault-01, unseal: transit, with: infra-01";

#[test]
fn a_pair_is_a_key_a_policy_a_token_and_a_seal_that_comes_last() {
    let out = lower(&lab(PAIR));
    assert!(out.findings.is_empty(), "{:?}", out.findings);
    let ids: Vec<String> = out.resources.iter().map(|resource| resource.id.to_string()).collect();
    for id in [
        "infra-01/vault/transit_key/transit/autounseal",
        "infra-01/vault/policy/labwright-home-unseal",
        "infra-01/vault/token/labwright-home-unseal",
        "vault-01/vault/seal/vault.service",
        "vault-01/host/file//etc/vault.d/seal.hcl",
        "vault-01/host/file//etc/labwright/vault.service.environment",
        "vault-01/host/unit/vault.service",
    ] {
        assert!(ids.iter().any(|other| other == id), "{id} is not among {ids:#?}");
    }
    let get = |id: &str| out.resources.iter().find(|resource| resource.id.as_str() == id).unwrap();
    let token = ResourceId::parse("infra-01/vault/token/labwright-home-unseal").unwrap();
    let seal = get("vault-01/vault/seal/vault.service");
    assert!(seal.after.contains(&token) && get("vault-01/host/unit/vault.service").after.contains(&token));
    let environment = "vault-01/host/file//etc/labwright/vault.service.environment";
    assert!(seal.after.contains(&ResourceId::parse(environment).unwrap()), "{:?}", seal.after);
    assert_eq!(seal.spec["unsealer"], Value::from("https://[fd00::6]:8200"));
    let config = get("vault-01/host/file//etc/vault.d/seal.hcl").spec["content"].text().unwrap();
    assert!(
        config.contains("address         = \"https://[fd00::6]:8200\"") && config.contains("\"autounseal\""),
        "{config}"
    );
    // The token is in no file's text, and each host reads its own secrets only.
    let read = readers(&out.resources);
    assert_eq!(read["vault-01"].iter().copied().collect::<Vec<_>>(), ["vault_unseal_token"]);
    assert_eq!(read["infra-01"].iter().copied().collect::<Vec<_>>(), ["vault_unseal_token", "vault_with_token"]);
}

#[test]
fn who_trusts_whom_and_what_runs_where_is_said_by_keys() {
    let more = "url: \"https://vault.example.net\", with_url: \"https://opener.example.net\", ca: ca.pem, key: k, config: /opt/v/s.hcl, unit: bao.service, unseal_token: \"${secret.u}\"";
    let out = lower(&lab(&format!("{PAIR}, {more}")));
    assert!(out.findings.is_empty(), "{:?}", out.findings);
    let get = |id: &str| out.resources.iter().find(|resource| resource.id.as_str() == id).unwrap();
    let config = get("vault-01/host/file//opt/v/s.hcl").spec["content"].text().unwrap();
    assert!(config.contains("tls_ca_cert     = \"/opt/v/seal-ca.pem\""), "{config}");
    let seal = get("vault-01/vault/seal/bao.service");
    assert_eq!(
        (&seal.spec["ca"], &seal.spec["address"]),
        (&Value::from("PEM"), &Value::from("https://vault.example.net"))
    );
    assert!(readers(&out.resources)["vault-01"].contains("u"));
}

#[test]
fn policies_are_for_exactly_what_is_read_and_kept_there() {
    assert!(lower(&lab("on: vault-01")).resources.iter().all(|resource| resource.id.provider() != "vault"));
    let out = lower(&lab("on: vault-01, token: \"${secret.in_file}\""));
    let policies: BTreeMap<&str, &str> = out
        .resources
        .iter()
        .filter(|resource| resource.id.kind() == "policy")
        .map(|resource| (resource.id.as_str(), resource.spec["text"].text().unwrap()))
        .collect();
    assert_eq!(
        policies.keys().copied().collect::<Vec<_>>(),
        ["vault-01/vault/policy/labwright-home-web", "vault-01/vault/policy/labwright-home-web-wiki"]
    );
    let paths =
        |text: &str| text.lines().filter(|line| line.starts_with("path")).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(
        paths(policies["vault-01/vault/policy/labwright-home-web"]),
        [
            "path \"secret/data/Home/cloud\" {",
            "path \"secret/metadata/Home/cloud\" {",
            "path \"secret/data/Home/db\" {",
            "path \"secret/metadata/Home/db\" {",
        ]
    );
    assert_eq!(paths(policies["vault-01/vault/policy/labwright-home-web-wiki"]).len(), 2);
}

#[test]
fn combinations_without_sense_are_found() {
    let said =
        |text: &str| lower(text).findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("; ");
    for (vault, message) in [
        ("on: vault-01, unseal: awskms", "`awskms` is no way to unseal a Vault that is known here"),
        ("on: vault-01, unseal: transit", "`unseal: transit` takes two hosts, and `with` is not there"),
        (
            "on: vault-01, unseal: transit, with: vault-01",
            "the Vault is unsealed by its own host, which is closed whenever it is",
        ),
        ("on: vault-01, token: plain", "`token` names no secret"),
        ("on: vault-01, token: \"${secret.t}\", mount: \"a*\"", "\"a*\" does not stand for itself alone in a policy"),
        ("on: vault-01, ca: gone.pem", "cannot read the certificate authority `gone.pem`: it was not read"),
    ] {
        let told = said(&lab(vault));
        assert!(told.starts_with(message), "{vault}: {told}");
    }
    let alone = lab(PAIR).replace("age: secrets.yaml, ", "");
    assert_eq!(said(&alone), "", "hosts keep what they need to start, so the pair's own tokens may be kept in it too");
}
