//! The newest keyframe of an encoding and what followed it: where a late viewer can begin without asking the publisher for anything.

use crate::producer::cache::PacketCache;
use crate::producer::packet::CachedPacket;

/// What is older is not replayed, and not kept for it.
pub(crate) const AGE_MAX_US: u64 = 10_000_000;
/// A keyframe that comes so many packets late begins nothing.
const LATE_MAX: u64 = 1024;

/// A group of pictures: a keyframe and all packets after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gop {
    /// Extended sequence number of the keyframe's first packet.
    pub(crate) first: u64,
    /// Arrival of that packet in µs of the media clock.
    pub(crate) since_us: u64,
    /// Of the keyframe: all its packets have it.
    timestamp: u32,
    /// Packets from `first` on that came.
    packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Gop {
    /// Counts a packet that has just gone into the cache; `highest` is the newest one there.
    pub(crate) fn note(
        gop: &mut Option<Self>,
        packet: &CachedPacket,
        len: usize,
        highest: u64,
        cache: &PacketCache,
    ) {
        let there = gop.as_ref();
        let begins = packet.info.keyframe
            && highest.saturating_sub(packet.seq) <= LATE_MAX
            && there.is_none_or(|gop| match packet.timestamp == gop.timestamp {
                // The keyframe's first packet was overtaken by another one that can stand first (a second parameter set).
                true => packet.seq < gop.first,
                false => packet.seq > gop.first,
            });
        if begins {
            let mut fresh = Self {
                first: packet.seq,
                since_us: packet.arrival_us,
                timestamp: packet.timestamp,
                packets: 0,
                bytes: 0,
            };
            for (later, _) in (packet.seq..=highest).filter_map(|seq| cache.get(seq)) {
                fresh.packets += 1;
                fresh.bytes += u64::from(later.len);
            }
            *gop = Some(fresh);
        } else if let Some(gop) = gop.as_mut().filter(|gop| packet.seq >= gop.first) {
            gop.packets += 1;
            gop.bytes += len as u64;
        }
    }

    /// Whether every packet came, but for so many that are still asked for.
    pub(crate) fn is_whole(&self, highest: u64, asked: usize) -> bool {
        (highest + 1).saturating_sub(self.first) <= self.packets + asked as u64
    }

    pub(crate) fn age_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.since_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stream {
        cache: PacketCache,
        gop: Option<Gop>,
        highest: u64,
    }

    impl Stream {
        fn take(&mut self, seq: u64, timestamp: u32, keyframe: bool) {
            let mut packet = CachedPacket { seq, timestamp, ..CachedPacket::default() };
            packet.info.keyframe = keyframe;
            assert!(self.cache.insert(packet, &[7; 10], None));
            self.highest = self.highest.max(seq);
            Gop::note(&mut self.gop, &packet, 10, self.highest, &self.cache);
        }

        fn first(&self) -> Option<u64> {
            self.gop.map(|gop| gop.first)
        }

        fn is_whole(&self, asked: usize) -> bool {
            self.gop.is_some_and(|gop| gop.is_whole(self.highest, asked))
        }
    }

    fn stream() -> Stream {
        Stream { cache: PacketCache::video(), gop: None, highest: 0 }
    }

    #[test]
    fn begins_with_each_keyframe_and_counts_what_follows() {
        let mut stream = stream();
        stream.take(100, 0, false);
        assert_eq!(stream.first(), None);
        for (seq, timestamp) in [(101, 1), (102, 1), (103, 2)] {
            stream.take(seq, timestamp, seq == 101);
        }
        assert_eq!((stream.first(), stream.is_whole(0)), (Some(101), true));
        assert_eq!(stream.gop.map(|gop| gop.bytes), Some(30));
        stream.take(104, 3, true);
        assert_eq!((stream.first(), stream.is_whole(0)), (Some(104), true));
    }

    #[test]
    fn a_hole_is_excused_while_it_is_asked_for() {
        let mut stream = stream();
        stream.take(100, 1, true);
        stream.take(102, 2, false);
        assert_eq!((stream.is_whole(0), stream.is_whole(1)), (false, true));
        stream.take(101, 1, false);
        assert!(stream.is_whole(0));
    }

    /// H.264 sends its two parameter sets apart, and each of them can stand first.
    #[test]
    fn the_first_packet_of_a_keyframe_may_come_last() {
        let mut stream = stream();
        for seq in [101, 102, 103, 100] {
            stream.take(seq, 5, seq < 102);
        }
        assert_eq!((stream.first(), stream.is_whole(0)), (Some(100), true));
        // The keyframe before it, later still, begins nothing.
        stream.take(90, 4, true);
        assert_eq!((stream.first(), stream.is_whole(0)), (Some(100), true));
    }
}
