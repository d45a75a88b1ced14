//! How many sockets one address, and all together, may have open.

use crate::whip::subscriber;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Sockets of all addresses.
pub(crate) const SOCKETS_MAX: usize = 10_000;

/// Counts open sockets by address. Our own machine is not limited: a proxy there speaks for everybody (it says for whom), and a benchmark for thousands.
#[derive(Debug)]
pub(crate) struct SocketLimit {
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One open socket; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Option<(Arc<SocketLimit>, IpAddr)>);

impl SocketLimit {
    pub(crate) fn new(per_address: usize) -> Self {
        Self { per_address, open: Mutex::default() }
    }

    /// One more socket of this address; `None`: there are enough.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let address = subscriber(address.to_canonical());
        if address.is_loopback() {
            return Some(Permit(None));
        }
        // Nothing inside the guard can panic half-way through a change.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.per_address || open.all >= SOCKETS_MAX {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        Some(Permit(Some((self.clone(), address))))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((limit, address)) = self.0.take() else { return };
        let mut open = limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        match open.by_address.get_mut(&address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn row_28_an_address_has_so_many_sockets_and_others_have_theirs() {
        let limit = Arc::new(SocketLimit::new(3));
        let mut held: Vec<Permit> = (0..3).filter_map(|_| limit.enter(ip("192.0.2.1"))).collect();
        assert_eq!(held.len(), 3);
        assert!(limit.enter(ip("192.0.2.1")).is_none());
        assert!(limit.enter(ip("::ffff:192.0.2.1")).is_none(), "the same address");
        assert!(limit.enter(ip("192.0.2.2")).is_some());
        held.pop();
        held.push(limit.enter(ip("192.0.2.1")).unwrap());
        assert!(limit.enter(ip("192.0.2.1")).is_none());
        drop(held);
        let open = limit.open.lock().unwrap();
        assert!(open.all == 0 && open.by_address.is_empty(), "{open:?}");
    }

    #[test]
    fn row_28_a_line_of_ipv6_is_one_address_and_this_machine_is_free() {
        let limit = Arc::new(SocketLimit::new(1));
        let _one = limit.enter(ip("2001:db8::1")).unwrap();
        assert!(limit.enter(ip("2001:db8::2")).is_none());
        let _other = limit.enter(ip("2001:db8:0:1::1")).unwrap();
        let here: Vec<_> = ["127.0.0.1", "::1", "127.0.0.1"].map(|it| limit.enter(ip(it))).into();
        assert!(here.iter().all(Option::is_some));
    }

    #[test]
    fn row_28_all_together_have_so_many() {
        let limit = Arc::new(SocketLimit::new(usize::MAX));
        let address = |number: usize| ip(&format!("10.0.{}.{}", number >> 8, number & 255));
        let held: Vec<_> = (0..SOCKETS_MAX).map(|number| limit.enter(address(number))).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(limit.enter(ip("192.0.2.1")).is_none());
    }
}
