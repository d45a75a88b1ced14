//! The packet cache: every received packet of an encoding, once, decrypted. Fan-out reads from it, and NACKs are answered
//! from it. Bounded in bytes and in packets; the oldest go first.

use crate::producer::packet::CachedPacket;

/// Packets that can be looked up: at 1000 packets/s one second, which is more than a NACK can be late.
const PACKETS: usize = 1024;
/// Audio needs far fewer.
const PACKETS_AUDIO: usize = 128;
/// Bytes per video encoding: 3 s at 2.5 Mbit/s.
const BYTES_VIDEO: usize = 1024 * 1024;
/// Bytes per audio encoding.
const BYTES_AUDIO: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct PacketCache {
    slots: Vec<Option<CachedPacket>>,
    bytes: Vec<u8>,
    capacity: usize,
    /// Absolute position of the next byte; a packet is there as long as it is not more than `capacity` behind.
    head: u64,
}

impl PacketCache {
    pub(crate) fn video() -> Self {
        Self::new(PACKETS, BYTES_VIDEO)
    }

    pub(crate) fn audio() -> Self {
        Self::new(PACKETS_AUDIO, BYTES_AUDIO)
    }

    fn new(packets: usize, capacity: usize) -> Self {
        debug_assert!(packets.is_power_of_two());
        Self { slots: vec![None; packets], bytes: Vec::new(), capacity, head: 0 }
    }

    /// Stores a packet's bytes. `false`: that sequence number is there already, or a newer one has its place.
    pub(crate) fn insert(&mut self, mut packet: CachedPacket, bytes: &[u8]) -> bool {
        let slot = packet.seq as usize & (self.slots.len() - 1);
        if let Some(there) = &self.slots[slot]
            && there.seq >= packet.seq
        {
            return false;
        }
        if bytes.len() > self.capacity {
            return false;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.capacity];
        }
        let offset = (self.head % self.capacity as u64) as usize;
        if offset + bytes.len() > self.capacity {
            // A packet is never split: skip the tail.
            self.head += (self.capacity - offset) as u64;
        }
        let offset = (self.head % self.capacity as u64) as usize;
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        packet.position = self.head;
        packet.len = bytes.len() as u16;
        self.head += bytes.len() as u64;
        self.slots[slot] = Some(packet);
        true
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.get(seq).is_some()
    }

    /// A packet and its bytes, unless evicted.
    pub(crate) fn get(&self, seq: u64) -> Option<(&CachedPacket, &[u8])> {
        let packet = self.slots[seq as usize & (self.slots.len() - 1)].as_ref()?;
        if packet.seq != seq || packet.position + (self.capacity as u64) < self.head {
            return None;
        }
        let offset = (packet.position % self.capacity as u64) as usize;
        Some((packet, self.bytes.get(offset..offset + usize::from(packet.len))?))
    }

    /// Forgets everything: the encoding started anew.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64) -> CachedPacket {
        CachedPacket { seq, ..CachedPacket::default() }
    }

    #[test]
    fn keeps_bytes_and_evicts_the_oldest() {
        let mut cache = PacketCache::new(64, 1000);
        for seq in 100..120 {
            assert!(cache.insert(packet(seq), &[seq as u8; 90]));
        }
        assert!(!cache.insert(packet(119), &[0; 90]), "a duplicate does not overwrite");
        let (found, bytes) = cache.get(119).expect("newest is there");
        assert_eq!((found.seq, bytes), (119, &[119u8; 90][..]));
        assert!(cache.get(110).is_some());
        assert!(cache.get(105).is_none(), "overwritten bytes are never handed out");
        assert!(cache.get(121).is_none());
    }

    #[test]
    fn a_slot_belongs_to_the_newer_of_two() {
        let mut cache = PacketCache::new(64, 100_000);
        assert!(cache.insert(packet(200), &[1; 10]));
        assert!(!cache.insert(packet(200 - 64), &[2; 10]));
        assert!(cache.insert(packet(200 + 64), &[3; 10]));
        assert!(cache.get(200).is_none());
    }
}
