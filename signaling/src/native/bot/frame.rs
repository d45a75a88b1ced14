//! Messages on a data channel, with the header of PROTOCOL.md.

const VERSION: u8 = 1;
const TEXT: u8 = 1;

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Text(String),
    Bytes(Vec<u8>),
}

/// A message as the server delivers it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    /// Of the sender.
    pub(super) identity: String,
    pub(super) payload: Payload,
}

/// A message to one, or to everybody else.
pub(super) fn write(topic: &str, to: Option<&str>, payload: &Payload) -> Vec<u8> {
    let (flags, content) = match payload {
        Payload::Text(text) => (TEXT, text.as_bytes()),
        Payload::Bytes(bytes) => (0, &bytes[..]),
    };
    let mut out = vec![VERSION, flags, topic.len() as u8];
    out.extend(topic.as_bytes());
    out.push(u8::from(to.is_some()));
    if let Some(to) = to {
        out.extend((to.len() as u16).to_be_bytes());
        out.extend(to.as_bytes());
    }
    out.extend(content);
    out
}

/// `None`: it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let [VERSION, flags, topic_len, rest @ ..] = bytes else { return None };
    let (topic, rest) = rest.split_at_checked(usize::from(*topic_len))?;
    // Four bytes are the sender's number.
    let (head, rest) = rest.split_at_checked(6)?;
    let len = u16::from_be_bytes([head[4], head[5]]);
    let (identity, content) = rest.split_at_checked(usize::from(len))?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let payload = match flags & TEXT {
        0 => Payload::Bytes(content.to_vec()),
        _ => Payload::Text(text(content)?),
    };
    Some(Message { topic: text(topic)?, identity: text(identity)?, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_protocol() {
        let hi = Payload::Text("hi".to_owned());
        assert_eq!(write("chat", Some("eve"), &hi), b"\x01\x01\x04chat\x01\x00\x03evehi");
        assert_eq!(write("chat", None, &Payload::Bytes(vec![7])), b"\x01\x00\x04chat\x00\x07");
        let message = b"\x01\x01\x04chat\x00\x00\x00\x07\x00\x03adahi";
        let (topic, identity) = ("chat".to_owned(), "ada".to_owned());
        assert_eq!(read(message), Some(Message { topic, identity, payload: hi }));
        for len in 0..15 {
            assert_eq!(read(&message[..len]), None, "{len}");
        }
    }
}
