//! Everything that reads bytes of strangers, one function for each reader: `tests/fuzz/run` feeds them with what libFuzzer makes up, and the test
//! `fuzz` with the committed corpora. A function fails by a panic.

mod codec;
mod engine;
mod signaling;
mod transport;

/// A reader and its name, which is also the name of its corpus in `tests/golden/fuzz/`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name.
    pub name: &'static str,
    /// Reads.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// All of them.
pub const TARGETS: [Target; 23] = [
    target("stun", transport::stun),
    target("ice", transport::ice),
    target("dtls", transport::dtls),
    target("client_hello", transport::client_hello),
    target("srtp", transport::srtp),
    target("sctp", transport::sctp),
    target("framing", transport::framing),
    target("rtp", codec::rtp),
    target("extensions", codec::extensions),
    target("dependency_descriptor", codec::dependency_descriptor),
    target("rtcp", codec::rtcp),
    target("transport_feedback", codec::transport_feedback),
    target("vp8", codec::vp8),
    target("vp9", codec::vp9),
    target("av1", codec::av1),
    target("h264", codec::h264),
    target("h265", codec::h265),
    target("red", codec::red),
    target("sdp_offer", signaling::sdp_offer),
    target("sdp_fragment", signaling::sdp_fragment),
    target("client_message", signaling::client_message),
    target("token", signaling::token),
    target("engine", engine::engine),
];

/// Takes values from the front of an input; past its end everything is zero.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Even is yes.
    fn flag(&mut self) -> bool {
        self.u8() & 1 == 0
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// At most so many bytes.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
