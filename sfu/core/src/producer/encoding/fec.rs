//! Video that was lost, rebuilt from the publisher's ULPFEC packets (RFC 5109) before a request for it could be answered.
//!
//! libwebrtc sends these in RED, for VP8 and VP9, as far as loss and round trip make them worth it: on the SSRC and among the
//! sequence numbers of the media, behind the last packet of a picture. They go no further than here, and nobody sends a lost one
//! again. So numbers between two pictures that follow one another are nobody's, as soon as it is known that the pictures do.

use super::Encoding;
use crate::producer::cache::PacketCache;
use crate::producer::packet::CachedPacket;
use sfu_rtp::codec::ulpfec::{FecPacket, Rebuilder};
use sfu_rtp::{RtpHeader, packet::FIXED_HEADER_LEN, sequence};
use std::collections::VecDeque;
use std::time::Instant;

/// FEC packets that wait for what they protect.
const WAITING_MAX: usize = 16;
/// As many packets as one FEC packet can protect: between two pictures there are not more.
const BETWEEN_MAX: u64 = 48;
/// One second. What is further apart says nothing of how many pictures there are in that time.
const INTERVAL_MAX: u32 = 90_000;
/// What the cache has of a packet that was none.
const NOTHING: [u8; 1] = [0];

/// What FEC is there of an encoding.
#[derive(Debug, Default)]
pub(crate) struct FecDecoder {
    /// Oldest first.
    waiting: VecDeque<Protection>,
    /// Numbers that turned out to be nobody's, which viewers have to be told.
    closed: Vec<u64>,
    /// Time between pictures that surely follow one another, in RTP units: near the shortest of the last ones.
    interval: Option<u32>,
    without_ids: bool,
    /// There was a FEC packet.
    seen: bool,
    /// Of the newest media packet.
    payload_type: Option<u8>,
}

/// A FEC packet.
#[derive(Debug)]
struct Protection {
    /// Extended sequence number of the first bit.
    first: u64,
    /// A bit for each protected packet that is not there.
    missing: u64,
    payload: Box<[u8]>,
}

impl FecDecoder {
    fn protect(&mut self, seq: u64, payload: &[u8], cache: &PacketCache) {
        let Ok(FecPacket { base, mask, .. }) = FecPacket::parse(payload) else { return };
        let first = sequence::extend(seq, base);
        let is_missing = |at: &u64| mask & 1 << at != 0 && !cache.contains(first + at);
        let missing = (0..BETWEEN_MAX).filter(is_missing).fold(0, |bits, at| bits | 1 << at);
        if missing == 0 {
            return;
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Protection { first, missing, payload: payload.into() });
    }

    fn arrived(&mut self, seq: u64) {
        for protection in &mut self.waiting {
            if let Some(at @ 0..BETWEEN_MAX) = seq.checked_sub(protection.first) {
                protection.missing &= !(1 << at);
            }
        }
    }

    /// Nothing is missing between these two.
    fn measure(&mut self, before: &CachedPacket, after: &CachedPacket) {
        let apart = after.timestamp.wrapping_sub(before.timestamp);
        if are_two(before, after) && apart < INTERVAL_MAX {
            let known = self.interval.unwrap_or(apart);
            self.interval = Some(apart.min(known + known / 16));
        }
    }

    /// The next packet that can be rebuilt.
    fn rebuild(
        &mut self,
        cache: &PacketCache,
        ssrc: u32,
        is_mutable: impl Fn(u8) -> bool,
    ) -> Option<Vec<u8>> {
        loop {
            let ready = self.waiting.iter().position(|it| it.missing.count_ones() <= 1)?;
            let protection = self.waiting.remove(ready)?;
            let rebuilt = rebuild(&protection, cache, ssrc, &is_mutable);
            if rebuilt.is_some() {
                return rebuilt;
            }
        }
    }
}

/// The one packet that is missing; `is_mutable`: ids of header extensions that are written after FEC is made.
fn rebuild(
    Protection { first, missing, payload }: &Protection,
    cache: &PacketCache,
    ssrc: u32,
    is_mutable: impl Fn(u8) -> bool,
) -> Option<Vec<u8>> {
    if *missing == 0 {
        return None;
    }
    let fec = FecPacket::parse(payload).ok()?;
    let mut rebuilder = Rebuilder::new(&fec);
    let there = fec.mask & !missing;
    for at in (0..BETWEEN_MAX).filter(|at| there & 1 << at != 0) {
        let (packet, bytes) = cache.get(first + at)?;
        let header = RtpHeader::parse_prefix(bytes).ok()?;
        // What RTX brought has other header extensions than what was protected.
        if header.ssrc != ssrc {
            return None;
        }
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_HEADER_LEN>()?;
        let mut fixed = *fixed;
        fixed[1] = fixed[1] & 0x80 | packet.payload_type;
        let extensions = rest.get(..usize::from(header.payload_start) - FIXED_HEADER_LEN)?;
        let mut extensions = extensions.to_vec();
        for (_, value) in header.extensions(bytes).filter(|(id, _)| is_mutable(*id)) {
            let start = value.as_ptr() as usize - rest.as_ptr() as usize;
            extensions.get_mut(start..start + value.len())?.fill(0);
        }
        rebuilder.add(&fixed, [&extensions, bytes.get(usize::from(packet.payload_start)..)?]);
    }
    let seq = first + u64::from(missing.trailing_zeros());
    rebuilder.finish(seq as u16, ssrc).ok()
}

impl Encoding {
    /// The publisher puts RED around this encoding, and so may send FEC. Returns the payload type that was inside last.
    pub(crate) fn expect_fec(&mut self) -> Option<u8> {
        self.fec.get_or_insert_default().payload_type
    }

    /// Takes the payload of a FEC packet, whose number is in the cache already as that of a packet without one.
    pub(crate) fn protect(&mut self, number: u16, payload: &[u8]) {
        if let (Some(fec), Some(highest)) = (&mut self.fec, self.highest) {
            fec.seen = true;
            fec.protect(sequence::extend(highest, number), payload, &self.cache);
        }
    }

    /// The next packet that FEC brings back, whole and without RED, as if it had come.
    pub(crate) fn rebuild(&mut self, is_mutable: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
        self.fec.as_mut()?.rebuild(&self.cache, self.ssrc?, is_mutable)
    }

    /// What never came may have been FEC, as pictures have no ids to tell: who misses a picture asks for a keyframe himself.
    pub(crate) fn may_be_fec(&self) -> bool {
        self.fec.as_ref().is_some_and(|fec| fec.seen && fec.without_ids)
    }

    /// Numbers that nobody has to wait for any more, since the last call.
    pub(crate) fn take_closed(&mut self) -> Vec<u64> {
        self.fec.as_mut().map_or_else(Vec::new, |fec| std::mem::take(&mut fec.closed))
    }

    /// A packet of the media came: FEC that waited for it, and the numbers between its picture and the ones beside it.
    pub(super) fn note_for_fec(&mut self, now: Instant, packet: &CachedPacket) {
        let Some(fec) = &mut self.fec else { return };
        if packet.payload_len == 0 {
            return;
        }
        fec.arrived(packet.seq);
        fec.without_ids = packet.info.picture_id.is_none();
        fec.payload_type = Some(packet.payload_type);
        let seq = packet.seq;
        let media = |seq: u64| self.cache.get(seq).map(|(p, _)| *p).filter(|p| p.payload_len > 0);
        let before = || (seq.saturating_sub(BETWEEN_MAX)..seq).rev().find_map(media);
        let last = self.highest.unwrap_or(seq).min(seq + BETWEEN_MAX);
        let after = || (seq + 1..=last).find_map(media);
        let starts = packet.info.frame_start == Some(true) && packet.info.spatial == 0;
        let pairs = [
            if starts { before().map(|before| (before, *packet)) } else { None },
            if packet.marker { after().map(|after| (*packet, after)) } else { None },
        ];
        let interval = fec.interval;
        for (before, after) in pairs.into_iter().flatten() {
            if (before.seq + 1..after.seq).any(|seq| !self.cache.contains(seq)) {
                if follows(&before, &after, interval) {
                    self.close(now, &before, after.seq, packet.arrival_us);
                }
            } else if let Some(fec) = &mut self.fec {
                fec.measure(&before, &after);
            }
        }
    }

    /// Nothing is missing between the last packet of a picture and `after`.
    fn close(&mut self, now: Instant, before: &CachedPacket, after: u64, now_us: u64) {
        for seq in before.seq + 1..after {
            let nothing = CachedPacket {
                seq,
                timestamp: before.timestamp,
                arrival_us: now_us,
                payload_type: before.payload_type,
                codec: before.codec,
                ..CachedPacket::default()
            };
            if self.cache.contains(seq) || !self.store(&nothing, &NOTHING) {
                continue;
            }
            self.nack.arrived(now, seq);
            if let Some(fec) = &mut self.fec {
                fec.closed.push(seq);
            }
        }
    }
}

/// `before` ends a picture, and `after` begins one.
fn are_two(before: &CachedPacket, after: &CachedPacket) -> bool {
    let starts = after.info.frame_start == Some(true) && after.info.spatial == 0;
    starts && before.marker && before.timestamp != after.timestamp
}

/// `before` ends a picture, and `after` begins the next one.
fn follows(before: &CachedPacket, after: &CachedPacket, interval: Option<u32>) -> bool {
    if !are_two(before, after) {
        return false;
    }
    if let (Some(ended), Some(begun)) = (before.info.picture_id, after.info.picture_id) {
        return begun == ended.wrapping_add(1) & 0x7fff || (ended, begun) == (0x7f, 0);
    }
    // Firefox sends VP8 without picture ids: then no picture of the lowest layer may be missing, and there is no time for one of the others.
    let indices = (before.info.tl0_picture_index, after.info.tl0_picture_index);
    let lowest = match indices {
        (Some(before), Some(next)) => {
            next.wrapping_sub(before) == u8::from(after.info.temporal == 0)
        }
        _ => true,
    };
    let apart = after.timestamp.wrapping_sub(before.timestamp);
    lowest && interval.is_some_and(|interval| apart <= interval + interval / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(timestamp: u32, temporal: u8, tl0: Option<u8>, id: Option<u16>) -> CachedPacket {
        let mut packet = CachedPacket { timestamp, marker: true, ..CachedPacket::default() };
        packet.info.frame_start = Some(true);
        packet.info.temporal = temporal;
        packet.info.tl0_picture_index = tl0;
        packet.info.picture_id = id;
        packet
    }

    #[test]
    fn pictures_follow_one_another_by_their_ids() {
        let follow =
            |a, b| follows(&picture(0, 0, None, Some(a)), &picture(9, 0, None, Some(b)), None);
        assert!(follow(7, 8) && follow(0x7fff, 0) && follow(127, 0) && follow(127, 128));
        assert!(!follow(7, 9) && !follow(8, 7) && !follow(126, 0));
        let begun = CachedPacket { marker: false, ..picture(0, 0, None, Some(7)) };
        assert!(!follows(&begun, &picture(9, 0, None, Some(8)), None), "the rest of it is missing");
    }

    #[test]
    fn without_ids_by_the_lowest_layer_and_the_time() {
        let at = |timestamp, temporal, tl0| picture(timestamp, temporal, Some(tl0), None);
        let follow = |a: &CachedPacket, b: &CachedPacket| follows(a, b, Some(3000));
        assert!(follow(&at(0, 0, 255), &at(3000, 1, 255)));
        assert!(follow(&at(0, 1, 255), &at(4500, 0, 0)));
        assert!(!follow(&at(0, 0, 5), &at(6000, 0, 6)), "there is time for another one");
        assert!(!follow(&at(0, 1, 5), &at(3000, 1, 6)), "one of the lowest layer is missing");
        assert!(!follow(&at(0, 0, 5), &at(3000, 0, 7)));
        let none = |timestamp| picture(timestamp, 0, None, None);
        assert!(follow(&none(0), &none(3000)) && !follow(&none(0), &none(6000)));
        assert!(!follows(&none(0), &none(3000), None), "nothing was measured");
        let mut fec = FecDecoder::default();
        for (from, to) in [(0, 6000), (6000, 9000), (9000, 900_000), (900_000, 906_000)] {
            fec.measure(&none(from), &none(to));
        }
        assert_eq!(fec.interval, Some(3000 + 3000 / 16));
    }
}
