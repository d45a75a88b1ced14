//! What an engine did with media so far, for metrics. Counted where packets are counted anyway; never read on the hot path.

use crate::params::MediaKind;

/// Packets and the bytes of their RTP payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// RTP payload bytes.
    pub bytes: u64,
}

/// Apart by kind of media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind {
    /// Audio.
    pub audio: Traffic,
    /// Video.
    pub video: Traffic,
}

impl ByKind {
    pub(crate) fn count(&mut self, kind: MediaKind, bytes: usize) {
        let traffic = match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        };
        traffic.packets += 1;
        traffic.bytes += bytes as u64;
    }
}

/// Messages between participants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataCounters {
    /// From peers on this worker.
    pub received: u64,
    /// To peers on this worker, once for each.
    pub delivered: u64,
}

/// Absolute counters of one engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCounters {
    /// From publishers, repairs and FEC included; what is dropped later is in it.
    pub received: ByKind,
    /// Lost video packets of publishers that their FEC brought back.
    pub rebuilt: u64,
    /// To subscribers, once per packet and subscriber; repairs are not in it.
    pub forwarded: ByKind,
    /// To subscribers again, because they asked or would have asked.
    pub resent: ByKind,
    /// To subscribers again, to find out what their links carry.
    pub probing: ByKind,
    /// On data channels.
    pub data: DataCounters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        let mut counted = ByKind::default();
        counted.count(MediaKind::Video, 1100);
        counted.count(MediaKind::Video, 900);
        counted.count(MediaKind::Audio, 80);
        assert_eq!(counted.video, Traffic { packets: 2, bytes: 2000 });
        assert_eq!(counted.audio, Traffic { packets: 1, bytes: 80 });
    }
}
