//! One m-line of an offer (RFC 8866 section 5.14, RFC 8843 section 7).

use sfu::params::{EncodingParams, MediaKind, SctpParams};

use super::candidate;
use super::encodings;
use super::error::{SdpError, quote};
use super::extension::{self, OfferedExtension};
use super::formats::{self, OfferedCodec};
use super::lines::{Block, is_token};

/// What an m-line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// `m=audio`
    Audio,
    /// `m=video`
    Video,
    /// `m=application`: data channels.
    Application,
    /// Anything else; it is always rejected.
    Other,
}

/// Who sends, as the side that wrote it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// The writer.
    SendOnly,
    /// The other side.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    pub(super) const ALL: [Self; 4] =
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.as_str() == text)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// The writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same as the other side sees it.
    pub(super) fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both => both,
        }
    }
}

/// One m-line of an offer.
#[derive(Clone, Debug)]
pub struct Section {
    /// Position in the description, from 0.
    pub index: usize,
    /// `a=mid`, at most 16 bytes; `None` only in an offer without BUNDLE.
    pub mid: Option<String>,
    /// What it is about.
    pub kind: SectionKind,
    /// The client closed it (port 0 without `bundle-only`); nothing below is filled then.
    pub rejected: bool,
    /// As the client sees it.
    pub direction: Direction,
    /// Formats in the client's order of preference.
    pub codecs: Vec<OfferedCodec>,
    /// Known header extensions.
    pub extensions: Vec<OfferedExtension>,
    /// What the client will send here, as listed (lowest first by convention); empty when it does not send.
    pub encodings: Vec<EncodingParams>,
    /// `a=simulcast` was there.
    pub simulcast: bool,
    /// `a=rtcp-rsize`
    pub rtcp_rsize: bool,
    /// `a=extmap-allow-mixed` on this m-line.
    pub extmap_allow_mixed: bool,
    /// `a=msid`: stream (`-`: none) and track.
    pub msid: Option<(String, String)>,
    /// Of an `m=application`.
    pub sctp: Option<SctpParams>,
    /// First word of the m-line.
    pub(super) media: String,
    /// Transport protocol, echoed in the answer.
    pub(super) protocol: String,
    /// First format, for the answers that repeat one.
    pub(super) format: String,
}

/// RFC 8843 section 15 with RFC 8285: a one-byte header extension element carries up to 16 bytes.
const MID_BYTES_MAX: usize = 16;
/// RFC 8841 section 6.1: when `a=max-message-size` is absent.
const MAX_MESSAGE_SIZE_DEFAULT: u32 = 65536;

impl Section {
    /// Audio or video; `None` for the other kinds.
    pub fn media_kind(&self) -> Option<MediaKind> {
        match self.kind {
            SectionKind::Audio => Some(MediaKind::Audio),
            SectionKind::Video => Some(MediaKind::Video),
            SectionKind::Application | SectionKind::Other => None,
        }
    }

    /// Neither closed by the client nor of a kind that is always rejected.
    pub fn is_live(&self) -> bool {
        !self.rejected && self.kind != SectionKind::Other
    }

    pub(super) fn parse(
        index: usize,
        block: &Block<'_>,
        session: &Block<'_>,
    ) -> Result<Self, SdpError> {
        let mut words = block.media.split(' ').filter(|word| !word.is_empty());
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
        else {
            let message = "expected m=<media> <port> <protocol> <format>…";
            return Err(SdpError::at(block.line, message));
        };
        let formats: Vec<&str> = words.collect();
        let Some(format) = formats.first() else {
            return Err(SdpError::at(block.line, "the m-line lists no format"));
        };
        let port: u16 = port.parse().map_err(|_| {
            SdpError::at(block.line, format!("port {} is not 0..=65535", quote(port)))
        })?;
        let kind = match media {
            "audio" => SectionKind::Audio,
            "video" => SectionKind::Video,
            "application" => SectionKind::Application,
            _ => SectionKind::Other,
        };
        let mut section = Self {
            index,
            mid: mid(block)?,
            kind,
            rejected: port == 0 && !block.has("bundle-only"),
            direction: Direction::Inactive,
            codecs: Vec::new(),
            extensions: Vec::new(),
            encodings: Vec::new(),
            simulcast: false,
            rtcp_rsize: false,
            extmap_allow_mixed: false,
            msid: None,
            sctp: None,
            media: media.to_owned(),
            protocol: protocol.to_owned(),
            format: (*format).to_owned(),
        };
        if section.is_live() {
            check_candidates(block)?;
            match kind {
                SectionKind::Application => section.sctp = Some(sctp(block, protocol, format)?),
                _ => section.read_media(block, session, &formats)?,
            }
        }
        Ok(section)
    }

    fn read_media(
        &mut self,
        block: &Block<'_>,
        session: &Block<'_>,
        formats: &[&str],
    ) -> Result<(), SdpError> {
        if !matches!(self.protocol.as_str(), "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF") {
            let found = quote(&self.protocol);
            let message = format!("profile {found} is not supported; offer UDP/TLS/RTP/SAVPF");
            return Err(SdpError::at(block.line, message));
        }
        if !block.has("rtcp-mux") {
            let message = "a=rtcp-mux is missing on this m-line; RTP and RTCP must share one port";
            return Err(SdpError::at(block.line, message));
        }
        self.direction = direction(block)?.or(direction(session)?).unwrap_or(Direction::SendRecv);
        self.codecs = formats::parse(block, formats)?;
        self.extensions = extension::parse(block)?;
        if self.direction.sends() {
            self.encodings = encodings::parse(block)?;
            self.simulcast = block.has("simulcast");
        }
        self.rtcp_rsize = block.has("rtcp-rsize");
        self.extmap_allow_mixed = block.has("extmap-allow-mixed");
        self.msid = msid(block);
        Ok(())
    }
}

fn mid(block: &Block<'_>) -> Result<Option<String>, SdpError> {
    let Some(attribute) = block.unique("mid")? else { return Ok(None) };
    let mid = attribute.value;
    if !is_token(mid) || mid.len() > MID_BYTES_MAX {
        let found = quote(mid);
        return Err(attribute.error(format!("mid {found} is not a word of 1 to {MID_BYTES_MAX}")));
    }
    Ok(Some(mid.to_owned()))
}

fn direction(block: &Block<'_>) -> Result<Option<Direction>, SdpError> {
    let mut found = None;
    for attribute in &block.attributes {
        let Some(direction) = Direction::parse(attribute.name) else { continue };
        if found.replace(direction).is_some() {
            return Err(attribute.error("a second direction; write one"));
        }
    }
    Ok(found)
}

fn check_candidates(block: &Block<'_>) -> Result<(), SdpError> {
    for attribute in block.all("candidate") {
        if candidate::parse_value(attribute.value).is_none() {
            let found = quote(attribute.value);
            return Err(attribute.error(format!("malformed candidate {found}")));
        }
    }
    Ok(())
}

/// RFC 8830: `<stream> [<track>]`; a malformed one names nothing.
fn msid(block: &Block<'_>) -> Option<(String, String)> {
    let value = block.all("msid").next()?.value;
    let (stream, track) = value.split_once(' ').unwrap_or((value, ""));
    let usable = is_token(stream)
        && stream.len() <= 64
        && (track.is_empty() || is_token(track))
        && track.len() <= 64;
    usable.then(|| (stream.to_owned(), track.to_owned()))
}

fn sctp(block: &Block<'_>, protocol: &str, format: &str) -> Result<SctpParams, SdpError> {
    let max_message_size = match block.unique("max-message-size")? {
        None => MAX_MESSAGE_SIZE_DEFAULT,
        Some(attribute) => {
            let size: u64 = attribute
                .value
                .parse()
                .map_err(|_| attribute.error("a=max-message-size is not a number"))?;
            u32::try_from(size).unwrap_or(u32::MAX)
        }
    };
    let remote_port = match (protocol, format) {
        ("UDP/DTLS/SCTP" | "TCP/DTLS/SCTP", "webrtc-datachannel") => {
            let Some(attribute) = block.unique("sctp-port")? else {
                return Err(SdpError::at(block.line, "a=sctp-port is missing on this m-line"));
            };
            attribute
                .value
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| attribute.error("a=sctp-port is not 1..=65535"))?
        }
        // The form before RFC 8841 has the port as the format.
        ("DTLS/SCTP", port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            SdpError::at(block.line, "DTLS/SCTP lists its SCTP port as the format")
        })?,
        _ => {
            let message = "m=application carries data channels only; \
                           offer UDP/DTLS/SCTP webrtc-datachannel";
            return Err(SdpError::at(block.line, message));
        }
    };
    Ok(SctpParams { remote_port, max_message_size })
}
