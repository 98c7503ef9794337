//! How much one client may ask: a rate with room for a burst of one second (GCRA), in a table of fixed size.
//!
//! When the table is full of others who are busy, a client passes: the limit is against loops and floods, and an attacker
//! who fills the table has shown himself by then.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

/// Clients that are told apart.
const SLOTS: usize = 8192;
/// Slots that one client may be in.
const WAYS: usize = 4;
/// Bits of the time, in microseconds: nine years.
const TIME_BITS: u32 = 48;

/// Each slot holds sixteen bits of a client's hash and the time until which its queries are paid for.
pub struct Limiter {
    slots: Box<[AtomicU64]>,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Limiter {
    /// Whether one more query of a client is within `rate` queries a second. `now` in microseconds.
    pub fn allows(&self, client: IpAddr, rate: u32, now: u64) -> bool {
        if rate == 0 || client.is_loopback() {
            return true;
        }
        let hash = match client {
            IpAddr::V4(address) => xxh3_64(&address.octets()),
            // One household has a /64 of addresses at the least.
            IpAddr::V6(address) => xxh3_64(&address.octets()[..8]),
        };
        let tag = hash >> TIME_BITS;
        let (cost, burst) = (1_000_000 / u64::from(rate), 1_000_000);
        let mask = (1 << TIME_BITS) - 1;
        let first = hash as usize % SLOTS;
        for way in 0..WAYS {
            let slot = &self.slots[(first + way) % SLOTS];
            let held = slot.load(Ordering::Relaxed);
            let (owner, paid) = (held >> TIME_BITS, held & mask);
            if owner != tag && paid > now {
                continue;
            }
            let start = if owner == tag { paid.max(now) } else { now };
            if start + cost > now + burst {
                return false;
            }
            // Two cores may both write: one query too many then passes.
            slot.store(tag << TIME_BITS | ((start + cost) & mask), Ordering::Relaxed);
            return true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_passes_and_then_the_rate_holds() {
        let limiter = Limiter::default();
        let client = "10.0.30.7".parse().unwrap();
        let passed = |now| (0..1000).filter(|_| limiter.allows(client, 100, now)).count();
        assert_eq!(passed(5_000_000), 100);
        assert_eq!(passed(5_100_000), 10);
        assert_eq!(passed(60_000_000), 100);
        assert!((0..10_000).all(|_| limiter.allows("127.0.0.1".parse().unwrap(), 1, 0)));
        assert!((0..10_000).all(|_| limiter.allows(client, 0, 61_000_000)));
    }

    #[test]
    fn one_client_is_not_limited_for_another() {
        let limiter = Limiter::default();
        let loud = "10.0.30.7".parse().unwrap();
        while limiter.allows(loud, 10, 1_000_000) {}
        let others = (0..200_u8).filter(|last| limiter.allows([10, 0, 40, *last].into(), 10, 1_000_000));
        assert_eq!(others.count(), 200);
    }
}
