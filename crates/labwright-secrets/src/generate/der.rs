//! The few fields of a certificate that are needed to issue the next one: who it is for, its key, until when it is good.
//! Walks DER (X.690); verifies nothing and knows no extensions.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::{ErrorKind, SecretError};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// Fields of a `TBSCertificate` (RFC 5280, section 4.1), as DER where they are only compared.
pub(super) struct Certificate<'a> {
    pub not_after: Timestamp,
    pub subject: &'a [u8],
    pub key: &'a [u8],
}

pub(super) fn certificate(der: &[u8]) -> Result<Certificate<'_>, SecretError> {
    read(der).ok_or_else(|| SecretError::new(ErrorKind::Malformed, "value is not an X.509 certificate"))
}

fn read(der: &[u8]) -> Option<Certificate<'_>> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let rest = if signed.first() == Some(&VERSION) { any(signed)?.2 } else { signed };
    let (_, _serial, rest) = any(rest)?;
    let (_, _algorithm, rest) = any(rest)?;
    let (_, _issuer, rest) = any(rest)?;
    let (validity, rest) = element(rest, SEQUENCE)?;
    let (subject, rest) = element(rest, SEQUENCE)?;
    let (key, _) = element(rest, SEQUENCE)?;
    let (_, _not_before, validity) = any(validity)?;
    let (tag, not_after, _) = any(validity)?;
    Some(Certificate { not_after: time(tag, not_after)?, subject, key })
}

/// The content of the first element if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` with the years 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, content: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let full = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_string(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%S", full).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
