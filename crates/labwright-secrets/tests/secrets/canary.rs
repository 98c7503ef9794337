//! Nothing that can be printed holds a secret.

use std::fmt::{Debug, Write};

use labwright_secrets::envelope::{self, HostIdentity};
use labwright_secrets::identity::{Identities, Identity, Sources};
use labwright_secrets::store::{Document, Opened};
use labwright_secrets::{SecretError, SecretText};

use crate::support::{Key, folder, now, open, sealed, ssh_key};

const CANARY: &str = "canary-8f3a";

#[test]
fn nothing_that_is_shown_has_a_canary() {
    let home = folder();
    let key = Key::new();
    let private = key.text.expose().lines().last().unwrap().to_string();
    let (ssh, public) = ssh_key(home.path(), "id_ed25519", &["-t", "ed25519"], CANARY);
    let mut shown = String::new();
    let mut show = |thing: &dyn Debug| write!(shown, "{thing:?} {thing:#?}").unwrap();

    let plain = format!("a: {CANARY}\nb:\n  c: {CANARY}\n  d: [{CANARY}]\n# {CANARY}\nopen_unencrypted: x\n");
    let text = sealed(&key, "s.yaml", &plain);
    let mut store: Opened = open(&key, "s.yaml", &text).unwrap();
    show(&store);
    show(store.document());
    show(&store.document().names());
    show(&SecretText::from(CANARY));
    show(&store.get("a").unwrap());
    show(&store.all().unwrap());
    show(&store.plain_text().unwrap());
    show(&key.identities());
    show(&Identity::generate());
    let sources =
        Sources { env_key: Some(SecretText::from(private.as_str())), ssh_keys: vec![ssh], ..Sources::default() };
    show(&sources);
    let identities = Identities::load(&sources).unwrap().with_passphrase(|_| Some(SecretText::from(CANARY)));
    show(&identities);
    show(&HostIdentity::create_age_file(&home.path().join("host")).unwrap());

    let mut errors: Vec<SecretError> = Vec::new();
    for path in ["a", "b.c", "b.d.0", "x", "open_unencrypted", "a.b"] {
        let value = SecretText::from(format!("{CANARY}\0").as_str());
        errors.extend(store.set(path, &value).err());
        errors.extend(store.set_plain(path, CANARY).err());
    }
    for edited in [
        CANARY.to_string(),
        format!("a: [{CANARY}"),
        format!("a: \"{CANARY}"),
        format!("a: {CANARY}: {CANARY}"),
        format!("a: *{CANARY}"),
        format!("a: &{CANARY} x"),
        format!("a: !{CANARY}!x y"),
        format!("%{CANARY} x\n---\na: 1"),
        format!("a: \"\\{CANARY}\""),
        format!("\t{CANARY}: 1"),
        format!("a: |{CANARY}\n"),
        format!("a: {CANARY}\n b: x"),
        format!("? [{CANARY}]\n: x"),
        format!("- {CANARY}"),
        format!("@{CANARY}"),
        format!("a: @{CANARY}"),
        format!("a: `{CANARY}"),
        format!("a: 'x' {CANARY}"),
        format!("a: x\n{CANARY}\nb: y"),
    ] {
        let secret = SecretText::from(edited.as_str());
        errors.extend(store.replace_plain(&secret).err());
        errors.extend(Document::parse("s.yaml", edited.as_bytes()).err());
        errors.extend(Document::parse("s.json", format!("{{\"a\": {CANARY}}}").as_bytes()).err());
        errors.extend(Identities::from_text(&secret).err());
    }
    assert!(errors.len() > 60, "{}", errors.len());
    for cut in (0..text.len()).step_by(7) {
        errors.extend(open(&key, "s.yaml", &text[..cut]).err());
        let mut changed = text.clone().into_bytes();
        changed[cut] = b'Q';
        errors.extend(Document::parse("s.yaml", &changed).and_then(|document| document.open(&key.identities())).err());
    }
    let by_hand = text.replacen("a: ENC", &format!("a: {CANARY} #"), 1);
    errors.extend(open(&key, "s.yaml", &by_hand).err());
    errors.extend(Identities::from_text(&SecretText::from(&private[..40])).err());
    errors.extend(Document::create("s.yaml", std::slice::from_ref(&private), &Default::default()).err());
    errors.extend(Document::create("s.yaml", &[private.to_lowercase()], &Default::default()).err());
    errors.extend(store.rekey(std::slice::from_ref(&private), labwright_secrets::store::Rekey::Fresh).err());
    let values = [(CANARY.to_string(), SecretText::from(CANARY))].into();
    errors.extend(envelope::seal(&private, "lab", "host", &values).err());
    let sealed = envelope::seal(&public, "lab", "host", &values).unwrap();
    let host = HostIdentity::age_file(&home.path().join("host")).unwrap();
    errors.extend(envelope::open(&sealed, &host, "lab", "host").err());

    for error in &errors {
        write!(shown, "{error} {error:?} {:?}", error.help).unwrap();
    }
    let key_part = &private["AGE-SECRET-KEY-1".len()..][..12];
    assert!(!shown.contains(CANARY), "{}", &shown[shown.find(CANARY).unwrap().saturating_sub(200)..]);
    assert!(
        !shown.contains(key_part) && !shown.contains(&key_part.to_lowercase()) && !shown.contains("AGE-SECRET-KEY-1Q")
    );
    assert!(store.to_text(now()).is_ok());
}
