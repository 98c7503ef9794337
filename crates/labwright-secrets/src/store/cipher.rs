//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.
//! Knows no files; a wrong key and a changed value look the same from here.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::TryRngCore;
use zeroize::Zeroizing;

use super::value::{Type, Value};

/// AES-256-GCM with the 32 byte nonce that SOPS uses.
type Cipher = AesGcm<Aes256, U32>;
const NONCE_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const START: &str = "ENC[AES256_GCM,";

/// What every value of a file is encrypted with.
#[derive(Clone)]
pub(super) struct DataKey(Zeroizing<[u8; 32]>);

/// Why a value stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// It is not encrypted at all.
    Clear,
    /// It is encrypted with a cipher that nobody here knows.
    UnknownCipher,
    /// It is cut off or misspelt.
    Broken,
    /// It was changed, moved, or belongs to another file.
    Tag,
}

impl DataKey {
    /// `None` if the system gives no random numbers.
    pub fn fresh() -> Option<DataKey> {
        let mut key = Zeroizing::new([0; 32]);
        rand::rngs::OsRng.try_fill_bytes(key.as_mut_slice()).ok()?;
        Some(DataKey(key))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<DataKey> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(DataKey(key))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// A value's encrypted form; an empty text stays empty, as SOPS leaves it. `None` without random numbers.
    pub fn encrypt(&self, value: &Value, aad: &str) -> Option<String> {
        if value.text.is_empty() {
            return Some(String::new());
        }
        let mut nonce = [0; NONCE_BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut nonce).ok()?;
        let cipher = Cipher::new_from_slice(self.bytes()).ok()?;
        let payload = Payload { msg: value.text.as_bytes(), aad: aad.as_bytes() };
        let sealed = cipher.encrypt((&nonce).into(), payload).ok()?;
        let (data, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
        let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let (data, iv, tag) = (base64(data), base64(&nonce), base64(tag));
        Some(format!("{START}data:{data},iv:{iv},tag:{tag},type:{}]", value.ty.name()))
    }

    pub fn decrypt(&self, text: &str, aad: &str) -> Result<Value, Shut> {
        if text.is_empty() {
            return Ok(Value::new(Type::Str, ""));
        }
        let Parts { mut sealed, nonce, ty } = Parts::parse(text)?;
        let cipher = Cipher::new_from_slice(self.bytes()).map_err(|_| Shut::Broken)?;
        let payload = Payload { msg: &sealed, aad: aad.as_bytes() };
        let clear = cipher.decrypt((&nonce).into(), payload).map_err(|_| Shut::Tag)?;
        sealed.clear();
        let clear = String::from_utf8(clear).map(Zeroizing::new).map_err(|_| Shut::Broken)?;
        Value::decrypted(ty, clear).ok_or(Shut::Broken)
    }
}

/// Whether a text looks like an encrypted value of some cipher.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.starts_with("ENC[")
}

struct Parts {
    sealed: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    ty: Type,
}

impl Parts {
    fn parse(text: &str) -> Result<Parts, Shut> {
        let inner = match text.strip_prefix(START) {
            Some(inner) => inner,
            None if is_encrypted(text) && text.contains(",data:") => return Err(Shut::UnknownCipher),
            None if is_encrypted(text) => return Err(Shut::Broken),
            None => return Err(Shut::Clear),
        };
        Parts::fields(inner).ok_or(Shut::Broken)
    }

    fn fields(inner: &str) -> Option<Parts> {
        let mut fields = inner.strip_suffix(']')?.split(',');
        let mut next = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix(':');
        let mut sealed = BASE64_STANDARD.decode(next("data")?).ok()?;
        let nonce = BASE64_STANDARD.decode(next("iv")?).ok()?.try_into().ok()?;
        let tag = BASE64_STANDARD.decode(next("tag")?).ok()?;
        let ty = Type::parse(next("type")?)?;
        if tag.len() != TAG_BYTES {
            return None;
        }
        sealed.extend_from_slice(&tag);
        Some(Parts { sealed, nonce, ty })
    }
}
