//! Text drawn at random, and how hard it is to guess.
//! Draws without bias; knows no rules like "one digit at least", which only take entropy away.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::{CryptoRng, RngCore};
use zeroize::{Zeroize, Zeroizing};

use super::{MIN_ENTROPY_BITS, Made};
use crate::{ErrorKind, SecretError};

const LONGEST: usize = 4096;
const DIGITS: &str = "0123456789";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What RFC 3986 calls unreserved beside letters and digits, without `~`, which opens a home folder in shells; and two that
/// are plain in a shell word, after the first character of a YAML scalar, and between the slashes of a URL.
const SYMBOLS: &str = "-._+=";

/// Which characters a password is drawn from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Alphabet {
    /// `A-Za-z0-9`
    #[default]
    Alphanumeric,
    /// `A-Za-z`
    Letters,
    /// `0-9`
    Digits,
    /// `A-Za-z0-9` and `-._+=`, which stand for themselves in shells, YAML and the path of a URL. The first character is
    /// a letter or a digit: a leading `-` would be taken for an option.
    Symbols,
    /// These characters, each once however often it is written.
    Custom(String),
}

impl Alphabet {
    /// Every character once, in a fixed order.
    pub fn characters(&self) -> Vec<char> {
        match self {
            Alphabet::Alphanumeric => LETTERS.chars().chain(DIGITS.chars()).collect(),
            Alphabet::Letters => LETTERS.chars().collect(),
            Alphabet::Digits => DIGITS.chars().collect(),
            Alphabet::Symbols => LETTERS.chars().chain(DIGITS.chars()).chain(SYMBOLS.chars()).collect(),
            Alphabet::Custom(text) => text.chars().collect::<BTreeSet<_>>().into_iter().collect(),
        }
    }

    /// How many of the characters, from the first, may begin a password.
    fn leading(&self) -> usize {
        match self {
            Alphabet::Symbols => LETTERS.len() + DIGITS.len(),
            _ => self.characters().len(),
        }
    }
}

/// Whether such a password may be made at all.
pub(super) fn check(length: usize, alphabet: &Alphabet) -> Result<(), SecretError> {
    let characters = alphabet.characters();
    if let Some(odd) = characters.iter().find(|c| c.is_control()) {
        return Err(SecretError::new(
            ErrorKind::Invalid,
            format!("alphabet has a control character, U+{:04X}", u32::from(*odd)),
        )
        .help("use characters that can be typed"));
    }
    if characters.len() < 2 {
        return Err(SecretError::new(ErrorKind::Invalid, "alphabet has fewer than two different characters")
            .help("leave `alphabet` out for letters and digits"));
    }
    if length > LONGEST {
        return Err(SecretError::new(ErrorKind::Invalid, format!("length {length} is more than {LONGEST}"))
            .help(format!("write a `length` of at most {LONGEST}")));
    }
    let each = f64::from(u32::try_from(characters.len()).unwrap_or(u32::MAX)).log2();
    let first = f64::from(u32::try_from(alphabet.leading()).unwrap_or(u32::MAX)).log2();
    let bits = match u32::try_from(length) {
        Ok(0) => 0.0,
        Ok(length) => first + f64::from(length - 1) * each,
        Err(_) => f64::INFINITY,
    };
    if bits < MIN_ENTROPY_BITS {
        let enough = ((MIN_ENTROPY_BITS - first) / each).ceil() + 1.0;
        let message = format!(
            "{length} characters out of {} are {:.0} bits of entropy, at least {MIN_ENTROPY_BITS:.0} are needed",
            characters.len(),
            bits.floor()
        );
        return Err(SecretError::new(ErrorKind::Invalid, message).help(format!("write `length: {enough}` or more")));
    }
    Ok(())
}

/// Whether so many random bytes are enough, and not absurd.
pub(super) fn check_bytes(bytes: usize) -> Result<(), SecretError> {
    match bytes {
        0..8 => Err(SecretError::new(
            ErrorKind::Invalid,
            format!("{bytes} bytes are {} bits of entropy, at least {MIN_ENTROPY_BITS:.0} are needed", bytes * 8),
        )
        .help("write `bytes: 8` or more; 32 is usual")),
        8..=LONGEST => Ok(()),
        _ => Err(SecretError::new(ErrorKind::Invalid, format!("{bytes} bytes are more than {LONGEST}"))
            .help(format!("write `bytes` of at most {LONGEST}"))),
    }
}

pub(super) fn password(length: usize, alphabet: &Alphabet, rng: &mut dyn CryptoRng) -> Made {
    let characters = alphabet.characters();
    // Enough room for the widest characters, so that growing never leaves half a password behind in freed memory.
    let mut text = String::with_capacity(length * 4);
    for at in 0..length {
        let among = if at == 0 { alphabet.leading() } else { characters.len() };
        text.push(characters[below(among, rng)]);
    }
    Made::private(text)
}

/// A number below `bound`, each as likely as the next: what would favour the small ones is drawn again.
fn below(bound: usize, rng: &mut dyn CryptoRng) -> usize {
    let bound = bound as u64;
    let fair = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = rng.next_u64();
        if drawn < fair {
            #[expect(clippy::cast_possible_truncation, reason = "it is below a `usize`")]
            return (drawn % bound) as usize;
        }
    }
}

pub(super) fn hex(bytes: usize, rng: &mut dyn CryptoRng) -> Made {
    let drawn = draw(bytes, rng);
    let mut text = String::with_capacity(bytes * 2);
    for byte in drawn.iter() {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    Made::private(text)
}

pub(super) fn base64(bytes: usize, engine: &base64::engine::GeneralPurpose, rng: &mut dyn CryptoRng) -> Made {
    Made::private(engine.encode(draw(bytes, rng).as_slice()))
}

pub(super) const PADDED: &base64::engine::GeneralPurpose = &STANDARD;
pub(super) const FOR_URLS: &base64::engine::GeneralPurpose = &URL_SAFE_NO_PAD;

pub(super) fn uuid(rng: &mut dyn CryptoRng) -> Made {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    let made = Made::private(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string());
    bytes.zeroize();
    made
}

fn draw(bytes: usize, rng: &mut dyn CryptoRng) -> Zeroizing<Vec<u8>> {
    let mut drawn = Zeroizing::new(vec![0; bytes]);
    RngCore::fill_bytes(rng, &mut drawn);
    drawn
}
