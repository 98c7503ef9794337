//! How a command ends: an exit code, or an error with its causes and what to type next.
//! Made only here; the other crates report findings and provider errors.

use std::fmt;
use std::process::ExitCode;

use labwright_plan::ProviderError;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Internal = 1,
    Usage = 2,
    Findings = 3,
    Changes = 4,
    Partly = 5,
    Unreachable = 6,
    Unhealthy = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[derive(Debug)]
pub struct CliError {
    pub exit: Exit,
    /// A lowercase fragment: "failed to …".
    pub message: String,
    pub hints: Vec<String>,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        CliError { exit, message: message.into(), hints: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        CliError::new(Exit::Usage, message)
    }

    pub fn bug(error: impl fmt::Display) -> Self {
        CliError::new(Exit::Internal, format!("internal error: {error}"))
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !hint.is_empty() {
            self.hints.push(hint);
        }
        self
    }
}

impl From<ProviderError> for CliError {
    fn from(error: ProviderError) -> Self {
        CliError::new(Exit::Unreachable, error.message).hint(error.help)
    }
}
