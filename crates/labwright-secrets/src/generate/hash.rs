//! Hashes of other secrets, for programs that compare a password with a hash.
//! bcrypt only: what web servers and registries read everywhere.

use rand::CryptoRng;

use super::Made;
use crate::{ErrorKind, SecretError, SecretText};

/// About a quarter of a second on a small machine.
pub(super) const COST: u32 = 12;

pub(super) fn check_cost(cost: u32) -> Result<(), SecretError> {
    match cost {
        10..=16 => Ok(()),
        _ => Err(SecretError::new(ErrorKind::Invalid, format!("bcrypt cost {cost} is not between 10 and 16"))
            .help("leave `cost` out for 12")),
    }
}

pub(super) fn check_user(user: &str) -> Result<(), SecretError> {
    if user.is_empty() || user.len() > 255 || user.contains(|c: char| c == ':' || c.is_control()) {
        return Err(SecretError::new(
            ErrorKind::Invalid,
            format!("user name {user:?} cannot stand in a htpasswd file"),
        )
        .help("write a name of 1 to 255 characters without `:`"));
    }
    Ok(())
}

pub(super) fn htpasswd(user: &str, of: &SecretText, rng: &mut dyn CryptoRng) -> Result<Made, SecretError> {
    let hash = bcrypt_hash(of, COST, bcrypt::Version::TwoY, rng)?;
    Ok(Made::private(format!("{user}:{hash}")))
}

pub(super) fn bcrypt(of: &SecretText, cost: u32, rng: &mut dyn CryptoRng) -> Result<Made, SecretError> {
    Ok(Made::private(bcrypt_hash(of, cost, bcrypt::Version::TwoB, rng)?))
}

fn bcrypt_hash(
    of: &SecretText,
    cost: u32,
    version: bcrypt::Version,
    rng: &mut dyn CryptoRng,
) -> Result<String, SecretError> {
    // A NUL ends the password for bcrypt, and what stands behind it would not count.
    if of.expose().contains('\0') {
        return Err(SecretError::new(ErrorKind::Invalid, "value to hash holds a NUL character"));
    }
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    let parts = bcrypt::non_truncating_hash_with_salt(of.expose(), cost, salt).map_err(|error| match error {
        bcrypt::BcryptError::Truncation(_) => {
            SecretError::new(ErrorKind::Invalid, "value to hash is longer than the 72 bytes that bcrypt can take")
                .help("make the password shorter")
        }
        other => SecretError::new(ErrorKind::Invalid, format!("bcrypt cannot hash the value: {other}")),
    })?;
    Ok(parts.format_for_version(version))
}
