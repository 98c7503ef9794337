//! `labwright serve`: the daemon of a host, started by its unit.

use std::net::SocketAddr;
use std::path::PathBuf;

use labwright_daemons::serve::{Options, run};

use crate::error::{CliError, Exit};
use crate::terminal::Terminal;

/// Does what this host's roles are, until it is told to end: the resolver, the reverse proxy.
///
/// `labwright apply` puts it on its host as `labwright-serve.service` and tells it what to do over its control socket. What
/// it was told last is kept in the state folder, and served again at boot. A second one that is started with the same
/// runtime folder takes everything over from the first, without a refused connection or a lost query.
#[derive(clap::Args)]
pub struct Serve {
    /// Where its state is kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/labwright-serve")]
    state: PathBuf,
    /// Where its control socket stands.
    #[arg(long, value_name = "DIR", default_value = "/run/labwright-serve")]
    runtime: PathBuf,
    /// Where its credentials are, a file each; what systemd gives when absent.
    #[arg(long, value_name = "DIR")]
    credentials: Option<PathBuf>,
    /// Where `/healthz` and `/metrics` answer, beside the socket `observe.sock`: a loopback address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    observe: Option<SocketAddr>,
    /// Threads that answer requests; one for each core when absent.
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
}

impl Serve {
    pub fn run(self, _: &Terminal) -> Result<Exit, CliError> {
        if let Some(address) = self.observe.filter(|address| !address.ip().is_loopback()) {
            return Err(CliError::usage(format!("`--observe {address}` is no loopback address"))
                .hint("what is counted is for this host alone: `--observe 127.0.0.1:9353`"));
        }
        let options = Options {
            state: self.state,
            runtime: self.runtime,
            credentials: self.credentials.or_else(|| std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)),
            observe: self.observe,
            workers: self.workers,
        };
        run(&options).map_err(|error| CliError::new(Exit::Internal, error.message).hint(error.help))?;
        Ok(Exit::Done)
    }
}
