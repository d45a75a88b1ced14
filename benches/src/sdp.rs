//! The little SDP that a load generator needs: an offer of one codec per kind, and what an answer says of the transport.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use sfu_core::params::{Fingerprint, FingerprintHash, IceCredentials};

/// Header extension ids, the same on every section.
pub(crate) const EXT_AUDIO_LEVEL: u8 = 1;
/// `abs-send-time`
pub(crate) const EXT_ABS_SEND_TIME: u8 = 2;
/// Transport-wide sequence number.
pub(crate) const EXT_TRANSPORT_CC: u8 = 3;
/// `sdes:mid`
pub(crate) const EXT_MID: u8 = 4;
/// Payload type of Opus.
pub(crate) const OPUS: u8 = 111;
/// Payload type of VP8.
pub(crate) const VP8: u8 = 96;
/// Payload type of VP8's retransmissions.
pub(crate) const VP8_RTX: u8 = 97;

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Video,
}

/// One m-line of the offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// SSRC and RTX SSRC of what is sent here; `None`: receives.
    pub(crate) sends: Option<(u32, u32)>,
}

/// Our end of the transport, as the offer says it.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) ice: IceCredentials,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
}

/// The server's end, as the answer says it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    pub(crate) ice: IceCredentials,
    pub(crate) fingerprint: Fingerprint,
}

/// Writes an offer; the mid of a section is its index.
pub(crate) fn offer(local: &Local, sections: &[Section]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let mut sdp = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=extmap-allow-mixed\r\n",
        mids.join(" ")
    );
    for (mid, section) in sections.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write_section(&mut sdp, local, mid, section);
    }
    sdp
}

fn write_section(
    sdp: &mut String,
    local: &Local,
    mid: usize,
    section: &Section,
) -> std::fmt::Result {
    let (media, formats) = match section.kind {
        Kind::Audio => ("audio", "111"),
        Kind::Video => ("video", "96 97"),
    };
    let hex: Vec<String> = local.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    write!(
        sdp,
        "m={media} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
         a=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=extmap:{EXT_ABS_SEND_TIME} http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:{EXT_TRANSPORT_CC} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:{EXT_MID} urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
        local.ice.ufrag,
        local.ice.password,
        hex.join(":"),
    )?;
    match section.kind {
        Kind::Audio => write!(
            sdp,
            "a=extmap:{EXT_AUDIO_LEVEL} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
             a=rtpmap:{OPUS} opus/48000/2\r\na=rtcp-fb:{OPUS} transport-cc\r\na=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n"
        )?,
        Kind::Video => write!(
            sdp,
            "a=rtpmap:{VP8} VP8/90000\r\na=rtcp-fb:{VP8} transport-cc\r\na=rtcp-fb:{VP8} ccm fir\r\n\
             a=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\na=rtpmap:{VP8_RTX} rtx/90000\r\na=fmtp:{VP8_RTX} apt={VP8}\r\n"
        )?,
    }
    match (section.sends, section.kind) {
        (None, _) => write!(sdp, "a=recvonly\r\n"),
        (Some((ssrc, _)), Kind::Audio) => write!(
            sdp,
            "a=sendonly\r\na=msid:bench mic{mid}\r\na=ssrc:{ssrc} cname:bench{ssrc}\r\n"
        ),
        (Some((ssrc, rtx)), Kind::Video) => write!(
            sdp,
            "a=sendonly\r\na=msid:bench cam{mid}\r\na=ssrc-group:FID {ssrc} {rtx}\r\n\
             a=ssrc:{ssrc} cname:bench{ssrc}\r\na=ssrc:{rtx} cname:bench{ssrc}\r\n"
        ),
    }
}

/// Reads the server's transport from an answer: the first of each attribute counts, all sections are one bundle.
pub(crate) fn answer(sdp: &str) -> anyhow::Result<Remote> {
    let value = |name: &str| {
        sdp.lines()
            .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
            .with_context(|| format!("the answer has no a={name}"))
    };
    if value("setup")? != "passive" {
        bail!("the answer wants to be the DTLS client");
    }
    let candidate: Vec<&str> = value("candidate")?.split(' ').collect();
    let [_, _, _, _, ip, port, ..] = candidate[..] else { bail!("a malformed candidate") };
    let (hash, digest) = value("fingerprint")?.split_once(' ').context("a=fingerprint")?;
    if hash != "sha-256" {
        bail!("a fingerprint of {hash}");
    }
    let digest =
        digest.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    Ok(Remote {
        address: SocketAddr::new(ip.parse()?, port.parse()?),
        ice: IceCredentials {
            ufrag: value("ice-ufrag")?.to_owned(),
            password: value("ice-pwd")?.to_owned(),
        },
        fingerprint: Fingerprint { hash: FingerprintHash::Sha256, digest },
    })
}
