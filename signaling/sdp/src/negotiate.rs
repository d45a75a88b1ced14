//! What both sides of an m-line can do, as the values that the media plane takes.

use sfu::params::{
    Codec, ConsumerParams, EncodingParams, ExtensionKind, ExtensionMapping, Feedback, MediaKind,
    PayloadMapping, ProducerParams, ReceiveCodec, VideoFec,
};

use super::answer::Slot;
use super::codec::CodecSpec;
use super::extension::{self, OfferedExtension};
use super::formats::OfferedCodec;
use super::section::{Direction, Section};

/// One accepted format, under the client's payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedCodec {
    /// The client's payload type.
    pub payload_type: u8,
    /// The client's payload type of its RTX.
    pub rtx_payload_type: Option<u8>,
    /// What it is.
    pub spec: CodecSpec,
    /// Feedback that both sides use.
    pub feedback: Feedback,
    /// `<name>/<clock>[/<channels>]` of the answer.
    pub(super) rtpmap: String,
    /// fmtp of the answer, possibly empty.
    pub(super) fmtp: String,
}

/// An accepted audio or video m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedSection {
    /// Position in the offer.
    pub index: usize,
    /// `a=mid`; `None` only in an offer without BUNDLE.
    pub mid: Option<String>,
    /// Audio or video.
    pub kind: MediaKind,
    /// Accepted formats in the client's order of preference; never empty.
    pub codecs: Vec<NegotiatedCodec>,
    /// What the client may protect its video with.
    pub fec: Option<VideoFec>,
    /// Accepted header extensions.
    pub extensions: Vec<OfferedExtension>,
    /// What the client sends, lowest first; empty on a slot.
    pub encodings: Vec<EncodingParams>,
    /// The client offered `a=simulcast`.
    pub(super) simulcast: bool,
    dtx: bool,
}

impl NegotiatedSection {
    /// Accepts an m-line on which the client publishes. RED is accepted around Opus: a subscriber without it gets the Opus inside.
    /// `None`: the client does not send there, or offers no format that Switchyard forwards.
    pub fn receive(section: &Section) -> Option<Self> {
        section.direction.sends().then(|| Self::of(section, true)).flatten()
    }

    /// Accepts an m-line on which the client receives, as a slot. `None`: it does not receive there, or offers no
    /// format that Switchyard forwards.
    pub fn send(section: &Section) -> Option<Self> {
        section.direction.receives().then(|| Self::of(section, false)).flatten()
    }

    /// Asks for Opus that sends next to nothing during silence (`usedtx`, RFC 7587 section 6.1), as an answer may without an offer of it.
    pub fn use_dtx(&mut self) {
        self.dtx = true;
        for codec in &mut self.codecs {
            if codec.spec == CodecSpec::Opus && !codec.fmtp.contains("usedtx") {
                codec.fmtp.push_str(";usedtx=1");
            }
        }
    }

    /// Was that asked for, whatever the offer says?
    pub fn uses_dtx(&self) -> bool {
        self.dtx
    }

    /// What an inactive answer lists.
    pub(super) fn inactive(section: &Section) -> Option<Self> {
        Self::of(section, false)
    }

    fn of(section: &Section, receiving: bool) -> Option<Self> {
        let kind = section.media_kind().filter(|_| section.is_live())?;
        let encodings = if receiving { section.encodings.clone() } else { Vec::new() };
        let by_rid = encodings.iter().any(|encoding| encoding.rid.is_some());
        let extensions = extensions(section, kind, receiving, by_rid);
        let transport_wide =
            extensions.iter().any(|e| e.mapping.kind == ExtensionKind::TransportWideCc);
        let mut codecs: Vec<NegotiatedCodec> = Vec::new();
        for offered in &section.codecs {
            let Some(spec) = offered.spec.filter(|spec| spec.kind() == kind) else { continue };
            if spec == CodecSpec::Red && !red_wraps_opus(offered, &section.codecs) {
                continue;
            }
            codecs.push(NegotiatedCodec::of(offered, spec, transport_wide));
        }
        let fec = codecs.first().filter(|_| receiving).and_then(|first| fec(first, section));
        (!codecs.is_empty()).then(|| Self {
            index: section.index,
            mid: section.mid.clone(),
            kind,
            codecs,
            fec,
            extensions,
            simulcast: receiving && section.simulcast && by_rid,
            dtx: false,
            encodings,
        })
    }

    /// The accepted formats for [`ProducerParams`].
    pub fn receive_codecs(&self) -> Vec<ReceiveCodec> {
        self.codecs
            .iter()
            .map(|codec| ReceiveCodec {
                payload_type: codec.payload_type,
                rtx_payload_type: codec.rtx_payload_type,
                codec: codec.spec.codec(),
                clock_rate: codec.spec.clock_rate(),
                feedback: codec.feedback,
            })
            .collect()
    }

    /// The accepted header extensions with the client's ids.
    pub fn header_extensions(&self) -> Vec<ExtensionMapping> {
        self.extensions.iter().map(|extension| extension.mapping).collect()
    }

    /// A slot on this m-line can repair with RTX, so it needs a second SSRC.
    pub fn has_rtx(&self) -> bool {
        self.codecs.iter().any(|codec| codec.rtx_payload_type.is_some())
    }

    /// The incoming track of a publishing m-line. `number` is the track's CSRC.
    pub fn producer_params(&self, number: u32, paused: bool) -> ProducerParams {
        ProducerParams {
            kind: self.kind,
            mid: self.mid.clone(),
            encodings: self.encodings.clone(),
            codecs: self.receive_codecs(),
            fec: self.fec,
            number,
            paused,
        }
    }

    /// The outgoing track of a slot.
    pub fn consumer_params(&self, slot: &Slot, paused: bool) -> ConsumerParams {
        ConsumerParams {
            kind: self.kind,
            mid: self.mid.clone().unwrap_or_default(),
            ssrc: slot.ssrc,
            rtx_ssrc: slot.rtx_ssrc,
            cname: slot.cname.clone(),
            header_extensions: self.header_extensions(),
            paused,
        }
    }
}

impl NegotiatedCodec {
    fn of(offered: &OfferedCodec, spec: CodecSpec, transport_wide: bool) -> Self {
        let transport_cc = offered.feedback.transport_cc && transport_wide;
        let feedback = Feedback {
            transport_cc,
            remb: offered.feedback.remb && !transport_cc,
            ..offered.feedback
        };
        let channels =
            if offered.channels > 1 { format!("/{}", offered.channels) } else { String::new() };
        // RED lists its block formats; they were checked to be the offered Opus.
        let fmtp = match (spec, offered.fmtp.first()) {
            (CodecSpec::Red, Some((blocks, _))) => blocks.clone(),
            _ => spec.answer_fmtp(&offered.fmtp),
        };
        Self {
            payload_type: offered.payload_type,
            // Without NACK nobody asks for a repair.
            rtx_payload_type: offered.rtx.filter(|_| feedback.nack),
            spec,
            feedback,
            rtpmap: format!("{}/{}{channels}", offered.name, offered.clock_rate),
            fmtp,
        }
    }
}

/// RFC 2198 section 5: `a=fmtp:63 111/111`, every block being the offered Opus.
fn red_wraps_opus(red: &OfferedCodec, codecs: &[OfferedCodec]) -> bool {
    let Some((blocks, _)) = red.fmtp.first() else { return false };
    let mut count = 0;
    let all_opus = blocks.split('/').all(|block| {
        count += 1;
        // Digits only, because the answer repeats the text.
        block.bytes().all(|byte| byte.is_ascii_digit())
            && block.parse::<u8>().is_ok_and(|payload_type| {
                codecs.iter().any(|codec| {
                    codec.payload_type == payload_type && codec.spec == Some(CodecSpec::Opus)
                })
            })
    });
    all_opus && (2..=4).contains(&count)
}

/// ULPFEC in RED, where the client is going to send a format that libwebrtc protects. Not without RTX of RED where there is RTX: what is in RED would
/// not be sent again.
fn fec(first: &NegotiatedCodec, section: &Section) -> Option<VideoFec> {
    if !matches!(first.spec, CodecSpec::Vp8 | CodecSpec::Vp9 { .. }) {
        return None;
    }
    let find = |name: &str| {
        let is = |codec: &&OfferedCodec| {
            codec.name.eq_ignore_ascii_case(name) && codec.clock_rate == first.spec.clock_rate()
        };
        section.codecs.iter().find(is)
    };
    let (red, ulpfec) = (find("red")?, find("ulpfec")?);
    let rtx_payload_type = red.rtx.filter(|_| first.rtx_payload_type.is_some());
    if rtx_payload_type.is_none() && first.rtx_payload_type.is_some() {
        return None;
    }
    Some(VideoFec {
        red_payload_type: red.payload_type,
        rtx_payload_type,
        payload_type: ulpfec.payload_type,
    })
}

fn extensions(
    section: &Section,
    kind: MediaKind,
    receiving: bool,
    by_rid: bool,
) -> Vec<OfferedExtension> {
    let usable = |extension: &&OfferedExtension| {
        let direction = extension.direction.unwrap_or(Direction::SendRecv);
        let carried = if receiving { direction.sends() } else { direction.receives() };
        let named =
            matches!(extension.mapping.kind, ExtensionKind::Rid | ExtensionKind::RepairedRid);
        carried && extension::applies(extension.mapping.kind, kind) && (!named || by_rid)
    };
    section.extensions.iter().filter(usable).copied().collect()
}

/// How the formats of a publisher are called at a subscriber. An exact profile is preferred to an interchangeable one.
/// Without a media format in it (empty result) the subscriber cannot decode what is published.
pub fn payload_mappings(
    published: &[NegotiatedCodec],
    subscriber: &NegotiatedSection,
) -> Vec<PayloadMapping> {
    let mut mappings: Vec<PayloadMapping> = Vec::new();
    let red = subscriber.codecs.iter().find(|to| to.spec.codec() == Codec::Red);
    let red = red.map(|to| to.payload_type);
    for from in published {
        let exact = subscriber.codecs.iter().find(|to| to.spec == from.spec);
        let usable = || subscriber.codecs.iter().find(|to| from.spec.same_bitstream(to.spec));
        let Some(to) = exact.or_else(usable) else { continue };
        mappings.push(PayloadMapping {
            from: from.payload_type,
            to: to.payload_type,
            rtx: to.rtx_payload_type,
            nack: to.feedback.nack,
            red: red.filter(|_| to.spec.codec() == Codec::Opus),
        });
    }
    // RED alone is no codec: its blocks are Opus under the Opus mapping.
    let has_media = published
        .iter()
        .filter(|codec| codec.spec.codec() != Codec::Red)
        .any(|codec| mappings.iter().any(|mapping| mapping.from == codec.payload_type));
    if has_media { mappings } else { Vec::new() }
}
