//! `/healthz` and `/metrics` over HTTP: on a socket beside the control socket, and on a loopback address.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Mutex;

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;

use super::role::Roles;
use super::{Options, ServeError};

/// Ends listening when it goes.
pub struct Observed(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Observed {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

const SOCKET: &str = "observe.sock";

pub fn listen(options: &Options, roles: &mut Roles) -> Result<Observed, ServeError> {
    let registry = Rc::new(Mutex::new(roles.registry()));
    let health = roles.health();
    let mut tasks = Vec::new();
    let path = options.runtime.join(SOCKET);
    let failed = |what: String, error: std::io::Error| {
        ServeError::new(format!("failed to listen on {what}: {error}"), "name another with `--observe ADDRESS:PORT`")
    };
    let new = options.runtime.join(format!("{SOCKET}.new"));
    drop(std::fs::remove_file(&new));
    let unix = tokio::net::UnixListener::bind(&new)
        .and_then(|listener| std::fs::rename(&new, &path).map(|()| listener))
        .map_err(|error| failed(format!("`{}`", path.display()), error))?;
    let (of_unix, health_unix) = (registry.clone(), health.clone());
    tasks.push(tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = unix.accept().await {
            tokio::task::spawn_local(one(TokioIo::new(stream), of_unix.clone(), health_unix.clone()));
        }
    }));
    if let Some(address) = options.observe {
        // A successor listens beside its predecessor until that one is gone.
        let listener = roles
            .sockets()
            .listen(address, 1)
            .and_then(|all| {
                all.first().ok_or(std::io::ErrorKind::AddrNotAvailable.into()).and_then(|one| one.try_clone())
            })
            .and_then(tokio::net::TcpListener::from_std)
            .map_err(|error| failed(format!("`{address}`"), error))?;
        tasks.push(tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(one(TokioIo::new(stream), registry.clone(), health.clone()));
            }
        }));
    }
    Ok(Observed(tasks))
}

type Health = Rc<dyn Fn() -> Result<String, String>>;

async fn one<S>(stream: TokioIo<S>, registry: Rc<Mutex<Registry>>, health: Health)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let (registry, health) = (registry.clone(), health.clone());
        async move { Ok::<_, Infallible>(respond(&request, &registry, &health)) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    let _ = server.timer(TokioTimer::new()).max_headers(64).serve_connection(stream, answer).await;
}

fn respond(request: &Request<Incoming>, registry: &Mutex<Registry>, health: &Health) -> Response<Full<Bytes>> {
    let (status, kind, text) = match request.uri().path() {
        "/healthz" => match health() {
            Ok(text) => (StatusCode::OK, "text/plain; charset=utf-8", text),
            Err(text) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text),
        },
        "/metrics" => {
            let mut text = String::new();
            let registry = registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let encoded = prometheus_client::encoding::text::encode(&mut text, &registry);
            match encoded {
                Ok(()) => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            }
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", "here are /healthz and /metrics\n".to_string()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
