//! What a consumer sent, per outgoing sequence number: enough to send a packet again from the producer's cache.
//! Later offsets are wrong for earlier packets, so everything that was rewritten is kept. An entry is half a cache line, and the ring is as long
//! as the rate asks for.

use std::time::Duration;

/// The ring starts here …
const LEN_MIN: usize = 64;
/// … and ends here: one second at 1000 packets/s.
const LEN_MAX: usize = 1024;
/// A ring that would overwrite a packet sent so shortly ago doubles instead. Whoever asks for one a round trip later than that had no network
/// for a while.
const KEPT_US: u32 = 1_200_000;
/// A packet is resent at most so often.
pub(crate) const RESENDS_MAX: u8 = 3;
/// A copy that nobody asked for leaves so long after the packet, when a short burst of loss is over, …
const SPARE_AFTER_US: u32 = 10_000;
/// … or not at all: who misses it has asked for it.
const SPARE_UNTIL_US: u32 = 60_000;
/// The round trip may be so much longer than it was, or by a sixteenth.
const MARGIN_MIN: Duration = Duration::from_millis(10);
/// Bounds of the pause between two resends of one packet.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// … and before the last. libwebrtc's receiver asks for a second, and only who still asks tells that it was lost for good: up to a round trip of 280 ms.
const PATIENCE_MAX: Duration = Duration::from_millis(300);

/// One sent packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Outgoing extended sequence number (the SRTP index).
    pub(crate) seq: u64,
    /// Low half of the extended sequence number in the encoding's cache.
    pub(crate) source: u32,
    pub(crate) encoding: u8,
    /// The encoding's epoch, low half: after it changed, the cache holds other packets under the same numbers.
    pub(crate) epoch: u16,
    pub(crate) timestamp: u32,
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_picture_index: Option<u8>,
    /// Goes as a picture of VP8's lowest temporal layer, whatever it is.
    pub(crate) flat: bool,
    /// Of the dependency descriptor, where that is rewritten.
    pub(crate) frame_number: Option<u16>,
    /// Active decode targets that the dependency descriptor is given.
    pub(crate) active_targets: Option<u16>,
    pub(crate) marker: bool,
    /// Transport-wide sequence number of the first transmission.
    pub(crate) transport_sequence: u16,
    /// `abs-send-time` of the first transmission, 24 bits.
    pub(crate) abs_send_time: u32,
    /// Earlier packets that RED repeats in it: bit 0 the one before, bit 1 the one before that.
    pub(crate) redundancy: u8,
}

/// What an entry stands for, and which of its optional values are there.
mod flag {
    /// Sent.
    pub(super) const SENT: u8 = 1;
    /// Asked for before it was there: the publisher's packet is still missing.
    pub(super) const WANTED: u8 = 2;
    pub(super) const PICTURE_ID: u8 = 4;
    pub(super) const TL0: u8 = 8;
    pub(super) const FRAME_NUMBER: u8 = 16;
    pub(super) const ACTIVE_TARGETS: u8 = 32;
    pub(super) const MARKER: u8 = 64;
    pub(super) const REDUNDANCY: u8 = 128;
}

/// In [`Entry::resends_encoding`].
const FLAT: u8 = 0x80;

/// 32 bytes. Numbers are kept by their low halves: a ring never holds two that differ by 2^32, nor of two epochs that differ by 2^16.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    seq: u32,
    source: u32,
    timestamp: u32,
    /// When it was last sent, in µs of the media clock, low half.
    last_us: u32,
    epoch: u16,
    transport_sequence: u16,
    picture_id: u16,
    frame_number: u16,
    active_targets: u16,
    abs_send_time: [u8; 3],
    /// With [`flag::REDUNDANCY`] that: audio has no layers.
    tl0: u8,
    flags: u8,
    /// The encoding in the lower half, how often it was sent again above it, and [`FLAT`].
    resends_encoding: u8,
}

impl Entry {
    fn new(now_us: u64, sent: &Sent) -> Self {
        let [_, abs_send_time @ ..] = sent.abs_send_time.to_be_bytes();
        let flag = |flag, there: bool| if there { flag } else { 0 };
        let flags = flag(flag::PICTURE_ID, sent.picture_id.is_some())
            | flag(flag::TL0, sent.tl0_picture_index.is_some())
            | flag(flag::FRAME_NUMBER, sent.frame_number.is_some())
            | flag(flag::ACTIVE_TARGETS, sent.active_targets.is_some())
            | flag(flag::MARKER, sent.marker)
            | flag(flag::REDUNDANCY, sent.redundancy != 0);
        Self {
            seq: sent.seq as u32,
            source: sent.source,
            timestamp: sent.timestamp,
            last_us: now_us as u32,
            epoch: sent.epoch,
            transport_sequence: sent.transport_sequence,
            picture_id: sent.picture_id.unwrap_or(0),
            frame_number: sent.frame_number.unwrap_or(0),
            active_targets: sent.active_targets.unwrap_or(0),
            abs_send_time,
            tl0: sent.tl0_picture_index.unwrap_or(sent.redundancy),
            flags: flag::SENT | flags,
            resends_encoding: sent.encoding & 0x0f | flag(FLAT, sent.flat),
        }
    }

    fn wanted(seq: u64) -> Self {
        Self { seq: seq as u32, flags: flag::WANTED, ..Self::default() }
    }

    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn resends(&self) -> u8 {
        (self.resends_encoding & !FLAT) >> 4
    }

    /// `seq`: this entry's whole number.
    fn sent(&self, seq: u64) -> Sent {
        let [a, b, c] = self.abs_send_time;
        Sent {
            seq,
            source: self.source,
            encoding: self.resends_encoding & 0x0f,
            epoch: self.epoch,
            timestamp: self.timestamp,
            picture_id: self.is(flag::PICTURE_ID).then_some(self.picture_id),
            tl0_picture_index: self.is(flag::TL0).then_some(self.tl0),
            flat: self.resends_encoding & FLAT != 0,
            frame_number: self.is(flag::FRAME_NUMBER).then_some(self.frame_number),
            active_targets: self.is(flag::ACTIVE_TARGETS).then_some(self.active_targets),
            marker: self.is(flag::MARKER),
            transport_sequence: self.transport_sequence,
            abs_send_time: u32::from_be_bytes([0, a, b, c]),
            redundancy: if self.is(flag::REDUNDANCY) { self.tl0 } else { 0 },
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    /// A power of two; empty until the first packet: an unbound slot costs nothing.
    slots: Vec<Entry>,
}

impl History {
    /// Notes a packet; `true` when the subscriber asked for it already.
    pub(crate) fn record(&mut self, now_us: u64, sent: &Sent) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![Entry::default(); LEN_MIN];
        }
        let at = self.place(sent.seq as u32);
        let there = self.slots[at];
        let wanted = there.is(flag::WANTED) && there.seq == sent.seq as u32;
        let young = there.is(flag::SENT) && (now_us as u32).wrapping_sub(there.last_us) < KEPT_US;
        if young && self.slots.len() < LEN_MAX {
            self.grow();
        }
        let at = self.place(sent.seq as u32);
        self.slots[at] = Entry::new(now_us, sent);
        wanted
    }

    /// A packet that is still known, by its whole number.
    pub(crate) fn sent(&self, seq: u64) -> Option<Sent> {
        let entry = self.slots.get(self.place(seq as u32))?;
        (entry.is(flag::SENT) && entry.seq == seq as u32).then(|| entry.sent(seq))
    }

    fn place(&self, seq: u32) -> usize {
        seq as usize & (self.slots.len().wrapping_sub(1))
    }

    #[cold]
    fn grow(&mut self) {
        let longer = vec![Entry::default(); self.slots.len() * 2];
        for entry in std::mem::replace(&mut self.slots, longer) {
            let at = self.place(entry.seq);
            if entry.flags != 0 {
                self.slots[at] = entry;
            }
        }
    }

    /// The packet with the low 16 bits `seq`, if it may be resent now; counts the resends. `next`: the first number that was not sent yet;
    /// `haste`: how the resends are spread.
    pub(crate) fn resend(
        &mut self,
        now_us: u64,
        seq: u16,
        next: u64,
        rtt: Option<Duration>,
        haste: Haste,
    ) -> Resend {
        let (wanted, at) = (sfu_rtp::sequence::extend(next, seq), self.place(seq.into()));
        let len = self.slots.len() as u64;
        let Some(entry) = self.slots.get_mut(at) else { return Resend::Gone };
        if !entry.is(flag::SENT) || entry.seq != wanted as u32 {
            let hole = wanted < next && next - wanted < len;
            let ahead = entry.seq.wrapping_sub(wanted as u32) as i32;
            if entry.flags != 0 && ahead > 0 {
                return Resend::Late(None);
            }
            if hole {
                *entry = Entry::wanted(wanted);
            }
            return Resend::Gone;
        }
        // Who asks again a round trip after it asked first is never refused, even where the network hurried the second request.
        let rtt = rtt.unwrap_or(PAUSE_MIN);
        let pause = (rtt * 3 / 4).clamp(PAUSE_MIN, PAUSE_MAX);
        let resends = entry.resends();
        let patient = resends > 1 && haste == Haste::Patient;
        let pause = if patient { (pause * 2).clamp(pause, PATIENCE_MAX) } else { pause };
        let since = Duration::from_micros((now_us as u32).wrapping_sub(entry.last_us).into());
        if since > rtt + Duration::from_micros(KEPT_US.into()) {
            return Resend::Late(Some(entry.sent(wanted)));
        }
        if resends > RESENDS_MAX || (resends > 0 && since < pause) {
            return Resend::Limited;
        }
        // Who asked while the last one was on its way did not miss it yet. libwebrtc asks each 100 to 120 ms: a larger margin costs who is 100 ms away one request more.
        if resends == RESENDS_MAX && since < rtt.max(PAUSE_MIN) + (rtt / 16).max(MARGIN_MIN) {
            return Resend::Limited;
        }
        if resends == RESENDS_MAX {
            entry.resends_encoding += 1 << 4;
            return Resend::Lost(entry.sent(wanted));
        }
        if haste == Haste::Never {
            return Resend::Limited;
        }
        // A second attempt, or a first request so late that an earlier one must have been lost: another loss would come too late.
        let late = resends > 0 || since > rtt.max(PAUSE_MIN) * 7 / 4;
        let twice = match haste {
            Haste::Patient | Haste::Never => false,
            Haste::Usual => late,
            Haste::Copied => resends != 1,
            Haste::AtOnce => true,
        };
        let copies = if twice { (RESENDS_MAX - resends).min(2) } else { 1 };
        entry.resends_encoding += copies << 4;
        entry.last_us = now_us as u32;
        Resend::Send { sent: entry.sent(wanted), copies }
    }

    /// Is it time for a copy of this packet that nobody asked for?
    pub(crate) fn spare(&self, now_us: u64, seq: u64) -> Spare {
        let Some(entry) = self.slots.get(self.place(seq as u32)) else { return Spare::None };
        if !entry.is(flag::SENT) || entry.seq != seq as u32 || entry.resends() > 0 {
            return Spare::None;
        }
        match (now_us as u32).wrapping_sub(entry.last_us) {
            age if age < SPARE_AFTER_US => Spare::Early,
            age if age > SPARE_UNTIL_US => Spare::None,
            _ => Spare::Send(entry.sent(seq)),
        }
    }

    /// It was sent: a resend.
    pub(crate) fn spared(&mut self, now_us: u64, seq: u64) {
        let at = self.place(seq as u32);
        if let Some(entry) = self.slots.get_mut(at) {
            entry.resends_encoding += 1 << 4;
            entry.last_us = now_us as u32;
        }
    }

    /// Forgets everything: the cache that it points into is gone.
    pub(crate) fn clear(&mut self) {
        self.slots = Vec::new();
    }
}

/// How the resends of a packet are spread over attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Nothing may leave now; what is lost for good is told.
    Never,
    /// One by one, and more and more slowly: near by there is time for a burst of loss to pass.
    Patient,
    /// Two at the second attempt: there is no time for a third.
    Usual,
    /// The same, where a copy leaves before anybody asks.
    Copied,
    /// Two at the first: so much is lost that one of them may well be.
    AtOnce,
}

/// What is to be done about a copy of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    /// It left just now.
    Early,
    Send(Sent),
    /// Nothing: it was sent again, it is too late, or there is no such packet.
    None,
}

/// Answer to one NACKed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Send it so often.
    Send { sent: Sent, copies: u8 },
    /// Just now, or three times already.
    Limited,
    /// Three times already, and all of them were lost. Told once.
    Lost(Sent),
    /// So long ago that a keyframe is there sooner than all that is missing since; `None`: the history has no place for it any more.
    Late(Option<Sent>),
    /// Not in the history.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = (7 << 32) - 10;
    const MIN: u64 = PAUSE_MIN.as_micros() as u64;
    const MAX: u64 = PAUSE_MAX.as_micros() as u64;

    fn sent(seq: u64) -> Sent {
        Sent {
            seq,
            source: seq as u32 + 7,
            encoding: 5,
            epoch: 60_000,
            timestamp: 1,
            picture_id: Some(0x7fff),
            tl0_picture_index: None,
            flat: true,
            frame_number: seq.is_multiple_of(2).then_some(0x8001),
            active_targets: seq.is_multiple_of(3).then_some(0x01ff),
            marker: seq.is_multiple_of(5),
            transport_sequence: 3,
            abs_send_time: 0x00ab_cdef,
            redundancy: 0,
        }
    }

    #[test]
    fn a_copy_leaves_once_a_moment_after_the_packet_and_counts_as_a_resend() {
        let mut history = History::default();
        let packet = sent(0x1_0005);
        assert_eq!(history.spare(T0, packet.seq), Spare::None);
        history.record(T0, &packet);
        let (after, until) = (u64::from(SPARE_AFTER_US), u64::from(SPARE_UNTIL_US));
        assert_eq!(history.spare(T0 + after - 1, packet.seq), Spare::Early);
        assert_eq!(history.spare(T0 + after, packet.seq), Spare::Send(packet));
        assert_eq!(history.spare(T0 + until + 1, packet.seq), Spare::None, "they asked for it");
        assert_eq!(history.spare(T0 + after, packet.seq + 64), Spare::None, "another one");
        history.spared(T0 + after, packet.seq);
        assert_eq!(history.spare(T0 + 2 * after, packet.seq), Spare::None);
        // The first request does not know of it; one copy more will do.
        let (next, rtt) = (packet.seq + 1, Some(Duration::from_millis(100)));
        let asked = history.resend(T0 + 102_000, 5, next, rtt, Haste::Copied);
        assert_eq!(asked, Resend::Send { sent: packet, copies: 1 });
        let again = history.resend(T0 + 204_000, 5, next, rtt, Haste::Copied);
        assert_eq!(again, Resend::Send { sent: packet, copies: 1 }, "three in all");
    }

    #[test]
    fn three_resends_with_pauses() {
        let mut history = History::default();
        let packet = sent(0x1_0005);
        let next = packet.seq + 1;
        assert_eq!(history.resend(T0, 5, next, None, Haste::Patient), Resend::Gone);
        assert!(!history.record(T0, &packet));
        let send = |copies| Resend::Send { sent: packet, copies };
        assert_eq!(history.resend(T0, 5, next, None, Haste::Patient), send(1));
        assert_eq!(history.resend(T0, 5, next, None, Haste::Patient), Resend::Limited, "too soon");
        assert_eq!(history.resend(T0 + MIN, 5, next, None, Haste::Patient), send(1));
        assert_eq!(history.resend(T0 + 2 * MIN, 5, next, None, Haste::Patient), Resend::Limited);
        assert_eq!(history.resend(T0 + 3 * MIN, 5, next, None, Haste::Patient), send(1));
        let later = T0 + MAX * 5;
        assert_eq!(history.resend(later, 5, next, None, Haste::Patient), Resend::Lost(packet));
        assert_eq!(
            history.resend(later, 5, next, None, Haste::Patient),
            Resend::Limited,
            "told once"
        );
        let late = later + MAX;
        let answer = history.resend(late, 5, next, None, Haste::Patient);
        assert_eq!(answer, Resend::Late(Some(packet)));
        history.record(T0 + 9 * MAX, &sent(0x1_0005 + LEN_MIN as u64));
        assert_eq!(
            history.resend(late, 5, next + 100, None, Haste::Patient),
            Resend::Late(None),
            "overwritten"
        );
    }

    /// libwebrtc's receiver, while a queue takes 260 ms.
    #[test]
    fn who_asks_ten_times_every_100_ms_is_told_of_what_is_lost() {
        let mut history = History::default();
        let packet = sent(0x1_0005);
        history.record(T0, &packet);
        let rtt = Some(Duration::from_millis(260));
        let ask = |n: u64| {
            history.resend(T0 + 300_000 + n * 100_000, 5, packet.seq + 1, rtt, Haste::Patient)
        };
        let answers: Vec<Resend> = (0..10).map(ask).collect();
        let sends = answers.iter().filter(|answer| matches!(answer, Resend::Send { .. })).count();
        assert_eq!((sends, answers.contains(&Resend::Lost(packet))), (3, true), "{answers:?}");
        let mut history = History::default();
        history.record(T0, &packet);
        let never = history.resend(T0 + 300_000, 5, packet.seq + 1, rtt, Haste::Never);
        assert_eq!(never, Resend::Limited);
        let then = history.resend(T0 + 301_000, 5, packet.seq + 1, rtt, Haste::Patient);
        assert_eq!(then, Resend::Send { sent: packet, copies: 1 }, "it counted for nothing");
    }

    #[test]
    fn far_away_there_is_time_for_two_attempts() {
        let rtt = Some(Duration::from_millis(100));
        let (mut history, packet) = (History::default(), sent(0x1_0005));
        let next = packet.seq + 1;
        let send = |copies| Resend::Send { sent: packet, copies };
        history.record(T0, &packet);
        assert_eq!(history.resend(T0 + 100_000, 5, next, rtt, Haste::Usual), send(1));
        assert_eq!(history.resend(T0 + 200_000, 5, next, rtt, Haste::Usual), send(2));
        let mut history = History::default();
        history.record(T0, &packet);
        assert_eq!(
            history.resend(T0 + 100_000, 5, next, rtt, Haste::AtOnce),
            send(2),
            "much is lost"
        );
        assert_eq!(history.resend(T0 + 200_000, 5, next, rtt, Haste::AtOnce), send(1));
        assert_eq!(
            history.resend(T0 + 309_000, 5, next, rtt, Haste::AtOnce),
            Resend::Limited,
            "too soon"
        );
        assert_eq!(history.resend(T0 + 311_000, 5, next, rtt, Haste::AtOnce), Resend::Lost(packet));
    }

    #[test]
    fn what_was_asked_for_too_early_is_remembered() {
        let mut history = History::default();
        history.record(T0, &sent(0x1_0004));
        history.record(T0, &sent(0x1_0006));
        let next = 0x1_0007;
        assert_eq!(history.resend(T0, 5, next, None, Haste::Usual), Resend::Gone);
        assert_eq!(history.resend(T0, 7, next, None, Haste::Usual), Resend::Gone);
        assert!(history.record(T0, &sent(0x1_0005)));
        assert!(!history.record(T0, &sent(0x1_0007)), "not before its time");
    }

    /// A number of another rollover under the same low 16 bits is another packet: sending it in the place of the one asked for would be wrong.
    #[test]
    fn a_number_of_another_rollover_is_not_taken_for_this_one() {
        let mut history = History::default();
        history.record(T0, &sent(0x1_0005));
        assert_eq!(history.resend(T0, 5, 0x2_0006, None, Haste::Usual), Resend::Gone);
    }

    #[test]
    fn the_ring_is_as_long_as_the_rate_asks_for() {
        assert_eq!(size_of::<Entry>(), 32);
        let mut history = History::default();
        // 160 packets/s.
        let at = |seq: u64| T0 + seq * 6250;
        for seq in 0..2000 {
            history.record(at(seq), &sent(seq));
        }
        assert_eq!(history.slots.len(), 256);
        for seq in 2000 - 190..2000 {
            let answer = history.resend(at(2000), seq as u16, 2000, None, Haste::Usual);
            assert!(matches!(answer, Resend::Send { sent: there, .. } if there == sent(seq)));
        }
        for seq in 2000..9000 {
            history.record(at(2000), &sent(seq));
        }
        assert_eq!(history.slots.len(), LEN_MAX);
    }
}
