//! The header of messages on the two framed channels, and of messages between workers. PROTOCOL.md describes it for clients.

use super::{
    DataFault, DataMessage, DataSender, IDENTITY_LEN_MAX, PAYLOAD_LEN_MAX, RECIPIENTS_MAX,
    TOPIC_LEN_MAX,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// The only version there is.
const VERSION: u8 = 1;
/// Flag: the payload is text.
const TEXT: u8 = 1;

/// A message as recipients get it, made once for all of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) reliable: bool,
    pub(crate) text: bool,
    topic_len: usize,
    frame: Bytes,
    payload_start: usize,
}

const TOPIC_START: usize = 3;

impl Parcel {
    pub(crate) fn new(message: &DataMessage) -> Self {
        let DataMessage { sender, topic, reliable, text, payload, .. } = message;
        let identity = sender.identity.as_bytes();
        let payload_start = TOPIC_START + topic.len() + 4 + 2 + identity.len();
        let mut frame = BytesMut::with_capacity(payload_start + payload.len());
        frame.put_slice(&[VERSION, u8::from(*text), topic.len() as u8]);
        frame.put_slice(topic.as_bytes());
        frame.put_u32(sender.number);
        frame.put_u16(identity.len() as u16);
        frame.put_slice(identity);
        frame.put_slice(payload);
        let (frame, topic_len) = (frame.freeze(), topic.len());
        Self { reliable: *reliable, text: *text, topic_len, frame, payload_start }
    }

    /// For a framed channel.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// For a channel whose label is the topic.
    pub(crate) fn payload(&self) -> Bytes {
        self.frame.slice(self.payload_start..)
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.frame.len() - self.payload_start
    }

    pub(crate) fn topic(&self) -> &str {
        let topic = self.frame.get(TOPIC_START..TOPIC_START + self.topic_len);
        topic.and_then(|topic| std::str::from_utf8(topic).ok()).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.frame.len()
    }
}

/// Reads what a client sent on a framed channel.
pub(crate) fn read_published(
    sender: &DataSender,
    reliable: bool,
    bytes: &Bytes,
) -> Result<DataMessage, DataFault> {
    let mut reader = Reader(bytes);
    let read = (|| {
        let (flags, topic) = reader.head()?;
        let to = reader.recipients()?;
        Some((flags & TEXT != 0, topic, to))
    })();
    let (text, topic, to) = read.ok_or(DataFault::Malformed)?;
    let payload = bytes.slice(bytes.len() - reader.0.len()..);
    checked(DataMessage { sender: sender.clone(), topic, reliable, text, to, payload })
}

/// What no message may be, however it came.
pub(crate) fn checked(message: DataMessage) -> Result<DataMessage, DataFault> {
    if message.payload.len() > PAYLOAD_LEN_MAX {
        return Err(DataFault::TooLong);
    }
    if message.text && std::str::from_utf8(&message.payload).is_err() {
        return Err(DataFault::Malformed);
    }
    Ok(message)
}

/// A message for another worker: its recipients, then the frame.
pub(crate) fn write_for_worker(message: &DataMessage, parcel: &Parcel) -> Bytes {
    let names: usize = message.to.iter().map(|name| 2 + name.len()).sum();
    let mut out = BytesMut::with_capacity(2 + names + parcel.len());
    out.put_slice(&[u8::from(message.reliable), message.to.len() as u8]);
    for name in &message.to {
        out.put_u16(name.len() as u16);
        out.put_slice(name.as_bytes());
    }
    out.put_slice(parcel.frame());
    out.freeze()
}

/// Reads what [`write_for_worker`] wrote.
pub(crate) fn read_from_worker(bytes: &Bytes) -> Option<DataMessage> {
    let mut reader = Reader(bytes);
    let [reliable] = reader.take()?;
    let to = reader.recipients()?;
    let (flags, topic) = reader.head()?;
    let number = u32::from_be_bytes(reader.take()?);
    let identity: Arc<str> = reader.text(IDENTITY_LEN_MAX)?.into();
    let payload = bytes.slice(bytes.len() - reader.0.len()..);
    let (sender, reliable, text) =
        (DataSender { number, identity }, reliable != 0, flags & TEXT != 0);
    Some(DataMessage { sender, topic, reliable, text, to, payload })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*value)
    }

    fn str(&mut self, len: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    /// A text of up to `max` bytes behind its length.
    fn text(&mut self, max: usize) -> Option<String> {
        let len = usize::from(u16::from_be_bytes(self.take()?));
        if len > max { None } else { self.str(len) }
    }

    /// Version, flags and topic.
    fn head(&mut self) -> Option<(u8, String)> {
        let [version, flags, len] = self.take()?;
        let known = version == VERSION && usize::from(len) <= TOPIC_LEN_MAX;
        let topic = if known { self.str(len.into()) } else { None };
        Some((flags, topic?))
    }

    fn recipients(&mut self) -> Option<Vec<String>> {
        let [count] = self.take()?;
        if usize::from(count) > RECIPIENTS_MAX {
            return None;
        }
        let names = (0..count).map(|_| self.text(IDENTITY_LEN_MAX));
        let mut names = names.collect::<Option<Vec<_>>>()?;
        names.sort_unstable();
        Some(names)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ada() -> DataSender {
        DataSender { number: 7, identity: "ada".into() }
    }

    /// The same bytes stand in PROTOCOL.md.
    const PUBLISHED: &[u8] = b"\x01\x01\x04chat\x02\x00\x03eve\x00\x03bobhi";
    const DELIVERED: &[u8] = b"\x01\x01\x04chat\x00\x00\x00\x07\x00\x03adahi";

    fn message() -> DataMessage {
        let (topic, to) = ("chat".to_owned(), vec!["bob".to_owned(), "eve".to_owned()]);
        let payload = Bytes::from_static(b"hi");
        DataMessage { sender: ada(), topic, reliable: true, text: true, to, payload }
    }

    #[test]
    fn golden_bytes() {
        let read = read_published(&ada(), true, &Bytes::from_static(PUBLISHED));
        assert_eq!(read, Ok(message()));
        let parcel = Parcel::new(&message());
        assert_eq!(parcel.frame(), DELIVERED);
        assert_eq!((parcel.topic(), &parcel.payload()[..]), ("chat", &b"hi"[..]));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let read = |bytes: &[u8]| read_published(&ada(), true, &Bytes::copy_from_slice(bytes));
        for len in 0..PUBLISHED.len() - 2 {
            assert_eq!(read(&PUBLISHED[..len]), Err(DataFault::Malformed), "cut at {len}");
        }
        assert_eq!(read(b"\x02\x00\x00\x00"), Err(DataFault::Malformed), "another version");
        assert_eq!(read(b"\x01\x01\x00\x00\xff"), Err(DataFault::Malformed), "no text");
        assert!(read(b"\x01\x00\x00\x00\xff").is_ok());
        let long = |len| [&b"\x01\x00\x00\x00"[..], &vec![0; len]].concat();
        assert!(read(&long(PAYLOAD_LEN_MAX)).is_ok());
        assert_eq!(read(&long(PAYLOAD_LEN_MAX + 1)), Err(DataFault::TooLong));
    }

    proptest! {
        #[test]
        fn messages_between_workers_survive_and_noise_is_harmless(
            topic in ".{0,16}",
            to in proptest::collection::vec(".{0,8}", 0..4),
            flags in any::<[bool; 2]>(),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut to = to;
            to.sort();
            let [reliable, text] = flags;
            let payload = Bytes::from(payload);
            let message = DataMessage { sender: ada(), topic, reliable, text, to, payload };
            let bytes = write_for_worker(&message, &Parcel::new(&message));
            let _ = read_from_worker(&bytes.slice(..cut.index(bytes.len())));
            let _ = read_published(&ada(), true, &bytes);
            prop_assert_eq!(read_from_worker(&bytes), Some(message));
        }
    }
}
