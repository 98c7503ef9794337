//! The strict fake Vault as a process: `fake-vault server -config=FILE`, in the form of the real command.
//! Takes the token for a `seal "transit"` from `VAULT_TOKEN`; nothing else comes from the environment.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use labwright_testkit::fake_vault;

fn main() -> ExitCode {
    let mut log = std::io::stderr();
    match run(&mut log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_all(&mut log, format!("{error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(log: &mut dyn std::io::Write) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = match arguments.as_slice() {
        [server, config] if server == "server" => config.strip_prefix("-config="),
        [server, flag, config] if server == "server" && flag == "-config" => Some(config.as_str()),
        _ => None,
    };
    let config = config.map(PathBuf::from).context("usage: fake-vault server -config=FILE")?;
    fake_vault::serve(&config, std::env::var("VAULT_TOKEN").ok(), log)
}
