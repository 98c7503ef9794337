//! How often one client may ask: a leaky bucket for each, as the generic cell rate algorithm has it (ITU-T I.371).
//! Clients of one IPv6 network of 64 bits are one client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds' worth of requests that may come at once.
const BURST: u32 = 10;
/// Clients that are remembered; those that ask nothing are forgotten first.
const MOST: usize = 65_536;

/// The clients of one service, by when each would have used up what it was given.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<IpAddr, Instant>>);

impl Rates {
    /// Whether a client may ask now; the error is how long it has to wait.
    pub fn ask(&self, client: IpAddr, rate: u32) -> Result<(), Duration> {
        self.ask_at(client, rate, Instant::now())
    }

    fn ask_at(&self, client: IpAddr, rate: u32, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rate.max(1);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, until| *until > now);
        }
        let until = all.entry(network(client)).or_insert(now);
        let begins = (*until).max(now);
        let debt = begins.duration_since(now);
        let most = each * (rate.max(1) * BURST);
        if debt + each > most {
            return Err(debt + each - most);
        }
        *until = begins + each;
        Ok(())
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_average_holds() {
        let (rates, now) = (Rates::default(), Instant::now());
        let client: IpAddr = "10.0.0.1".parse().unwrap();
        let passed = (0..50).filter(|_| rates.ask_at(client, 2, now).is_ok()).count();
        assert_eq!(passed, 20);
        assert!(rates.ask_at("10.0.0.2".parse().unwrap(), 2, now).is_ok());
        assert!(rates.ask_at(client, 2, now + Duration::from_millis(499)).is_err());
        let later = (0..50).filter(|_| rates.ask_at(client, 2, now + Duration::from_secs(3)).is_ok()).count();
        assert_eq!(later, 6);
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let (rates, now) = (Rates::default(), Instant::now());
        let passed =
            (0..30u16).filter(|n| rates.ask_at(format!("fd00::{n:x}").parse().unwrap(), 1, now).is_ok()).count();
        assert_eq!(passed, 10);
    }
}
