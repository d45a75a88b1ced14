//! When a publisher's packets came, by transport-wide sequence number: what its send-side estimator is told.
//! Every authenticated packet counts, also on unknown SSRCs (Chrome probes with them).

use sfu_rtp::sequence;
use sfu_rtp::transport_feedback::{PACKET_LEN_MAX, TransportFeedbackBuilder};

/// Sequence numbers that are remembered: 100 ms at 20 000 packets/s.
const WINDOW: usize = 2048;

#[derive(Debug)]
pub(crate) struct ArrivalLog {
    /// Microseconds of the media clock; 0: not there. Allocated with the first packet.
    slots: Vec<(u64, u64)>,
    /// First number of the next feedback.
    base: u64,
    highest: Option<u64>,
    builder: TransportFeedbackBuilder,
}

impl Default for ArrivalLog {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            base: 0,
            highest: None,
            builder: TransportFeedbackBuilder::new(super::RTCP_SENDER_SSRC, 0),
        }
    }
}

impl ArrivalLog {
    /// Notes one packet.
    pub(crate) fn record(&mut self, number: u16, arrival_us: u64) {
        if self.slots.is_empty() {
            self.slots = vec![(0, 0); WINDOW];
        }
        let seq = match self.highest {
            None => 0x1_0000 + u64::from(number),
            Some(highest) => sequence::extend(highest, number),
        };
        let Some(highest) = self.highest else {
            self.base = seq;
            self.highest = Some(seq);
            self.put(seq, arrival_us);
            return;
        };
        if seq + (WINDOW as u64) <= highest {
            return;
        }
        if seq > highest {
            // A jump wider than the window: what lies between is not worth reporting.
            self.base = self.base.max((seq + 1).saturating_sub(WINDOW as u64));
            self.highest = Some(seq);
        }
        // A late one is reported again from there on, as libwebrtc's receiver does.
        self.base = self.base.min(seq);
        self.put(seq, arrival_us);
    }

    fn put(&mut self, seq: u64, arrival_us: u64) {
        self.slots[seq as usize & (WINDOW - 1)] = (seq, arrival_us.max(1));
    }

    fn get(&self, seq: u64) -> Option<u64> {
        let (there, at) = self.slots[seq as usize & (WINDOW - 1)];
        (there == seq).then_some(at)
    }

    /// Writes one feedback packet for what came since the last one; call until it returns `None`.
    pub(crate) fn write(&mut self, media_ssrc: u32) -> Option<Vec<u8>> {
        let highest = self.highest?;
        // What is missing since the last feedback is told too, or a loss there would never be seen; the highest one came, so its time is the
        // reference at the least.
        if self.base > highest {
            return None;
        }
        self.builder.media_ssrc = media_ssrc;
        let base = self.base;
        let mut out = vec![0; PACKET_LEN_MAX];
        let mut builder = self.builder;
        let written =
            builder.write(&mut out, base as u16, (base..=highest).map(|s| self.get(s)))?;
        self.builder = builder;
        out.truncate(written.len);
        self.base = base + written.consumed.max(1) as u64;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtp::transport_feedback::TransportFeedback;

    fn reported(log: &mut ArrivalLog) -> Vec<(u16, bool)> {
        let mut all = Vec::new();
        while let Some(bytes) = log.write(1) {
            let (packet, rest) = sfu_rtp::RtcpPacket::parse(&bytes).expect("well formed");
            assert!(rest.is_empty());
            let feedback = TransportFeedback::parse(&packet).expect("feedback");
            all.extend(feedback.statuses().map(|(seq, at)| (seq, at.is_some())));
        }
        all
    }

    #[test]
    fn reports_each_number_once_with_its_gaps_over_the_wrap() {
        let mut log = ArrivalLog::default();
        for (i, number) in [65_534_u16, 65_535, 1].into_iter().enumerate() {
            log.record(number, 1000 + i as u64 * 300);
        }
        assert_eq!(reported(&mut log), [(65_534, true), (65_535, true), (0, false), (1, true)]);
        assert!(reported(&mut log).is_empty());
        log.record(0, 5000);
        assert_eq!(reported(&mut log), [(0, true), (1, true)], "a late one is told");
        log.record(20_000, 9000);
        assert!(reported(&mut log).contains(&(20_000, true)), "a jump does not stall it");
    }
}
