use super::*;
use crate::params::{ConsumerParams, MediaKind};
use crate::producer::packet::Slice;

/// A VP8 payload with a picture id of 15 or 7 bits, TL0PICIDX 40 and temporal layer 0, and a dependency descriptor of its first three bytes.
fn picture(wide: bool, keyframe: bool, described: bool) -> (CachedPacket, Vec<u8>) {
    let mut bytes = vec![0x90, 0xe0];
    bytes.extend_from_slice(if wide { &[0x80, 7] } else { &[7] });
    bytes.extend_from_slice(&[40, 0, u8::from(!keyframe), 0, 0]);
    let mut packet = CachedPacket {
        seq: 100,
        codec: Codec::Vp8,
        payload_len: bytes.len() as u16,
        ..CachedPacket::default()
    };
    packet.info = Vp8Descriptor::parse(&bytes).expect("a descriptor").into();
    if described {
        packet.carried[DESCRIPTOR] = Slice::new(0, 3);
    }
    (packet, bytes)
}

fn consumer(packet: &CachedPacket) -> Consumer {
    let params = ConsumerParams {
        kind: MediaKind::Video,
        mid: "0".to_owned(),
        ssrc: 1,
        rtx_ssrc: None,
        cname: String::new(),
        header_extensions: Vec::new(),
        paused: false,
    };
    let mut consumer = Consumer::new(crate::ConsumerId(1), 0, params, 7);
    consumer.ids.carried[DESCRIPTOR] = 9;
    consumer.rewriter.switch(packet, (0, 0), 90_000, None);
    consumer
}

#[test]
fn temporal_layers_are_flat_only_where_players_see_it_and_until_a_keyframe() {
    for (wide, keyframe, described) in
        [(true, false, false), (true, true, false), (false, true, false), (true, true, true)]
    {
        let (packet, bytes) = picture(wide, keyframe, described);
        let mut consumer = consumer(&packet);
        set(true, &mut consumer, &packet, &bytes);
        let flat = consumer.rewriter.is_flat();
        assert_eq!(flat, wide && !described, "{wide} {keyframe} {described}");
        set(false, &mut consumer, &packet, &bytes);
        assert_eq!(consumer.rewriter.is_flat(), flat && !keyframe, "{wide} {keyframe} {described}");
    }
}

#[test]
fn only_pictures_of_the_lowest_temporal_layer_begin_it() {
    let (mut packet, bytes) = picture(true, false, false);
    let mut consumer = consumer(&packet);
    for (temporal, start) in [(1, true), (0, false)] {
        (packet.info.temporal, packet.info.frame_start) = (temporal, Some(start));
        set(true, &mut consumer, &packet, &bytes);
        assert!(!consumer.rewriter.is_flat(), "{temporal} {start}");
    }
}
