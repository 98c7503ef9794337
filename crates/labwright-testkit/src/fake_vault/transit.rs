//! The transit engine: keys that never leave, encryption and decryption with them.
//! One kind of key; no signing, no export, no derived keys in use, no batches.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::core::{Call, Core, Op};
use super::random;
use super::reply::{Answer, Fault, Reply};
use super::state::TransitKey;

const KIND: &str = "aes256-gcm96";

/// As for [`super::kv::exists`].
pub(crate) fn exists(core: &Core, mount: &str, rest: &str) -> Option<bool> {
    let (_, name) = rest.split_once('/').filter(|(kind, _)| *kind == "encrypt")?;
    Some(core.state.transit.get(mount).is_some_and(|keys| keys.contains_key(name)))
}

pub(crate) fn answer(core: &mut Core, call: &Call<'_>, mount: &str, rest: &str) -> Answer {
    let now = core.now();
    let keys = core.state.transit.entry(mount.to_string()).or_default();
    let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    match (parts.as_slice(), call.op) {
        (["keys"], Op::List) => Reply::keys(keys.keys().cloned().collect()),
        (["keys", name], Op::Read) => match keys.get(*name) {
            Some(key) => Ok(Reply::data(shown(name, key))),
            None => Err(Fault::not_found()),
        },
        (["keys", name], Op::Write) => create(keys, name, call, now),
        (["keys", name], Op::Delete) => match keys.get(*name) {
            None => Err(Fault::bad("could not delete key; not found")),
            Some(key) if !key.deletable => Err(Fault::bad("deletion is not allowed for this key")),
            Some(_) => {
                keys.remove(*name);
                Ok(Reply::none())
            }
        },
        (["keys", name, "config"], Op::Write) => {
            let key = keys
                .get_mut(*name)
                .ok_or_else(|| Fault::bad(format!("no existing key named {name} could be found")))?;
            key.deletable = call.fields.flag("deletion_allowed")?.unwrap_or(key.deletable);
            key.exportable |= call.fields.flag("exportable")?.unwrap_or(false);
            key.min_decryption = call.fields.number("min_decryption_version")?.unwrap_or(key.min_decryption).max(1);
            Ok(Reply::data(shown(name, key)))
        }
        (["keys", name, "rotate"], Op::Write) => {
            let key = keys.get_mut(*name).ok_or_else(|| Fault::bad("key not found"))?;
            let next = key.keys.last_key_value().map_or(1, |(number, _)| number + 1);
            key.keys.insert(next, (random::hex(&random::bytes::<32>()), now));
            Ok(Reply::data(shown(name, key)))
        }
        (["encrypt", name], Op::Write) => encrypt(keys, name, call, now),
        (["decrypt", name], Op::Write) => decrypt(keys, name, call),
        (["keys"] | ["keys", ..] | ["encrypt" | "decrypt", _], _) => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

fn new_key(now: u64) -> TransitKey {
    let keys = BTreeMap::from([(1, (random::hex(&random::bytes::<32>()), now))]);
    TransitKey { keys, deletable: false, exportable: false, derived: false, min_decryption: 1 }
}

fn create(keys: &mut BTreeMap<String, TransitKey>, name: &str, call: &Call<'_>, now: u64) -> Answer {
    let fields = call.fields;
    let kind = fields.text("type")?.unwrap_or_else(|| KIND.to_string());
    if kind != KIND {
        return Err(Fault::bad(format!("unknown key type {kind}")));
    }
    let flags = ["derived", "convergent_encryption", "exportable", "allow_plaintext_backup"];
    let flags = flags.map(|name| fields.flag(name).map(Option::unwrap_or_default));
    let [derived, convergent, exportable, _backup] = flags;
    if derived? || convergent? {
        return Err(Fault::bad("derived keys are not kept here"));
    }
    fields.ignore(&["auto_rotate_period", "key_size", "managed_key_name", "managed_key_id"]);
    if let Some(key) = keys.get(name) {
        let mut reply = Reply::data(shown(name, key));
        if let Some(body) = &mut reply.body {
            body["warnings"] = json!([format!("key {name} already existed")]);
        }
        return Ok(reply);
    }
    let key = TransitKey { exportable: exportable?, ..new_key(now) };
    let reply = Reply::data(shown(name, &key));
    keys.insert(name.to_string(), key);
    Ok(reply)
}

fn shown(name: &str, key: &TransitKey) -> Value {
    let versions: Map<String, Value> =
        key.keys.iter().map(|(number, (_, made))| (number.to_string(), json!(made))).collect();
    json!({
        "name": name, "type": KIND, "deletion_allowed": key.deletable, "derived": key.derived,
        "exportable": key.exportable, "allow_plaintext_backup": false, "auto_rotate_period": 0, "imported_key": false,
        "keys": versions, "latest_version": key.keys.len(), "min_available_version": 0,
        "min_decryption_version": key.min_decryption, "min_encryption_version": 0, "supports_encryption": true,
        "supports_decryption": true, "supports_derivation": true, "supports_signing": false,
    })
}

fn encrypt(keys: &mut BTreeMap<String, TransitKey>, name: &str, call: &Call<'_>, now: u64) -> Answer {
    let plaintext = call.fields.text("plaintext")?.ok_or_else(|| Fault::bad("missing plaintext to encrypt"))?;
    call.fields.ignore(&["type", "key_version", "context", "nonce", "convergent_encryption", "associated_data"]);
    let plaintext = STANDARD.decode(plaintext).map_err(|_| Fault::bad("failed to base64-decode plaintext"))?;
    let key = keys.entry(name.to_string()).or_insert_with(|| new_key(now));
    let (version, (secret, _)) = key.keys.last_key_value().ok_or_else(|| Fault::bad("encryption key not found"))?;
    let nonce = random::bytes::<12>();
    let mut sealed = nonce.to_vec();
    sealed.extend(mixed(secret, &nonce, &plaintext));
    sealed.extend(&tag(secret, &sealed)[..16]);
    let ciphertext = format!("vault:v{version}:{}", STANDARD.encode(sealed));
    Ok(Reply::data(json!({ "ciphertext": ciphertext, "key_version": version })))
}

fn decrypt(keys: &BTreeMap<String, TransitKey>, name: &str, call: &Call<'_>) -> Answer {
    let ciphertext = call.fields.text("ciphertext")?.ok_or_else(|| Fault::bad("missing ciphertext to decrypt"))?;
    call.fields.ignore(&["context", "nonce", "associated_data"]);
    let key = keys.get(name).ok_or_else(|| Fault::bad("encryption key not found"))?;
    let rest = ciphertext.strip_prefix("vault:v").ok_or_else(|| Fault::bad("invalid ciphertext: no prefix"))?;
    let (version, text) =
        rest.split_once(':').ok_or_else(|| Fault::bad("invalid ciphertext: wrong number of fields"))?;
    let version =
        version.parse::<u64>().map_err(|_| Fault::bad("invalid ciphertext: version number could not be decoded"))?;
    if version < key.min_decryption {
        return Err(Fault::bad("ciphertext or signature version is disallowed by policy (too old)"));
    }
    let (secret, _) = key.keys.get(&version).ok_or_else(|| Fault::bad("invalid ciphertext: version is too new"))?;
    let sealed = STANDARD.decode(text).map_err(|_| Fault::bad("invalid ciphertext: could not decode base64"))?;
    if sealed.len() < 28 {
        return Err(Fault::bad("invalid ciphertext length"));
    }
    let (body, found) = sealed.split_at(sealed.len() - 16);
    if tag(secret, body)[..16] != *found {
        return Err(Fault::bad("cipher: message authentication failed"));
    }
    let (nonce, text) = body.split_at(12);
    Ok(Reply::data(json!({ "plaintext": STANDARD.encode(mixed(secret, nonce, text)) })))
}

/// Not AES, which nobody outside can tell: a keyed hash as a stream of bits.
fn mixed(secret: &str, nonce: &[u8], text: &[u8]) -> Vec<u8> {
    let key = blake3::derive_key("fake vault stream", secret.as_bytes());
    let mut stream = vec![0; text.len()];
    blake3::Hasher::new_keyed(&key).update(nonce).finalize_xof().fill(&mut stream);
    stream.iter().zip(text).map(|(stream, text)| stream ^ text).collect()
}

fn tag(secret: &str, body: &[u8]) -> [u8; 32] {
    let key = blake3::derive_key("fake vault tag", secret.as_bytes());
    *blake3::keyed_hash(&key, body).as_bytes()
}
