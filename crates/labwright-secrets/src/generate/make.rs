//! One secret from its specification and what it is made from; and its public half again from its private one.
//! Does not decide whether it is to be made: see `fill`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rand::CryptoRng;

use super::x509::{Authority, Leaf};
use super::{Generator, Made, hash, keys, password, x509};
use crate::{ErrorKind, SecretError, SecretText};

impl Generator {
    /// Whether this can be made, apart from its sources.
    ///
    /// # Errors
    /// `Invalid`: too easy to guess, or a field makes no sense.
    pub fn check(&self) -> Result<(), SecretError> {
        match self {
            Generator::Password { length, alphabet } => password::check(*length, alphabet),
            Generator::Hex { bytes } | Generator::Base64 { bytes, .. } => password::check_bytes(*bytes),
            Generator::SshKey { comment } if comment.contains(char::is_control) => {
                Err(SecretError::new(ErrorKind::Invalid, "comment of an SSH key holds a control character")
                    .help("write the comment in one line"))
            }
            Generator::X509Ca { common_name, days } => x509::check_ca(common_name, *days),
            Generator::X509 { names, days, .. } => x509::check_leaf(names, *days),
            Generator::Htpasswd { user, .. } => hash::check_user(user),
            Generator::Bcrypt { cost, .. } => hash::check_cost(*cost),
            Generator::Uuid
            | Generator::SshKey { .. }
            | Generator::WireGuard
            | Generator::AgeKey
            | Generator::Prompt { .. } => Ok(()),
        }
    }
}

/// What one secret is made with.
pub(super) struct Making<'a> {
    pub name: &'a str,
    pub specs: &'a BTreeMap<String, Generator>,
    pub prompt: &'a mut dyn FnMut(&str, &str) -> Result<SecretText, SecretError>,
    pub rng: &'a mut dyn CryptoRng,
    pub now: Timestamp,
}

impl Making<'_> {
    /// Makes it; `source` is the secret that it is made from, if it is made from one.
    pub fn make(&mut self, spec: &Generator, source: Option<&Made>) -> Result<Made, SecretError> {
        spec.check()?;
        match spec {
            Generator::Password { length, alphabet } => Ok(password::password(*length, alphabet, self.rng)),
            Generator::Hex { bytes } => Ok(password::hex(*bytes, self.rng)),
            Generator::Base64 { bytes, url_safe: true } => Ok(password::base64(*bytes, password::FOR_URLS, self.rng)),
            Generator::Base64 { bytes, url_safe: false } => Ok(password::base64(*bytes, password::PADDED, self.rng)),
            Generator::Uuid => Ok(password::uuid(self.rng)),
            Generator::SshKey { comment } => keys::ssh(comment, self.rng),
            Generator::X509Ca { common_name, days } => x509::ca(common_name, *days, self.rng, self.now),
            Generator::X509 { .. } => self.leaf(spec, None, source),
            Generator::WireGuard => Ok(keys::wireguard(self.rng)),
            Generator::Htpasswd { user, .. } => hash::htpasswd(user, &self.source(source)?.private, self.rng),
            Generator::Bcrypt { cost, .. } => hash::bcrypt(&self.source(source)?.private, *cost, self.rng),
            Generator::AgeKey => Ok(keys::age()),
            Generator::Prompt { message } => {
                let text = (self.prompt)(self.name, message)?;
                match text.expose() {
                    "" => Err(SecretError::new(ErrorKind::Invalid, "nothing was entered")),
                    _ => Ok(Made { private: text, public: BTreeMap::new() }),
                }
            }
        }
    }

    /// The public halves that belong to a private value. Those that were kept stay as they are where they cannot be
    /// worked out; a lost certificate is issued again for the same key.
    pub fn public(&mut self, spec: &Generator, kept: &Made, source: Option<&Made>) -> Result<Made, SecretError> {
        let pair = |public: String| Made::pair(kept.private.clone(), public);
        match spec {
            Generator::SshKey { .. } => keys::ssh_public(&kept.private).map(pair),
            Generator::WireGuard => keys::wireguard_public(&kept.private).map(pair),
            Generator::AgeKey => keys::age_public(&kept.private).map(pair),
            Generator::X509Ca { .. } | Generator::X509 { .. } if has_certificate(kept) => Ok(kept.clone()),
            Generator::X509Ca { common_name, days } => {
                spec.check()?;
                x509::ca_again(&kept.private, common_name, *days, self.rng, self.now)
            }
            Generator::X509 { .. } => {
                spec.check()?;
                self.leaf(spec, Some(&kept.private), source)
            }
            Generator::Password { .. }
            | Generator::Hex { .. }
            | Generator::Base64 { .. }
            | Generator::Uuid
            | Generator::Htpasswd { .. }
            | Generator::Bcrypt { .. }
            | Generator::Prompt { .. } => Ok(kept.clone()),
        }
    }

    fn leaf(&mut self, spec: &Generator, key: Option<&SecretText>, source: Option<&Made>) -> Result<Made, SecretError> {
        let Generator::X509 { ca, names, days, client } = spec else { return Err(self.no_source()) };
        let Some(Generator::X509Ca { common_name, .. }) = self.specs.get(ca) else { return Err(self.no_source()) };
        let source = self.source(source)?;
        let certificate = source.public.get("public").ok_or_else(|| self.no_source())?;
        let authority = Authority { name: ca, common_name, private: &source.private, certificate };
        x509::leaf(&Leaf { names, days: *days, client: *client }, key, &authority, self.rng, self.now)
    }

    fn source<'s>(&self, source: Option<&'s Made>) -> Result<&'s Made, SecretError> {
        source.ok_or_else(|| self.no_source())
    }

    fn no_source(&self) -> SecretError {
        let source = self.specs.get(self.name).and_then(Generator::source).unwrap_or_default();
        SecretError::new(ErrorKind::NoSuchSecret, format!("`{source}`, which it is made from, does not exist yet"))
            .help("make what is missing first: `labwright secret generate`")
    }
}

/// Both certificates are there, and are for the key that is there.
fn has_certificate(kept: &Made) -> bool {
    let good = |name| kept.public.get(name).is_some_and(|certificate| x509::belongs(certificate, &kept.private));
    good("public") && good("chain")
}
