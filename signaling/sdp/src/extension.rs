//! RTP header extensions (RFC 8285 section 5): which offered ones are carried, and how the answer names them.

use sfu::params::{ExtensionKind, ExtensionMapping, MediaKind};

use super::error::{SdpError, quote};
use super::lines::Block;
use super::section::Direction;

/// Most `a=extmap` lines of one m-line.
const EXTENSIONS_MAX: usize = 64;

const KNOWN: [(&str, ExtensionKind); 10] = [
    ("urn:ietf:params:rtp-hdrext:sdes:mid", ExtensionKind::Mid),
    ("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", ExtensionKind::Rid),
    ("urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", ExtensionKind::RepairedRid),
    (
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        ExtensionKind::TransportWideCc,
    ),
    ("http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", ExtensionKind::AbsSendTime),
    ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", ExtensionKind::AudioLevel),
    ("urn:3gpp:video-orientation", ExtensionKind::VideoOrientation),
    ("http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", ExtensionKind::PlayoutDelay),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
        ExtensionKind::AbsCaptureTime,
    ),
    (
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
        ExtensionKind::DependencyDescriptor,
    ),
];

/// A header extension of the offer that Switchyard knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedExtension {
    /// The offerer's id and the meaning.
    pub mapping: ExtensionMapping,
    /// The suffix of the id, if there was one; as the offerer sees it.
    pub direction: Option<Direction>,
}

/// The URI of a known extension.
pub(super) fn uri(kind: ExtensionKind) -> &'static str {
    KNOWN.iter().find(|(_, known)| *known == kind).map_or("", |(uri, _)| uri)
}

/// Whether the extension has a meaning on such an m-line.
pub(super) fn applies(kind: ExtensionKind, media: MediaKind) -> bool {
    match kind {
        ExtensionKind::AudioLevel => media == MediaKind::Audio,
        ExtensionKind::VideoOrientation
        | ExtensionKind::PlayoutDelay
        | ExtensionKind::DependencyDescriptor
        | ExtensionKind::Rid
        | ExtensionKind::RepairedRid => media == MediaKind::Video,
        ExtensionKind::Mid
        | ExtensionKind::TransportWideCc
        | ExtensionKind::AbsSendTime
        | ExtensionKind::AbsCaptureTime => true,
    }
}

/// Reads the `a=extmap` lines of one m-line; unknown extensions are left out.
pub(super) fn parse(block: &Block<'_>) -> Result<Vec<OfferedExtension>, SdpError> {
    let mut ids: Vec<u16> = Vec::new();
    let mut extensions: Vec<OfferedExtension> = Vec::new();
    for attribute in block.all("extmap") {
        let mut words = attribute.value.split(' ').filter(|word| !word.is_empty());
        let (Some(id), Some(uri)) = (words.next(), words.next()) else {
            return Err(attribute.error("expected a=extmap:<id> <uri>"));
        };
        let (id, direction) = match id.split_once('/') {
            None => (id, None),
            Some((id, direction)) => {
                let parsed = Direction::parse(direction).ok_or_else(|| {
                    attribute.error(format!("unknown extmap direction {}", quote(direction)))
                })?;
                (id, Some(parsed))
            }
        };
        let id: u16 = id.parse().ok().filter(|id| *id != 0).ok_or_else(|| {
            attribute.error(format!("extmap id {} is not a number from 1 on", quote(id)))
        })?;
        if ids.contains(&id) {
            return Err(attribute.error(format!("extmap id {id} stands twice on one m-line")));
        }
        if ids.len() == EXTENSIONS_MAX {
            return Err(attribute.error(format!("more than {EXTENSIONS_MAX} extmap lines")));
        }
        ids.push(id);
        // 15 is reserved (RFC 8285 section 4.2); over 255 the offerer leaves the choice to us (section 7).
        let Some(id) = u8::try_from(id).ok().filter(|id| *id != 15) else { continue };
        let Some((_, kind)) = KNOWN.iter().find(|(known, _)| *known == uri) else { continue };
        if extensions.iter().all(|known| known.mapping.kind != *kind) {
            let mapping = ExtensionMapping { id, kind: *kind };
            extensions.push(OfferedExtension { mapping, direction });
        }
    }
    Ok(extensions)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lines;

    fn parsed(lines: &[&str]) -> Result<Vec<OfferedExtension>, SdpError> {
        let text = format!("v=0\nm=video\n{}", lines.join("\n"));
        parse(&lines::split(&text).unwrap().media[0])
    }

    #[test]
    fn keeps_known_extensions_with_the_offerers_ids() {
        let extensions = parsed(&[
            "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
            "a=extmap:8/sendonly https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
            "a=extmap:9 http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on",
            "a=extmap:15 urn:3gpp:video-orientation",
            "a=extmap:4096 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid",
        ])
        .unwrap();
        let kinds: Vec<_> = extensions.iter().map(|e| (e.mapping.id, e.mapping.kind)).collect();
        assert_eq!(
            kinds,
            [
                (4, ExtensionKind::Mid),
                (8, ExtensionKind::DependencyDescriptor),
                (1, ExtensionKind::AudioLevel)
            ]
        );
        assert_eq!(extensions[1].direction, Some(Direction::SendOnly));
    }

    #[test]
    fn refuses_malformed_and_repeated_ids() {
        for line in ["a=extmap:4", "a=extmap:0 urn:x", "a=extmap:x urn:x", "a=extmap:1/both urn:x"]
        {
            assert_eq!(parsed(&[line]).unwrap_err().line, Some(3), "{line}");
        }
        assert!(parsed(&["a=extmap:1 urn:x", "a=extmap:1 urn:y"]).is_err());
        let many: Vec<_> = (16..=80).map(|id| format!("a=extmap:{id} urn:{id}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(parsed(&many[1..]).is_ok());
        assert!(parsed(&many).is_err());
    }

    #[test]
    fn every_kind_has_its_uri() {
        for (uri_known, kind) in KNOWN {
            assert_eq!(uri(kind), uri_known);
        }
    }
}
