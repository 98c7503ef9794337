//! A private authority and the certificates it signs, as PEM; keys are ECDSA over P-256.
//! Keeps no list of what was issued, revokes nothing, and never renews by itself: whoever calls rotates in time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rand::CryptoRng;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use super::{Made, der};
use crate::{ErrorKind, SecretError, SecretText};

/// Clocks of homelabs differ; a certificate made now must already be good on a host that is late.
const BACKDATED_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 86_400;
const MOST_DAYS: u32 = 36_500;

pub(super) fn check_ca(common_name: &str, days: u32) -> Result<(), SecretError> {
    if common_name.trim().is_empty() || common_name.chars().count() > 64 || common_name.contains(char::is_control) {
        let message = format!("common name {common_name:?} of a certificate authority is not 1 to 64 characters");
        return Err(SecretError::new(ErrorKind::Invalid, message).help("write `common_name: homelab CA`, say"));
    }
    check_days(days)
}

pub(super) fn check_leaf(names: &[String], days: u32) -> Result<(), SecretError> {
    if names.is_empty() {
        return Err(SecretError::new(ErrorKind::Invalid, "certificate has no names")
            .help("write the DNS names and addresses under which it is reached into `names`"));
    }
    names.iter().try_for_each(|name| alternative(name).map(|_| ()))?;
    check_days(days)
}

fn check_days(days: u32) -> Result<(), SecretError> {
    match days {
        1..=MOST_DAYS => Ok(()),
        _ => Err(SecretError::new(ErrorKind::Invalid, format!("{days} days are not between 1 and {MOST_DAYS}"))
            .help("write `days: 365`, say")),
    }
}

/// One name of a certificate: an address, or a DNS name, whose leftmost label may be `*`.
fn alternative(name: &str) -> Result<SanType, SecretError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let host = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let invalid = || {
        SecretError::new(ErrorKind::Invalid, format!("`{name}` is neither a DNS name nor an address"))
            .help("write names like `nas.home.arpa`, `*.home.arpa` or `192.168.1.10`")
    };
    if name.len() > 253 || !host.split('.').all(label) {
        return Err(invalid());
    }
    Ia5String::try_from(name).map(SanType::DnsName).map_err(|_| invalid())
}

pub(super) fn ca(common_name: &str, days: u32, rng: &mut dyn CryptoRng, now: Timestamp) -> Result<Made, SecretError> {
    let key = KeyPair::generate().map_err(|error| cannot(&error))?;
    ca_with(&key, common_name, days, rng, now)
}

/// A new certificate for the key of an authority that exists. What the authority signed before stays good under it.
pub(super) fn ca_again(
    private: &SecretText,
    common_name: &str,
    days: u32,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<Made, SecretError> {
    ca_with(&key_of(private)?, common_name, days, rng, now)
}

fn ca_with(
    key: &KeyPair,
    common_name: &str,
    days: u32,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<Made, SecretError> {
    let mut params = ca_params(common_name);
    period(&mut params, days, now, None)?;
    params.serial_number = Some(serial(rng));
    let pem = params.self_signed(key).map_err(|error| cannot(&error))?.pem();
    Ok(made(key, pem.clone(), pem))
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// An authority with what is needed to sign: its key, its certificate, and the name that its specification gives it.
pub(super) struct Authority<'a> {
    pub name: &'a str,
    pub common_name: &'a str,
    pub private: &'a SecretText,
    pub certificate: &'a str,
}

/// What a certificate is to say.
pub(super) struct Leaf<'a> {
    pub names: &'a [String],
    pub days: u32,
    pub client: bool,
}

/// Signs a certificate: for the key that exists, or for a new one.
pub(super) fn leaf(
    leaf: &Leaf<'_>,
    key: Option<&SecretText>,
    authority: &Authority<'_>,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<Made, SecretError> {
    let (ca_key, until) = authority.open(now)?;
    let key = match key {
        Some(private) => key_of(private)?,
        None => KeyPair::generate().map_err(|error| cannot(&error))?,
    };
    let mut params = CertificateParams::default();
    params.subject_alt_names = leaf.names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
    params.distinguished_name = DistinguishedName::new();
    // RFC 5280 allows 64 characters; clients look at the alternative names anyway.
    if let Some(first) = leaf.names.iter().find(|name| name.len() <= 64) {
        params.distinguished_name.push(DnType::CommonName, first.as_str());
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if leaf.client {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    period(&mut params, leaf.days, now, Some(until))?;
    params.serial_number = Some(serial(rng));
    let issuer = ca_params(authority.common_name);
    let signed = params.signed_by(&key, &Issuer::from_params(&issuer, &ca_key)).map_err(|error| cannot(&error))?;
    let pem = signed.pem();
    let chain = format!("{pem}{}\n", authority.certificate.trim_end());
    Ok(made(&key, pem, chain))
}

impl Authority<'_> {
    /// Its key, and until when it may sign. Refuses an authority whose parts do not belong together: a certificate signed
    /// under another name or key would be refused by everybody later.
    fn open(&self, now: Timestamp) -> Result<(KeyPair, Timestamp), SecretError> {
        let key = key_of(self.private)?;
        let der = pem(self.certificate)?;
        let stored = der::certificate(&der)?;
        let expected = ca_params(self.common_name).self_signed(&key).map_err(|error| cannot(&error))?;
        let expected = der::certificate(expected.der())?;
        let rotate = format!("make it and all that it signed again: `labwright secret rotate {}`", self.name);
        let fault = if stored.key != expected.key {
            "certificate is for another key"
        } else if stored.subject != expected.subject {
            "certificate is for another common name"
        } else if stored.not_after <= now {
            "certificate has expired"
        } else {
            return Ok((key, stored.not_after));
        };
        Err(SecretError::new(ErrorKind::Invalid, format!("authority `{}` cannot sign: its {fault}", self.name))
            .help(rotate))
    }
}

/// Until when the (first) certificate of a PEM text is good.
///
/// # Errors
/// `Malformed` if it is no certificate.
pub fn expires(certificate: &str) -> Result<Timestamp, SecretError> {
    Ok(der::certificate(&pem(certificate)?)?.not_after)
}

/// Whether a certificate is there and is for this key.
pub(super) fn belongs(certificate: &str, private: &SecretText) -> bool {
    let (Ok(der), Ok(key)) = (pem(certificate), key_of(private)) else { return false };
    // SubjectPublicKeyInfo ends with the bits of the key.
    der::certificate(&der).is_ok_and(|certificate| certificate.key.ends_with(key.public_key_raw()))
}

fn key_of(private: &SecretText) -> Result<KeyPair, SecretError> {
    KeyPair::from_pem(private.expose())
        .map_err(|_| SecretError::new(ErrorKind::Malformed, "value is not a private key in PEM (PKCS #8)"))
}

fn pem(text: &str) -> Result<Vec<u8>, SecretError> {
    let body = text
        .split_once("-----BEGIN CERTIFICATE-----")
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_whitespace().collect::<String>());
    body.and_then(|body| STANDARD.decode(body).ok())
        .ok_or_else(|| SecretError::new(ErrorKind::Malformed, "value is not a certificate in PEM"))
}

fn made(key: &KeyPair, public: String, chain: String) -> Made {
    let private = SecretText::new(key.serialize_pem());
    Made { private, public: BTreeMap::from([("public".to_string(), public), ("chain".to_string(), chain)]) }
}

/// Good from a little before now, for so many days, but not beyond the authority.
fn period(
    params: &mut CertificateParams,
    days: u32,
    now: Timestamp,
    until: Option<Timestamp>,
) -> Result<(), SecretError> {
    let now = now.as_second();
    let end = now + i64::from(days) * DAY_SECONDS;
    let end = until.map_or(end, |until| end.min(until.as_second()));
    let at = |seconds: i64| {
        u64::try_from(seconds)
            .map(|seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds))
            .map_err(|_| SecretError::new(ErrorKind::Invalid, "the clock says a time before 1970"))
    };
    params.not_before = at(now - BACKDATED_SECONDS)?;
    params.not_after = at(end)?;
    Ok(())
}

/// 127 random bits: positive, and never the same twice.
fn serial(rng: &mut dyn CryptoRng) -> SerialNumber {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from(bytes.to_vec())
}

fn cannot(error: &rcgen::Error) -> SecretError {
    SecretError::new(ErrorKind::Invalid, format!("certificate cannot be made: {error}"))
}
