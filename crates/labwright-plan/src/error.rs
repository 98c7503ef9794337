//! What the world answers when it says no.
//! One struct for every product, so that the engine decides retries without knowing products.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// Nobody answered.
    Unreachable,
    /// Somebody answered and would not let us in.
    Auth,
    /// The request was understood and refused.
    Rejected,
    /// Something else is there, or changed meanwhile.
    Conflict,
    /// No answer within the limit.
    Timeout,
    /// It was made, did not work, and what was there before is back; that was verified.
    Reverted,
    /// Labwright's own fault.
    Bug,
}

/// `message` is a lowercase fragment that fits after "failed to …:" and names what it is about in backticks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    pub kind: ErrorKind,
    /// Whether the same call may go through later. Never true for a call that deletes.
    pub retry: bool,
    pub message: String,
    /// What to type; empty where the message says it all.
    #[serde(default)]
    pub help: String,
}

impl ProviderError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout);
        ProviderError { kind, retry, message: message.into(), help: String::new() }
    }

    pub fn rejected(message: impl Into<String>) -> Self {
        ProviderError::new(ErrorKind::Rejected, message)
    }

    /// What was made did not work, and what was there before is back.
    pub fn reverted(message: impl Into<String>) -> Self {
        ProviderError::new(ErrorKind::Reverted, message)
    }

    pub fn bug(message: impl Into<String>) -> Self {
        ProviderError::new(ErrorKind::Bug, message)
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}
