//! The way from containers to processes of this machine, which listen on loopback alone: a listener at the address that this
//! machine has in the lab's network, and nowhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use labwright_model::snapshot::up::engine::Heard;
use tokio::net::{TcpListener, TcpStream};

use super::attend::Hub;

/// Listens for each process that containers may reach, until this thread ends.
pub async fn listen(hub: Rc<Hub>, gateway: IpAddr) {
    for (name, (port, own)) in &hub.stacks.relays {
        let own = *own;
        match TcpListener::bind(SocketAddr::from((gateway, *port))).await {
            Ok(listener) => drop(tokio::task::spawn_local(hand_on(listener, own))),
            // An engine without root has its networks where this machine has no address.
            Err(error) => hub.tell(Heard::Note {
                text: format!(
                    "containers do not reach `{name}`, which is a process of this machine: {gateway}:{port}: {error}"
                ),
            }),
        }
    }
}

async fn hand_on(listener: TcpListener, own: u16) {
    loop {
        let Ok((mut from, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        tokio::task::spawn_local(async move {
            let to = match TcpStream::connect((Ipv4Addr::LOCALHOST, own)).await {
                Ok(to) => Ok(to),
                Err(_) => TcpStream::connect((Ipv6Addr::LOCALHOST, own)).await,
            };
            // Whoever asks sees a connection that ends, as from a service that is not there.
            if let Ok(mut to) = to {
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
