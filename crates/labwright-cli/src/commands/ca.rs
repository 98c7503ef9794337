//! `labwright ca`: the certificate of the lab's own authority, to look at, to carry elsewhere, and to trust.
//! Its key is a secret of the lab, or stays on the proxy's host; this prints and installs what everybody may know.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use labwright_model::snapshot;
use labwright_plan::{Options, Seen, Value};

use super::{planning, proxy};
use crate::error::{CliError, Exit};
use crate::lab::{LabArg, Ready, SshArgs, ready};
use crate::secrets;
use crate::terminal::Terminal;

/// The lab's own certificate authority, for names under `tls: internal`.
#[derive(clap::Args)]
pub struct Ca {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Export(Export),
    Trust(Trust),
}

#[derive(clap::Args)]
struct Of {
    #[command(flatten)]
    lab: LabArg,
    #[command(flatten)]
    ssh: SshArgs,
}

/// Prints its certificate as PEM, for phones and other devices to trust.
///
/// Where the lab keeps its key as a secret (`tls: { key: … }`), no host is asked; otherwise the proxy's host is.
#[derive(clap::Args)]
struct Export {
    #[command(flatten)]
    of: Of,
}

/// Lets this machine trust it. It may sign names of the lab and nothing else: its certificate says so.
#[derive(clap::Args)]
struct Trust {
    #[command(flatten)]
    of: Of,
    /// Take the trust back.
    #[arg(long)]
    remove: bool,
}

impl Ca {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Export(export) => {
                let (_, pem) = export.of.pem(terminal)?;
                terminal.data(&pem);
                Ok(Exit::Done)
            }
            Verb::Trust(trust) => trust.run(terminal),
        }
    }
}

impl Of {
    fn pem(&self, terminal: &Terminal) -> Result<(Ready, String), CliError> {
        let ready = ready(&self.lab, terminal)?;
        let host = proxy::host(&ready.parsed)?;
        if snapshot::proxy::declared(&ready.parsed).is_none() {
            return Err(CliError::usage(format!("Caddy on `{host}` signs for this lab, with an authority of its own"))
                .hint("`caddy trust` on that host has it trusted there; its root is `pki/authorities/local/root.crt` in Caddy's data"));
        }
        let wanted = snapshot::proxy::proxy(&ready.parsed, &host).certificates.authority;
        let pem = match ready.parsed.lab.platform.reverse_proxy.as_ref().and_then(|proxy| proxy.tls.key.as_ref()) {
            Some(key) => {
                let names: BTreeSet<&str> = labwright_model::reference::secrets(key).into_iter().collect();
                let values = secrets::values(&ready, &names, terminal);
                let key = labwright_plan::Sealed::template(key).reveal(&values).map_err(|name| {
                    CliError::usage(format!("the authority's key is in the secret `{name}`, which cannot be read"))
                        .hint("`labwright secret doctor` says what is wrong")
                })?;
                labwright_daemons::proxy::cert::root(&wanted, &key).map_err(|why| {
                    CliError::usage(why).hint("its place in the lab file is `platform.reverse_proxy.tls.key`")
                })?
            }
            None => self.of_host(&ready, &host, terminal)?,
        };
        Ok((ready, pem))
    }

    /// What the daemon of the proxy's host says.
    fn of_host(&self, ready: &Ready, host: &str, terminal: &Terminal) -> Result<String, CliError> {
        let daemons: Vec<_> = ready
            .desired
            .iter()
            .filter(|resource| resource.id.host() == host && resource.id.provider() == "serve")
            .cloned()
            .collect();
        let world = planning::look(ready, &daemons, &Options::default(), &self.ssh, &BTreeSet::new(), terminal)?;
        let reached = world.observed.reached(host).ok_or_else(|| {
            CliError::new(Exit::Unreachable, format!("`{host}`, which signs for this lab, cannot be reached"))
                .hint("keep the key as a secret, and no host has to be asked: `tls: { internal: true, key: \"${secret.lab_ca}\" }`")
        })?;
        let authority = reached.seen.iter().find_map(|(_, seen)| match seen {
            Seen::Present(observed) => observed.spec.get("authority").and_then(Value::text).map(str::to_string),
            _ => None,
        });
        authority.ok_or_else(|| {
            CliError::usage(format!("the proxy on `{host}` signs nothing yet"))
                .hint("apply the lab first: `labwright apply`")
        })
    }
}

/// Where a distribution takes authorities from, and what it calls then.
const PLACES: &[(&str, &[&str])] = &[
    ("/usr/local/share/ca-certificates", &["update-ca-certificates"]),
    ("/etc/pki/ca-trust/source/anchors", &["update-ca-trust", "extract"]),
    ("/etc/ca-certificates/trust-source/anchors", &["trust", "extract-compat"]),
];

impl Trust {
    fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let Some((folder, refresh)) = PLACES.iter().find(|(folder, _)| Path::new(folder).is_dir()) else {
            return Err(CliError::usage("this system keeps its authorities nowhere that is known")
                .hint("`labwright ca export > lab.crt`, and import that file by the system's own way"));
        };
        let (ready, pem) = match self.remove {
            true => (ready(&self.of.lab, terminal)?, String::new()),
            false => self.of.pem(terminal)?,
        };
        let path: PathBuf = Path::new(folder).join(format!("labwright-{}.crt", ready.name()));
        let failed = |error: std::io::Error| {
            let error_of = CliError::new(Exit::Usage, format!("failed to change `{}`: {error}", path.display()));
            match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    error_of.hint("what this machine trusts is root's: `sudo labwright ca trust …`")
                }
                _ => error_of.hint("`labwright ca export > lab.crt`, and import that file by the system's own way"),
            }
        };
        match self.remove {
            true if !path.exists() => {
                terminal.say(&format!(
                    "this machine does not trust `{}`: there is no `{}`",
                    ready.name(),
                    path.display()
                ));
                return Ok(Exit::Done);
            }
            true => fs::remove_file(&path).map_err(failed)?,
            false => fs::File::create(&path).and_then(|mut file| file.write_all(pem.as_bytes())).map_err(failed)?,
        }
        let program = refresh.first().copied().unwrap_or_default();
        let output = Command::new(program).args(refresh.iter().skip(1)).output().map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::new(Exit::Partly, format!("`{program}` failed: {}", said.trim())));
        }
        terminal.say(&match self.remove {
            true => format!("the authority of `{}` is no longer trusted on this machine", ready.name()),
            false => format!(
                "programs of this machine that use the system's authorities trust `{}` from now on",
                path.display()
            ),
        });
        let (name, shown) = (ready.name(), path.display());
        terminal.hint(&match self.remove {
            true => format!("browsers have lists of their own: `certutil -d sql:$HOME/.pki/nssdb -D -n labwright-{name}` takes it from Chromium's"),
            false => format!(
                "browsers have lists of their own. Chromium: `certutil -d sql:$HOME/.pki/nssdb -A -n labwright-{name} -t C,, -i {shown}` \
                 (package libnss3-tools). Firefox: Settings, Privacy & Security, View Certificates, Authorities, Import"
            ),
        });
        Ok(Exit::Done)
    }
}
