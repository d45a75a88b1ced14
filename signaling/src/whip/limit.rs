//! How often one address may ask (RFC 9725 section 5: POST, PATCH and DELETE need a rate limit).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests that may come at once.
const BURST: u32 = 500;
/// Time after which one more may come.
const REFILL: Duration = Duration::from_millis(20);
/// Addresses remembered; beyond it those that have been quiet the longest are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// A token bucket for each address. Our own machine is not limited: a proxy there speaks for everybody, and a benchmark for thousands.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled);
        let fresh = u32::try_from(elapsed.as_millis() / REFILL.as_millis()).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(fresh).min(BURST);
        self.filled += REFILL * fresh.min(u32::MAX / 2);
    }
}

impl RateLimit {
    /// Takes one token of an address; `false`: there is none.
    pub(crate) fn allow(&self, now: Instant, address: IpAddr) -> bool {
        let address = subscriber(address.to_canonical());
        if address.is_loopback() {
            return true;
        }
        // Nothing inside the guard can panic half-way through a change.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&address) {
            forget_quiet(&mut buckets, now);
        }
        let bucket = buckets.entry(address).or_insert(Bucket { tokens: BURST, filled: now });
        bucket.refill(now);
        let allowed = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        allowed
    }
}

/// Full buckets say nothing; where all are in use, everybody starts anew rather than that the table grows.
fn forget_quiet(buckets: &mut HashMap<IpAddr, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| {
        bucket.refill(now);
        bucket.tokens < BURST
    });
    if buckets.len() >= ADDRESSES_MAX {
        buckets.clear();
    }
}

/// One subscriber line has a whole /64 of IPv6.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_steady_rate() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let taken = |now| (0..1000).filter(|_| limit.allow(now, address)).count();
        assert_eq!(taken(now), 500);
        assert_eq!(taken(now + REFILL / 2), 0);
        assert_eq!(taken(now + REFILL * 3), 3);
        assert_eq!(taken(now + Duration::from_secs(3600)), 500);
        assert!(limit.allow(now, "192.0.2.2".parse().unwrap()), "others are not concerned");
    }

    #[test]
    fn one_line_is_one_address_and_our_own_machine_is_free() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        let mut line = (0..1000_u16).map(|n| format!("2001:db8::{n:x}").parse::<IpAddr>().unwrap());
        assert_eq!(line.by_ref().filter(|a| limit.allow(now, *a)).count(), 500);
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let own = own.parse().unwrap();
            assert_eq!((0..1000).filter(|_| limit.allow(now, own)).count(), 1000);
        }
    }

    #[test]
    fn the_table_does_not_grow() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        for n in 0..3 * ADDRESSES_MAX as u32 {
            limit.allow(now, IpAddr::V4((0x0a00_0000 + n).into()));
        }
        assert!(limit.0.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
