//! What has come of one frame.

use crate::net::Micros;
use crate::stamp::Stamp;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) stamp: Stamp,
    /// TL0PICIDX, where VP8's descriptor says that it is of the lowest temporal layer.
    pub(crate) base: Option<u8>,
    have: u64,
    pub(crate) first: Micros,
    /// Lowest sequence number that came of it.
    pub(crate) lowest: u64,
    pub(crate) complete: Option<Micros>,
    /// When it was so before it came again as part of a replay.
    pub(crate) before: Option<Micros>,
}

impl Frame {
    pub(crate) fn new(now: Micros, seq: u64, stamp: Stamp, base: Option<u8>) -> Self {
        Self { stamp, base, have: 0, first: now, lowest: seq, complete: None, before: None }
    }

    /// A packet of it came; returns whether all are here.
    pub(crate) fn take(&mut self, now: Micros, seq: u64, stamp: &Stamp, base: Option<u8>) -> bool {
        let other = base.zip(self.base).is_some_and(|(now, before)| now != before);
        if other && seq > self.lowest + u64::from(stamp.count) {
            let before = self.before.or(self.complete);
            *self = Self { before, ..Self::new(now, seq, self.stamp, base) };
        }
        self.have |= 1 << stamp.index;
        self.lowest = self.lowest.min(seq);
        let whole = self.have == (1 << stamp.count) - 1;
        if whole {
            self.complete.get_or_insert(now);
        }
        whole
    }
}
