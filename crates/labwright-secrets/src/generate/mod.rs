//! Makes secrets nobody has to invent: passwords, tokens, keys, certificates, and what is derived from them.
//! Reads no clock and no file, stores nothing; randomness and the present are passed in by whoever calls.

mod der;
mod fill;
mod hash;
mod keys;
mod make;
mod order;
mod password;
mod x509;

use std::collections::BTreeMap;

use crate::SecretText;

pub use fill::{Given, missing, rotate};
pub use order::{dependents, order};
pub use password::Alphabet;
pub use x509::expires;

/// A generated secret has to be at least this hard to guess.
pub const MIN_ENTROPY_BITS: f64 = 64.0;

/// How a secret comes to be. Names (`ca`, `of`) are names of other secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Characters drawn independently and uniformly.
    Password { length: usize, alphabet: Alphabet },
    /// Random bytes as lowercase hexadecimal digits.
    Hex { bytes: usize },
    /// Random bytes as base64; padded, or with the alphabet for URLs and no padding.
    Base64 { bytes: usize, url_safe: bool },
    /// A random UUID, version 4.
    Uuid,
    /// An Ed25519 key for SSH. Public half: the line for `authorized_keys`.
    SshKey { comment: String },
    /// A private authority. Private: its key in PEM. Public half and `chain`: its certificate in PEM.
    X509Ca { common_name: String, days: u32 },
    /// A certificate for a server, and with `client` for a client too. `names` are DNS names and addresses; `ca` is an
    /// [`Generator::X509Ca`]. Public half: the certificate; `chain`: the certificate and its authority's.
    X509 { ca: String, names: Vec<String>, days: u32, client: bool },
    /// A Curve25519 key for WireGuard. Public half: what `wg pubkey` prints.
    WireGuard,
    /// The line `user:hash` (bcrypt) for the password in another secret.
    Htpasswd { user: String, of: String },
    /// The bcrypt hash of another secret.
    Bcrypt { of: String, cost: u32 },
    /// An age identity. Public half: its recipient.
    AgeKey,
    /// Nothing can make it: a person is asked.
    Prompt { message: String },
}

impl Default for Generator {
    fn default() -> Self {
        Generator::Password { length: 32, alphabet: Alphabet::default() }
    }
}

impl Generator {
    /// `Hex` of 256 bits.
    pub fn hex() -> Generator {
        Generator::Hex { bytes: 32 }
    }

    /// `Base64` of 256 bits, in the usual alphabet.
    pub fn base64() -> Generator {
        Generator::Base64 { bytes: 32, url_safe: false }
    }

    /// `X509Ca` good for ten years.
    pub fn x509_ca(common_name: impl Into<String>) -> Generator {
        Generator::X509Ca { common_name: common_name.into(), days: 3650 }
    }

    /// `X509` for a server, good for a year.
    pub fn x509(ca: impl Into<String>, names: Vec<String>) -> Generator {
        Generator::X509 { ca: ca.into(), names, days: 365, client: false }
    }

    /// `Bcrypt` at the usual cost.
    pub fn bcrypt(of: impl Into<String>) -> Generator {
        Generator::Bcrypt { of: of.into(), cost: hash::COST }
    }

    /// The secret that this one is made from.
    pub fn source(&self) -> Option<&str> {
        match self {
            Generator::X509 { ca, .. } => Some(ca),
            Generator::Htpasswd { of, .. } | Generator::Bcrypt { of, .. } => Some(of),
            Generator::Password { .. }
            | Generator::Hex { .. }
            | Generator::Base64 { .. }
            | Generator::Uuid
            | Generator::SshKey { .. }
            | Generator::X509Ca { .. }
            | Generator::WireGuard
            | Generator::AgeKey
            | Generator::Prompt { .. } => None,
        }
    }
}

/// A secret as it was made: what is kept secret, and what everybody may know, by name (`public`, `chain`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub private: SecretText,
    pub public: BTreeMap<String, String>,
}

impl Made {
    fn private(text: String) -> Made {
        Made { private: SecretText::new(text), public: BTreeMap::new() }
    }

    fn pair(private: SecretText, public: String) -> Made {
        Made { private, public: BTreeMap::from([("public".to_string(), public)]) }
    }
}
