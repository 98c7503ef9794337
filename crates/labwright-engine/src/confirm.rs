//! The controller's half of confirm-or-revert: tries the way in anew, as the next run would, and asks afterwards what became
//! of a change. Only a connection that nobody shares counts; the link of the run itself proves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use labwright_plan::{Doors, ErrorKind, ProviderError};

use crate::link::{Address, Link, known_as, open_ssh};
use crate::protocol::{Reply, Request, Verdict};

const TRY_EVERY: Duration = Duration::from_secs(1);
/// How often a refusal is believed: an SSH server that reads its settings anew may refuse once.
const REFUSALS: u32 = 2;
/// How long after its window a change that went back may take to be told of.
const AFTERWARDS: Duration = Duration::from_secs(120);

/// A change that waits on a host for its confirmation.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub name: String,
    /// Where the new configuration says that the host is reached.
    pub address: Address,
    pub within: Duration,
    pub since: Instant,
    /// The change takes the run's own connection with it: this was told before it was made.
    pub ahead: bool,
    /// Set once it is known how the change ended: nothing is left to try.
    pub over: Arc<AtomicBool>,
}

/// Where a change left the way in: the address as it was, but for what the host says has moved.
pub fn predicted(address: &Address, doors: &Doors, through: Option<u16>) -> Address {
    let mut predicted = address.clone();
    if !doors.addresses.is_empty() {
        // It is the same host: the key that is known for where it was is the one that it has where it goes.
        predicted.known_as = known_as(address);
        predicted.addresses = doors.addresses.iter().map(ToString::to_string).collect();
    }
    // A server that still listens where we came in is reached as before, whatever stands in between: a forwarded port, say.
    let stays = through.is_some_and(|port| doors.ports.contains(&port));
    if let (false, Some(first)) = (stays, doors.ports.first()) {
        predicted.port = Some(*first);
        predicted.other_ports.clear();
    }
    predicted
}

/// As a person would type it.
pub fn shown(address: &Address) -> String {
    let place = address.addresses.first().unwrap_or(&address.name);
    address.port.map_or_else(|| format!("`{place}`"), |port| format!("`{place}` port {port}"))
}

/// Connects anew until that works, is refused, or the window closes. The error of a window that closed is a `Timeout`.
pub fn confirm(ticket: &Ticket) -> Result<Verdict, ProviderError> {
    let mut refusals = 0;
    loop {
        let asked = ask(&ticket.address, || Request::Confirm { ticket: ticket.name.clone() });
        let (error, known) = match asked {
            // The change is still being made.
            Ok(Ok(Verdict::Pending)) => {
                (ProviderError::new(ErrorKind::Timeout, "the change is still being made"), false)
            }
            Ok(Ok(verdict)) => return Ok(verdict),
            // It was let in, and told that this does not count. Whoever knew where to before the change was made may have
            // been there a moment too early.
            Ok(Err(error)) if ticket.ahead => (error, false),
            Ok(Err(error)) => return Err(error),
            Err(error) => {
                let known = !matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Timeout);
                (error, known)
            }
        };
        refusals += u32::from(known);
        if refusals >= REFUSALS {
            return Err(error);
        }
        if ticket.since.elapsed() + TRY_EVERY >= ticket.within || ticket.over.load(Ordering::Relaxed) {
            return Err(ProviderError { kind: ErrorKind::Timeout, ..error });
        }
        std::thread::sleep(TRY_EVERY);
    }
}

/// What became of a change whose run lost its connection: asked by the way that was and by the way that would be.
pub fn verdict(ticket: &Ticket, before: &Address) -> Verdict {
    let patience = ticket.within + AFTERWARDS;
    while ticket.since.elapsed() < patience {
        for address in [before, &ticket.address] {
            let asked = ask(address, || Request::Verdict { ticket: ticket.name.clone() });
            if let Ok(Ok(verdict)) = asked
                && verdict != Verdict::Pending
            {
                return verdict;
            }
        }
        std::thread::sleep(TRY_EVERY);
    }
    Verdict::Pending
}

/// One question over a connection of its own. The outer error: nobody let us in.
fn ask(address: &Address, request: impl Fn() -> Request) -> Result<Result<Verdict, ProviderError>, ProviderError> {
    let mut link: Link = open_ssh(address)?;
    link.send(request())?;
    match link.receive()? {
        Reply::Verdict(verdict) => Ok(Ok(verdict)),
        Reply::Failed(error) => Ok(Err(error)),
        _ => Ok(Err(ProviderError::bug("the agent answered something that was not asked"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_moves_only_where_the_old_one_is_no_longer_listened_on() {
        let address = Address { port: Some(2201), addresses: vec!["10.0.0.5".into()], ..Address::default() };
        let doors = |ports: &[u16]| Doors { ports: ports.to_vec(), addresses: Vec::new() };
        // Forwarded on its way: 2201 outside is 22 on the host.
        assert_eq!(predicted(&address, &doors(&[22]), Some(22)).port, Some(2201));
        assert_eq!(predicted(&address, &doors(&[2222, 22]), Some(22)).port, Some(2201));
        assert_eq!(predicted(&address, &doors(&[2222]), Some(22)).port, Some(2222));
        assert_eq!(predicted(&address, &doors(&[]), Some(22)).port, Some(2201));
        let moved = Doors { addresses: vec!["10.0.0.9".parse().unwrap()], ports: vec![22] };
        let predicted = predicted(&address, &moved, Some(22));
        assert_eq!(predicted.addresses, ["10.0.0.9"]);
        assert_eq!(predicted.known_as, ["10.0.0.5", "[10.0.0.5]:2201"], "its key is known where it was");
    }
}
