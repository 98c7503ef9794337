//! `labwright secret set`: one value, typed or piped in.

use std::io::{IsTerminal, Read};

use labwright_secrets::SecretText;
use zeroize::Zeroizing;

use super::{Common, ask_value};
use crate::error::{CliError, Exit};
use crate::secrets;
use crate::terminal::Terminal;

/// Larger values are files, and belong encrypted beside the lab.
const MAX_BYTES: u64 = 1 << 20;

/// Sets a secret. The value is asked for, or read from standard input; it never stands on a command line.
#[derive(clap::Args)]
pub struct Set {
    /// The secret's name; dots lead into maps: `cloudflare.token`.
    name: String,
    #[command(flatten)]
    common: Common,
    /// Keep the line break at the end of a single line that is piped in. Several lines keep theirs anyway.
    #[arg(long)]
    keep_newline: bool,
}

impl Set {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = self.common.parsed()?;
        let mut keeper = self.common.keeper(&parsed, terminal)?;
        let value = match std::io::stdin().is_terminal() {
            true => ask_value(&self.name, &format!("value of `{}`", self.name)).map_err(secrets::error)?,
            false => piped(self.keep_newline)?,
        };
        keeper.set(&self.name, &value)?;
        keeper.save()?;
        terminal.say(&format!("`{}` is set in {}", self.name, keeper.shown()));
        if !labwright_plan::check::secret_is_used(&parsed, &self.name) {
            terminal.hint(&format!("nothing in the lab refers to it yet: `${{secret.{}}}`", self.name));
        }
        Ok(Exit::Done)
    }
}

fn piped(keep_newline: bool) -> Result<SecretText, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(1 << 16));
    let read = std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| CliError::usage(format!("cannot read the value from standard input: {error}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(CliError::usage("the value is larger than 1 MiB").hint("keep large files encrypted on their own"));
    }
    let line = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
    // `echo` ends one line with a break that nobody means; in a key of several lines it is part of the format: OpenSSH does
    // not read one without it.
    let value = if keep_newline || line.contains('\n') { text.as_str() } else { line };
    if value.is_empty() {
        return Err(CliError::usage("the value is empty, so nothing was changed")
            .hint("to take a secret out of the store: `labwright secret remove NAME`"));
    }
    Ok(SecretText::from(value))
}
