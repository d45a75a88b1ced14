//! Writes the answer to an offer (RFC 9429 section 5.3, RFC 8843 section 7.3).

use std::fmt::Write as _;
use std::net::SocketAddr;

use sfu::params::{DtlsRole, Fingerprint, FingerprintHash, IceCredentials, VideoFec};

use super::candidate;
use super::extension;
use super::negotiate::{NegotiatedCodec, NegotiatedSection};
use super::offer::Offer;
use super::section::{Direction, Section};

/// Our side of the peer connection.
#[derive(Clone, Debug)]
pub struct LocalDescription {
    /// Our ICE credentials.
    pub ice: IceCredentials,
    /// Our certificate.
    pub fingerprint: Fingerprint,
    /// UDP host candidates, the preferred one first.
    pub candidates: Vec<SocketAddr>,
    /// Passive TCP host candidates (RFC 6544), for peers that none of the others reaches.
    pub tcp_candidates: Vec<SocketAddr>,
    /// `o=` session id: the same in every answer of a peer connection, below 2^63.
    pub session_id: u64,
    /// `o=` session version: one more in each answer.
    pub session_version: u64,
    /// Write `a=rtcp-mux-only`: RFC 9725 section 4.4.1 wants it, RFC 8858 does not.
    pub rtcp_mux_only: bool,
}

/// The sending side of a slot; it stays the same in every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// SSRC, unique over both directions of the peer connection.
    pub ssrc: u32,
    /// SSRC of its RTX, when the m-line has RTX.
    pub rtx_ssrc: Option<u32>,
    /// CNAME.
    pub cname: String,
    /// MediaStream id; equal ids are played in sync.
    pub stream_id: String,
    /// MediaStreamTrack id.
    pub track_id: String,
}

/// How one m-line is answered. A plan that contradicts the offered direction is answered inactive.
#[derive(Clone, Debug)]
pub enum SectionPlan {
    /// The client publishes here.
    Receive(NegotiatedSection),
    /// A slot: we send here.
    Send {
        /// What was accepted.
        section: NegotiatedSection,
        /// What we send.
        slot: Slot,
    },
    /// Accepted, no media for now.
    Inactive,
    /// Data channels.
    Application,
    /// Refused; it cannot be used again without a new offer.
    Rejected,
}

/// Our SCTP port.
const SCTP_PORT: u16 = 5000;
/// Largest data channel message that we take, in bytes.
const MAX_MESSAGE_SIZE: u32 = 262_144;

/// A plan made definite.
enum Answered<'a> {
    Rejected,
    Application,
    Media { section: NegotiatedSection, direction: Direction, slot: Option<&'a Slot> },
}

/// Writes the answer. `plan` has one entry per m-line of the offer, in order; a missing one is a rejection.
pub fn write_answer(offer: &Offer, local: &LocalDescription, plan: &[SectionPlan]) -> String {
    let setup = match offer.dtls_role() {
        DtlsRole::Server => "passive",
        DtlsRole::Client => "active",
    };
    write(offer, local, plan, setup)
}

/// Writes an offer of ours: what the answer to `wanted` would be, with the DTLS roles left open (RFC 8842 section 5.2).
pub fn write_counter_offer(
    wanted: &Offer,
    local: &LocalDescription,
    plan: &[SectionPlan],
) -> String {
    write(wanted, local, plan, "actpass")
}

fn write(offer: &Offer, local: &LocalDescription, plan: &[SectionPlan], setup: &str) -> String {
    let answered: Vec<Answered<'_>> =
        offer.sections.iter().map(|section| resolve(section, plan.get(section.index))).collect();
    let mut out = String::with_capacity(4096);
    write_session(&mut out, offer, local, &answered);
    let mut first = true;
    for (section, answered) in offer.sections.iter().zip(&answered) {
        if matches!(answered, Answered::Rejected) {
            write_rejected(&mut out, section);
            continue;
        }
        write_media_line(&mut out, section, answered, local);
        if std::mem::take(&mut first) {
            candidate::write(&mut out, &local.candidates, &local.tcp_candidates);
        }
        write_transport(&mut out, setup, local);
        if let Some(mid) = &section.mid {
            let _ = write!(out, "a=mid:{mid}\r\n");
        }
        match answered {
            Answered::Media { section: negotiated, direction, slot } => {
                write_media(&mut out, section, negotiated, *direction, *slot);
                if local.rtcp_mux_only {
                    out.push_str("a=rtcp-mux-only\r\n");
                }
            }
            _ => write_application(&mut out, section),
        }
    }
    out
}

fn resolve<'a>(section: &Section, plan: Option<&'a SectionPlan>) -> Answered<'a> {
    if !section.is_live() {
        return Answered::Rejected;
    }
    let inactive = || match NegotiatedSection::inactive(section) {
        // An m-line needs a format, so nothing in common cannot be kept for later.
        None => Answered::Rejected,
        Some(section) => Answered::Media { section, direction: Direction::Inactive, slot: None },
    };
    match (plan, section.sctp.is_some()) {
        (Some(SectionPlan::Application), true) => Answered::Application,
        (None | Some(SectionPlan::Rejected | SectionPlan::Application), _) | (_, true) => {
            Answered::Rejected
        }
        (Some(SectionPlan::Receive(negotiated)), false) if section.direction.sends() => {
            let section = negotiated.clone();
            Answered::Media { section, direction: Direction::RecvOnly, slot: None }
        }
        (Some(SectionPlan::Send { section: negotiated, slot }), false)
            if section.direction.receives() =>
        {
            let section = negotiated.clone();
            Answered::Media { section, direction: Direction::SendOnly, slot: Some(slot) }
        }
        _ => inactive(),
    }
}

fn write_session(
    out: &mut String,
    offer: &Offer,
    local: &LocalDescription,
    answered: &[Answered<'_>],
) {
    let (id, version) = (local.session_id, local.session_version);
    let _ = write!(out, "v=0\r\no=- {id} {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    out.push_str("a=ice-lite\r\n");
    let accepted = offer.sections.iter().zip(answered);
    let mids: Vec<&str> = accepted
        .filter(|(_, answered)| !matches!(answered, Answered::Rejected))
        .filter_map(|(section, _)| section.mid.as_deref())
        .collect();
    if !offer.bundle.is_empty() && !mids.is_empty() {
        let _ = write!(out, "a=group:BUNDLE {}\r\n", mids.join(" "));
    }
    if offer.extmap_allow_mixed {
        out.push_str("a=extmap-allow-mixed\r\n");
    }
    let options = offer.answered_ice_options();
    if !options.is_empty() {
        let _ = write!(out, "a=ice-options:{}\r\n", options.join(" "));
    }
    out.push_str("a=msid-semantic: WMS *\r\n");
}

fn write_rejected(out: &mut String, section: &Section) {
    let Section { media, protocol, format, .. } = section;
    let _ = write!(out, "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n");
    if let Some(mid) = &section.mid {
        let _ = write!(out, "a=mid:{mid}\r\n");
    }
}

fn write_media_line(
    out: &mut String,
    section: &Section,
    answered: &Answered<'_>,
    local: &LocalDescription,
) {
    // RFC 8839 section 4.2.1: the default candidate, else the discard port.
    let (port, connection) = match local.candidates.first() {
        None => (9, "IN IP4 0.0.0.0".to_owned()),
        Some(address) => {
            let family = if address.is_ipv4() { 4 } else { 6 };
            (address.port(), format!("IN IP{family} {}", address.ip()))
        }
    };
    let _ = write!(out, "m={} {port} {}", section.media, section.protocol);
    match answered {
        Answered::Media { section, .. } => {
            for codec in &section.codecs {
                let _ = write!(out, " {}", codec.payload_type);
                if let Some(rtx) = codec.rtx_payload_type {
                    let _ = write!(out, " {rtx}");
                }
            }
            for payload_type in section.fec.iter().flat_map(fec_payload_types) {
                let _ = write!(out, " {payload_type}");
            }
        }
        _ if legacy_sctp(section) => {
            let _ = write!(out, " {SCTP_PORT}");
        }
        _ => out.push_str(" webrtc-datachannel"),
    }
    let _ = write!(out, "\r\nc={connection}\r\n");
}

fn write_transport(out: &mut String, setup: &str, local: &LocalDescription) {
    let hash = match local.fingerprint.hash {
        FingerprintHash::Sha1 => "sha-1",
        FingerprintHash::Sha256 => "sha-256",
        FingerprintHash::Sha384 => "sha-384",
        FingerprintHash::Sha512 => "sha-512",
    };
    let digest: Vec<String> =
        local.fingerprint.digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let _ = write!(
        out,
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{hash} {}\r\na=setup:{setup}\r\n",
        local.ice.ufrag,
        local.ice.password,
        digest.join(":")
    );
}

fn write_application(out: &mut String, section: &Section) {
    if legacy_sctp(section) {
        let _ = write!(out, "a=sctpmap:{SCTP_PORT} webrtc-datachannel 65535\r\n");
    } else {
        let _ = write!(out, "a=sctp-port:{SCTP_PORT}\r\n");
    }
    let _ = write!(out, "a=max-message-size:{MAX_MESSAGE_SIZE}\r\n");
}

/// The form before RFC 8841.
fn legacy_sctp(section: &Section) -> bool {
    section.protocol == "DTLS/SCTP"
}

fn write_media(
    out: &mut String,
    offered: &Section,
    negotiated: &NegotiatedSection,
    direction: Direction,
    slot: Option<&Slot>,
) {
    if offered.extmap_allow_mixed {
        out.push_str("a=extmap-allow-mixed\r\n");
    }
    for extension in &negotiated.extensions {
        let _ = write!(out, "a=extmap:{}", extension.mapping.id);
        if let Some(direction) = extension.direction {
            let _ = write!(out, "/{}", direction.reversed().as_str());
        }
        let _ = write!(out, " {}\r\n", extension::uri(extension.mapping.kind));
    }
    let _ = write!(out, "a={}\r\n", direction.as_str());
    if let Some(slot) = slot {
        let _ = write!(out, "a=msid:{} {}\r\n", slot.stream_id, slot.track_id);
    }
    out.push_str("a=rtcp-mux\r\n");
    if offered.rtcp_rsize {
        out.push_str("a=rtcp-rsize\r\n");
    }
    for codec in &negotiated.codecs {
        write_codec(out, codec);
    }
    if let Some(fec) = &negotiated.fec {
        write_fec(out, fec);
    }
    let rids: Vec<&str> =
        negotiated.encodings.iter().filter_map(|encoding| encoding.rid.as_deref()).collect();
    for rid in &rids {
        let _ = write!(out, "a=rid:{rid} recv\r\n");
    }
    if negotiated.simulcast {
        let _ = write!(out, "a=simulcast:recv {}\r\n", rids.join(";"));
    }
    if let Some(slot) = slot {
        write_ssrcs(out, slot);
    }
}

fn write_codec(out: &mut String, codec: &NegotiatedCodec) {
    let NegotiatedCodec { payload_type, rtpmap, fmtp, feedback, spec, .. } = codec;
    let _ = write!(out, "a=rtpmap:{payload_type} {rtpmap}\r\n");
    for (wanted, name) in [
        (feedback.remb, "goog-remb"),
        (feedback.transport_cc, "transport-cc"),
        (feedback.fir, "ccm fir"),
        (feedback.nack, "nack"),
        (feedback.pli, "nack pli"),
    ] {
        if wanted {
            let _ = write!(out, "a=rtcp-fb:{payload_type} {name}\r\n");
        }
    }
    if !fmtp.is_empty() {
        let _ = write!(out, "a=fmtp:{payload_type} {fmtp}\r\n");
    }
    if let Some(rtx) = codec.rtx_payload_type {
        let clock_rate = spec.clock_rate();
        let _ =
            write!(out, "a=rtpmap:{rtx} rtx/{clock_rate}\r\na=fmtp:{rtx} apt={payload_type}\r\n");
    }
}

fn fec_payload_types(fec: &VideoFec) -> impl Iterator<Item = u8> {
    [Some(fec.red_payload_type), fec.rtx_payload_type, Some(fec.payload_type)].into_iter().flatten()
}

fn write_fec(out: &mut String, fec: &VideoFec) {
    let red = fec.red_payload_type;
    let _ = write!(out, "a=rtpmap:{red} red/90000\r\n");
    if let Some(rtx) = fec.rtx_payload_type {
        let _ = write!(out, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={red}\r\n");
    }
    let _ = write!(out, "a=rtpmap:{} ulpfec/90000\r\n", fec.payload_type);
}

fn write_ssrcs(out: &mut String, slot: &Slot) {
    let Slot { ssrc, cname, stream_id, track_id, .. } = slot;
    if let Some(rtx) = slot.rtx_ssrc {
        let _ = write!(out, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
    }
    for ssrc in [Some(*ssrc), slot.rtx_ssrc].into_iter().flatten() {
        let _ = write!(
            out,
            "a=ssrc:{ssrc} cname:{cname}\r\na=ssrc:{ssrc} msid:{stream_id} {track_id}\r\n"
        );
    }
}
