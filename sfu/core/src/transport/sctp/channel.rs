//! Data channels of one association: what an opening message says (RFC 8832), and which channels there are.

use sctp_proto::{ReliabilityType, StreamId};

/// Channel with messages of the protocol that all arrive, in order.
pub const RELIABLE: &str = "reliable";
/// Channel with messages of the protocol that may be lost or overtake each other.
pub const LOSSY: &str = "lossy";
/// Longest label in bytes.
pub const LABEL_LEN_MAX: usize = 64;
/// Channels of one association.
pub const CHANNELS_MAX: usize = 32;

const OPEN: u8 = 3;
/// The answer to an opening message.
pub(super) const ACK: &[u8] = &[2];
/// Of the channel type (RFC 8832 section 8.2.2).
const UNORDERED: u8 = 0x80;

/// How a channel sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Delivery {
    pub(super) unordered: bool,
    pub(super) reliability: ReliabilityType,
    /// Retransmissions, or milliseconds.
    pub(super) value: u32,
}

impl Delivery {
    /// Of [`LOSSY`] where no opening message says it.
    pub(super) const LOSSY: Self =
        Self { unordered: true, reliability: ReliabilityType::Rexmit, value: 0 };
    /// Of [`RELIABLE`].
    pub(super) const RELIABLE: Self =
        Self { unordered: false, reliability: ReliabilityType::Reliable, value: 0 };
}

/// One open channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Where it is.
    pub stream: StreamId,
    /// As the peer calls it.
    pub label: String,
    /// Everything arrives.
    pub reliable: bool,
}

impl Channel {
    pub(super) fn new(stream: StreamId, label: String, delivery: &Delivery) -> Self {
        let reliable = match label.as_str() {
            RELIABLE => true,
            LOSSY => false,
            _ => delivery.reliability == ReliabilityType::Reliable,
        };
        Self { stream, label, reliable }
    }

    /// Its messages have headers and say their topic; in other channels the label is the topic.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        matches!(self.label.as_str(), RELIABLE | LOSSY)
    }
}

/// Reads DATA_CHANNEL_OPEN (RFC 8832 section 5.1): label and delivery. `None`: something else, or not one that we take.
pub(super) fn read_open(message: &[u8]) -> Option<(String, Delivery)> {
    let &[OPEN, kind, _, _, a, b, c, d, high, low, _, _, ref rest @ ..] = message else {
        return None;
    };
    let reliability = match kind & !UNORDERED {
        0 => ReliabilityType::Reliable,
        1 => ReliabilityType::Rexmit,
        2 => ReliabilityType::Timed,
        _ => return None,
    };
    let label = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
    if label.len() > LABEL_LEN_MAX {
        return None;
    }
    let label = std::str::from_utf8(label).ok()?.to_owned();
    let value = u32::from_be_bytes([a, b, c, d]);
    Some((label, Delivery { unordered: kind & UNORDERED != 0, reliability, value }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open(kind: u8, value: u32, label: &[u8], len: u16) -> Vec<u8> {
        let mut message = vec![OPEN, kind, 0, 0];
        message.extend(value.to_be_bytes());
        message.extend(len.to_be_bytes());
        message.extend([0, 0]);
        message.extend(label);
        message
    }

    #[test]
    fn an_opening_message_says_how_to_deliver() {
        let read = |kind, value| read_open(&open(kind, value, b"chat", 4)).unwrap();
        let (label, delivery) = read(0, 0);
        assert_eq!((label.as_str(), delivery), ("chat", Delivery::RELIABLE));
        assert_eq!(read(0x81, 0).1, Delivery::LOSSY);
        let timed = Delivery { unordered: false, reliability: ReliabilityType::Timed, value: 500 };
        assert_eq!(read(2, 500).1, timed);
    }

    #[test]
    fn what_is_no_opening_message_is_none() {
        assert_eq!(read_open(&open(3, 0, b"chat", 4)), None, "no such type");
        assert_eq!(read_open(&open(0, 0, b"chat", 5)), None, "longer than the message");
        assert_eq!(read_open(&open(0, 0, &[0xff; 4], 4)), None, "no text");
        assert_eq!(read_open(&open(0, 0, &[b'x'; 65], 65)), None, "too long");
        assert!(read_open(&open(0, 0, &[b'x'; 64], 64)).is_some());
        assert_eq!(read_open(ACK), None);
        for len in 0..16 {
            assert_eq!(read_open(&open(0, 0, b"chat", 4)[..len]), None);
        }
    }
}
