//! One test per rule: what is refused, where, and with which remedy.

use super::*;

fn refused(text: &str) -> SdpError {
    match parse_offer(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error,
    }
}

#[test]
fn the_small_offer_is_accepted() {
    let offer = parse_offer(SMALL).unwrap();
    assert_eq!(offer.sections.len(), 2);
}

#[test]
fn what_is_missing_is_named() {
    for (line, words) in [
        ("a=ice-ufrag:abcd\n", "a=ice-ufrag is missing"),
        ("a=ice-pwd:0123456789012345678901\n", "a=ice-pwd is missing"),
        ("a=setup:actpass\n", "a=setup is missing"),
        ("a=group:BUNDLE a v\n", "bundlePolicy max-bundle"),
        ("a=mid:v\n", "no m-line has"),
    ] {
        let error = refused(&varied(line, ""));
        assert!(error.message.contains(words), "{line}: {error}");
    }
    let fingerprint = SMALL.lines().find(|line| line.starts_with("a=fingerprint")).unwrap();
    let error = refused(&varied(fingerprint, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"));
    assert!(error.message.contains("a=fingerprint is missing"), "{error}");
    let error = refused(&SMALL.replacen("a=rtcp-mux\n", "", 1));
    assert!(error.message.contains("rtcp-mux") && error.line == Some(10), "{error}");
}

#[test]
fn what_is_wrong_is_refused_at_its_line() {
    for (from, to, line, words) in [
        ("a=ice-ufrag:abcd", "a=ice-ufrag:abc", Some(6), "4 to 256"),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:ab\u{e9}cd", Some(6), "letters"),
        ("a=ice-pwd:0123456789012345678901", "a=ice-pwd:short", Some(7), "22 to 256"),
        ("sha-256 00:", "sha-256 0:", Some(8), "32 hex pairs"),
        ("sha-256 00:", "sha-256 +0:", Some(8), "32 hex pairs"),
        ("sha-256 00:", "sha-1 00:", Some(8), "sha-256"),
        ("setup:actpass", "setup:holdconn", Some(9), "actpass"),
        ("t=0 0", "a=ice-lite", None, "full ICE"),
        ("a=mid:v", "a=mid:a", Some(15), "two m-lines"),
        ("a=mid:v", "a=mid:v v", Some(16), "mid"),
        ("a=mid:v", "a=mid:12345678901234567", Some(16), "mid"),
        ("BUNDLE a v", "BUNDLE a", Some(15), "not in the BUNDLE group"),
        ("BUNDLE a v", "BUNDLE a v x", Some(5), "no m-line has"),
        ("BUNDLE a v", "BUNDLE a v a", Some(5), "twice"),
        ("BUNDLE a v", "BUNDLE a\na=group:BUNDLE v", Some(6), "second BUNDLE"),
        ("audio 9 UDP/TLS/RTP/SAVPF", "audio 9 RTP/AVP", Some(10), "UDP/TLS/RTP/SAVPF"),
        ("audio 9 UDP/TLS/RTP/SAVPF", "audio 9 RTP/SAVP", Some(10), "UDP/TLS/RTP/SAVPF"),
        ("audio 9 UDP/TLS/RTP/SAVPF", "audio 9 RTP/SAVPF", Some(10), "UDP/TLS/RTP/SAVPF"),
        ("audio 9 UDP", "audio 65536 UDP", Some(10), "port"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9", Some(10), "expected m="),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF", Some(10), "no format"),
        ("SAVPF 96", "SAVPF 96 128", Some(15), "0..=127"),
        ("SAVPF 96", "SAVPF 96 72", Some(15), "RTCP"),
        ("SAVPF 96", "SAVPF 96 96", Some(15), "twice"),
        ("opus/48000/2", "opus", Some(14), "rtpmap"),
        ("VP8/90000", "VP8/90000\na=candidate:1 1 udp x", Some(20), "candidate"),
        ("VP8/90000", "VP8/90000\na=recvonly", Some(20), "direction"),
        ("VP8/90000", "VP8/90000\na=rid:q send\na=rid:q send", Some(21), "twice"),
    ] {
        let error = refused(&varied(from, to));
        let found = error.message.contains(words) || words == "rtpmap";
        assert!(found && error.line == line, "{from} -> {to}: {error}");
    }
}

#[test]
fn what_differs_between_m_lines_is_refused() {
    let audio_level = "a=rtcp-mux\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    let mid = "a=rtcp-mux\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid";
    let text = SMALL.replacen("a=rtcp-mux", audio_level, 1).replace("VP8/90000", "VP8/90000\nX");
    let (head, tail) = text.split_at(text.find("m=video").unwrap());
    let error = refused(&format!("{head}{}", tail.replace("a=rtcp-mux", mid).replace("X\n", "")));
    assert!(error.message.contains("extmap id 1 means something else"), "{error}");

    let text = SMALL.replace("a=rtcp-mux", "a=rtcp-mux\na=ssrc:5 cname:x");
    assert!(refused(&text).message.contains("SSRC 5"));
    // Firefox lists the SSRC of its receiver reports on m-lines where it sends nothing.
    assert!(parse_offer(&text.replacen("a=sendrecv", "a=recvonly", 1)).is_ok());
}

#[test]
fn nothing_to_accept_is_refused() {
    let head = &SMALL[..SMALL.find("m=audio").unwrap()].replace("a=group:BUNDLE a v\n", "");
    assert!(refused(head).message.contains("no m-line to accept"));
    let closed = format!("{head}m=audio 0 UDP/TLS/RTP/SAVPF 0\n");
    assert!(refused(&closed).message.contains("no m-line to accept"));
    let text = format!("{head}m=text 9 RTP/AVP 0\n");
    assert!(refused(&text).message.contains("no m-line to accept"));
}

#[test]
fn data_channels_need_their_protocol_and_port() {
    let head = SMALL[..SMALL.find("m=audio").unwrap()].replace("a=group:BUNDLE a v\n", "");
    for (section, words) in [
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n", "a=sctp-port is missing"),
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:0\n", "1..=65535"),
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:70000\n", "1..=65535"),
        (
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:1\na=max-message-size:x\n",
            "not a number",
        ),
        ("m=application 9 UDP/DTLS/SCTP other\na=sctp-port:5000\n", "data channels only"),
        ("m=application 9 RTP/AVP 99\n", "data channels only"),
        ("m=application 9 DTLS/SCTP webrtc-datachannel\n", "port as the format"),
    ] {
        let error = refused(&format!("{head}{section}"));
        assert!(error.message.contains(words), "{section}: {error}");
    }
    let two = "a=group:BUNDLE 1 2\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:1\na=sctp-port:5000\n\
               m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:2\na=sctp-port:5000\n";
    assert!(refused(&format!("{head}{two}")).message.contains("second m=application"));
}

#[test]
fn row_27_messages_stay_short_whatever_is_sent() {
    let error = refused(&varied("a=mid:v", &format!("a=mid:{}", "é".repeat(10_000))));
    assert!(error.to_string().len() < 300, "{error}");
    assert!(error.to_string().starts_with("SDP line 16: "), "{error}");
}
