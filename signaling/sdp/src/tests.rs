//! Whole descriptions: captured offers of real clients, refusals, negotiation, and text that nobody should send.

#![allow(clippy::unwrap_used)]

mod bombs;
mod golden;
mod negotiation;
mod random;
mod refusals;

use sfu::params::{Fingerprint, FingerprintHash, IceCredentials};

use super::*;

/// Offers captured from the clients themselves (Chromium 156, Firefox 153, aiortc 1.16, werift 0.24, FFmpeg 9.0, GStreamer 1.22,
/// libdatachannel 0.24).
const CAPTURED: [(&str, &str); 17] = [
    ("chromium_data", include_str!("../../../tests/golden/sdp/chromium_data.sdp")),
    (
        "chromium_publish_simulcast",
        include_str!("../../../tests/golden/sdp/chromium_publish_simulcast.sdp"),
    ),
    (
        "chromium_publish_single",
        include_str!("../../../tests/golden/sdp/chromium_publish_single.sdp"),
    ),
    ("chromium_receive", include_str!("../../../tests/golden/sdp/chromium_receive.sdp")),
    ("chromium_renegotiated", include_str!("../../../tests/golden/sdp/chromium_renegotiated.sdp")),
    ("firefox_data", include_str!("../../../tests/golden/sdp/firefox_data.sdp")),
    (
        "firefox_publish_simulcast",
        include_str!("../../../tests/golden/sdp/firefox_publish_simulcast.sdp"),
    ),
    (
        "firefox_publish_single",
        include_str!("../../../tests/golden/sdp/firefox_publish_single.sdp"),
    ),
    ("firefox_receive", include_str!("../../../tests/golden/sdp/firefox_receive.sdp")),
    ("firefox_renegotiated", include_str!("../../../tests/golden/sdp/firefox_renegotiated.sdp")),
    ("aiortc", include_str!("../../../tests/golden/sdp/aiortc.sdp")),
    ("werift", include_str!("../../../tests/golden/sdp/werift.sdp")),
    ("ffmpeg_whip", include_str!("../../../tests/golden/sdp/ffmpeg_whip.sdp")),
    ("gstreamer_publish", include_str!("../../../tests/golden/sdp/gstreamer_publish.sdp")),
    ("gstreamer_receive", include_str!("../../../tests/golden/sdp/gstreamer_receive.sdp")),
    ("libdatachannel", include_str!("../../../tests/golden/sdp/libdatachannel.sdp")),
    ("libdatachannel_h265", include_str!("../../../tests/golden/sdp/libdatachannel_h265.sdp")),
];

fn captured(name: &str) -> Offer {
    let (_, text) = CAPTURED.iter().find(|(known, _)| *known == name).unwrap();
    parse_offer(text).unwrap()
}

fn local() -> LocalDescription {
    LocalDescription {
        ice: IceCredentials { ufrag: "swyd".into(), password: "p".repeat(24) },
        fingerprint: Fingerprint { hash: FingerprintHash::Sha256, digest: (0..32).collect() },
        candidates: vec!["192.0.2.1:8080".parse().unwrap(), "[2001:db8::1]:8080".parse().unwrap()],
        tcp_candidates: Vec::new(),
        session_id: 7,
        session_version: 1,
        rtcp_mux_only: false,
    }
}

fn slot(section: &NegotiatedSection) -> Slot {
    let ssrc = 1000 + 2 * u32::try_from(section.index).unwrap();
    Slot {
        ssrc,
        rtx_ssrc: section.has_rtx().then_some(ssrc + 1),
        cname: "cname".into(),
        stream_id: format!("stream{}", section.index),
        track_id: format!("track{}", section.index),
    }
}

/// Accepts everything: what the client sends is published, the rest becomes slots.
fn accept_all(offer: &Offer) -> Vec<SectionPlan> {
    let plan = |section: &Section| {
        if section.sctp.is_some() {
            SectionPlan::Application
        } else if let Some(section) = NegotiatedSection::receive(section) {
            SectionPlan::Receive(section)
        } else if let Some(section) = NegotiatedSection::send(section) {
            SectionPlan::Send { slot: slot(&section), section }
        } else {
            SectionPlan::Inactive
        }
    };
    offer.sections.iter().map(plan).collect()
}

/// A small valid offer of two m-lines, for variations.
const SMALL: &str = "v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE a v
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
a=setup:actpass
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:a
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=video 9 UDP/TLS/RTP/SAVPF 96
a=mid:v
a=sendrecv
a=rtcp-mux
a=rtpmap:96 VP8/90000
";

/// The small offer with one piece of text replaced.
fn varied(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replace(from, to)
}
