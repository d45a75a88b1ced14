//! What an answer says beyond the captured ones, and how payload types meet.

use super::*;
use sfu::params::{Codec, PayloadMapping};

fn answer_of(text: &str, plan: impl Fn(&Section) -> SectionPlan) -> String {
    let offer = parse_offer(text).unwrap();
    let plan: Vec<_> = offer.sections.iter().map(plan).collect();
    write_answer(&offer, &local(), &plan)
}

fn receive(section: &Section) -> SectionPlan {
    SectionPlan::Receive(NegotiatedSection::receive(section).unwrap())
}

fn video_section(formats: &str, lines: &str) -> Section {
    let text =
        varied("SAVPF 96\n", &format!("SAVPF {formats}\n")).replace("a=rtpmap:96 VP8/90000", lines);
    parse_offer(&text).unwrap().section("v").unwrap().clone()
}

fn directions(answer: &str) -> Vec<&str> {
    answer
        .lines()
        .filter(|line| ["a=sendonly", "a=recvonly", "a=inactive", "a=sendrecv"].contains(line))
        .collect()
}

#[test]
fn the_plan_never_contradicts_the_offered_direction() {
    let send = |section: &Section| {
        let offer = parse_offer(SMALL).unwrap();
        let section = NegotiatedSection::send(&offer.sections[section.index]).unwrap();
        SectionPlan::Send { slot: slot(&section), section }
    };
    let publish = |section: &Section| {
        let offer = parse_offer(SMALL).unwrap();
        receive(&offer.sections[section.index])
    };
    for (offered, sending, publishing) in [
        ("a=sendrecv", "a=sendonly", "a=recvonly"),
        ("a=sendonly", "a=inactive", "a=recvonly"),
        ("a=recvonly", "a=sendonly", "a=inactive"),
        ("a=inactive", "a=inactive", "a=inactive"),
        ("a=rtcp-rsize", "a=sendonly", "a=recvonly"),
    ] {
        let text = varied("a=sendrecv", offered);
        let slots = answer_of(&text, send);
        assert_eq!(directions(&slots), [sending, sending], "{offered}");
        assert_eq!(slots.contains("a=ssrc:"), sending == "a=sendonly");
        let published = answer_of(&text, publish);
        assert_eq!(directions(&published), [publishing, publishing], "{offered}");
    }
    let text = varied("t=0 0", "a=inactive").replace("a=sendrecv\n", "");
    let offer = parse_offer(&text).unwrap();
    assert_eq!(offer.sections[0].direction, Direction::Inactive, "session default");
}

#[test]
fn rejected_sections_leave_the_bundle_and_the_next_carries_the_candidates() {
    let answer = answer_of(SMALL, |section| match section.index {
        0 => SectionPlan::Rejected,
        _ => receive(section),
    });
    assert!(answer.contains("a=group:BUNDLE v\r\n"));
    assert!(answer.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"));
    let video = &answer[answer.find("m=video").unwrap()..];
    assert!(video.starts_with("m=video 8080 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.0.2.1\r\n"));
    assert_eq!(video.matches("a=candidate:").count(), 2);
    assert!(video.contains("a=end-of-candidates\r\n"));
    assert_eq!(answer.matches("a=ice-ufrag:swyd\r\n").count(), 1);
}

#[test]
fn without_plan_or_common_codec_a_section_is_rejected() {
    let offer = parse_offer(SMALL).unwrap();
    let answer = write_answer(&offer, &local(), &[]);
    assert!(answer.contains("m=audio 0 ") && answer.contains("m=video 0 "));
    assert!(!answer.contains("BUNDLE"));
    let offer = parse_offer(&varied("VP8/90000", "XYZ/90000")).unwrap();
    assert!(NegotiatedSection::receive(&offer.sections[1]).is_none());
    let answer = write_answer(&offer, &local(), &[SectionPlan::Inactive, SectionPlan::Inactive]);
    assert!(answer.contains("a=group:BUNDLE a\r\n") && answer.contains("m=video 0 "));
    assert!(answer.contains("a=inactive\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"));
}

#[test]
fn a_single_section_needs_neither_bundle_nor_mid() {
    let text = varied("a=group:BUNDLE a v\n", "").replace("a=mid:a\n", "");
    let text = &text[..text.find("m=video").unwrap()];
    let answer = answer_of(text, receive);
    assert!(!answer.contains("BUNDLE") && !answer.contains("a=mid"));
    let offer = parse_offer(text).unwrap();
    let section = NegotiatedSection::receive(&offer.sections[0]).unwrap();
    assert_eq!(section.producer_params(1, false).mid, None);
}

#[test]
fn the_old_form_of_data_channels_is_answered_in_kind() {
    let head = SMALL[..SMALL.find("m=audio").unwrap()].replace("a=group:BUNDLE a v\n", "");
    let text =
        format!("{head}m=application 9 DTLS/SCTP 5001\na=sctpmap:5001 webrtc-datachannel 1\n");
    let offer = parse_offer(&text).unwrap();
    let sctp = offer.application().unwrap().sctp.unwrap();
    assert_eq!((sctp.remote_port, sctp.max_message_size), (5001, 65536));
    let answer = write_answer(&offer, &local(), &[SectionPlan::Application]);
    assert!(answer.contains("m=application 8080 DTLS/SCTP 5000\r\n"));
    assert!(answer.contains("a=sctpmap:5000 webrtc-datachannel 65535\r\n"));
}

#[test]
fn without_candidates_the_discard_port_stands() {
    let offer = parse_offer(SMALL).unwrap();
    let local = LocalDescription { candidates: Vec::new(), ..local() };
    let answer = write_answer(&offer, &local, &accept_all(&offer));
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n"));
}

#[test]
fn transport_cc_needs_its_header_extension() {
    let lines = "a=rtpmap:96 VP8/90000\na=rtcp-fb:96 transport-cc\na=rtcp-fb:96 goog-remb";
    let feedback = |lines: &str| {
        let section = video_section("96", lines);
        NegotiatedSection::receive(&section).unwrap().codecs[0].feedback
    };
    assert!(feedback(lines).remb && !feedback(lines).transport_cc);
    let extension =
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    let with = feedback(&format!("{lines}\n{extension}"));
    assert!(!with.remb && with.transport_cc);
}

#[test]
fn rtx_needs_nack() {
    let rtx = "a=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96";
    let of = |lines: &str| NegotiatedSection::send(&video_section("96 97", lines)).unwrap();
    assert!(!of(rtx).has_rtx());
    assert!(of(&format!("{rtx}\na=rtcp-fb:96 nack")).has_rtx());
}

#[test]
fn red_is_accepted_only_around_opus() {
    let audio = |lines: &str| {
        let text = varied("SAVPF 111\n", "SAVPF 63 111\n")
            .replace("opus/48000/2\n", &format!("opus/48000/2\na=rtpmap:63 red/48000/2\n{lines}"));
        parse_offer(&text).unwrap().sections[0].clone()
    };
    let specs = |section: &Section| {
        let negotiated = NegotiatedSection::receive(section).unwrap();
        negotiated.codecs.iter().map(|codec| codec.spec).collect::<Vec<_>>()
    };
    let good = audio("a=fmtp:63 111/111\n");
    assert_eq!(specs(&good), [CodecSpec::Red, CodecSpec::Opus]);
    for bad in
        ["", "a=fmtp:63 0/0\n", "a=fmtp:63 111\n", "a=fmtp:63 111/\n", "a=fmtp:63 +111/111\n"]
    {
        assert_eq!(specs(&audio(bad)), [CodecSpec::Opus], "{bad}");
    }
    let codecs = NegotiatedSection::receive(&good).unwrap().receive_codecs();
    assert_eq!((codecs[0].payload_type, codecs[0].codec), (63, Codec::Red));

    let publisher = NegotiatedSection::receive(&good).unwrap();
    let both = NegotiatedSection::send(&good).unwrap();
    let plain = NegotiatedSection::send(&parse_offer(SMALL).unwrap().sections[0]).unwrap();
    let pairs = |subscriber| {
        let mappings = payload_mappings(&publisher.codecs, subscriber);
        mappings.iter().map(|m| (m.from, m.to)).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&both), [(63, 63), (111, 111)]);
    assert_eq!(pairs(&plain), [(111, 111)]);
}

/// Payload type per H.264 `profile-level-id` and mode, with RTX on the next number.
fn h264_section(formats: &[(u8, &str, u8)]) -> NegotiatedSection {
    let mut list = String::new();
    let mut lines = String::new();
    for (payload_type, id, mode) in formats {
        let rtx = payload_type + 1;
        list.push_str(&format!("{payload_type} {rtx} "));
        lines.push_str(&format!(
            "a=rtpmap:{payload_type} H264/90000\na=rtcp-fb:{payload_type} nack\n\
             a=fmtp:{payload_type} packetization-mode={mode};profile-level-id={id}\n\
             a=rtpmap:{rtx} rtx/90000\na=fmtp:{rtx} apt={payload_type}\n"
        ));
    }
    NegotiatedSection::send(&video_section(list.trim(), lines.trim())).unwrap()
}

#[test]
fn payload_types_meet_by_bitstream() {
    let publisher = h264_section(&[(96, "42001e", 1), (98, "42e01f", 0)]);
    let subscriber = h264_section(&[(100, "42e01f", 1), (102, "42001f", 1), (104, "42e01f", 0)]);
    let map = |from, to| PayloadMapping { from, to, rtx: Some(to + 1), nack: true, red: None };
    assert_eq!(
        payload_mappings(&publisher.codecs, &subscriber),
        [map(96, 102), map(98, 104)],
        "an exact profile is preferred"
    );
    let subscriber = h264_section(&[(100, "42e034", 1)]);
    assert_eq!(payload_mappings(&publisher.codecs, &subscriber), [map(96, 100)]);
    let subscriber = h264_section(&[(100, "4d001f", 1), (102, "64001f", 1)]);
    assert_eq!(payload_mappings(&publisher.codecs, &subscriber), []);
}

#[test]
fn chromium_h264_cannot_go_to_firefox() {
    let chromium = captured("chromium_publish_simulcast");
    let publisher = NegotiatedSection::receive(chromium.section("1").unwrap()).unwrap();
    let h264: Vec<_> =
        publisher.codecs.iter().filter(|c| c.spec.codec() == Codec::H264).cloned().collect();
    assert_eq!(h264.len(), 6);
    let firefox = captured("firefox_receive");
    let slot = NegotiatedSection::send(firefox.section("4").unwrap()).unwrap();
    assert_eq!(payload_mappings(&h264, &slot), []);
    let all = payload_mappings(&publisher.codecs, &slot);
    let pairs: Vec<_> = all.iter().map(|m| (m.from, m.to, m.rtx)).collect();
    assert_eq!(pairs, [(96, 120, Some(124)), (45, 99, Some(100)), (98, 121, Some(125))]);
}
