//! What a bot sends and how another recognises it: every payload names its sender and counts.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;

/// Bytes before the mark in a VP8 payload: a descriptor with a 15-bit picture id, and the largest frame header.
const VP8_HEAD: usize = 4 + 10;
/// Every n-th frame is a keyframe, so that a bot needs no encoder to answer keyframe requests.
const KEYFRAME_INTERVAL: u32 = 10;
const MARK: &[u8; 4] = b"mark";

/// A payload of bot `sender`, number `counter`.
pub(crate) fn payload(kind: RtpCodecKind, sender: u8, counter: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(200);
    if kind == RtpCodecKind::Video {
        put_vp8_head(&mut bytes, counter);
    }
    bytes.put_slice(MARK);
    bytes.put_u8(sender);
    bytes.put_u32(counter);
    // Something that a wrong key, length or offset would break.
    bytes.extend((0..100u32).map(|i| (counter.wrapping_mul(31).wrapping_add(i)) as u8));
    bytes.freeze()
}

/// RFC 7741 section 4.2: X, S; I; the picture id. Then RFC 6386 section 9.1.
fn put_vp8_head(bytes: &mut BytesMut, counter: u32) {
    bytes.put_u8(0x90);
    bytes.put_u8(0x80);
    bytes.put_u16(0x8000 | (counter & 0x7fff) as u16);
    if counter.is_multiple_of(KEYFRAME_INTERVAL) {
        bytes.put_slice(&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    } else {
        bytes.put_slice(&[0x11, 0x02, 0x00, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// What arrived on one SSRC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// Extended sequence numbers in order of arrival.
    pub(crate) sequence: Vec<u16>,
    /// Sender and its counter, one per packet.
    pub(crate) marks: Vec<(u8, u32)>,
    /// The first frame of a picture has to be a keyframe.
    pub(crate) first_is_keyframe: Option<bool>,
    /// VP8 picture ids.
    pub(crate) pictures: Vec<u16>,
    /// CSRC lists seen, with how often.
    pub(crate) csrcs: BTreeMap<Vec<u32>, usize>,
}

impl Received {
    /// Takes one packet; a payload that no bot sent is an error.
    pub(crate) fn take(&mut self, kind: RtpCodecKind, packet: &rtp::Packet) -> Result<(), String> {
        let body = &packet.payload;
        if body.is_empty() {
            return Ok(()); // padding: a probe
        }
        let start = if kind == RtpCodecKind::Video { VP8_HEAD } else { 0 };
        let mark = body.get(start..start + 9).ok_or("a short payload")?;
        let (name, rest) = mark.split_at(4);
        if name != MARK {
            return Err(format!("not a bot's payload: {body:?}"));
        }
        let counter = u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]);
        let sent = payload(kind, rest[0], counter);
        if sent[start..] != body[start..] {
            return Err(format!("payload {counter} was changed on its way"));
        }
        if kind == RtpCodecKind::Video {
            self.pictures.push(u16::from_be_bytes([body[2], body[3]]) & 0x7fff);
            self.first_is_keyframe.get_or_insert(body[4] & 1 == 0);
        }
        self.sequence.push(packet.header.sequence_number);
        self.marks.push((rest[0], counter));
        *self.csrcs.entry(packet.header.csrc.clone()).or_default() += 1;
        Ok(())
    }
}
