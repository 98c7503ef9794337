//! Whom something is encrypted for: an `age1…` key or an SSH public key.
//! Knows no private keys.

use std::io::Write;

use age::{Encryptor, ssh, x25519};

use crate::{ErrorKind, SecretError};

/// Checks a recipient and takes the comment off an SSH key: the form in which it stands in a store.
pub fn normal(recipient: &str) -> Result<String, SecretError> {
    parse(recipient)?;
    Ok(without_comment(recipient))
}

/// Type and key of a recipient.
pub(crate) fn without_comment(recipient: &str) -> String {
    recipient.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

pub(crate) fn parse(recipient: &str) -> Result<Box<dyn age::Recipient>, SecretError> {
    let text = without_comment(recipient);
    let private = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("AGE-")) || text.starts_with("-----");
    let bad = |why: &str, help: &str| {
        // Whoever mistook a private key for a public one does not want it on the screen.
        let shown = if private { "…" } else { &text };
        Err(SecretError::new(ErrorKind::Invalid, format!("encrypt for `{shown}`: {why}")).help(help.to_string()))
    };
    if private {
        return bad(
            "it is a private key",
            "give the public one: `age-keygen -y FILE`, or the `.pub` file of an SSH key",
        );
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        return match text.parse::<ssh::Recipient>() {
            Ok(recipient) => Ok(Box::new(recipient)),
            Err(ssh::ParseRecipientKeyError::Invalid(_)) => {
                bad("the SSH key is cut off or misspelt", "copy the `.pub` file's whole line")
            }
            Err(ssh::ParseRecipientKeyError::RsaModulusTooSmall) => {
                bad("the RSA key is shorter than 2048 bits", "make a new one: `ssh-keygen -t ed25519`")
            }
            Err(_) => bad("age cannot use this kind of SSH key", "use an ed25519 key: `ssh-keygen -t ed25519`"),
        };
    }
    match text.parse::<x25519::Recipient>() {
        Ok(recipient) => Ok(Box::new(recipient)),
        Err(_) if text.starts_with("age1pq1") => {
            bad("post-quantum keys are not known here yet", "use a plain age key: `age-keygen`")
        }
        Err(_) if text.starts_with("age1") && text.matches('1').count() > 1 => {
            bad("the key is cut off, misspelt, or one of an age plugin", "copy the whole key; plugins are not run here")
        }
        Err(_) if text.starts_with("age1") => {
            bad("the age key is cut off or misspelt", "copy the whole key; `age-keygen -y FILE` shows it")
        }
        Err(_) => bad("it is neither an age key nor an SSH key", "give `age1…` or `ssh-ed25519 …`"),
    }
}

/// Encrypts for one recipient, as age binary.
pub(crate) fn encrypt(recipient: &str, clear: &[u8]) -> Result<Vec<u8>, SecretError> {
    let key = parse(recipient)?;
    let fault = || SecretError::new(ErrorKind::Invalid, format!("encrypt for `{recipient}`: age refused the key"));
    let encryptor =
        Encryptor::with_recipients(std::iter::once(key.as_ref() as &dyn age::Recipient)).map_err(|_| fault())?;
    let mut sealed = Vec::with_capacity(clear.len() + 512);
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(|_| fault())?;
    writer.write_all(clear).map_err(|_| fault())?;
    writer.finish().map_err(|_| fault())?;
    Ok(sealed)
}

/// Encrypts for one recipient, as the armored text that stands in a store.
pub(crate) fn encrypt_armored(recipient: &str, clear: &[u8]) -> Result<String, SecretError> {
    use age::armor::{ArmoredWriter, Format};
    let sealed = encrypt(recipient, clear)?;
    let fault =
        || SecretError::new(ErrorKind::Invalid, format!("encrypt for `{recipient}`: no armor could be written"));
    let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(|_| fault())?;
    writer.write_all(&sealed).map_err(|_| fault())?;
    let armored = writer.finish().map_err(|_| fault())?;
    String::from_utf8(armored).map_err(|_| fault())
}
