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
