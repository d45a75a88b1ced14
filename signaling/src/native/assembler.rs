//! Packets of one track become its frames: put in order, waited for, and left out whole where one of them never came.
//!
//! Not the `SampleBuilder` of the `rtc` crate: that one keeps the last frame until another follows, takes the rest of an
//! H.264 frame whose beginning is lost for a frame, and counts losses in 16 bits, which overflow.

use rtc::rtp::Packet;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

use super::format::Format;

/// How long a missing packet is waited for: several rounds of asking (NACK) on a slow path; a file is in no hurry.
const PATIENCE: Duration = Duration::from_secs(1);
/// Packets that wait at most: more than a large keyframe has.
const WAITING_MAX: usize = 8192;

/// A whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assembled {
    /// RTP timestamp, without its 32-bit limit.
    pub(super) ticks: i64,
    pub(super) arrived: Instant,
    pub(super) data: Vec<u8>,
}

/// A packet that waits for others.
struct Waiting {
    packet: Packet,
    arrived: Instant,
}

pub(super) struct Assembler {
    format: Format,
    ssrc: u32,
    /// By sequence number, without its 16-bit limit.
    waiting: BTreeMap<i64, Waiting>,
    /// The newest of both seen.
    sequence: Option<i64>,
    ticks: Option<i64>,
    /// The first packet of the next frame.
    next: Option<i64>,
    /// Since packets are missing, the frame that the next packet belongs to is not whole.
    is_broken: bool,
    /// RTP timestamp of the frame that was left out last: its parts count once.
    left_out: Option<u32>,
    /// Packets that never came.
    pub(super) lost: u64,
    /// Frames that were left out.
    pub(super) incomplete: u64,
}

impl Assembler {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            ssrc: 0,
            waiting: BTreeMap::new(),
            sequence: None,
            ticks: None,
            next: None,
            is_broken: false,
            left_out: None,
            lost: 0,
            incomplete: 0,
        }
    }

    /// Takes a packet, in whatever order.
    pub(super) fn push(&mut self, packet: Packet, arrived: Instant) {
        if packet.header.ssrc != self.ssrc {
            // Another stream takes over: its numbers have nothing to do with those before.
            self.ssrc = packet.header.ssrc;
            self.waiting.clear();
            (self.sequence, self.next) = (None, None);
        }
        let sequence = extend(self.sequence, packet.header.sequence_number.into(), 16);
        self.sequence = self.sequence.max(Some(sequence));
        if self.next.is_none_or(|next| sequence >= next) {
            self.waiting.insert(sequence, Waiting { packet, arrived });
        }
    }

    /// The next frame, as far as it is whole; `is_over`: nothing more will come.
    pub(super) fn pop(&mut self, now: Instant, is_over: bool) -> Option<Assembled> {
        loop {
            let (&first, waiting) = self.waiting.first_key_value()?;
            let gap = self.next.map_or(0, |next| first - next);
            if gap > 0 {
                if !is_over && !self.is_late(waiting, now) {
                    return None;
                }
                self.lost += gap.unsigned_abs();
                self.is_broken = true;
            }
            let is_new = self.format.begins(&waiting.packet.payload);
            if self.is_broken && is_new {
                self.is_broken = false;
            }
            self.next = Some(first);
            let (end, is_whole) = self.end_of_frame(first);
            if !is_whole {
                let Some((_, missing)) = self.waiting.range(end..).next() else {
                    return if is_over { self.take(first, end, false) } else { None };
                };
                if !is_over && !self.is_late(missing, now) {
                    return None;
                }
                // What is there of the frame goes; what is missing is counted in the next round.
                self.take(first, end, false);
                self.is_broken = true;
                continue;
            }
            let frame = self.take(first, end, !self.is_broken);
            self.is_broken = false;
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// Whether what is missing before a packet will hardly come.
    fn is_late(&self, after: &Waiting, now: Instant) -> bool {
        now.saturating_duration_since(after.arrived) >= PATIENCE || self.waiting.len() > WAITING_MAX
    }

    /// Behind the last packet of a frame that is there without a gap, and whether that is its end: the marker, or a
    /// packet of another time.
    fn end_of_frame(&self, first: i64) -> (i64, bool) {
        let mut timestamp = None;
        let mut end = first;
        for (&sequence, waiting) in self.waiting.range(first..) {
            let header = &waiting.packet.header;
            if sequence != end {
                return (end, false);
            }
            if *timestamp.get_or_insert(header.timestamp) != header.timestamp {
                return (end, true);
            }
            end += 1;
            if header.marker || !self.format.is_video() {
                return (end, true);
            }
        }
        (end, false)
    }

    /// Takes the packets away, and makes a frame of them where it is whole. Packets without payload are padding.
    fn take(&mut self, first: i64, end: i64, is_whole: bool) -> Option<Assembled> {
        self.next = Some(end);
        let mut packets = Vec::new();
        for sequence in first..end {
            packets.extend(self.waiting.remove(&sequence));
        }
        packets.retain(|waiting| !waiting.packet.payload.is_empty());
        let last = packets.last()?;
        let (timestamp, arrived) = (last.packet.header.timestamp, last.arrived);
        let payloads = packets.iter().map(|waiting| &waiting.packet.payload);
        let Some(data) = is_whole.then(|| self.format.frame(payloads)).flatten() else {
            self.incomplete += u64::from(self.left_out.replace(timestamp) != Some(timestamp));
            return None;
        };
        let ticks = extend(self.ticks, timestamp, 32);
        self.ticks = Some(ticks);
        Some(Assembled { ticks, arrived, data })
    }
}

/// The number with these low bits that is nearest to the newest one.
pub(super) fn extend(newest: Option<i64>, low: u32, bits: u32) -> i64 {
    let low = i64::from(low);
    let Some(newest) = newest else { return low };
    let span = 1i64 << bits;
    let ahead = (low - newest).rem_euclid(span);
    newest + if ahead >= span / 2 { ahead - span } else { ahead }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rtc::rtp::Header;

    /// Three VP8 frames of three packets each, beginning just before both numbers wrap.
    fn packets() -> Vec<Packet> {
        (0..9u32)
            .map(|index| {
                let (frame, part) = (index / 3, index % 3);
                let first = if part == 0 { 0x90 } else { 0x80 };
                let header = Header {
                    sequence_number: 65_533u16.wrapping_add(index as u16),
                    timestamp: (u32::MAX - 10).wrapping_add(frame * 3000),
                    marker: part == 2,
                    ssrc: 7,
                    ..Default::default()
                };
                let payload = [first, 0x80, 0x80, frame as u8, frame as u8, part as u8];
                Packet { header, payload: Bytes::copy_from_slice(&payload) }
            })
            .collect()
    }

    fn all(assembler: &mut Assembler, now: Instant, is_over: bool) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| assembler.pop(now, is_over)).map(|frame| frame.data).collect()
    }

    fn frame(number: u8) -> Vec<u8> {
        vec![number, 0, number, 1, number, 2]
    }

    #[test]
    fn packets_in_any_order_become_frames_over_the_wrap() {
        let now = Instant::now();
        let mut assembler = Assembler::new(Format::Vp8);
        let packets = packets();
        for index in [1, 0, 2, 5, 4, 3, 3, 8, 6, 7] {
            assembler.push(packets[index].clone(), now);
        }
        let frames: Vec<Assembled> = std::iter::from_fn(|| assembler.pop(now, false)).collect();
        let data: Vec<Vec<u8>> = frames.iter().map(|frame| frame.data.clone()).collect();
        assert_eq!(data, [frame(0), frame(1), frame(2)]);
        assert_eq!(frames[2].ticks - frames[0].ticks, 6000);
        assert_eq!((assembler.lost, assembler.incomplete), (0, 0));
    }

    #[test]
    fn a_frame_with_a_hole_is_waited_for_and_then_left_out() {
        for lost in 3..6 {
            let now = Instant::now();
            let mut assembler = Assembler::new(Format::Vp8);
            for (index, packet) in packets().into_iter().enumerate() {
                if index != lost {
                    assembler.push(packet, now);
                }
            }
            assert_eq!(all(&mut assembler, now, false), [frame(0)], "without {lost}");
            let later = now + PATIENCE;
            assert_eq!(all(&mut assembler, later, false), [frame(2)], "without {lost}");
            assert_eq!((assembler.lost, assembler.incomplete), (1, 1), "without {lost}");
        }
    }

    #[test]
    fn a_packet_that_is_sent_again_mends_its_frame() {
        let now = Instant::now();
        let mut assembler = Assembler::new(Format::Vp8);
        let mut packets = packets();
        let late = packets.remove(4);
        for packet in packets {
            assembler.push(packet, now);
        }
        assert_eq!(all(&mut assembler, now, false), [frame(0)]);
        assembler.push(late, now);
        assert_eq!(all(&mut assembler, now, false), [frame(1), frame(2)]);
        assert_eq!((assembler.lost, assembler.incomplete), (0, 0));
    }

    #[test]
    fn the_end_does_not_wait() {
        let now = Instant::now();
        let mut assembler = Assembler::new(Format::Vp8);
        for packet in packets().into_iter().take(8) {
            assembler.push(packet, now);
        }
        assert_eq!(all(&mut assembler, now, true), [frame(0), frame(1)]);
        assert_eq!(assembler.incomplete, 1);
    }

    #[test]
    fn the_rest_of_a_frame_is_no_frame_where_payloads_do_not_say() {
        let now = Instant::now();
        let mut assembler = Assembler::new(Format::H264 { profile_level_id: [0x42, 0xe0, 0x1f] });
        let packet = |sequence_number, timestamp, marker| Packet {
            header: Header { sequence_number, timestamp, marker, ssrc: 7, ..Default::default() },
            payload: Bytes::from_static(&[0x41, 1, 2]),
        };
        // The first slice of the second frame is lost; its second slice looks like a frame.
        for packet in [packet(1, 1, true), packet(3, 2, true), packet(4, 3, true)] {
            assembler.push(packet, now);
        }
        let whole = vec![0, 0, 0, 1, 0x41, 1, 2];
        assert_eq!(all(&mut assembler, now + PATIENCE, false), [whole.clone(), whole]);
        assert_eq!((assembler.lost, assembler.incomplete), (1, 1));
    }
}
