//! A probe that is under way.

use crate::bandwidth::ProbeCluster;

/// A probe that lacks packets to fill it ends all the same.
pub(super) const PROBE_MAX_US: u64 = 100_000;

/// A probe cluster that leaves in parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) cluster: ProbeCluster,
    pub(super) since_us: u64,
    /// Bytes that had left when it began.
    pub(super) bytes_before: u64,
    /// Its first transport-wide number.
    pub(super) first: u16,
}

impl Probe {
    pub(super) fn packets(&self, last: u16) -> u32 {
        last.wrapping_sub(self.first).wrapping_add(1).into()
    }

    /// Is all of it out, when the slots up to `until_us` have left? `last`: the last number given.
    pub(super) fn is_complete(&self, until_us: u64, total_bytes: u64, last: u16) -> bool {
        let packets = self.packets(last);
        let bytes = total_bytes - self.bytes_before;
        let elapsed = until_us.saturating_sub(self.since_us) >= self.cluster.duration_us;
        let enough = packets >= self.cluster.min_packets && bytes >= self.cluster.min_bytes.into();
        elapsed && enough || until_us.saturating_sub(self.since_us) >= PROBE_MAX_US
    }
}
