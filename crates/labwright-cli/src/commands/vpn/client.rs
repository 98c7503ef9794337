//! `labwright vpn client`: a device's WireGuard configuration, as text, as a file, or as a picture to photograph.
//! A private key is shown only where somebody asked for it, and only to a terminal or in a file for one pair of eyes.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use labwright_providers::wireguard::{Tunnel, client};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::commands::reading;
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::secrets;
use crate::terminal::Terminal;

/// Prints the WireGuard configuration of a device that is a peer of the lab's VPN.
///
/// Without `--reveal`, `--qr` or `--out` a private key that was made here is left out. A device that made its own pair gets
/// the rest, and puts its key in itself.
#[derive(clap::Args)]
pub struct ClientCommand {
    /// The peer's name, as `edge.vpn.wireguard.peers` has it.
    name: String,
    #[command(flatten)]
    lab: LabArg,
    /// Show it as a QR code, private key and all, for the camera of a phone. To a terminal only.
    #[arg(long, conflicts_with = "out")]
    qr: bool,
    /// Show the private key as well. To a terminal only.
    #[arg(long)]
    reveal: bool,
    /// Write it to this new file, private key and all; nobody else may read it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Send everything through the VPN, whatever the lab file says of this peer.
    #[arg(long, conflicts_with = "split")]
    full: bool,
    /// Send only what is for the lab through the VPN, whatever the lab file says of this peer.
    #[arg(long)]
    split: bool,
}

impl ClientCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let tunnel = match (self.full, self.split) {
            (true, _) => Some(Tunnel::Full),
            (_, true) => Some(Tunnel::Split),
            _ => None,
        };
        let client = client(&parsed, &self.name, tunnel).map_err(|(why, help)| CliError::usage(why).hint(help))?;
        if (self.qr || self.reveal) && !io::stdout().is_terminal() {
            return Err(CliError::usage("a private key is shown to a terminal only, and standard output is none")
                .hint("`--out FILE` writes it to a file that only you may read"));
        }
        let Some(secret) = &client.secret else {
            if self.qr {
                return Err(CliError::usage(format!(
                    "`{}` made its own key, so a picture of the rest would be no configuration",
                    self.name
                ))
                .hint("leave `--qr` out, and put the printed text into the device; its key stays there"));
            }
            let text = client.text(None);
            match &self.out {
                Some(path) => write(path, &text)?,
                None => terminal.data(&text),
            }
            return Ok(Exit::Done);
        };
        if !self.qr && !self.reveal && self.out.is_none() {
            terminal.data(&client.text(Some("(kept back)")));
            terminal.hint("with its private key: `--qr` or `--reveal` to a terminal, `--out FILE` to a file");
            return Ok(Exit::Done);
        }
        let opened = secrets::open(&parsed, &[], terminal)?.1;
        let private = opened.get(secret).map_err(secrets::error)?;
        let text = client.text(Some(private.expose()));
        match &self.out {
            Some(path) => {
                write(path, &text)?;
                terminal.say(&format!(
                    "`{}` holds the private key of `{}`: remove it once it is on the device",
                    path.display(),
                    self.name
                ));
            }
            None if self.qr => terminal.data(&picture(&text)?),
            None => terminal.data(&text),
        }
        Ok(Exit::Done)
    }
}

/// In characters of half a line: dark on light, whatever the terminal's own colours, as cameras expect it.
fn picture(text: &str) -> Result<String, CliError> {
    let code = QrCode::new(text.as_bytes()).map_err(|error| {
        CliError::usage(format!("the configuration does not fit a QR code: {error}")).hint("use `--out FILE` instead")
    })?;
    let drawn = code.render::<Dense1x2>().quiet_zone(true).build();
    Ok(drawn.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m\n")).collect())
}

/// A new file that nobody else may read; one that is there is not written over.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "name another file, or remove that one",
            _ => "choose a folder that you may write to",
        };
        CliError::usage(format!("cannot write `{}`: {error}", path.display())).hint(hint)
    })
}
