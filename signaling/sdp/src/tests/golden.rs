//! Captured offers of real clients and what we make of them.

use sfu::params::{DtlsRole, EncodingParams, ExtensionKind};

use super::*;

#[test]
fn every_captured_offer_is_understood_and_answered() {
    for (name, text) in CAPTURED {
        let offer = parse_offer(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = write_answer(&offer, &local(), &accept_all(&offer));
        let m_lines = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(m_lines(text), m_lines(&answer), "{name}");
        assert_eq!(offer.fingerprints[0].digest.len(), 32, "{name}");
        let lf_only = text.replace("\r\n", "\n");
        let again = parse_offer(&lf_only).unwrap();
        assert_eq!(answer, write_answer(&again, &local(), &accept_all(&again)), "{name}");
    }
}

/// These answers were applied in the clients themselves; `UPDATE_GOLDEN=1` rewrites them after a change that was too.
#[test]
fn answers_are_the_ones_that_clients_took() {
    for (name, _) in CAPTURED {
        let offer = captured(name);
        let answer = write_answer(&offer, &local(), &accept_all(&offer));
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/../../tests/golden/sdp/answers/{name}.sdp");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &answer).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        for (index, (is, was)) in answer.lines().zip(golden.lines()).enumerate() {
            assert_eq!(is, was, "{name} line {}", index + 1);
        }
        assert_eq!(answer, golden, "{name}");
    }
}

#[test]
fn chromium_simulcast() {
    let offer = captured("chromium_publish_simulcast");
    assert_eq!(offer.ice.ufrag, "2e5j");
    assert_eq!(offer.setup, Setup::ActPass);
    assert_eq!(offer.dtls_role(), DtlsRole::Server);
    assert_eq!(offer.bundle, ["0", "1", "2"]);
    assert_eq!(offer.ice_options, ["trickle"]);
    assert!(offer.extmap_allow_mixed);
    assert_eq!(offer.application().unwrap().sctp.unwrap().max_message_size, 262_144);

    let audio = NegotiatedSection::receive(offer.section("0").unwrap()).unwrap();
    let names: Vec<_> = audio.codecs.iter().map(|c| (c.payload_type, c.spec.name())).collect();
    assert_eq!(names, [(111, "opus"), (63, "red"), (9, "G722"), (0, "PCMU"), (8, "PCMA")]);

    let section = offer.section("1").unwrap();
    assert_eq!(section.direction, Direction::SendOnly);
    let rids: Vec<_> = section.encodings.iter().filter_map(|e| e.rid.as_deref()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    let video = NegotiatedSection::receive(section).unwrap();
    let types: Vec<_> = video.codecs.iter().map(|c| (c.payload_type, c.rtx_payload_type)).collect();
    assert_eq!(types[..3], [(96, Some(97)), (102, Some(103)), (104, Some(107))]);
    assert!(video.codecs.iter().all(|c| {
        let feedback = c.feedback;
        feedback.nack && feedback.pli && feedback.fir && feedback.transport_cc && !feedback.remb
    }));
    let kinds: Vec<_> = video.header_extensions().iter().map(|e| (e.id, e.kind)).collect();
    for expected in [
        (4, ExtensionKind::Mid),
        (10, ExtensionKind::Rid),
        (11, ExtensionKind::RepairedRid),
        (3, ExtensionKind::TransportWideCc),
        (12, ExtensionKind::DependencyDescriptor),
    ] {
        assert!(kinds.contains(&expected), "{expected:?}");
    }
    let params = video.producer_params(9, false);
    assert_eq!((params.mid.as_deref(), params.number, params.encodings.len()), (Some("1"), 9, 3));
}

#[test]
fn firefox_simulcast_is_known_by_rid_although_it_lists_ssrcs() {
    let offer = captured("firefox_publish_simulcast");
    let section = offer.section("1").unwrap();
    assert!(!section.rejected, "port 0 with bundle-only is alive");
    let expected = ["q", "h", "f"]
        .map(|rid| EncodingParams { rid: Some(rid.into()), ..EncodingParams::default() });
    assert_eq!(section.encodings, expected);
    let answer = write_answer(&offer, &local(), &accept_all(&offer));
    assert!(answer.contains("\r\na=simulcast:recv q;h;f\r\n"));
    assert!(
        answer.contains("a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n")
    );
    assert!(!answer.contains("csrc-audio-level"));
}

#[test]
fn single_streams_are_known_by_ssrc() {
    for (name, ssrc, rtx) in [
        ("firefox_publish_single", 3_980_345_835, Some(3_057_814_896)),
        ("aiortc", 2_147_801_195, Some(1_142_527_712)),
        ("werift", 2_317_814_747, None),
        ("ffmpeg_whip", 4_101_338_673, Some(4_101_338_674)),
        ("libdatachannel", 1002, None),
    ] {
        let encodings = &captured(name).section("1").unwrap().encodings.clone();
        let expected = EncodingParams { rid: None, ssrc: Some(ssrc), rtx_ssrc: rtx, size: None };
        assert_eq!(encodings.as_slice(), [expected], "{name}");
    }
}

#[test]
fn receive_sections_become_slots() {
    for name in ["chromium_receive", "firefox_receive"] {
        let offer = captured(name);
        let answer = write_answer(&offer, &local(), &accept_all(&offer));
        assert_eq!(answer.matches("a=sendonly\r\n").count(), 8, "{name}");
        assert_eq!(answer.matches("a=ssrc-group:FID").count(), 4, "{name}");
        assert_eq!(answer.matches("a=candidate:").count(), 2, "{name}");
        assert!(!answer.contains("rtp-stream-id"), "{name}");
        let section = offer.sections.iter().find(|s| s.kind == SectionKind::Video).unwrap();
        assert!(section.encodings.is_empty(), "{name}");
        let negotiated = NegotiatedSection::send(section).unwrap();
        let params = negotiated.consumer_params(&slot(&negotiated), true);
        assert_eq!(Some(params.mid), section.mid);
        assert!(params.rtx_ssrc.is_some() && params.paused);
    }
}

#[test]
fn closed_sections_are_rejected_and_leave_the_bundle() {
    for name in ["chromium_renegotiated", "firefox_renegotiated"] {
        let offer = captured(name);
        assert!(offer.sections[0].rejected, "{name}");
        let answer = write_answer(&offer, &local(), &accept_all(&offer));
        assert!(answer.contains("a=group:BUNDLE 1 2 3\r\n"), "{name}");
        let audio = answer.lines().find(|line| line.starts_with("m=")).unwrap();
        assert!(audio.starts_with("m=audio 0 UDP/TLS/RTP/SAVPF "), "{name}: {audio}");
    }
}

#[test]
fn ffmpeg_waits_for_our_handshake() {
    let offer = captured("ffmpeg_whip");
    assert_eq!((offer.setup, offer.dtls_role()), (Setup::Passive, DtlsRole::Client));
    let answer = write_answer(&offer, &local(), &accept_all(&offer));
    assert!(answer.contains("a=setup:active\r\n") && !answer.contains("a=setup:passive"));
    assert!(answer.contains(
        "a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001e\r\n"
    ));
}

#[test]
fn aiortc_gets_remb_because_it_offers_no_transport_cc() {
    let offer = captured("aiortc");
    let digests: Vec<_> = offer.fingerprints.iter().map(|f| f.digest.len()).collect();
    assert_eq!(digests, [32, 48, 64]);
    let video = NegotiatedSection::receive(offer.section("1").unwrap()).unwrap();
    assert!(video.codecs[0].feedback.remb && !video.codecs[0].feedback.transport_cc);
}

/// It is asked for an offer before its encoder runs, so packets are known by their payload type.
#[test]
fn gstreamer_announces_no_ssrc() {
    let offer = captured("gstreamer_publish");
    let section = offer.section("video0").unwrap();
    assert_eq!(section.encodings, [EncodingParams::default()]);
    assert!(!NegotiatedSection::receive(section).unwrap().simulcast);
}

#[test]
fn h265_is_renumbered_for_whoever_decodes_the_profile() {
    let offer = captured("libdatachannel_h265");
    let published = NegotiatedSection::receive(offer.section("1").unwrap()).unwrap();
    let answer = write_answer(&offer, &local(), &accept_all(&offer));
    assert!(answer.contains("\r\na=rtpmap:96 H265/90000\r\n"), "{answer}");
    for (fmtp, expected) in [("level-id=93;profile-id=1;tx-mode=SRST", 1), ("profile-id=2", 0)] {
        let h265 = format!("SAVPF 49\na=rtpmap:49 H265/90000\na=fmtp:49 {fmtp}");
        let viewer = varied("SAVPF 96", &h265).replace("a=rtpmap:96 VP8/90000\n", "");
        let viewer = parse_offer(&viewer).unwrap();
        let slot = NegotiatedSection::send(viewer.section("v").unwrap()).unwrap();
        let mappings = payload_mappings(&published.codecs, &slot);
        assert_eq!(mappings.len(), expected, "{fmtp}");
        assert!(mappings.iter().all(|mapping| (mapping.from, mapping.to) == (96, 49)));
    }
}
