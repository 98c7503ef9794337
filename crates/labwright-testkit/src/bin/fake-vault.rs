//! The strict fake Vault as a process: `fake-vault server -config=FILE`, in the form of the real command.
//! `fake-vault ask METHOD URL` sends one request, with the body from its standard input, the token from `VAULT_TOKEN` and
//! the certificate authority from `VAULT_CACERT`, and prints the answer. It fails where the status does.
//! Takes the token for a `seal "transit"` from `VAULT_TOKEN`; nothing else comes from the environment.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
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

fn question(method: &str, url: &str) -> Result<()> {
    let (token, ca) = (std::env::var("VAULT_TOKEN").ok(), std::env::var_os("VAULT_CACERT").map(PathBuf::from));
    let mut body = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut body).context("read the body")?;
    let question = fake_vault::Question { method, url, ca: ca.as_deref(), token: token.as_deref(), body: &body };
    let (status, text) = fake_vault::ask(&question)?;
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).context("print the answer")?;
    ensure!(status < 400, "{method} {url} was answered with {status}");
    Ok(())
}

fn run(log: &mut dyn std::io::Write) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [ask, method, url] = arguments.as_slice()
        && ask == "ask"
    {
        return question(method, url);
    }
    let config = match arguments.as_slice() {
        [server, config] if server == "server" => config.strip_prefix("-config="),
        [server, flag, config] if server == "server" && flag == "-config" => Some(config.as_str()),
        _ => None,
    };
    let config = config.map(PathBuf::from).context("usage: fake-vault server -config=FILE")?;
    fake_vault::serve(&config, std::env::var("VAULT_TOKEN").ok(), log)
}
