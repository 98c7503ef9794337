//! The way from containers to processes of this machine, which listen on loopback alone: a listener at the address that this
//! machine has in the network of those who need one, and nowhere else.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use labwright_model::snapshot::up::engine::Heard;
use tokio::net::{TcpListener, TcpStream};

use super::Stack;
use super::attend::Hub;
use super::room::Way;

/// How soon an address that is not there yet is tried again; engines make some only with the first container there.
const AGAIN: Duration = Duration::from_millis(50);
/// So often with its container running, before it is told.
const TOO_OFTEN: usize = 40;

/// Listens in a network for the processes that a service needs, until this thread ends.
pub fn listen(hub: &Rc<Hub>, network: &str, way: Option<Way>, stack: &Stack) {
    for name in &stack.relays {
        let Some((port, own)) = hub.stacks.relays.get(name).copied() else { continue };
        if !hub.relayed.borrow_mut().insert((network.to_string(), name.clone())) {
            continue;
        }
        let Some(way) = way else {
            lost(hub, name, &format!("the engine does not say where this machine is in `{network}`"));
            continue;
        };
        tokio::task::spawn_local(attend(hub.clone(), name.clone(), stack.unit.clone(), way, (port, own)));
    }
}

fn lost(hub: &Hub, name: &str, why: &str) {
    hub.tell(Heard::Note {
        text: format!("containers do not reach `{name}`, which is a process of this machine: {why}"),
    });
}

async fn attend(hub: Rc<Hub>, name: String, unit: String, way: Way, (port, own): (u16, u16)) {
    let at = SocketAddr::from((way.address, port));
    let mut tries = 0;
    loop {
        let error = match TcpListener::bind(at).await {
            Ok(listener) => return hand_on(listener, way, own).await,
            Err(error) => error,
        };
        let runs =
            hub.units.borrow().get(&unit).is_some_and(|state| state.containers.values().any(|one| one.log.is_some()));
        tries += usize::from(runs);
        // An engine without root has its networks where this machine has no address.
        if tries == TOO_OFTEN || error.kind() != std::io::ErrorKind::AddrNotAvailable {
            return lost(&hub, &name, &format!("{at}: {error}"));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hand_on(listener: TcpListener, way: Way, own: u16) {
    loop {
        let Ok((mut from, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Every address of this machine is in reach of all its containers: those of other networks do not need it.
        if !way.subnet.contains(&peer.ip()) {
            continue;
        }
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
