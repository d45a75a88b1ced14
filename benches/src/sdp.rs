//! The SDP that a lean peer needs: an offer, and what a description of the server says.
//!
//! Never decides anything: what was negotiated is what the description says, and one that leaves out a section is an error.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use sfu_core::params::{Fingerprint, FingerprintHash, IceCredentials};

use crate::target::{Extensions, Kind, Local, Remote, RemoteSection, Section};

/// Payload type of Opus in our offers.
const OPUS: u8 = 111;
/// Payload type of VP8 in our offers.
const VP8: u8 = 96;
/// Payload type of VP8's retransmissions in our offers.
const VP8_RTX: u8 = 97;

const URI_AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const URI_ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const URI_TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const URI_MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const URI_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

/// Writes an offer; the mid of a section is its index. The one candidate is in every section.
pub(crate) fn offer(local: &Local, sections: &[Section]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let mut sdp = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS bench\r\n",
        mids.join(" ")
    );
    for (mid, section) in sections.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write_section(&mut sdp, local, mid, section);
    }
    sdp
}

/// Writes an offer of data channels and nothing else.
pub(crate) fn data_offer(local: &Local) -> String {
    let mut sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
        a=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
        .to_owned();
    // Writing to a string cannot fail.
    let _ = write_transport(&mut sdp, local, "active");
    sdp
}

fn write_section(
    sdp: &mut String,
    local: &Local,
    mid: usize,
    section: &Section,
) -> std::fmt::Result {
    let (media, formats) = match section.kind {
        Kind::Audio => ("audio", OPUS.to_string()),
        Kind::Video => ("video", format!("{VP8} {VP8_RTX}")),
    };
    write!(
        sdp,
        "m={media} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
    )?;
    // Not actpass: this peer knows only the client's part of DTLS, and many a server would take that part itself.
    write_transport(sdp, local, "active")?;
    write!(
        sdp,
        "a=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=extmap:2 {URI_ABS_SEND_TIME}\r\na=extmap:3 {URI_TRANSPORT_CC}\r\na=extmap:4 {URI_MID}\r\n"
    )?;
    match section.kind {
        Kind::Audio => write!(
            sdp,
            "a=extmap:1 {URI_AUDIO_LEVEL}\r\n\
             a=rtpmap:{OPUS} opus/48000/2\r\na=rtcp-fb:{OPUS} transport-cc\r\na=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n"
        )?,
        Kind::Video => write!(
            sdp,
            "a=rtpmap:{VP8} VP8/90000\r\na=rtcp-fb:{VP8} transport-cc\r\na=rtcp-fb:{VP8} ccm fir\r\n\
             a=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\na=rtpmap:{VP8_RTX} rtx/90000\r\na=fmtp:{VP8_RTX} apt={VP8}\r\n"
        )?,
    }
    write_streams(sdp, mid, section)
}

/// What every section says of our transport; the same in an answer.
pub(crate) fn write_transport(sdp: &mut String, local: &Local, setup: &str) -> std::fmt::Result {
    let hex: Vec<String> = local.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    write!(
        sdp,
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n\
         a=candidate:1 1 udp 2130706431 {} {} typ host\r\na=end-of-candidates\r\n",
        local.ice.ufrag,
        local.ice.password,
        hex.join(":"),
        local.address.ip(),
        local.address.port(),
    )
}

fn write_streams(sdp: &mut String, mid: usize, section: &Section) -> std::fmt::Result {
    let Some(first) = section.sends.first() else { return write!(sdp, "a=recvonly\r\n") };
    write!(sdp, "a=sendonly\r\na=msid:bench track{mid}\r\n")?;
    if first.rid.is_some() {
        write!(
            sdp,
            "a=extmap:5 {URI_RID}\r\na=extmap:6 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n"
        )?;
        let rids: Vec<&str> = section.sends.iter().filter_map(|encoding| encoding.rid).collect();
        for rid in &rids {
            write!(sdp, "a=rid:{rid} send\r\n")?;
        }
        return write!(sdp, "a=simulcast:send {}\r\n", rids.join(";"));
    }
    let (ssrc, rtx) = (first.ssrc, first.rtx_ssrc);
    if section.kind == Kind::Video {
        write!(
            sdp,
            "a=ssrc-group:FID {ssrc} {rtx}\r\na=ssrc:{rtx} cname:bench{ssrc}\r\na=ssrc:{rtx} msid:bench track{mid}\r\n"
        )?;
    }
    write!(sdp, "a=ssrc:{ssrc} cname:bench{ssrc}\r\na=ssrc:{ssrc} msid:bench track{mid}\r\n")
}

/// Reads the server's description, which has `count` sections or more, and `local` decides between candidates.
///
/// # Errors
/// Something that is needed is missing; or a section is refused.
pub(crate) fn remote(sdp: &str, count: usize, local: IpAddr) -> anyhow::Result<Remote> {
    let mut parts = sdp.split("\nm=");
    let session = parts.next().unwrap_or_default();
    let medias: Vec<&str> = parts.collect();
    ensure!(medias.len() >= count, "{} of {count} sections in the description", medias.len());
    let first = *medias.first().context("a description without sections")?;
    let transport = |name: &'static str| {
        attribute(first, name)
            .or_else(|| attribute(session, name))
            .with_context(|| format!("the description has no a={name}"))
    };
    let setup = transport("setup")?;
    ensure!(setup == "passive" || setup == "actpass", "the server wants to be the DTLS client");
    let lite =
        [session, first].iter().any(|part| part.lines().any(|line| line.trim() == "a=ice-lite"));
    Ok(Remote {
        address: address([session, first], local)?,
        ice: IceCredentials {
            ufrag: transport("ice-ufrag")?.to_owned(),
            password: transport("ice-pwd")?.to_owned(),
        },
        server_controls: setup == "actpass" && !lite,
        fingerprint: fingerprint(transport("fingerprint")?)?,
        sections: medias
            .iter()
            .take(count)
            .enumerate()
            .map(|(index, media)| section(media).with_context(|| format!("section {index}")))
            .collect::<Result<_, _>>()?,
    })
}

fn attributes<'a>(part: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    part.lines().filter_map(move |line| {
        line.trim_end().strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')
    })
}

fn attribute<'a>(part: &'a str, name: &'a str) -> Option<&'a str> {
    attributes(part, name).next()
}

fn address(parts: [&str; 2], local: IpAddr) -> anyhow::Result<SocketAddr> {
    let candidates: Vec<SocketAddr> = parts
        .into_iter()
        .flat_map(|part| attributes(part, "candidate"))
        .filter_map(|candidate| {
            let mut fields = candidate.split_ascii_whitespace().skip(1);
            let (component, transport) = (fields.next()?, fields.next()?);
            let (ip, port) = (fields.nth(1)?, fields.next()?);
            let usable = component == "1" && transport.eq_ignore_ascii_case("udp");
            usable.then_some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
        })
        .filter(|candidate| candidate.is_ipv4() == local.is_ipv4())
        .collect();
    let same = candidates.iter().find(|candidate| candidate.ip() == local);
    same.or(candidates.first()).copied().context("no UDP candidate that can be reached")
}

fn fingerprint(value: &str) -> anyhow::Result<Fingerprint> {
    let (hash, digest) = value.split_once(' ').context("a=fingerprint")?;
    let hash = match hash.to_ascii_lowercase().as_str() {
        "sha-256" => FingerprintHash::Sha256,
        "sha-384" => FingerprintHash::Sha384,
        "sha-512" => FingerprintHash::Sha512,
        other => bail!("a fingerprint of {other}"),
    };
    let digest = digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
    Ok(Fingerprint { hash, digest: digest.collect::<Result<_, _>>().context("a=fingerprint")? })
}

/// `media` begins behind `m=`.
fn section(media: &str) -> anyhow::Result<RemoteSection> {
    let line = media.lines().next().unwrap_or_default();
    let mut fields = line.split_ascii_whitespace();
    let (kind, codec) = match fields.next() {
        Some("audio") => (Kind::Audio, "opus/48000"),
        Some("video") => (Kind::Video, "VP8/90000"),
        other => bail!("an unexpected m-line: {other:?}"),
    };
    let inactive = media.lines().any(|line| line.trim_end() == "a=inactive");
    ensure!(fields.next() != Some("0") && !inactive, "the server refuses it");
    let formats: Vec<u8> = fields.skip(1).filter_map(|format| format.parse().ok()).collect();
    let is = |format: u8, name: &str| {
        attributes(media, "rtpmap").any(|map| {
            map.split_once(' ').is_some_and(|(number, codec)| {
                let prefix = codec.get(..name.len());
                number.parse() == Ok(format)
                    && prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(name))
            })
        })
    };
    let payload_type = formats.iter().copied().find(|format| is(*format, codec));
    let payload_type = payload_type.with_context(|| format!("no {codec}"))?;
    let repairs = |format: u8| {
        let apt = format!("apt={payload_type}");
        attributes(media, "fmtp").any(|line| {
            line.split_once(' ').is_some_and(|(number, parameters)| {
                number.parse() == Ok(format) && parameters.split(';').any(|one| one.trim() == apt)
            })
        })
    };
    Ok(RemoteSection {
        kind,
        mid: attribute(media, "mid").unwrap_or_default().to_owned(),
        payload_type,
        rtx_payload_type: formats
            .into_iter()
            .find(|format| is(*format, "rtx/") && repairs(*format)),
        extensions: extensions(media),
    })
}

fn extensions(media: &str) -> Extensions {
    let id = |uri: &str| {
        attributes(media, "extmap").find_map(|map| {
            let mut fields = map.split_ascii_whitespace();
            let id = fields.next()?.split('/').next()?.parse().ok()?;
            (fields.next()? == uri).then_some(id)
        })
    };
    Extensions {
        audio_level: id(URI_AUDIO_LEVEL),
        abs_send_time: id(URI_ABS_SEND_TIME),
        transport_cc: id(URI_TRANSPORT_CC),
        mid: id(URI_MID),
        rid: id(URI_RID),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::target::Encoding;

    const ANSWER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
        a=fingerprint:sha-256 AB:01:ff\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=setup:passive\r\na=ice-ufrag:uu\r\na=ice-pwd:pp\r\n\
        a=candidate:1 1 UDP 1 fd00::1 4000 typ host\r\na=candidate:1 1 tcp 9 10.0.0.1 4001 typ host\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 4002 typ host\r\na=candidate:1 1 udp 1 127.0.0.1 4003 typ host\r\n\
        a=rtpmap:111 OPUS/48000/2\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendonly\r\na=ssrc:9 cname:x\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 100 98 99\r\na=mid:1\r\na=rtpmap:100 VP9/90000\r\na=rtpmap:98 VP8/90000\r\na=rtpmap:99 rtx/90000\r\n\
        a=fmtp:99 apt=98\r\na=extmap:7/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\na=ssrc-group:FID 5 6\r\n";

    fn loopback() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    #[test]
    fn an_answer_is_read() {
        let remote = remote(ANSWER, 2, loopback()).unwrap();
        assert_eq!(remote.address, "127.0.0.1:4003".parse::<SocketAddr>().unwrap());
        assert_eq!((remote.ice.ufrag.as_str(), remote.ice.password.as_str()), ("uu", "pp"));
        assert_eq!(remote.fingerprint.digest, [0xAB, 1, 0xFF]);
        assert!(!remote.server_controls);
        let [audio, video] = &remote.sections[..] else { panic!("two sections") };
        assert_eq!((audio.payload_type, audio.rtx_payload_type), (111, None));
        assert_eq!(audio.extensions.audio_level, Some(1));
        assert_eq!((video.payload_type, video.rtx_payload_type), (98, Some(99)));
        assert_eq!(video.extensions, Extensions { mid: Some(7), ..Extensions::default() });
    }

    #[test]
    fn what_cannot_be_used_is_an_error() {
        for (from, to, complaint) in [
            ("m=video 9", "m=video 0", "refuses"),
            ("a=setup:passive", "a=setup:active", "DTLS client"),
            ("VP8/90000", "AV1/90000", "no VP8"),
            ("sha-256", "md5", "a fingerprint of md5"),
            ("a=ice-pwd", "a=ice-pass", "no a=ice-pwd"),
            (" udp ", " tcp ", "no UDP candidate"),
        ] {
            let error = remote(&ANSWER.replace(from, to), 2, loopback()).unwrap_err();
            assert!(format!("{error:#}").contains(complaint), "{error:#}");
        }
        assert!(remote(ANSWER, 3, loopback()).is_err());
        let elsewhere = remote(ANSWER, 2, "10.0.0.7".parse().unwrap()).unwrap();
        assert_eq!(elsewhere.address, "10.0.0.1:4002".parse::<SocketAddr>().unwrap());
        let offered =
            ANSWER.replace("a=setup:passive", "a=setup:actpass").replace("a=ice-lite\r\n", "");
        assert!(remote(&offered, 2, loopback()).unwrap().server_controls);
    }

    #[test]
    fn an_offer_can_be_read_again() {
        let local = Local {
            ice: IceCredentials { ufrag: "u".to_owned(), password: "p".to_owned() },
            fingerprint: [7; 32],
            address: "127.0.0.1:5000".parse().unwrap(),
        };
        let encoding = |rid, ssrc| Encoding { rid, ssrc, rtx_ssrc: ssrc + 1 };
        let sections = [
            Section { kind: Kind::Audio, sends: vec![encoding(None, 10)] },
            Section { kind: Kind::Video, sends: vec![encoding(None, 20)] },
            Section {
                kind: Kind::Video,
                sends: vec![encoding(Some("q"), 30), encoding(Some("f"), 40)],
            },
            Section::receiving(Kind::Video),
        ];
        let text = offer(&local, &sections);
        assert!(text.contains("a=simulcast:send q;f\r\n") && !text.contains("a=ssrc:30"));
        assert!(text.contains("a=ssrc:10 cname") && text.contains("a=ssrc-group:FID 20 21\r\n"));
        let answered = text.replace("a=setup:active", "a=setup:passive");
        let read = remote(&answered, 4, loopback()).unwrap();
        assert_eq!(read.address, local.address);
        assert_eq!(read.fingerprint.digest, [7; 32]);
        assert_eq!(read.sections[2].extensions.rid, Some(5));
        assert_eq!(read.sections[3].rtx_payload_type, Some(VP8_RTX));
    }
}
