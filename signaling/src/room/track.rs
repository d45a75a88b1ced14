//! A track as the room knows it.

use crate::protocol::{
    Kind, ParticipantId, PublishLayer, PublisherLimit, Source, TrackId, TrackInfo,
};
use crate::sdp::{CodecSpec, NegotiatedSection, payload_mappings};
use sfu::ProducerId;
use sfu::params::{ExtensionKind, PayloadMapping, ProducerParams};

/// What a participant publishes on one section.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) owner: ParticipantId,
    pub(crate) producer: ProducerId,
    pub(crate) mid: String,
    pub(crate) source: Source,
    /// Differs from the source's only over HTTP, where the source is a guess.
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) muted: bool,
    /// Sealed by its publisher: nothing in a payload is for us to read or to put something around.
    pub(crate) encrypted: bool,
    /// Encodings by rid, lowest first; empty without simulcast.
    pub(crate) layers: Vec<String>,
    /// The publisher said which of them is the lowest, or it was found out.
    pub(super) ordered: bool,
    /// Width and height that were announced for encodings.
    pub(super) sizes: Vec<(String, (u16, u16))>,
    /// What keeps its quality down at the publisher.
    pub(super) limited: PublisherLimit,
    /// What has viewers. `None`: the publisher was told nothing yet, and sends all.
    pub(super) watched: Option<sfu::Watched>,
    pub(crate) section: NegotiatedSection,
}

impl Track {
    pub(crate) fn info(&self) -> TrackInfo {
        TrackInfo {
            track: self.id,
            number: self.id.0,
            kind: self.kind,
            source: self.source,
            name: self.name.clone(),
            codec: self.codec().to_owned(),
            muted: self.muted,
            simulcast: self.layers.len() > 1,
            layers: self.layers.clone(),
            encrypted: self.encrypted,
        }
    }

    /// As in `a=rtpmap`; of RED, the format inside.
    pub(crate) fn codec(&self) -> &'static str {
        let mut specs = self.section.codecs.iter().map(|codec| codec.spec);
        specs.find(|spec| *spec != CodecSpec::Red).map_or("", CodecSpec::name)
    }

    /// Tracks of one group are shown in sync.
    pub(crate) fn group(&self) -> (ParticipantId, bool) {
        let screen = matches!(self.source, Source::ScreenShare | Source::ScreenShareAudio);
        (self.owner, screen)
    }

    /// Its packets say how loud they are (RFC 6464), as its publisher negotiated.
    pub(super) fn has_levels(&self) -> bool {
        let mut extensions = self.section.extensions.iter();
        extensions.any(|extension| extension.mapping.kind == ExtensionKind::AudioLevel)
    }

    /// How its payload types are called at a subscriber; empty: the subscriber cannot decode it.
    pub(crate) fn mappings(&self, slot: &NegotiatedSection) -> Vec<PayloadMapping> {
        let mut mappings = payload_mappings(&self.section.codecs, slot);
        if self.encrypted {
            // A receiver opens a payload before it takes RED apart.
            mappings.iter_mut().for_each(|mapping| mapping.red = None);
        }
        mappings
    }

    /// For the media plane, encodings lowest first.
    pub(crate) fn producer_params(&self) -> ProducerParams {
        let mut params = self.section.producer_params(self.id.0, self.muted);
        params.encodings = sorted_by_layers(params.encodings, &self.layers);
        for encoding in &mut params.encodings {
            let announced = self.sizes.iter().find(|(rid, _)| encoding.rid.as_ref() == Some(rid));
            encoding.size = announced.map(|(_, size)| *size);
        }
        params
    }
}

fn sorted_by_layers(
    mut encodings: Vec<sfu::params::EncodingParams>,
    layers: &[String],
) -> Vec<sfu::params::EncodingParams> {
    encodings.sort_by_key(|encoding| {
        layers.iter().position(|layer| encoding.rid.as_ref() == Some(layer))
    });
    encodings
}

/// The sizes that a publisher announced, as far as they are any.
pub(super) fn sizes(layers: &[PublishLayer]) -> Vec<(String, (u16, u16))> {
    let size = |layer: &PublishLayer| {
        let width = u16::try_from(layer.width).ok().filter(|width| *width > 0)?;
        let height = u16::try_from(layer.height).ok().filter(|height| *height > 0)?;
        Some((layer.rid.clone(), (width, height)))
    };
    layers.iter().filter_map(size).collect()
}

/// The rids of a section, lowest first: in the order that the publisher announced, as far as it did; else in the offer's.
pub(crate) fn layers(section: &NegotiatedSection, announced: &[String]) -> Vec<String> {
    let mut rids: Vec<String> =
        section.encodings.iter().filter_map(|encoding| encoding.rid.clone()).collect();
    rids.sort_by_key(|rid| announced.iter().position(|known| known == rid).unwrap_or(usize::MAX));
    rids
}
