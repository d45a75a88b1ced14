//! Our answer to an offer of Janus: takes everything as it is offered, and receives it.

use crate::sdp;
use crate::target::Local;

/// Attributes of an offered section that hold for both sides.
const TAKEN: [&str; 6] =
    ["a=mid:", "a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:", "a=rtcp-mux"];

/// Answers `offer`: DTLS client, one host candidate, nothing sent.
pub(super) fn write(offer: &str, local: &Local) -> String {
    let mut sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n".to_owned();
    for line in offer.lines() {
        if line.starts_with("a=group:BUNDLE") || line.starts_with("m=") {
            sdp.push_str(line);
            sdp.push_str("\r\n");
        }
        if line.starts_with("m=") {
            sdp.push_str("c=IN IP4 0.0.0.0\r\na=recvonly\r\n");
            // Writing to a string cannot fail.
            let _ = sdp::write_transport(&mut sdp, local, "active");
        }
        if TAKEN.iter().any(|taken| line.starts_with(taken)) {
            sdp.push_str(line);
            sdp.push_str("\r\n");
        }
    }
    sdp
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::params::IceCredentials;

    /// As Janus 1.1.2 offers, without what does not matter.
    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.99.0.1\r\ns=VideoRoom\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=fingerprint:sha-256 AA\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.99.0.1\r\na=sendonly\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:uu\r\na=ice-pwd:pp\r\n\
        a=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:1 cname:janus\r\n\
        a=candidate:1 1 udp 1 10.99.0.1 4000 typ host\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=sendonly\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 2 3\r\na=ssrc:2 cname:janus\r\n";

    #[test]
    fn an_answer_takes_what_is_offered_and_sends_nothing() {
        let local = Local {
            ice: IceCredentials { ufrag: "ours".to_owned(), password: "secret".to_owned() },
            fingerprint: [7; 32],
            address: "10.99.0.1:5000".parse().unwrap(),
        };
        let answer = write(OFFER, &local);
        for theirs in ["sendonly", "a=ssrc", "uu", "4000", "actpass", "sha-256 AA"] {
            assert!(!answer.contains(theirs), "{theirs} in {answer}");
        }
        assert_eq!(answer.matches("a=recvonly\r\n").count(), 2);
        let read =
            sdp::remote(&answer.replace("active", "passive"), 2, local.address.ip()).unwrap();
        assert_eq!((read.address, read.ice.ufrag.as_str()), (local.address, "ours"));
        assert_eq!((read.sections[0].mid.as_str(), read.sections[0].payload_type), ("0", 111));
        assert_eq!(read.sections[0].extensions.mid, Some(4));
        assert_eq!(read.sections[1].rtx_payload_type, Some(97));
    }
}
