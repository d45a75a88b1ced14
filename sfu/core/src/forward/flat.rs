//! VP8 without temporal layers, as players see it.
//!
//! They do not wait for a picture of a higher temporal layer that comes late. While repairs are late as a rule, all pictures are given to them as pictures
//! of the lowest layer, which they wait for. That begins with one of these, and ends with a keyframe: what comes then refers to no other that was given as
//! what it was not.
//!
//! While so much is lost that players are told to wait for the second attempt of repairs, they get the layers as they are: most pictures are in time then, and
//! one of a higher layer that is lost for good costs no keyframe.

use crate::consumer::Consumer;
use crate::params::Codec;
use crate::producer::Producer;
use crate::producer::encoding::Encoding;
use crate::producer::packet::{CachedPacket, DESCRIPTOR};
use crate::transport::Transport;
use sfu_rtp::codec::vp8::Vp8Descriptor;

/// A picture has not more packets as a rule, of those that browsers leave out first.
const PACKETS_MAX: u64 = 64;

/// Begins or ends it with this packet, if that can be.
#[inline]
pub(super) fn update(
    transport: &Transport,
    consumer: &mut Consumer,
    (producer, source): (&Producer, &Encoding),
    (packet, bytes): (&CachedPacket, &[u8]),
) {
    let told = consumer.can_be_told_to_wait();
    // Without copies whoever is not told to wait stands still for a round trip each time.
    let late = transport.pace.spares() || transport.repairs_late && told;
    let flat = late && !(transport.waits_long && told);
    if packet.codec != Codec::Vp8 || flat == consumer.rewriter.is_flat() {
        return;
    }
    // Where no keyframe comes when one is lost for good, some of the pictures are better than none.
    let repaired = !source.keyframes.are_ignored() && !producer.ceiling.is_ignored();
    if !flat || repaired {
        set(flat, consumer, packet, bytes);
    }
}

fn set(flat: bool, consumer: &mut Consumer, packet: &CachedPacket, bytes: &[u8]) {
    if packet.info.frame_start != Some(true) || packet.info.temporal > 0 {
        return;
    }
    let may = match flat {
        true => {
            // With a dependency descriptor players do not look at the payload's.
            let described = packet.carried[DESCRIPTOR].of(bytes).is_some()
                && consumer.ids.carried[DESCRIPTOR] != 0;
            // TL0PICIDX, counted by picture ids, has eight bits.
            let wide = Vp8Descriptor::parse(packet.payload(bytes));
            !described && wide.is_ok_and(|descriptor| descriptor.picture_id_wide)
        }
        false => packet.info.keyframe,
    };
    if may {
        consumer.rewriter.set_flat(packet, flat);
    }
}

/// Was a picture of a layer that is left out counted, because nothing had come of it when later ones left? Players would wait for it until they ask for a
/// keyframe, so it is sent.
#[inline]
pub(super) fn is_counted(consumer: &Consumer, source: &Encoding, packet: &CachedPacket) -> bool {
    let rewriter = &consumer.rewriter;
    if !rewriter.is_late_and_flat(packet.seq) {
        return false;
    }
    let left_out = |seq: u64| {
        let there = source.cache.get(seq);
        let same = there.is_some_and(|(other, _)| other.timestamp == packet.timestamp);
        same && rewriter.left_out(seq)
    };
    let first = packet.seq.saturating_sub(PACKETS_MAX);
    !(first..packet.seq + PACKETS_MAX).any(left_out)
}

#[cfg(test)]
mod tests;
