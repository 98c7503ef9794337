//! The lab's doors and names on this machine: the same proxy and the same resolver as on its hosts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use labwright_model::snapshot::dns::DnsSnapshot;
use labwright_model::snapshot::proxy::ProxySnapshot;

use super::Folder;
use crate::dns;
use crate::proxy::{Closing, Proxy, Setting};
use crate::serve::{Sockets, write_whole};
use crate::{Applied, Daemon};

/// How long what is being answered may take when everything ends.
const GRACE: Duration = Duration::from_secs(2);

/// Serves the doors; hands the authority's certificate out as a file.
///
/// # Errors
/// Why they cannot be served, in words.
pub async fn open(folder: &Folder, snapshot: ProxySnapshot) -> Result<Proxy, String> {
    let mut ports = vec![snapshot.listen.http];
    ports.extend(snapshot.listen.https);
    for port in ports.into_iter().filter(|port| *port > 0) {
        // The proxy shares its ports with its successors; here there is none, and nobody else shall be one.
        if !super::ports::is_free(port) {
            let who = super::ports::holder(port).unwrap_or_else(|| "another program".into());
            return Err(format!("port {port} is taken by {who}"));
        }
    }
    let setting =
        Setting { state: folder.path().join("proxy"), credentials: None, workers: 1, sockets: Sockets::default() };
    std::fs::create_dir_all(&setting.state).map_err(|error| format!("`{}`: {error}", setting.state.display()))?;
    let proxy = Proxy::start(setting);
    if let Applied::Refused(why) = proxy.apply(1, snapshot).await {
        return Err(why);
    }
    if let Some(pem) = proxy.authority() {
        write_whole(&folder.authority(), pem.as_bytes(), 0o644)
            .map_err(|error| format!("`{}` cannot be written: {error}", folder.authority().display()))?;
    }
    Ok(proxy)
}

pub async fn close(proxy: Proxy) {
    proxy.drain(GRACE, Closing::Now).await;
}

/// Serves the names.
///
/// # Errors
/// Why they cannot be served, in words.
pub fn names(
    folder: &Folder,
    port: u16,
    snapshot: DnsSnapshot,
    lists: &[(String, String)],
) -> Result<dns::Server, String> {
    let own = folder.path().join("dns");
    std::fs::create_dir_all(&own).map_err(|error| format!("`{}`: {error}", own.display()))?;
    for (path, name) in lists {
        std::fs::copy(path, own.join(name)).map_err(|error| format!("the list `{path}` cannot be read: {error}"))?;
    }
    let sockets = dns::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1).map_err(|error| error.to_string())?;
    dns::Server::start(sockets, snapshot, &own).map_err(|error| error.to_string())
}
