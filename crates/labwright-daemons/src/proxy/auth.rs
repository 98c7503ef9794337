//! Who may in by name and password: users and the bcrypt hashes of their passwords.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// bcrypt is slow on purpose: a password that was right is remembered for so long, as a hash by a key of this process.
const REMEMBER: Duration = Duration::from_secs(300);
const MOST: usize = 1024;

pub struct Basic {
    users: HashMap<String, Zeroizing<String>>,
    pub challenge: HeaderValue,
    key: [u8; 32],
    right: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Basic {
    pub fn of(service: &str, users: Vec<(String, Zeroizing<String>)>) -> Result<Basic, String> {
        for (user, hash) in &users {
            if !["$2y$", "$2b$", "$2a$"].iter().any(|form| hash.starts_with(form)) {
                return Err(format!(
                    "the password of `{user}` is no bcrypt hash; `htpasswd -nbB USER PASSWORD` makes one"
                ));
            }
        }
        let challenge = HeaderValue::from_str(&format!("Basic realm=\"{service}\", charset=\"UTF-8\""))
            .map_err(|_| format!("`{service}` cannot be named in a header"))?;
        Ok(Basic { users: users.into_iter().collect(), challenge, key: rand::random(), right: Mutex::default() })
    }

    /// The user that a request proves to be.
    pub async fn user(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?);
        let (user, password) = decoded.split_once(':')?;
        let proof: [u8; 32] = Sha256::new()
            .chain_update(self.key)
            .chain_update(user)
            .chain_update([0])
            .chain_update(password)
            .finalize()
            .into();
        if self.known(&proof) {
            return Some(user.to_string());
        }
        let is_user = self.users.contains_key(user);
        // For somebody who is not there the same work is done: how long it takes tells no names.
        let hash = self.users.get(user).or_else(|| self.users.values().next())?.clone();
        let password = Zeroizing::new(password.to_string());
        let verify = tokio::task::spawn_blocking(move || bcrypt::verify(password.as_bytes(), &hash).unwrap_or(false));
        if !verify.await.unwrap_or(false) || !is_user {
            return None;
        }
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST {
            right.clear();
        }
        right.insert(proof, Instant::now());
        Some(user.to_string())
    }

    fn known(&self, proof: &[u8; 32]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(proof).is_some_and(|since| since.elapsed() < REMEMBER)
    }
}
