//! Tracks of a publisher: simulcast layers with VP8 descriptors of their own, and audio.

use crate::net::{MS, Micros, SECOND};
use crate::stamp::{STAMP_LEN, Stamp};
use crate::svc::Svc;
use rand::Rng;
use rand::rngs::SmallRng;
use rtp::packet::Packet;
use std::collections::{BTreeMap, HashMap};

pub(crate) const FRAME: Micros = SECOND / 30;
pub(crate) const AUDIO_FRAME: Micros = 20 * MS;
/// Between packets while nobody talks, with DTX: one with the noise of the room.
pub(crate) const NOISE_FRAME: Micros = 400 * MS;
/// Of three layers with bitrates.
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1280, 720)];
pub(crate) const REPORTS: Micros = SECOND;

/// One simulcast layer.
pub(crate) struct Layer {
    pub(crate) rid: Option<&'static str>,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    /// Per frame; a keyframe has `keyframe_size` times as many.
    pub(crate) packets: u8,
    pub(crate) keyframe_size: u8,
    /// Bytes of a packet's payload; `None`: about 1000.
    pub(crate) len: Option<usize>,
    /// Width and height that keyframes say.
    pub(crate) size: (u16, u16),
    pub(crate) active: bool,
    pub(crate) since: Micros,
    pub(crate) seq: u64,
    pub(crate) rtx_seq: u64,
    pub(crate) timestamp_offset: u32,
    pub(crate) picture_id: u16,
    /// Says it; Firefox does not.
    pub(crate) has_ids: bool,
    pub(crate) tl0: u8,
    pub(crate) keyframe: bool,
    pub(crate) frames_since_key: u32,
    pub(crate) next_report: Micros,
    pub(crate) sent: HashMap<u16, (Packet, Option<Micros>)>,
    pub(crate) octets: u32,
}

/// A frame that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) number: u32,
    pub(crate) capture: Micros,
}

pub(crate) struct Video {
    pub(crate) mid: Option<&'static str>,
    pub(crate) track: u8,
    pub(crate) layers: Vec<Layer>,
    pub(crate) temporal: bool,
    /// Frames are this much larger and smaller than the mean, in percent, in waves of some seconds, as encoders make them.
    pub(crate) swing: u64,
    /// FEC packets for each picture, in percent of its packets.
    pub(crate) fec: Option<usize>,
    /// Several layers in the one encoding that there is then.
    pub(crate) svc: Option<Svc>,
    pub(crate) enabled: bool,
    pub(crate) frames: Vec<Frame>,
    pub(crate) next_frame: Micros,
    pub(crate) number: u32,
    /// Packets of captured frames that wait for the pacer.
    pub(crate) paced: BTreeMap<(Micros, u64), (usize, Packet)>,
    pub(crate) order: u64,
}

pub(crate) struct Audio {
    pub(crate) mid: Option<&'static str>,
    pub(crate) track: u8,
    pub(crate) ssrc: u32,
    /// -dBov
    pub(crate) level: u8,
    pub(crate) enabled: bool,
    /// Opus DTX, of somebody who talks every other second.
    pub(crate) dtx: bool,
    /// … and of somebody who never does.
    pub(crate) quiet: bool,
    /// Of a packet's payload, and up to six more.
    pub(crate) bytes: usize,
    /// Each packet repeats the one before (RED, RFC 2198), which is this.
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) since: Micros,
    pub(crate) seq: u64,
    pub(crate) timestamp_offset: u32,
    pub(crate) next_frame: Micros,
    pub(crate) next_report: Micros,
    pub(crate) number: u32,
}

impl Video {
    /// 30 frames/s, in packets of at most 1100 bytes; a keyframe is five times as large as another frame.
    pub(crate) fn set_bitrate(&mut self, index: usize, bits_per_second: u64) {
        let frame = (bits_per_second / 8 / 30) as usize;
        let packets = frame.div_ceil(1100).max(1);
        let layer = &mut self.layers[index];
        (layer.packets, layer.len) = (packets as u8, Some((frame / packets).max(64)));
        layer.keyframe_size = 5;
        layer.size = SIZES[index];
    }

    pub(crate) fn new(
        rng: &mut SmallRng,
        track: u8,
        mid: Option<&'static str>,
        rids: &[&'static str],
    ) -> Self {
        let count = rids.len().max(1);
        let layers = (0..count)
            .map(|i| {
                Layer::new(rng, rids.get(i).copied(), if count == 1 { 5 } else { 2 + i as u8 })
            })
            .collect();
        Self {
            mid,
            track,
            layers,
            temporal: false,
            swing: 0,
            fec: None,
            svc: None,
            enabled: true,
            frames: Vec::new(),
            next_frame: rng.random_range(0..FRAME),
            number: 0,
            paced: BTreeMap::new(),
            order: 0,
        }
    }
}

impl Video {
    /// Packets of a picture for the pacer, from 1 ms on and so far apart.
    pub(crate) fn enqueue(
        &mut self,
        now: Micros,
        spacing: Micros,
        index: usize,
        picture: Vec<Packet>,
    ) {
        for (at, packet) in (0..).zip(picture) {
            self.order += 1;
            self.paced.insert((now + MS + at * spacing, self.order), (index, packet));
        }
    }
}

impl Audio {
    pub(crate) fn new(rng: &mut SmallRng, track: u8, mid: Option<&'static str>) -> Self {
        Self {
            mid,
            track,
            ssrc: ssrc(rng),
            level: 30,
            enabled: true,
            dtx: false,
            quiet: false,
            bytes: 70,
            before: None,
            since: 0,
            seq: rng.random_range(0..0x8000),
            timestamp_offset: rng.random(),
            next_frame: rng.random_range(0..AUDIO_FRAME),
            next_report: 300 * MS,
            number: 0,
        }
    }
}

/// SSRCs of publishers are never below 2^24, slots never above.
fn ssrc(rng: &mut SmallRng) -> u32 {
    rng.random_range(0x0100_0000..u32::MAX)
}

/// Of waves.
const SWING_FRAMES: u32 = 200;

/// The size of a frame in percent of the mean: a triangle.
fn swung(swing: u64, number: u32) -> usize {
    let at = u64::from(number % SWING_FRAMES);
    let half = u64::from(SWING_FRAMES / 2);
    (100 - swing + 2 * swing * at.abs_diff(half) / half) as usize
}

impl Layer {
    /// Bytes of each packet of a frame, and how many there are. The whole frame has one size of packets, as libwebrtc cuts it.
    pub(crate) fn cut(
        &self,
        rng: &mut SmallRng,
        (swing, number): (u64, u32),
        keyframe: bool,
    ) -> (usize, u8) {
        let len = self.packet_len(rng.random_range(950..1050)) * swung(swing, number) / 100;
        if keyframe {
            return (len, self.packets * self.keyframe_size);
        }
        // Frames differ by more than their mean does.
        let part = if swing > 0 { self.packets / 3 } else { 0 };
        let extra = if part > 0 { rng.random_range(0..=2 * part) } else { 0 };
        (len, self.packets - part + extra)
    }

    fn new(rng: &mut SmallRng, rid: Option<&'static str>, packets: u8) -> Self {
        Self {
            rid,
            ssrc: ssrc(rng),
            rtx_ssrc: ssrc(rng),
            packets,
            keyframe_size: 2,
            len: None,
            size: (640, 480),
            active: true,
            since: 0,
            seq: rng.random_range(0..0x8000),
            rtx_seq: rng.random_range(0..0x8000),
            timestamp_offset: rng.random(),
            picture_id: rng.random_range(0..0x8000),
            has_ids: true,
            tl0: rng.random(),
            keyframe: true,
            frames_since_key: 0,
            next_report: rng.random_range(0..REPORTS),
            sent: HashMap::new(),
            octets: 0,
        }
    }

    /// New SSRCs, new sequence numbers, new timestamps: the sender was made anew.
    pub(crate) fn restart(&mut self, rng: &mut SmallRng, now: Micros) {
        let fresh = Self::new(rng, self.rid, self.packets);
        *self = Self { since: now, next_report: now + REPORTS, ..fresh };
    }

    /// Payload of a frame's packets, where about a thousand stands for the usual size.
    pub(crate) fn packet_len(&self, around: usize) -> usize {
        self.len.map_or(around, |len| len * around / 1000)
    }

    pub(crate) fn timestamp(&self, at: Micros) -> u32 {
        self.timestamp_offset.wrapping_add((at * 90 / 1000) as u32)
    }

    /// (temporal layer, layer sync) of an L1T3 pattern: 0 2 1 2.
    pub(crate) fn temporal(&self) -> (u8, bool) {
        match self.frames_since_key % 4 {
            0 => (0, false),
            1 => (2, true),
            2 => (1, true),
            _ => (2, false),
        }
    }

    /// VP8 payload descriptor (RFC 7741 section 4.2) and the start of the frame.
    pub(crate) fn payload(&self, stamp: &Stamp, sync: bool, len: usize) -> Vec<u8> {
        let first = stamp.index == 0;
        let mut payload = vec![0x80 | u8::from(first) << 4, 0x60];
        if self.has_ids {
            payload[1] |= 0x80;
            payload.extend_from_slice(&(0x8000 | self.picture_id).to_be_bytes());
        }
        payload.extend_from_slice(&[self.tl0, stamp.temporal << 6 | u8::from(sync) << 5]);
        if first {
            payload.extend_from_slice(&[u8::from(!stamp.keyframe), 0, 0]);
            if stamp.keyframe {
                payload.extend_from_slice(&[0x9d, 0x01, 0x2a]);
                payload.extend_from_slice(&self.size.0.to_le_bytes());
                payload.extend_from_slice(&self.size.1.to_le_bytes());
            }
        }
        payload.resize(len - STAMP_LEN, 0xab ^ stamp.frame as u8);
        stamp.write(&mut payload);
        payload
    }
}
