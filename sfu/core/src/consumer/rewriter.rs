//! One continuous outgoing sequence from changing sources: sequence number, timestamp, picture id, TL0PICIDX, and the dependency descriptor's
//! frame number.
//!
//! VP8's picture ids are closed up where frames are left out. VP9's picture ids and frame numbers keep their gaps, because references are counted
//! in them: they take one offset for as long as the source is the same.
//!
//! Within one source the mapping is an offset that shrinks with every packet left out, so a packet recovered late gets the
//! number that was reserved for it. A switch (bind, resume, other encoding) starts a new source; what is older is dropped.

use crate::drop_reason::DropReason;
use crate::params::Codec;
use crate::producer::packet::CachedPacket;
use std::collections::VecDeque;

/// Offsets that are remembered: with every second frame left out at 30 frames/s, four seconds.
const RANGES_MAX: usize = 64;
/// Outgoing numbers behind the newest one that may still be given to a late packet.
const GIVEN_LEN: u64 = 1024;

/// No jump of the source's numbers is wider on the way out: a receiver would take one of half the numbers for another round of them
/// (RFC 3711 section 3.3.1), and could never open a packet of the slot again.
const JUMP_MAX: u64 = 8192;

/// From this source sequence number on, these offsets hold.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    /// The packet with which another one began: it was left out, and has no number.
    end: u64,
    seq: i64,
    picture_id: u16,
    tl0: Tl0,
}

/// Where TL0PICIDX comes from: what is added to that of the source, or to the picture id where every picture goes as one of the lowest layer.
#[derive(Clone, Copy, Debug)]
enum Tl0 {
    Layered(u8),
    Flat(u8),
}

impl Range {
    /// Picture id and TL0PICIDX of a packet.
    fn picture(&self, packet: &CachedPacket) -> (Option<u16>, Option<u8>) {
        let id = packet.info.picture_id.map(|id| id.wrapping_add(self.picture_id) & 0x7fff);
        let tl0 = packet.info.tl0_picture_index.and_then(|own| match self.tl0 {
            Tl0::Layered(offset) => Some(own.wrapping_add(offset)),
            Tl0::Flat(offset) => Some((id? as u8).wrapping_add(offset)),
        });
        (id, tl0)
    }

    fn is_flat(&self) -> bool {
        matches!(self.tl0, Tl0::Flat(_))
    }
}

/// Rewritten values of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// Extended outgoing sequence number.
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_picture_index: Option<u8>,
    /// Goes as a picture of the lowest temporal layer, whatever it is.
    pub(crate) flat: bool,
    /// Of the dependency descriptor.
    pub(crate) frame_number: Option<u16>,
}

/// Which of the last outgoing numbers were given to a packet: a ring of bits. What is older counts as given.
#[derive(Debug, Default)]
struct Given([u64; GIVEN_LEN as usize / 64]);

impl Given {
    /// Gives `seq` away, once; `next` is the first number that was never given. `false`: it is gone.
    fn take(&mut self, seq: u64, next: u64) -> bool {
        if seq + GIVEN_LEN < next {
            return false;
        }
        if seq > next {
            for skipped in next..seq.min(next + GIVEN_LEN) {
                let (word, bit) = self.bit(skipped);
                *word &= !bit;
            }
        }
        let (word, bit) = self.bit(seq);
        let fresh = seq >= next || *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn bit(&mut self, seq: u64) -> (&mut u64, u64) {
        let at = seq % GIVEN_LEN;
        (&mut self.0[(at / 64) as usize], 1 << (at % 64))
    }
}

#[derive(Debug)]
pub(crate) struct Rewriter {
    /// Next unused outgoing number.
    next_seq: u64,
    given: Given,
    /// Holds now.
    range: Option<Range>,
    /// Held before, oldest first.
    older: VecDeque<Range>,
    highest_source: u64,
    timestamp_offset: u32,
    /// Newest outgoing timestamp and the arrival of its packet (µs).
    last_timestamp: Option<(u32, u64)>,
    last_picture_id: u16,
    last_tl0: u8,
    /// Added to the source's frame numbers.
    frame_offset: u16,
    last_frame: u16,
    /// Picture id of the last frame left out, to count a frame once.
    skipped_picture: Option<u16>,
}

impl Rewriter {
    /// `first`: initial outgoing sequence number; below 2^15 so that a receiver cannot mistake the first loss for a rollover (RFC 3711 section 3.3.1).
    pub(crate) fn new(first: u16) -> Self {
        Self {
            next_seq: u64::from(first & 0x7fff),
            given: Given::default(),
            range: None,
            older: VecDeque::new(),
            highest_source: 0,
            timestamp_offset: 0,
            last_timestamp: None,
            last_picture_id: 0,
            last_tl0: 0,
            frame_offset: 0,
            last_frame: 0,
            skipped_picture: None,
        }
    }

    /// Starts a new source at `packet`. `timestamp_offset`: the exact offset when sender reports give one; else the elapsed arrival time decides.
    /// `reference`: RTP time and arrival (µs) of what is live at the source, which is the packet unless that comes from the cache.
    pub(crate) fn switch(
        &mut self,
        packet: &CachedPacket,
        reference: (u32, u64),
        clock_rate: u32,
        timestamp_offset: Option<u32>,
    ) {
        let (timestamp, arrival_us) = reference;
        self.older.clear();
        self.range = Some(Range {
            first: packet.seq,
            end: u64::MAX,
            seq: self.next_seq.wrapping_sub(packet.seq) as i64,
            picture_id: packet
                .info
                .picture_id
                .map_or(0, |id| self.last_picture_id.wrapping_add(1).wrapping_sub(id)),
            tl0: Tl0::Layered(
                packet
                    .info
                    .tl0_picture_index
                    .map_or(0, |idx| self.last_tl0.wrapping_add(1).wrapping_sub(idx)),
            ),
        });
        self.highest_source = packet.seq.wrapping_sub(1);
        self.skipped_picture = None;
        self.frame_offset = packet
            .frame_number()
            .map_or(0, |number| self.last_frame.wrapping_add(1).wrapping_sub(number));
        let Some((last, last_arrival_us)) = self.last_timestamp else {
            self.timestamp_offset = 0;
            return;
        };
        let mut offset = timestamp_offset.unwrap_or_else(|| {
            let elapsed = arrival_us.saturating_sub(last_arrival_us);
            let ticks = (u128::from(elapsed) * u128::from(clock_rate) / 1_000_000) as u32;
            last.wrapping_add(ticks.max(1)).wrapping_sub(timestamp)
        });
        // Never backwards, and never the same frame twice.
        let step = timestamp.wrapping_add(offset).wrapping_sub(last) as i32;
        if step <= 0 {
            offset = last.wrapping_add(1).wrapping_sub(timestamp);
        }
        self.timestamp_offset = offset;
    }

    /// The first outgoing number that was not given to a packet yet.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Outgoing timestamp of the newest packet.
    pub(crate) fn newest_timestamp(&self) -> u32 {
        self.last_timestamp.map_or(0, |(timestamp, _)| timestamp)
    }

    /// Offset that is added to the source's timestamps.
    pub(crate) fn timestamp_offset(&self) -> u32 {
        self.timestamp_offset
    }

    /// Takes a packet that is forwarded.
    pub(crate) fn rewrite(&mut self, packet: &CachedPacket) -> Result<Rewritten, DropReason> {
        let timestamp = packet.timestamp.wrapping_add(self.timestamp_offset);
        self.rewrite_at(packet, timestamp, packet.arrival_us)
    }

    /// Takes a packet that is given another outgoing time, as if it had come at `at_us`.
    pub(crate) fn rewrite_at(
        &mut self,
        packet: &CachedPacket,
        timestamp: u32,
        at_us: u64,
    ) -> Result<Rewritten, DropReason> {
        let range = self.range_of(packet.seq).ok_or(DropReason::BeforeSwitch)?;
        let range = self.shorten(packet.seq, range);
        let (picture_id, tl0_picture_index) = range.picture(packet);
        let rewritten = Rewritten {
            seq: packet.seq.wrapping_add_signed(range.seq),
            timestamp,
            picture_id,
            tl0_picture_index,
            flat: range.is_flat(),
            frame_number: packet.frame_number().map(|n| n.wrapping_add(self.frame_offset)),
        };
        if !self.given.take(rewritten.seq, self.next_seq) {
            return Err(DropReason::Duplicate);
        }
        self.highest_source = self.highest_source.max(packet.seq);
        if self.is_newest(at_us, &rewritten) {
            self.last_picture_id = rewritten.picture_id.unwrap_or(self.last_picture_id);
            self.last_tl0 = rewritten.tl0_picture_index.unwrap_or(self.last_tl0);
            self.last_frame = rewritten.frame_number.unwrap_or(self.last_frame);
        }
        Ok(rewritten)
    }

    /// A jump that is too wide becomes one missing packet, and nothing from before it is taken any more.
    fn shorten(&mut self, source: u64, range: Range) -> Range {
        let jump = source.wrapping_add_signed(range.seq).saturating_sub(self.next_seq);
        if jump <= JUMP_MAX {
            return range;
        }
        let range = Range { first: source, seq: range.seq - (jump - 1) as i64, ..range };
        self.older.clear();
        self.range = Some(range);
        range
    }

    /// Whether this is the newest packet so far; then what follows a switch comes after it.
    fn is_newest(&mut self, at_us: u64, rewritten: &Rewritten) -> bool {
        let newest = rewritten.seq >= self.next_seq;
        if newest {
            self.next_seq = rewritten.seq + 1;
            self.last_timestamp = Some((rewritten.timestamp, at_us));
        }
        newest
    }

    /// Takes a packet of the current source that is left out, so that it leaves no gap; a second time it changes nothing. A late one has a number reserved already, because nobody
    /// knew what it was: that is returned, to be filled with nothing.
    pub(crate) fn skip(&mut self, packet: &CachedPacket) -> Option<Rewritten> {
        if packet.seq <= self.highest_source {
            let range = self.range_of(packet.seq)?;
            let hole = Rewritten {
                seq: packet.seq.wrapping_add_signed(range.seq),
                timestamp: packet.timestamp.wrapping_add(self.timestamp_offset),
                picture_id: None,
                tl0_picture_index: None,
                flat: false,
                frame_number: None,
            };
            if !self.given.take(hole.seq, self.next_seq) {
                return None;
            }
            self.is_newest(packet.arrival_us, &hole);
            return Some(hole);
        }
        let last = self.range?;
        self.highest_source = packet.seq;
        let new_picture = packet.codec == Codec::Vp8
            && packet.info.picture_id.is_some()
            && packet.info.picture_id != self.skipped_picture;
        self.skipped_picture = packet.info.picture_id;
        let next = Range {
            first: packet.seq + 1,
            end: u64::MAX,
            seq: last.seq - 1,
            picture_id: last.picture_id.wrapping_sub(u16::from(new_picture)),
            tl0: last.tl0,
        };
        self.hold_from(packet.seq, last, next);
        None
    }

    /// At this packet `last` ends, and `next` holds.
    fn hold_from(&mut self, seq: u64, last: Range, next: Range) {
        // Where nothing was forwarded under the last range no late packet can need it.
        if last.first != seq {
            if self.older.len() == RANGES_MAX {
                self.older.pop_front();
            }
            self.older.push_back(Range { end: seq, ..last });
        }
        self.range = Some(next);
    }

    /// Does every picture go as one of the lowest temporal layer?
    pub(crate) fn is_flat(&self) -> bool {
        self.range.is_some_and(|range| range.is_flat())
    }

    /// Does this packet come after later ones, which were counted on from it by a flat range?
    pub(crate) fn is_late_and_flat(&self, seq: u64) -> bool {
        seq <= self.highest_source && self.range_of(seq).is_some_and(|range| range.is_flat())
    }

    /// Was this packet, which has been judged, left out and its number closed up?
    pub(crate) fn left_out(&self, seq: u64) -> bool {
        seq <= self.highest_source && self.range_of(seq).is_none()
    }

    /// From this packet on, which begins a picture of the lowest temporal layer, all go as such, or each as what it is. Not where it comes late.
    pub(crate) fn set_flat(&mut self, packet: &CachedPacket, flat: bool) {
        let Some(last) = self.range.filter(|_| packet.seq > self.highest_source) else { return };
        let ((Some(id), Some(tl0)), Some(own)) =
            (last.picture(packet), packet.info.tl0_picture_index)
        else {
            return;
        };
        // One more than the last of the lowest layer, wherever that is.
        let tl0 = match flat {
            true => Tl0::Flat(tl0.wrapping_sub(id as u8)),
            false => Tl0::Layered(tl0.wrapping_sub(own)),
        };
        self.hold_from(packet.seq, last, Range { first: packet.seq, tl0, ..last });
    }

    fn range_of(&self, seq: u64) -> Option<Range> {
        let ranges = self.range.iter().chain(self.older.iter().rev());
        ranges.copied().find(|range| range.first <= seq).filter(|range| seq < range.end)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::producer::packet::{DESCRIPTOR, Slice};

    fn packet(seq: u64, timestamp: u32) -> CachedPacket {
        CachedPacket { seq, timestamp, arrival_us: seq * 1000, ..CachedPacket::default() }
    }

    fn switch(rewriter: &mut Rewriter, packet: &CachedPacket, offset: Option<u32>) {
        rewriter.switch(packet, (packet.timestamp, packet.arrival_us), 90_000, offset);
    }

    /// A replay and the pacer may both come to a packet.
    #[test]
    fn what_was_left_out_once_is_given_no_number_when_it_comes_again() {
        let mut rewriter = Rewriter::new(0);
        switch(&mut rewriter, &packet(100, 0), None);
        rewriter.rewrite(&packet(100, 0)).unwrap();
        for seq in [101, 102, 104, 102, 101, 104] {
            assert_eq!(rewriter.skip(&packet(seq, 0)), None, "{seq}");
        }
        // The number of the one that was not seen is left to it.
        assert_eq!(rewriter.rewrite(&packet(105, 9)).unwrap().seq, 2);
        assert_eq!(rewriter.rewrite(&packet(103, 9)).unwrap().seq, 1);
    }

    fn frame(seq: u64, picture_id: u16) -> CachedPacket {
        let mut packet = packet(seq, picture_id.into());
        packet.codec = Codec::Vp8;
        packet.info.picture_id = Some(picture_id);
        packet.info.tl0_picture_index = Some(9);
        packet
    }

    #[test]
    fn sequence_continues_over_a_switch_and_a_late_packet_gets_its_reserved_number() {
        let mut rewriter = Rewriter::new(500);
        switch(&mut rewriter, &packet(70_000, 1000), None);
        assert_eq!(rewriter.rewrite(&packet(70_000, 1000)).unwrap().seq, 500);
        assert_eq!(rewriter.rewrite(&packet(70_003, 1000)).unwrap().seq, 503);
        assert_eq!(rewriter.rewrite(&packet(70_001, 1000)).unwrap().seq, 501);
        switch(&mut rewriter, &packet(90_000, 5), None);
        let first = rewriter.rewrite(&packet(90_000, 5)).unwrap();
        assert_eq!(first.seq, 504);
        // 19.997 s passed between the newest packet of the old source and the first of the new.
        assert_eq!(first.timestamp, 1000 + 19_997 * 90);
        assert_eq!(rewriter.rewrite(&packet(89_999, 5)), Err(DropReason::BeforeSwitch));
    }

    /// One number, one packet: a number that sealed two of them would give the key away.
    #[test]
    fn a_number_is_given_once() {
        let mut rewriter = Rewriter::new(500);
        switch(&mut rewriter, &packet(70_000, 1000), None);
        for seq in [70_000, 70_100, 70_099, 70_700] {
            rewriter.rewrite(&packet(seq, 1000)).unwrap();
            assert_eq!(rewriter.rewrite(&packet(seq, 1000)), Err(DropReason::Duplicate), "{seq}");
        }
        assert_eq!(rewriter.rewrite(&packet(70_100, 1000)), Err(DropReason::Duplicate), "old");
        assert_eq!(rewriter.rewrite(&packet(70_699, 1000)).unwrap().seq, 1199, "late");
        rewriter.rewrite(&packet(75_000, 1000)).unwrap();
        assert_eq!(rewriter.rewrite(&packet(74_700, 1000)).unwrap().seq, 5200, "in a long gap");
        assert_eq!(rewriter.rewrite(&packet(70_500, 1000)), Err(DropReason::Duplicate), "too old");
    }

    /// Receivers guess the upper bits of a number from the packet before (RFC 3711 section 3.3.1).
    #[test]
    fn no_jump_of_the_source_makes_a_receiver_lose_count() {
        let mut rewriter = Rewriter::new(500);
        switch(&mut rewriter, &packet(70_000, 1000), None);
        let mut before = rewriter.rewrite(&packet(70_000, 1000)).unwrap().seq;
        for source in [102_767, 135_534, 135_535, 168_302] {
            let seq = rewriter.rewrite(&packet(source, 1000)).unwrap().seq;
            assert!(seq > before && seq - before <= 2, "{before} -> {seq}");
            let late = rewriter.rewrite(&packet(source - 2, 1000));
            assert_eq!(late, Err(DropReason::BeforeSwitch), "from before the jump");
            before = seq;
        }
    }

    #[test]
    fn a_switch_never_goes_back_in_time() {
        let mut rewriter = Rewriter::new(0);
        switch(&mut rewriter, &packet(100, 5000), None);
        rewriter.rewrite(&packet(100, 5000)).unwrap();
        switch(&mut rewriter, &packet(300, 77), Some(0));
        assert_eq!(rewriter.rewrite(&packet(300, 77)).unwrap().timestamp, 5001);
        switch(&mut rewriter, &packet(400, 177), Some(6000));
        assert_eq!(rewriter.rewrite(&packet(400, 177)).unwrap().timestamp, 6177);
    }

    /// A keyframe from the cache, 4 s old, when the newest packet of its source came 1 s after what was shown before.
    #[test]
    fn what_is_live_decides_when_an_old_keyframe_begins() {
        let mut rewriter = Rewriter::new(0);
        switch(&mut rewriter, &packet(10_000, 5000), None);
        rewriter.rewrite(&packet(10_000, 5000)).unwrap();
        rewriter.switch(&packet(7_000, 77), (360_077, 11_000_000), 90_000, None);
        assert_eq!(rewriter.timestamp_offset().wrapping_add(360_077), 5000 + 90_000);
        let first = rewriter.rewrite_at(&packet(7_000, 77), 95_000, 11_001_000).unwrap();
        assert_eq!((first.seq, first.timestamp), (1, 95_000));
        switch(&mut rewriter, &packet(20_000, 9), None);
        assert_eq!(rewriter.timestamp_offset().wrapping_add(9), 95_000 + 8999 * 90);
    }

    #[test]
    fn left_out_frames_leave_no_gap() {
        let mut rewriter = Rewriter::new(10);
        switch(&mut rewriter, &frame(1000, 50), None);
        let first = rewriter.rewrite(&frame(1000, 50)).unwrap();
        // Two packets of frame 51 are left out; 1001 of frame 50 comes late, after them.
        rewriter.skip(&frame(1002, 51));
        rewriter.skip(&frame(1003, 51));
        let next = rewriter.rewrite(&frame(1004, 52)).unwrap();
        assert_eq!(next.seq, 12);
        assert_eq!(next.picture_id, first.picture_id.map(|id| id + 1));
        assert_eq!(rewriter.rewrite(&frame(1001, 50)).unwrap().seq, 11);
        assert_eq!(rewriter.rewrite(&frame(1005, 53)).unwrap().seq, 13);
    }

    /// A packet of VP8 in temporal layers: number, picture id, TL0PICIDX, layer.
    fn layered(seq: u64, picture_id: u16, tl0: u8, temporal: u8) -> CachedPacket {
        let mut packet = frame(seq, picture_id);
        packet.info.tl0_picture_index = Some(tl0);
        packet.info.temporal = temporal;
        packet
    }

    #[test]
    fn flat_pictures_are_all_of_the_lowest_layer_and_late_packets_are_what_their_picture_was() {
        let mut rewriter = Rewriter::new(10);
        let tl0 = |rewriter: &mut Rewriter, packet: CachedPacket| {
            let out = rewriter.rewrite(&packet).unwrap();
            (out.tl0_picture_index.unwrap(), out.flat)
        };
        // Picture ids are about to wrap.
        let first = layered(100, 0x7ffd, 40, 0);
        switch(&mut rewriter, &first, None);
        let (base, _) = tl0(&mut rewriter, first);
        assert_eq!(tl0(&mut rewriter, layered(102, 0x7ffe, 40, 2)), (base, false));
        // A whole picture of the lowest layer is still on its way when the next comes.
        let begins = layered(106, 0x0001, 42, 0);
        rewriter.set_flat(&begins, true);
        assert!(rewriter.is_flat());
        assert_eq!(tl0(&mut rewriter, begins), (base.wrapping_add(2), true));
        assert_eq!(tl0(&mut rewriter, layered(104, 0x7fff, 41, 0)), (base.wrapping_add(1), false));
        assert_eq!(tl0(&mut rewriter, layered(105, 0x0000, 41, 2)), (base.wrapping_add(1), false));
        // Every picture counts, and one that is left out does not.
        assert_eq!(tl0(&mut rewriter, layered(108, 0x0003, 42, 1)), (base.wrapping_add(4), true));
        assert_eq!(tl0(&mut rewriter, layered(107, 0x0002, 42, 2)), (base.wrapping_add(3), true));
        assert_eq!(rewriter.skip(&layered(109, 0x0004, 42, 2)), None);
        assert_eq!(tl0(&mut rewriter, layered(110, 0x0005, 43, 0)), (base.wrapping_add(5), true));
        // And back: the next of the lowest layer is one more.
        let key = layered(111, 0x0006, 44, 0);
        rewriter.set_flat(&key, false);
        assert_eq!(tl0(&mut rewriter, key), (base.wrapping_add(6), false));
        assert_eq!(tl0(&mut rewriter, layered(112, 0x0007, 44, 2)), (base.wrapping_add(6), false));
        assert_eq!(tl0(&mut rewriter, layered(113, 0x0008, 45, 0)), (base.wrapping_add(7), false));
        // Another source is what it is.
        rewriter.set_flat(&layered(114, 0x0009, 46, 0), true);
        switch(&mut rewriter, &layered(500, 9, 9, 0), None);
        assert!(!rewriter.is_flat());
    }

    #[test]
    fn nothing_changes_in_the_middle_of_what_was_sent() {
        let mut rewriter = Rewriter::new(10);
        switch(&mut rewriter, &layered(100, 1, 40, 0), None);
        rewriter.rewrite(&layered(103, 2, 41, 0)).unwrap();
        rewriter.set_flat(&layered(100, 1, 40, 0), true);
        assert!(!rewriter.is_flat(), "it came late");
    }

    #[test]
    fn where_references_count_in_them_numbers_keep_their_gaps() {
        let vp9 = |seq, picture_id| {
            let mut packet = CachedPacket { codec: Codec::Vp9, ..frame(seq, picture_id) };
            packet.carried[DESCRIPTOR] = Slice::new(0, 3);
            packet.dependency.frame_number = picture_id + 500;
            packet
        };
        let mut rewriter = Rewriter::new(10);
        let numbers = |rewriter: &mut Rewriter, packet: CachedPacket| {
            let out = rewriter.rewrite(&packet).unwrap();
            (out.seq, out.picture_id.unwrap(), out.frame_number.unwrap())
        };
        switch(&mut rewriter, &vp9(1000, 50), None);
        let (_, id, number) = numbers(&mut rewriter, vp9(1000, 50));
        rewriter.skip(&vp9(1001, 51));
        rewriter.skip(&vp9(1002, 52));
        assert_eq!(numbers(&mut rewriter, vp9(1004, 53)), (12, id + 3, number + 3));
        assert_eq!(numbers(&mut rewriter, vp9(1003, 53)), (11, id + 3, number + 3));
        switch(&mut rewriter, &vp9(7000, 32_000), None);
        assert_eq!(numbers(&mut rewriter, vp9(7000, 32_000)), (13, id + 4, number + 4));
    }

    #[test]
    fn a_late_packet_that_is_left_out_gives_its_number_back() {
        let mut rewriter = Rewriter::new(10);
        switch(&mut rewriter, &frame(1000, 50), None);
        rewriter.rewrite(&frame(1000, 50)).unwrap();
        assert_eq!(rewriter.skip(&frame(1001, 51)), None);
        assert_eq!(rewriter.skip(&frame(1003, 51)), None);
        assert_eq!(rewriter.rewrite(&frame(1004, 52)).unwrap().seq, 12);
        assert_eq!(rewriter.skip(&frame(1002, 51)).unwrap().seq, 11);
        // The same with nothing forwarded since: the number is used up all the same.
        assert_eq!(rewriter.skip(&frame(1006, 53)), None);
        assert_eq!(rewriter.skip(&frame(1005, 53)).unwrap().seq, 13);
        switch(&mut rewriter, &frame(5000, 9), None);
        assert_eq!(rewriter.rewrite(&frame(5000, 9)).unwrap().seq, 14);
    }

    #[test]
    fn the_first_source_keeps_picture_ids_consecutive_over_a_switch() {
        let mut rewriter = Rewriter::new(10);
        switch(&mut rewriter, &frame(1000, 32_767), None);
        let a = rewriter.rewrite(&frame(1000, 32_767)).unwrap();
        switch(&mut rewriter, &frame(5000, 3), None);
        let b = rewriter.rewrite(&frame(5000, 3)).unwrap();
        assert_eq!(b.picture_id, a.picture_id.map(|id| (id + 1) & 0x7fff));
        assert_eq!(b.tl0_picture_index, a.tl0_picture_index.map(|i| i + 1));
    }
}
