//! What can go wrong with secrets, with the way out. Never holds a secret's content.

use std::fmt;

/// What kind of thing went wrong; the command line turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The store or a key file cannot be read or written.
    Io,
    /// The store is not a SOPS file, or is broken: syntax, a merge conflict, a bad tag.
    Malformed,
    /// The store was changed by something that does not have its key.
    Tampered,
    /// No identity at hand opens it.
    NoKey,
    /// There is no such secret.
    NoSuchSecret,
    /// A recipient, a rule or a generator makes no sense.
    Invalid,
    /// The server could not be reached.
    Unreachable,
    /// The server said no.
    Denied,
}

/// An error, as a lowercase fragment that fits after "failed to", and a hint of what to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    pub kind: ErrorKind,
    pub message: String,
    pub help: Option<String>,
}

impl SecretError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> SecretError {
        SecretError { kind, message: message.into(), help: None }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> SecretError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SecretError {}
