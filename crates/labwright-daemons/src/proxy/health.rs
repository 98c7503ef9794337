//! Whether upstreams are well: those that say how are asked, and several of one service are looked at in turn.
//! A single one without a path of its own is asked by its requests alone.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Uri, header};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::RequestBody;
use super::endpoint::{Endpoint, Group, Way};
use super::live::Live;
use super::pool::{Need, Pool, Ready, words};

/// How often upstreams are looked at.
pub const EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a person waits for the reason on a page about a failure.
const GLANCE: Duration = Duration::from_millis(500);

/// Looks at every upstream of a snapshot once.
pub async fn look(live: &Live) {
    // Health has connections of its own: what is pooled shall tell nothing old.
    let pool = Pool::default();
    let groups = live.groups().filter(|group| group.health.is_some() || group.endpoints.len() > 1 || is_ill(group));
    let looks = groups.flat_map(|group| group.endpoints.iter().map(|endpoint| one(&pool, group, endpoint)));
    let mut all = tokio::task::JoinSet::new();
    for look in looks.collect::<Vec<_>>() {
        all.spawn_local(look);
    }
    while all.join_next().await.is_some() {}
}

fn is_ill(group: &Group) -> bool {
    group.endpoints.iter().any(|endpoint| !endpoint.is_up())
}

fn one(pool: &Pool, group: &Arc<Group>, endpoint: &Arc<Endpoint>) -> impl Future<Output = ()> + 'static {
    let (pool, group, endpoint) = (pool.clone(), group.clone(), endpoint.clone());
    async move {
        let asked = timeout(PATIENCE, ask(&pool, &group, &endpoint)).await;
        match asked.unwrap_or_else(|_| Err(format!("no answer to a look at it within {} s", PATIENCE.as_secs()))) {
            Ok(()) => endpoint.well(),
            Err(reason) => endpoint.ill(&reason),
        }
    }
}

async fn ask(pool: &Pool, group: &Group, endpoint: &Arc<Endpoint>) -> Result<(), String> {
    let Some(path) = group.health.as_ref().filter(|_| !matches!(endpoint.way, Way::Tcp)) else {
        let connected = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        return connected.map(drop).map_err(|error| words(&error));
    };
    let path: Uri = path.parse().map_err(|_| format!("`{path}` is no path"))?;
    let mut request = Request::new(RequestBody::Empty);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("labwright"));
    let answered = match pool.connect(endpoint, Need::Any).await? {
        Ready::One(mut connection) => {
            *request.uri_mut() = path;
            request.headers_mut().insert(header::HOST, endpoint.host_header.clone());
            connection.send_request(request).await
        }
        Ready::Two(mut connection) => {
            let mut parts = path.into_parts();
            parts.scheme = Some(endpoint.scheme.clone());
            parts.authority = Some(endpoint.authority.clone());
            *request.uri_mut() = Uri::from_parts(parts).map_err(|error| error.to_string())?;
            connection.send_request(request).await
        }
    };
    let status = answered.map_err(|error| error.to_string())?.status();
    // Whoever asks for a password is there.
    match status.as_u16() {
        200..=399 | 401 | 403 => Ok(()),
        _ => Err(format!("a look at it was answered with {status}")),
    }
}

/// Which of the things that a service needs do not answer either.
pub async fn reasons(group: &Group) -> Vec<String> {
    let mut reasons = Vec::new();
    for need in &group.needs {
        for at in &need.at {
            let why = match timeout(GLANCE, TcpStream::connect(at.as_str())).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => words(&error),
                Err(_) => "no connection comes about".to_string(),
            };
            reasons.push(format!("It needs {}, which does not answer at {at} either: {why}.", need.service));
        }
    }
    reasons
}
