//! Key pairs: SSH, WireGuard, age; and their public halves from private ones that exist already.
//! Reads SSH keys of the kinds ed25519 and RSA, but makes Ed25519 only.

use age::secrecy::ExposeSecret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::CryptoRng;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::Made;
use crate::{ErrorKind, SecretError, SecretText};

pub(super) fn ssh(comment: &str, rng: &mut dyn CryptoRng) -> Result<Made, SecretError> {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(seed.as_mut());
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, comment).map_err(ssh_bug)?;
    let private = key.to_openssh(LineEnding::LF).map_err(ssh_bug)?;
    let public = key.public_key().to_openssh().map_err(ssh_bug)?;
    Ok(Made::pair(SecretText::new(private.to_string()), public))
}

pub(super) fn ssh_public(private: &SecretText) -> Result<String, SecretError> {
    let key = PrivateKey::from_openssh(private.expose()).map_err(|_| {
        SecretError::new(ErrorKind::Malformed, "value is not a private key in the form of OpenSSH")
            .help("store an ed25519 or RSA key as `ssh-keygen` writes it")
    })?;
    key.public_key().to_openssh().map_err(ssh_bug)
}

fn ssh_bug(error: ssh_key::Error) -> SecretError {
    SecretError::new(ErrorKind::Invalid, format!("SSH key cannot be written: {error}"))
}

pub(super) fn wireguard(rng: &mut dyn CryptoRng) -> Made {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    // RFC 7748, section 5; done here, because `wg genkey` writes keys down clamped.
    bytes[0] &= 248;
    bytes[31] = bytes[31] & 127 | 64;
    Made::pair(SecretText::new(STANDARD.encode(bytes.as_slice())), wireguard_half(*bytes))
}

pub(super) fn wireguard_public(private: &SecretText) -> Result<String, SecretError> {
    let mut bytes = Zeroizing::new([0; 32]);
    // The decoder may want a little more room than the 32 bytes that it writes.
    let mut room = Zeroizing::new([0; 48]);
    match STANDARD.decode_slice(private.expose().trim(), room.as_mut()) {
        Ok(32) => bytes.copy_from_slice(&room[..32]),
        _ => return Err(SecretError::new(ErrorKind::Malformed, "value is not a WireGuard key: 32 bytes in base64")),
    }
    Ok(wireguard_half(*bytes))
}

fn wireguard_half(private: [u8; 32]) -> String {
    STANDARD.encode(PublicKey::from(&StaticSecret::from(private)).as_bytes())
}

pub(super) fn age() -> Made {
    let identity = age::x25519::Identity::generate();
    Made::pair(SecretText::from(identity.to_string().expose_secret()), identity.to_public().to_string())
}

pub(super) fn age_public(private: &SecretText) -> Result<String, SecretError> {
    let line = private.expose().lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    line.and_then(|line| line.parse::<age::x25519::Identity>().ok())
        .map(|identity| identity.to_public().to_string())
        .ok_or_else(|| SecretError::new(ErrorKind::Malformed, "value is not an age identity, `AGE-SECRET-KEY-1…`"))
}
