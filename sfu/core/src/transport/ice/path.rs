//! Return routability: a check of our own, whose answer takes the peer's password (as RFC 9000 section 8.2 and RFC 9853 have it for QUIC and DTLS).
//!
//! An ICE-lite agent sends no checks (RFC 8445 section 2.5), yet full agents answer them, and without one a NAT that rebinds costs up to the 2.5 s between two
//! checks of a browser. It goes only where something came from that no other than the peer can have made, ten times at most, so whoever copies packets on
//! their way and sends them in another's name brings him ten datagrams in five seconds; and to the selected tuple of a peer that sends no checks, whose answer
//! is its consent.

use crate::egress::Tuple;
use crate::transport::stun::TRANSACTION_LEN;
use std::time::{Duration, Instant};

/// Between two sendings.
const SPACING: Duration = Duration::from_millis(50);
/// Sendings of one check.
const SENDINGS: u8 = 10;
/// Then no other for the same tuple.
const OVER_AFTER: Duration = Duration::from_secs(5);
/// Another tuple has its turn.
const YIELDS_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct PathCheck {
    tuple: Tuple,
    pub(super) transaction: [u8; TRANSACTION_LEN],
    pub(super) began: Instant,
    next: Instant,
    sent: u8,
}

impl PathCheck {
    pub(super) fn new(now: Instant, tuple: Tuple, transaction: [u8; TRANSACTION_LEN]) -> Self {
        Self { tuple, transaction, began: now, next: now, sent: 0 }
    }

    /// May a check for `tuple` take its place?
    pub(super) fn is_over(&self, now: Instant, tuple: &Tuple) -> bool {
        let after = if self.is_for(tuple) { OVER_AFTER } else { YIELDS_AFTER };
        now.saturating_duration_since(self.began) >= after
    }

    /// Books a sending if it is time.
    pub(super) fn is_due(&mut self, now: Instant, tuple: &Tuple) -> bool {
        let due = self.is_for(tuple) && now >= self.next && self.sent < SENDINGS;
        if due {
            self.sent += 1;
            self.next = now + SPACING;
        }
        due
    }

    pub(super) fn is_for(&self, tuple: &Tuple) -> bool {
        self.tuple == *tuple
    }
}
