//! What a browser sees of a lab that is up on this machine: its dashboard, live, and the telemetry that its processes send.
//!
//! It is one more reader of the supervisor's control socket, in a thread of its own: a browser that is slow or many hold nobody
//! up. It reads no lab file, starts nothing itself, and knows no secret. `docs/decisions/0016-dashboard.md` says why.

mod app;
mod connections;
mod gate;
mod hub;

mod facts;
mod logs;
mod masks;

mod events;
mod pages;
mod routes;

mod attributes;
mod metrics;
mod otlp;
mod records;
mod traces;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use labwright_model::snapshot::up::{Up, What};

use app::App;

/// The port that the dashboard listens on where nothing else is said.
pub const PORT: u16 = 8600;
/// The port of OTLP over HTTP. <https://opentelemetry.io/docs/specs/otlp/#otlphttp-default-port>
const OTLP_PORT: u16 = 4318;
/// So many ports are tried before any will do.
const TRIES: u16 = 20;

/// What is shown, and where.
pub struct Setting {
    /// What was started. No secret is in it.
    pub up: Up,
    /// The folder with the files of lines, one a unit.
    pub logs: PathBuf,
    /// Where to listen.
    pub address: SocketAddr,
    /// Whether another port will do where this one is taken.
    pub gives_way: bool,
    /// A file for the token that is asked for where others than this machine reach the dashboard.
    pub token: PathBuf,
}

/// A new connection to the supervisor's control socket; `None` while it does not listen.
pub type Connect = Arc<dyn Fn() -> Option<UnixStream> + Send + Sync>;

/// What is served.
pub struct Served {
    /// Where a browser finds it: `http://localhost:8600/`.
    pub dashboard: String,
    /// Where telemetry is taken: `http://127.0.0.1:4318`; `None` where no port could be had.
    pub telemetry: Option<String>,
}

/// Listens, and serves in a thread of its own for as long as this process lives.
///
/// # Errors
/// Why it cannot, in words.
pub fn start(setting: Setting, connect: Connect) -> Result<Served, String> {
    // What the lab itself will listen on is not taken yet, and shall not be taken from it.
    let own = ports(&setting.up);
    let listener = match setting.gives_way {
        true => bind_near(setting.address, &own),
        false => TcpListener::bind(setting.address),
    };
    let listener = listener.map_err(|error| format!("it cannot listen on {}: {error}", setting.address))?;
    let local = listener.local_addr().map_err(|error| error.to_string())?;
    let otlp = bind_near((Ipv4Addr::LOCALHOST, OTLP_PORT).into(), &own).ok();
    let telemetry = otlp.as_ref().and_then(|listener| listener.local_addr().ok()).map(|at| format!("http://{at}"));
    let gate = gate::Gate::new(local, &setting.token)?;
    let dashboard = match local.ip() {
        ip if ip.is_loopback() => format!("http://localhost:{}/", local.port()),
        ip if ip.is_unspecified() => format!("http://{}:{}/", IpAddr::V4(Ipv4Addr::LOCALHOST), local.port()),
        ip => format!("http://{}/", SocketAddr::from((ip, local.port()))),
    };
    let app = App::new(setting.up, setting.logs, gate, telemetry.clone(), connect);
    for listener in [Some(&listener), otlp.as_ref()].into_iter().flatten() {
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("it cannot be started: {error}"))?;
    let serve = async move {
        tokio::spawn(hub::follow(app.clone()));
        if let Some(otlp) = otlp {
            tokio::spawn(routes::serve(otlp, otlp::router(app.clone())));
        }
        routes::serve(listener, routes::router(app)).await;
    };
    let thread = std::thread::Builder::new().name("dashboard".into());
    thread.spawn(move || runtime.block_on(serve)).map_err(|error| format!("it cannot be started: {error}"))?;
    Ok(Served { dashboard, telemetry })
}

/// The token of a dashboard that asks for one.
pub fn token(file: &std::path::Path) -> Option<String> {
    std::fs::read_to_string(file).ok().map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

fn ports(up: &Up) -> BTreeSet<u16> {
    let mut ports: BTreeSet<u16> = up.units.iter().filter_map(|unit| unit.port).collect();
    for unit in &up.units {
        if let What::Doors(doors) = &unit.what {
            ports.insert(doors.listen.http);
            ports.extend(doors.listen.https);
        }
    }
    ports
}

fn bind_near(address: SocketAddr, own: &BTreeSet<u16>) -> std::io::Result<TcpListener> {
    let near = (address.port()..=address.port().saturating_add(TRIES)).filter(|port| !own.contains(port));
    let bound = near.map(|port| TcpListener::bind((address.ip(), port))).find(Result::is_ok);
    bound.unwrap_or_else(|| TcpListener::bind((address.ip(), 0)))
}
