//! Our own offer, for a WHEP client whose offer fits nothing that is live (draft-ietf-wish-whep section 4.3.2).
//!
//! It says what the answer to a better offer would have said: so the one answerer writes both.

use std::fmt::Write as _;

use sfu::params::{ExtensionKind, MediaKind};

use super::codec::CodecSpec;
use super::error::SdpError;
use super::extension;
use super::negotiate::NegotiatedCodec;
use super::offer::{Offer, parse_offer};

/// Most formats of one section of a counter-offer.
const FORMATS_MAX: usize = 6;
/// Dynamic payload types begin here (RFC 3551).
const PAYLOAD_TYPES: usize = 96;

const EXTENSIONS: [ExtensionKind; 7] = [
    ExtensionKind::Mid,
    ExtensionKind::TransportWideCc,
    ExtensionKind::AbsSendTime,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::VideoOrientation,
    ExtensionKind::DependencyDescriptor,
];

/// The offer with which a viewer could be shown these formats: one receiving section for each kind, with the sections' numbers as mids.
///
/// # Errors
/// None of the formats can be offered.
pub fn wanted_offer(sections: &[(MediaKind, Vec<&NegotiatedCodec>)]) -> Result<Offer, SdpError> {
    let mids: Vec<String> = (0..sections.len()).map(|index| index.to_string()).collect();
    // The transport's attributes are never looked at: the real ones come with the client's answer.
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=ice-ufrag:none\r\n\
         a=ice-pwd:nonenonenonenonenonenone\r\na=setup:actpass\r\na=fingerprint:sha-256 {}\r\n",
        mids.join(" "),
        ["00"; 32].join(":")
    );
    for ((kind, formats), mid) in sections.iter().zip(&mids) {
        write_section(&mut sdp, *kind, formats, mid);
    }
    parse_offer(&sdp)
}

fn write_section(out: &mut String, kind: MediaKind, formats: &[&NegotiatedCodec], mid: &str) {
    let media = if kind == MediaKind::Audio { "audio" } else { "video" };
    let base =
        if kind == MediaKind::Audio { PAYLOAD_TYPES } else { PAYLOAD_TYPES + 2 * FORMATS_MAX };
    let formats =
        || formats.iter().filter(|format| format.spec != CodecSpec::Red).take(FORMATS_MAX);
    let pairs = formats().enumerate().map(|(index, format)| (base + 2 * index, format));
    let numbered: Vec<_> = pairs.collect();
    let _ = write!(out, "m={media} 9 UDP/TLS/RTP/SAVPF");
    for (number, _) in &numbered {
        let _ = write!(out, " {number}");
        if kind == MediaKind::Video {
            let _ = write!(out, " {}", number + 1);
        }
    }
    let _ = write!(
        out,
        "\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n"
    );
    for (index, extension) in EXTENSIONS.into_iter().enumerate() {
        let _ = write!(out, "a=extmap:{} {}\r\n", index + 1, extension::uri(extension));
    }
    for (number, format) in numbered {
        let NegotiatedCodec { rtpmap, fmtp, .. } = format;
        let _ = write!(out, "a=rtpmap:{number} {rtpmap}\r\na=rtcp-fb:{number} transport-cc\r\n");
        if !fmtp.is_empty() {
            let _ = write!(out, "a=fmtp:{number} {fmtp}\r\n");
        }
        if kind == MediaKind::Video {
            for feedback in ["ccm fir", "nack", "nack pli"] {
                let _ = write!(out, "a=rtcp-fb:{number} {feedback}\r\n");
            }
            let rtx = number + 1;
            let _ = write!(out, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={number}\r\n");
        }
    }
}
