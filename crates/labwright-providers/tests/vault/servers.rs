//! Policies, keys and tokens on a server: made, seen as they were made, changed by hand, taken away.

use std::collections::BTreeSet;

use labwright_model::Span;
use labwright_plan::{
    Action, Consequence, Context, ErrorKind, Expect, Facts, Fingerprint, Hidden, Progress, Provider, ProviderError,
    Resource, ResourceId, Sealed, Secrets, Seen, Session, Step, Value, Wanted,
};
use labwright_providers::vault::Vault;
use labwright_secrets::SecretText;
use labwright_secrets::vault::{Client, Login, Options, TokenSpec};
use labwright_testkit::fake_vault::FakeVault;
use zeroize::Zeroizing;

struct Quiet;

impl Progress for Quiet {
    fn say(&self, _: &ResourceId, _: &str) {}
}

const ID: &str = "canary-of-the-unseal-token";

fn session(secrets: &[(&str, &str)], applied: &[&Resource]) -> Box<dyn Session> {
    let value = |(name, value): &(&str, &str)| (name.to_string(), Zeroizing::new(value.to_string()));
    let context = Context {
        facts: Facts::default(),
        state_dir: "/nonexistent".into(),
        applied: std::sync::Arc::new(
            applied.iter().map(|resource| (resource.id.clone(), resource.spec.clone())).collect(),
        ),
        secrets_dir: "/nonexistent".into(),
        change_key: Hidden([0; 32]),
        secrets: secrets.iter().map(value).collect::<Secrets>(),
        via: labwright_plan::Via::default(),
    };
    Vault.connect(&context).unwrap()
}

fn resource(vault: &FakeVault, kind: &str, name: &str) -> Resource {
    let resource = Resource::new(ResourceId::new("infra", "vault", kind, name), Span::NONE);
    resource.with("address", vault.address()).with("admin", Value::Secret(Sealed::template("${secret.admin}")))
}

fn token(vault: &FakeVault) -> Resource {
    let id = Value::Secret(Sealed::template("${secret.id}"));
    resource(vault, "token", "t").with("id", id).with("policy", "p").with("period", Value::Int(3600))
}

fn look(session: &dyn Session, resource: &Resource) -> Seen {
    let mut seen = session.observe(&[Wanted { id: &resource.id, spec: &resource.spec }]);
    seen.remove(&resource.id).unwrap()
}

/// Whether what is declared and may be compared is there.
#[track_caller]
fn as_declared(session: &dyn Session, resource: &Resource) {
    let Seen::Present(observed) = look(session, resource) else { panic!("{:?}", look(session, resource)) };
    for (field, value) in &observed.spec {
        assert_eq!(Some(value), resource.spec.get(field), "{field}");
    }
    assert!(!observed.spec.is_empty());
}

fn step(action: Action, resource: &Resource) -> Step {
    Step {
        id: resource.id.clone(),
        action,
        consequence: Consequence::None,
        because: String::new(),
        spec: resource.spec.clone(),
        changes: Vec::new(),
        needs: BTreeSet::new(),
        after: BTreeSet::new(),
        expect: Expect::Fingerprint(Fingerprint::absent()),
    }
}

fn apply(session: &dyn Session, action: Action, resource: &Resource) -> Result<(), ProviderError> {
    session.apply(&step(action, resource), &Quiet)
}

fn client(vault: &FakeVault, token: &str) -> Client {
    Client::new(&Options::new(vault.address()), Login::Token(SecretText::from(token))).unwrap()
}

#[test]
fn a_policy_is_written_seen_corrected_and_removed() {
    let vault = FakeVault::start().unwrap();
    let text = "path \"secret/data/x\" {\n  capabilities = [\"read\"]\n}\n";
    let policy = resource(&vault, "policy", "p").with("text", text);
    let here = session(&[("admin", vault.root_token())], &[&policy]);
    assert_eq!(look(here.as_ref(), &policy), Seen::Absent);
    for _ in 0..2 {
        apply(here.as_ref(), Action::Create, &policy).unwrap();
        as_declared(here.as_ref(), &policy);
    }
    client(&vault, vault.root_token()).sys().write_policy("p", "path \"*\" { capabilities = [\"sudo\"] }").unwrap();
    let Seen::Present(seen) = look(here.as_ref(), &policy) else { panic!() };
    assert!(seen.spec["text"].text().unwrap().contains("sudo"));
    apply(here.as_ref(), Action::Update, &policy).unwrap();
    as_declared(here.as_ref(), &policy);
    for _ in 0..2 {
        apply(here.as_ref(), Action::Delete, &policy).unwrap();
        assert_eq!(look(here.as_ref(), &policy), Seen::Absent);
    }
}

#[test]
fn a_key_is_made_with_its_engine_and_never_deleted() {
    let vault = FakeVault::start().unwrap();
    let key = resource(&vault, "transit_key", "engine/transit/k").with("type", "aes256-gcm96");
    let here = session(&[("admin", vault.root_token())], &[&key]);
    assert_eq!(look(here.as_ref(), &key), Seen::Absent);
    for _ in 0..2 {
        apply(here.as_ref(), Action::Create, &key).unwrap();
        as_declared(here.as_ref(), &key);
    }
    let Seen::Present(seen) = look(here.as_ref(), &key) else { panic!() };
    assert!(seen.data.unwrap().contains("never opens again"));
    let refused = apply(here.as_ref(), Action::Delete, &key).unwrap_err();
    assert!(refused.message.contains("is not deleted") && refused.help.contains("deletion_allowed"), "{refused}");
    as_declared(here.as_ref(), &key);
}

#[test]
fn a_token_has_the_text_that_was_chosen_one_policy_and_no_parent() {
    let vault = FakeVault::start().unwrap();
    let token = token(&vault);
    let here = session(&[("admin", vault.root_token()), ("id", ID)], &[&token]);
    assert_eq!(look(here.as_ref(), &token), Seen::Absent);
    for _ in 0..2 {
        apply(here.as_ref(), Action::Create, &token).unwrap();
        as_declared(here.as_ref(), &token);
    }
    // One of the same text that may do more is replaced.
    let root = client(&vault, vault.root_token());
    root.tokens().revoke(&SecretText::from(ID)).unwrap();
    let wide = TokenSpec { policies: vec!["root".into()], id: Some(SecretText::from(ID)), ..TokenSpec::default() };
    root.tokens().create(&wide).unwrap();
    let Seen::Present(seen) = look(here.as_ref(), &token) else { panic!() };
    assert_eq!(seen.spec["policy"], Value::from("root, until its parent ends"));
    apply(here.as_ref(), Action::Replace, &token).unwrap();
    as_declared(here.as_ref(), &token);
    for _ in 0..2 {
        apply(here.as_ref(), Action::Delete, &token).unwrap();
        assert_eq!(look(here.as_ref(), &token), Seen::Absent);
    }
    assert_eq!(vault.ignored_fields(), Vec::<String>::new());
}

#[test]
fn what_nobody_can_tell_is_unknown_and_no_error_holds_a_token() {
    let vault = FakeVault::start().unwrap();
    let token = token(&vault);
    let root = client(&vault, vault.root_token());
    root.sys().write_policy("little", "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }").unwrap();
    let little = TokenSpec { policies: vec!["little".into()], ..TokenSpec::default() };
    let little = root.tokens().create(&little).unwrap().token;
    let unknown = |secrets: &[(&str, &str)], resource: &Resource| {
        let here = session(secrets, &[resource]);
        let Seen::Unknown(error) = look(here.as_ref(), resource) else { panic!("{:?}", look(here.as_ref(), resource)) };
        let all = format!("{error:?}");
        assert!(!all.contains(ID) && secrets.iter().all(|(_, value)| !all.contains(value)), "{all}");
        error
    };
    let without = unknown(&[], &token);
    assert_eq!(
        (without.kind, without.message.as_str()),
        (ErrorKind::Auth, "secret `admin` is not at hand, and nobody answers without")
    );
    unknown(&[("admin", vault.root_token())], &token);
    assert_eq!(unknown(&[("admin", "nobodys-token"), ("id", ID)], &token).kind, ErrorKind::Auth);
    let denied = unknown(&[("admin", little.expose()), ("id", ID)], &token);
    assert!(denied.help.contains("auth/token/lookup"), "{denied:?}");
    let away = token.clone().with("address", "http://127.0.0.1:9");
    assert_eq!(unknown(&[("admin", vault.root_token()), ("id", ID)], &away).kind, ErrorKind::Unreachable);
    let clear = token.with("address", "http://192.0.2.1:8200");
    assert!(
        unknown(&[("admin", vault.root_token()), ("id", ID)], &clear).message.contains("readable over the network")
    );

    // A chosen text that the server does not take is told without it.
    let prefixed = session(&[("admin", vault.root_token()), ("id", "hvs.canary-prefix")], &[]);
    let refused = apply(prefixed.as_ref(), Action::Create, &super::servers::token(&vault)).unwrap_err();
    assert!(
        refused.message.contains("custom token ID cannot have the 'hvs.' prefix")
            && !format!("{refused:?}").contains("canary"),
        "{refused:?}"
    );
}
