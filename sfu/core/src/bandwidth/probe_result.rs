//! What the clusters of a probe measured: the rate at which they were sent and the one at which they arrived.

use super::PacketResult;

/// Clusters under way; a further one takes the place of the oldest.
const CLUSTERS: usize = 4;
/// Part of a cluster that must have arrived.
const ARRIVED: f64 = 0.8;
/// Packets that make a measurement.
const PACKETS_MIN: u32 = 4;
/// An arrival rate so many times above the send rate is a lie or an accident.
const RATIO_MAX: f64 = 2.0;
/// Below this ratio the link is the limit; the result is then a little below what arrived.
const RATIO_SATURATED: f64 = 0.9;
const UTILISATION: f64 = 0.95;
const DURATION_US_MAX: u64 = 1_000_000;
/// What was sent so shortly after a cluster still waits behind it.
const DRAIN_US: u64 = 100_000;
/// A cluster is forgotten after so long.
const AGE_US: u64 = 2_000_000;

/// What a cluster measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProbeResult {
    /// Bits per second.
    pub(super) rate: f64,
    /// The link was the limit, and not the sender.
    pub(super) saturated: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    sent_at_us: u64,
    first: u16,
    /// Packets and bytes sent; none: not in use.
    sent_packets: u16,
    sent_bytes: u32,
    packets: u32,
    bytes: u32,
    first_sent_us: u64,
    last_sent_us: u64,
    /// Of all that left at `last_sent_us`.
    last_sent_bytes: u32,
    first_arrival_us: i64,
    last_arrival_us: i64,
    first_bytes: u32,
    /// Something arrived since the last look.
    fresh: bool,
}

#[derive(Debug, Default)]
pub(super) struct ProbeResults {
    clusters: [Cluster; CLUSTERS],
    active: usize,
}

impl ProbeResults {
    pub(super) fn sent(&mut self, now_us: u64, first: u16, last: u16, bytes: u32) {
        let place = self
            .clusters
            .iter_mut()
            .min_by_key(|c| if c.sent_packets == 0 { 0 } else { c.sent_at_us });
        if let Some(place) = place {
            let sent_packets = last.wrapping_sub(first).saturating_add(1);
            *place = Cluster {
                sent_at_us: now_us,
                first,
                sent_packets,
                sent_bytes: bytes,
                ..Cluster::default()
            };
        }
        self.count();
    }

    fn count(&mut self) {
        self.active = self.clusters.iter().filter(|c| c.sent_packets != 0).count();
    }

    /// `true`: the packet is part of a cluster or waited behind one, so that its delay is our own doing.
    #[inline]
    pub(super) fn add(&mut self, packet: &PacketResult, arrival_us: i64) -> bool {
        if self.active == 0 {
            return false;
        }
        let mut disturbed = false;
        for cluster in &mut self.clusters {
            if packet.number.wrapping_sub(cluster.first) < cluster.sent_packets {
                cluster.add(packet, arrival_us);
                disturbed = true;
            } else if cluster.sent_packets != 0 {
                let behind = packet.sent_us.saturating_sub(cluster.sent_at_us);
                disturbed |= packet.sent_us >= cluster.sent_at_us && behind <= DRAIN_US;
            }
        }
        disturbed
    }

    /// After all packets of one feedback: the result of the newest cluster that has one.
    pub(super) fn take(&mut self, now_us: u64) -> Option<ProbeResult> {
        if self.active == 0 {
            return None;
        }
        let mut newest = (0, None);
        for cluster in &mut self.clusters {
            if cluster.sent_packets == 0 {
                continue;
            }
            if std::mem::take(&mut cluster.fresh)
                && let Some(result) = cluster.result()
                && cluster.sent_at_us >= newest.0
            {
                newest = (cluster.sent_at_us, Some(result));
            }
            if now_us.saturating_sub(cluster.sent_at_us) > AGE_US {
                *cluster = Cluster::default();
            }
        }
        self.count();
        newest.1
    }
}

impl Cluster {
    fn add(&mut self, packet: &PacketResult, arrival_us: i64) {
        let bytes = u32::from(packet.size);
        if self.packets == 0 {
            self.first_sent_us = packet.sent_us;
            (self.first_arrival_us, self.last_arrival_us) = (arrival_us, arrival_us);
            self.first_bytes = bytes;
        }
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.fresh = true;
        self.first_sent_us = self.first_sent_us.min(packet.sent_us);
        if packet.sent_us > self.last_sent_us {
            (self.last_sent_us, self.last_sent_bytes) = (packet.sent_us, 0);
        }
        if packet.sent_us == self.last_sent_us {
            self.last_sent_bytes = self.last_sent_bytes.saturating_add(bytes);
        }
        if arrival_us < self.first_arrival_us {
            (self.first_arrival_us, self.first_bytes) = (arrival_us, bytes);
        }
        self.last_arrival_us = self.last_arrival_us.max(arrival_us);
    }

    fn result(&self) -> Option<ProbeResult> {
        let enough = f64::from(self.packets) >= ARRIVED * f64::from(self.sent_packets)
            && f64::from(self.bytes) >= ARRIVED * f64::from(self.sent_bytes)
            && self.packets >= PACKETS_MIN;
        let sent_us = self.last_sent_us.saturating_sub(self.first_sent_us);
        let received_us = self.last_arrival_us.saturating_sub(self.first_arrival_us);
        let received_us = u64::try_from(received_us).ok()?;
        let valid = 1..=DURATION_US_MAX;
        if !enough || !valid.contains(&sent_us) || !valid.contains(&received_us) {
            return None;
        }
        // A burst leaves at once: the last one takes its time after the last time stamp.
        let sent = f64::from(self.bytes - self.last_sent_bytes) * 8e6 / sent_us as f64;
        let received = f64::from(self.bytes - self.first_bytes) * 8e6 / received_us as f64;
        if received > RATIO_MAX * sent {
            return None;
        }
        let saturated = received < RATIO_SATURATED * sent;
        let rate = if saturated { UTILISATION * received } else { sent.min(received) };
        Some(ProbeResult { rate, saturated })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 8 packets of 1000 bytes, two every 5 ms: 3.2 Mbit/s; they arrive `spacing_us` apart.
    fn probe(spacing_us: i64, lost: usize) -> Option<ProbeResult> {
        let mut results = ProbeResults::default();
        results.sent(0, 65_534, 5, 8_000);
        for i in 0..8_usize {
            let number = 65_534_u16.wrapping_add(i as u16);
            let packet = PacketResult {
                number,
                sent_us: i as u64 / 2 * 5_000,
                arrival_us: None,
                size: 1000,
            };
            if i >= lost {
                results.add(&packet, i as i64 * spacing_us);
            }
        }
        results.take(100_000)
    }

    #[test]
    fn the_result_is_what_was_sent_or_a_little_below_what_arrived() {
        assert_eq!(probe(2_400, 0), Some(ProbeResult { rate: 3.2e6, saturated: false }));
        assert_eq!(probe(8_000, 0), Some(ProbeResult { rate: 0.95e6, saturated: true }));
        assert_eq!(probe(500, 0), None, "faster than it can be");
        assert_eq!(probe(-500, 0), None, "backwards");
        assert!(probe(2_500, 1).is_some());
        assert_eq!(probe(2_500, 2), None, "a quarter is lost");
    }
}
