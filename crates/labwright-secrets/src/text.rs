//! A secret's content while it is in memory.
//! Has no `Display`, its `Debug` shows nothing, and its memory is wiped when it goes.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Content that is never printed, logged or planned.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over; the caller's copy is this one.
    pub fn new(text: String) -> SecretText {
        SecretText(Zeroizing::new(text))
    }

    /// The content itself, for whoever writes it where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText::new(text)
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        SecretText::new(text.to_string())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl Zeroize for SecretText {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
