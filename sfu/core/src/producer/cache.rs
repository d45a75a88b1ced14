//! The packet cache: every received packet of an encoding, once, decrypted. Fan-out reads from it, and NACKs are answered
//! from it. Bounded in bytes, in packets and in time: it takes memory as the traffic needs it, a chunk at a time, and the oldest chunk is written
//! over once nobody can ask for it any more, or when there may be no further one. What followed the last keyframe may be kept longer, within
//! limits of its own, for viewers who come later.

use crate::producer::packet::CachedPacket;
use std::collections::VecDeque;

/// How much of one kind of media is kept.
#[derive(Debug)]
struct Limits {
    /// Packets that can be looked up at first, and at most. Powers of two.
    packets: (usize, usize),
    /// Bytes that are taken at a time; no packet is longer.
    chunk: usize,
    /// Usually, and for what followed a keyframe.
    chunks: (usize, usize),
    /// Packets for what followed a keyframe.
    packets_long: usize,
    /// Packets that old are not asked for any more.
    kept_us: u64,
}

/// At 1000 packets/s one second, which is more than a NACK can be late; 1 MiB, 3 s at 2.5 Mbit/s. From a keyframe on 8 MiB.
static VIDEO: Limits = Limits {
    packets: (64, 1024),
    chunk: 32 * 1024,
    chunks: (32, 256),
    packets_long: 8192,
    kept_us: 3_000_000,
};
static AUDIO: Limits = Limits {
    packets: (16, 128),
    chunk: 4 * 1024,
    chunks: (8, 8),
    packets_long: 128,
    kept_us: 1_000_000,
};

#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    /// Arrival of the packet that came last.
    newest_us: u64,
    /// The highest sequence number in it.
    highest: u64,
}

#[derive(Debug)]
pub(crate) struct PacketCache {
    limits: &'static Limits,
    /// By the low bits of the sequence number; `len` 0: nothing there.
    slots: Vec<CachedPacket>,
    /// Oldest first; the last one is being filled up to `used`.
    chunks: VecDeque<Chunk>,
    used: usize,
    /// Serial number of the first chunk.
    first: u64,
    /// Sequence numbers below it were forgotten when the slots became more: whether they came before is not known any more, so they are refused.
    floor: u64,
}

impl PacketCache {
    pub(crate) fn video() -> Self {
        Self::new(&VIDEO)
    }

    pub(crate) fn audio() -> Self {
        Self::new(&AUDIO)
    }

    fn new(limits: &'static Limits) -> Self {
        Self { limits, slots: Vec::new(), chunks: VecDeque::new(), used: 0, first: 0, floor: 0 }
    }

    /// Stores a packet's bytes. `false`: that sequence number is there already, or a newer one has its place.
    /// `keep`: what is kept longer begins with this sequence number.
    pub(crate) fn insert(
        &mut self,
        mut packet: CachedPacket,
        bytes: &[u8],
        keep: Option<u64>,
    ) -> bool {
        if bytes.is_empty() || bytes.len() > self.limits.chunk {
            return false;
        }
        if self.slots.is_empty() {
            self.slots = vec![CachedPacket::default(); self.limits.packets.0];
        }
        let there = &self.slots[self.slot(packet.seq)];
        if packet.seq < self.floor || (there.len != 0 && there.seq >= packet.seq) {
            return false;
        }
        if there.len != 0 {
            let recent = packet.arrival_us.saturating_sub(there.arrival_us) < self.limits.kept_us;
            let kept = keep.is_some_and(|first| there.seq >= first);
            let short = |most: usize| self.slots.len() < most;
            if recent && short(self.limits.packets.1) || kept && short(self.limits.packets_long) {
                self.resize(self.slots.len() * 2);
            }
        }
        if self.chunks.is_empty() || self.used + bytes.len() > self.limits.chunk {
            self.begin_chunk(packet.arrival_us, keep);
            // Fewer may be known now.
            if packet.seq < self.floor {
                return false;
            }
        }
        let serial = self.first + self.chunks.len() as u64 - 1;
        let Some(chunk) = self.chunks.back_mut() else { return false };
        chunk.bytes[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        chunk.newest_us = packet.arrival_us;
        chunk.highest = chunk.highest.max(packet.seq);
        packet.position = serial * self.limits.chunk as u64 + self.used as u64;
        packet.len = bytes.len() as u16;
        self.used += bytes.len();
        let slot = self.slot(packet.seq);
        self.slots[slot] = packet;
        true
    }

    fn slot(&self, seq: u64) -> usize {
        seq as usize & self.slots.len().wrapping_sub(1)
    }

    /// Makes room for so many packets; those that it has none for any more are forgotten.
    #[cold]
    fn resize(&mut self, len: usize) {
        let newest = self.slots.iter().map(|packet| packet.seq).max().unwrap_or(0);
        let known = len.min(self.slots.len()) as u64;
        self.floor = self.floor.max((newest + 1).saturating_sub(known));
        let slots = vec![CachedPacket::default(); len];
        for packet in std::mem::replace(&mut self.slots, slots) {
            let slot = self.slot(packet.seq);
            if packet.len != 0 && packet.seq >= self.floor {
                self.slots[slot] = packet;
            }
        }
    }

    /// Writes over the oldest chunk where that is old or the last one allowed, else takes one more. Gives back what is far too much.
    #[cold]
    fn begin_chunk(&mut self, now_us: u64, keep: Option<u64>) {
        let Limits { kept_us, chunks, packets, .. } = *self.limits;
        let older_than = |chunk: Option<&Chunk>, age: u64| {
            chunk.is_some_and(|chunk| {
                now_us.saturating_sub(chunk.newest_us) >= age
                    && keep.is_none_or(|first| chunk.highest < first)
            })
        };
        let most = if keep.is_some() { chunks.1 } else { chunks.0 };
        let full = self.chunks.len() >= most;
        let old = older_than(self.chunks.front(), kept_us);
        // Only when two are far too old, so that a rate that changes a little does not give and take.
        let spare = older_than(self.chunks.get(1), 2 * kept_us);
        let reused = if full || old { self.pop_chunk() } else { None };
        if spare {
            self.pop_chunk();
        }
        while self.chunks.len() >= most {
            self.pop_chunk();
        }
        if keep.is_none() && self.slots.len() > packets.1 {
            self.resize(packets.1);
        }
        let mut chunk = reused.unwrap_or_else(|| Chunk {
            bytes: vec![0; self.limits.chunk].into_boxed_slice(),
            newest_us: 0,
            highest: 0,
        });
        chunk.highest = 0;
        self.chunks.push_back(chunk);
        self.used = 0;
    }

    fn pop_chunk(&mut self) -> Option<Chunk> {
        self.first += 1;
        self.chunks.pop_front()
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.get(seq).is_some()
    }

    /// A packet and its bytes, unless evicted.
    pub(crate) fn get(&self, seq: u64) -> Option<(&CachedPacket, &[u8])> {
        let packet = self.slots.get(self.slot(seq))?;
        if packet.seq != seq || packet.len == 0 {
            return None;
        }
        let size = self.limits.chunk as u64;
        let chunk = (packet.position / size).checked_sub(self.first)?;
        let offset = (packet.position % size) as usize;
        let bytes = &self.chunks.get(chunk as usize)?.bytes;
        Some((packet, bytes.get(offset..offset + usize::from(packet.len))?))
    }

    /// More is known of a packet that is there.
    pub(crate) fn update(&mut self, packet: &CachedPacket) {
        let slot = self.slot(packet.seq);
        if let Some(there) =
            self.slots.get_mut(slot).filter(|there| there.position == packet.position)
        {
            *there = *packet;
        }
    }

    /// Memory that is taken for packets.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * self.limits.chunk
    }

    /// Gives back all memory: nobody asks for any of it any more. What was there does not come again.
    #[cold]
    pub(crate) fn release(&mut self) {
        let newest = self.slots.iter().filter(|packet| packet.len != 0).map(|packet| packet.seq);
        self.floor = newest.max().map_or(self.floor, |newest| self.floor.max(newest + 1));
        self.first += self.chunks.len() as u64;
        (self.slots, self.chunks, self.used) = (Vec::new(), VecDeque::new(), 0);
    }

    /// Forgets everything: the encoding started anew.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(CachedPacket::default());
        self.floor = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SMALL: Limits =
        Limits { packets: (4, 64), chunk: 400, chunks: (3, 10), packets_long: 256, kept_us: 1000 };

    fn packet(seq: u64, arrival_us: u64) -> CachedPacket {
        CachedPacket { seq, arrival_us, ..CachedPacket::default() }
    }

    #[test]
    fn what_is_released_takes_no_memory_and_does_not_come_again() {
        let mut cache = PacketCache::new(&SMALL);
        for seq in 100..104 {
            assert!(cache.insert(packet(seq, 5), &[seq as u8; 90], None));
        }
        assert_eq!(cache.bytes(), 400);
        cache.release();
        assert_eq!(cache.bytes(), 0);
        assert!(!cache.contains(103));
        assert!(!cache.insert(packet(103, 9), &[1; 90], None), "it was there already");
        assert!(cache.insert(packet(104, 9), &[4; 90], None));
        assert_eq!(cache.get(104).unwrap().1, &[4; 90]);
    }

    #[test]
    fn keeps_bytes_and_evicts_the_oldest() {
        let mut cache = PacketCache::new(&SMALL);
        for seq in 100..120 {
            assert!(cache.insert(packet(seq, 5), &[seq as u8; 90], None));
        }
        assert!(!cache.insert(packet(119, 5), &[0; 90], None), "a duplicate does not overwrite");
        for seq in 100..125 {
            let kept = (108..120).contains(&seq);
            let there = cache.get(seq).map(|(found, bytes)| (found.seq, bytes.to_vec()));
            assert_eq!(there, kept.then(|| (seq, vec![seq as u8; 90])), "{seq}");
        }
    }

    #[test]
    fn a_slot_belongs_to_the_newer_of_two() {
        let mut cache = PacketCache::new(&SMALL);
        for seq in 200..300 {
            assert!(cache.insert(packet(seq, 0), &[1; 2], None));
        }
        assert_eq!(cache.slots.len(), 64);
        assert!(!cache.insert(packet(299 - 64, 0), &[2; 10], None));
        assert!(cache.insert(packet(299 + 64, 0), &[3; 10], None));
        assert!(cache.get(299).is_none());
    }

    /// A packet that comes twice would be forwarded twice under one number: the second copy is refused however long ago the first one was.
    #[test]
    fn what_was_pushed_out_before_the_slots_became_more_stays_out() {
        let mut cache = PacketCache::new(&SMALL);
        // Long enough apart that four slots are enough …
        for seq in 100..110 {
            assert!(cache.insert(packet(seq, seq * 500), &[1; 2], None));
        }
        assert_eq!(cache.slots.len(), 4);
        // … and then not.
        assert!(cache.insert(packet(110, 53_900), &[1; 2], None));
        assert!(cache.insert(packet(111, 53_900), &[1; 2], None));
        assert!(cache.slots.len() > 4);
        for seq in 100..=111 {
            assert!(!cache.insert(packet(seq, 60_000), &[2; 2], None), "{seq} again");
        }
    }

    #[test]
    fn memory_follows_the_traffic() {
        let mut cache = PacketCache::new(&SMALL);
        assert_eq!((cache.slots.capacity(), cache.chunks.capacity()), (0, 0));
        // 10 packets in the time that they are kept.
        for seq in 0..1000 {
            cache.insert(packet(seq, seq * 100), &[0; 40], None);
        }
        assert_eq!((cache.slots.len(), cache.chunks.len()), (16, 2));
        assert!(cache.contains(999 - 10));
        for seq in 1000..2000 {
            cache.insert(packet(seq, 100_000 + seq), &[0; 40], None);
        }
        assert_eq!((cache.slots.len(), cache.chunks.len()), (64, 3));
        for seq in 2000..3000 {
            cache.insert(packet(seq, 200_000 + seq * 1000), &[0; 40], None);
        }
        assert_eq!(cache.chunks.len(), 2, "one is given back");
    }

    /// 100 packets of 40 bytes since a keyframe, at 10 packets in the time that is kept else.
    #[test]
    fn what_followed_a_keyframe_is_kept_until_it_is_not_wanted_any_more() {
        let mut cache = PacketCache::new(&SMALL);
        for seq in 0..200 {
            cache.insert(packet(seq, seq * 100), &[0; 40], Some(100));
        }
        assert!((100..200).all(|seq| cache.contains(seq)));
        assert!(!cache.contains(80) && cache.chunks.len() <= 10, "nothing else is");
        // More than there may be: the oldest go.
        for seq in 200..600 {
            cache.insert(packet(seq, seq * 100), &[0; 40], Some(100));
        }
        assert_eq!((cache.slots.len(), cache.chunks.len()), (256, 10));
        assert!(!cache.contains(450) && (511..600).all(|seq| cache.contains(seq)));
        for seq in 600..700 {
            cache.insert(packet(seq, seq * 100), &[0; 40], None);
        }
        assert_eq!(cache.slots.len(), 64);
        assert!(cache.chunks.len() <= 3 && cache.contains(689) && !cache.contains(600));
        assert!(!cache.insert(packet(620, 70_000), &[2; 2], None), "it came before");
    }

    #[test]
    fn what_was_cleared_is_gone() {
        let mut cache = PacketCache::new(&SMALL);
        cache.insert(packet(7, 0), &[1; 9], None);
        cache.clear();
        assert!(!cache.contains(7));
        assert!(!cache.insert(packet(8, 0), &[0; 401], None), "longer than a chunk");
        assert!(cache.insert(packet(6, 0), &[2; 9], None));
    }
}
