//! The STUN codec of an ICE-lite agent (RFC 8489, RFC 8445): Binding requests in, Binding responses out, and the one check of its own that
//! asks who is behind an address.
//!
//! Borrows from the datagram, allocates nothing to read, and looks only at attributes in front of MESSAGE-INTEGRITY, because whatever
//! follows it was added by somebody without the password. Knows nothing of tuples, credentials or time: that is `ice`.
//! `rtc-stun` computes the CRC here and is the oracle of the tests.

use hmac::{Hmac, KeyInit, Mac};
use rtc_stun::fingerprint::fingerprint_value;
use sha1::Sha1;
use std::net::{IpAddr, SocketAddr};

/// RFC 8489 section 5.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const HEADER_LEN: usize = 20;
/// MESSAGE-INTEGRITY with its attribute header.
const INTEGRITY_LEN: usize = 24;
/// FINGERPRINT with its attribute header.
const FINGERPRINT_LEN: usize = 8;
/// Longest USERNAME that is looked at, in bytes (RFC 8489 section 14.3).
const USERNAME_MAX: usize = 513;
/// Attribute types listed in one 420 response: keeps the reply about as small as the request.
const UNKNOWN_MAX: usize = 8;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
/// libwebrtc's renomination counter.
const NOMINATION: u16 = 0xC001;
/// PRIORITY of a check: that of a peer-reflexive candidate (RFC 8445 section 5.1.2).
const PEER_REFLEXIVE: u32 = 0x6EFF_FFFF;
/// First comprehension-optional type.
const OPTIONAL: u16 = 0x8000;

/// What is wrong with a datagram. [`StunError::RoleConflict`] and [`StunError::UnknownAttribute`] are authenticated and answered; all
/// others are met with silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StunError {
    /// Not one whole STUN message.
    #[error("malformed STUN message")]
    Malformed,
    /// A response, an indication or another method.
    #[error("not a STUN Binding request")]
    NotBindingRequest,
    /// FINGERPRINT does not match.
    #[error("STUN fingerprint mismatch")]
    Fingerprint,
    /// USERNAME is missing or names other credentials.
    #[error("STUN username of other credentials")]
    Username,
    /// MESSAGE-INTEGRITY is missing or does not match.
    #[error("STUN message integrity missing or wrong")]
    Integrity,
    /// The peer claims to be controlled, which a lite agent always is (487).
    #[error("both ICE agents are controlled")]
    RoleConflict,
    /// A comprehension-required attribute is unknown (420).
    #[error("unknown comprehension-required STUN attribute")]
    UnknownAttribute,
}

/// Does a datagram with this beginning look like STUN? The first byte tells it from DTLS and RTP (RFC 7983), the cookie from noise.
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN
        && datagram.first().is_some_and(|&byte| byte < 4)
        && datagram.get(4..8) == Some(&MAGIC_COOKIE)
}

/// The user fragments that a Binding request names: the receiver's, then the sender's. Nothing is authenticated yet.
#[must_use]
pub fn ufrag_of(datagram: &[u8]) -> Option<(&str, &str)> {
    Request::parse(datagram).ok()?.ufrags()
}

/// Length of a transaction id in bytes.
pub const TRANSACTION_LEN: usize = 12;

/// Writes a check of a controlled agent (RFC 8445 section 7.2.2). `ufrags`: the peer's, then ours; `password`: the peer's.
pub fn write_check(
    out: &mut Vec<u8>,
    transaction: &[u8; TRANSACTION_LEN],
    ufrags: (&str, &str),
    password: &str,
) {
    out.clear();
    out.extend_from_slice(&BINDING_REQUEST.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(transaction);
    attribute(out, USERNAME, format!("{}:{}", ufrags.0, ufrags.1).as_bytes());
    attribute(out, PRIORITY, &PEER_REFLEXIVE.to_be_bytes());
    // The tie-breaker: a lite agent is controlled whatever it says.
    attribute(out, ICE_CONTROLLED, &[0; 8]);
    seal(out, password);
}

/// A Binding success response, not authenticated before [`Success::verify`].
#[derive(Clone, Copy, Debug)]
pub struct Success<'a>(Request<'a>);

impl<'a> Success<'a> {
    /// Reads one datagram; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Request::read(bytes, BINDING_SUCCESS).ok().map(Self)
    }

    /// Which request it answers.
    #[must_use]
    pub fn transaction(&self) -> Option<[u8; TRANSACTION_LEN]> {
        self.0.bytes.get(8..HEADER_LEN)?.try_into().ok()
    }

    /// Is MESSAGE-INTEGRITY there and made with `password`, which the request was made with?
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        self.0.verify(password)
    }
}

/// A well-formed Binding request, not authenticated before [`Request::verify`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The whole message.
    bytes: &'a [u8],
    /// Where the attributes end that count: at MESSAGE-INTEGRITY.
    integrity: Option<usize>,
    username: Option<&'a [u8]>,
    priority: u32,
    use_candidate: bool,
    controlled: bool,
    nomination: Option<u32>,
    unknown: [u16; UNKNOWN_MAX],
    unknown_len: usize,
}

impl<'a> Request<'a> {
    /// Reads one datagram, FINGERPRINT included when it is present.
    ///
    /// # Errors
    /// [`StunError::Malformed`], [`StunError::NotBindingRequest`], [`StunError::Fingerprint`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        Self::read(bytes, BINDING_REQUEST)
    }

    fn read(bytes: &'a [u8], kind: u16) -> Result<Self, StunError> {
        let body_len = usize::from(u16_at(bytes, 2).ok_or(StunError::Malformed)?);
        if !is_stun(bytes) || body_len % 4 != 0 || bytes.len() != HEADER_LEN + body_len {
            return Err(StunError::Malformed);
        }
        if u16_at(bytes, 0) != Some(kind) {
            return Err(StunError::NotBindingRequest);
        }
        let mut request = Self {
            bytes,
            integrity: None,
            username: None,
            priority: 0,
            use_candidate: false,
            controlled: false,
            nomination: None,
            unknown: [0; UNKNOWN_MAX],
            unknown_len: 0,
        };
        let mut at = HEADER_LEN;
        while at < bytes.len() {
            let kind = u16_at(bytes, at).ok_or(StunError::Malformed)?;
            let len = usize::from(u16_at(bytes, at + 2).ok_or(StunError::Malformed)?);
            let value = bytes.get(at + 4..at + 4 + len).ok_or(StunError::Malformed)?;
            let next = at + 4 + len.next_multiple_of(4);
            if kind == FINGERPRINT {
                // Section 14.7: the last attribute. `next` past the end cannot be, as the body is a multiple of 4.
                let expected = fingerprint_value(bytes.get(..at).ok_or(StunError::Malformed)?);
                if next != bytes.len() || value != expected.to_be_bytes() {
                    return Err(StunError::Fingerprint);
                }
            } else if request.integrity.is_none() {
                request.attribute(at, kind, value)?;
            }
            at = next;
        }
        Ok(request)
    }

    fn attribute(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Result<(), StunError> {
        match kind {
            MESSAGE_INTEGRITY if value.len() == INTEGRITY_LEN - 4 => self.integrity = Some(at),
            MESSAGE_INTEGRITY => return Err(StunError::Malformed),
            // Section 14: only the first of several attributes of one type counts.
            USERNAME => self.username = self.username.or(Some(value)),
            PRIORITY => self.priority = u32_of(value)?,
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLED => self.controlled = true,
            NOMINATION => self.nomination = Some(u32_of(value)?),
            // Types of RFC 8489 that mean nothing in a check: MAPPED-ADDRESS, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, …
            0x0001 | 0x0009 | 0x000A | 0x0014 | 0x0015 | 0x001C..=0x001E | 0x0020 | OPTIONAL.. => {}
            unknown => {
                if let Some(slot) = self.unknown.get_mut(self.unknown_len) {
                    *slot = unknown;
                    self.unknown_len += 1;
                }
            }
        }
        Ok(())
    }

    /// USERNAME as (receiver's ufrag, sender's ufrag).
    #[must_use]
    pub fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        let username = self.username.filter(|username| username.len() <= USERNAME_MAX)?;
        std::str::from_utf8(username).ok()?.split_once(':')
    }

    /// Is MESSAGE-INTEGRITY there and made with `password`? Compares in constant time.
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        let Some((at, value)) =
            self.integrity.and_then(|at| Some((at, self.bytes.get(at + 4..at + INTEGRITY_LEN)?)))
        else {
            return false;
        };
        self.bytes
            .get(..at)
            .and_then(|covered| mac(password, covered))
            .is_some_and(|mac| mac.verify_slice(value).is_ok())
    }

    /// PRIORITY, 0 when missing.
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Is USE-CANDIDATE there?
    #[must_use]
    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// Does the sender claim to be controlled?
    #[must_use]
    pub fn controlled(&self) -> bool {
        self.controlled
    }

    /// libwebrtc's NOMINATION counter.
    #[must_use]
    pub fn nomination(&self) -> Option<u32> {
        self.nomination
    }

    /// The first few comprehension-required attribute types that we do not know.
    #[must_use]
    pub fn unknown(&self) -> &[u16] {
        self.unknown.get(..self.unknown_len).unwrap_or_default()
    }

    /// Writes a success response: what the peer's address looks like from here.
    pub fn write_success(&self, out: &mut Vec<u8>, mapped: SocketAddr, password: &str) {
        self.begin(out, BINDING_SUCCESS);
        let mut value = [0u8; 20];
        let port = mapped.port().to_be_bytes();
        let (family, ip_len) = match mapped.ip() {
            IpAddr::V4(ip) => {
                value[4..8].copy_from_slice(&ip.octets());
                (1, 4)
            }
            IpAddr::V6(ip) => {
                value[4..20].copy_from_slice(&ip.octets());
                (2, 16)
            }
        };
        value[1] = family;
        value[2..4].copy_from_slice(&port);
        // Section 14.2: the port is masked with the cookie's first half, the address with cookie and transaction id.
        let mask = self.bytes.get(4..HEADER_LEN).unwrap_or_default();
        for (byte, mask) in value[2..4].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        for (byte, mask) in value[4..].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        attribute(out, XOR_MAPPED_ADDRESS, value.get(..4 + ip_len).unwrap_or_default());
        seal(out, password);
    }

    /// Writes `487 Role Conflict` (RFC 8445 section 7.3.1.1).
    pub fn write_role_conflict(&self, out: &mut Vec<u8>, password: &str) {
        self.begin(out, BINDING_ERROR);
        attribute(out, ERROR_CODE, b"\0\0\x04\x57Role Conflict");
        seal(out, password);
    }

    /// Writes `420 Unknown Attribute` (RFC 8489 section 6.3.1).
    pub fn write_unknown(&self, out: &mut Vec<u8>, password: &str) {
        self.begin(out, BINDING_ERROR);
        attribute(out, ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
        let mut types = [0u8; 2 * UNKNOWN_MAX];
        for (bytes, kind) in types.chunks_exact_mut(2).zip(self.unknown()) {
            bytes.copy_from_slice(&kind.to_be_bytes());
        }
        let len = 2 * self.unknown().len();
        attribute(out, UNKNOWN_ATTRIBUTES, types.get(..len).unwrap_or_default());
        seal(out, password);
    }

    /// A header with our cookie and the request's transaction id.
    fn begin(&self, out: &mut Vec<u8>, kind: u16) {
        out.clear();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(self.bytes.get(4..HEADER_LEN).unwrap_or_default());
    }
}

/// HMAC-SHA1 over everything in front of MESSAGE-INTEGRITY, as if the message ended with it (RFC 8489 section 14.5).
fn mac(password: &str, covered: &[u8]) -> Option<Hmac<Sha1>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).ok()?;
    let len = u16::try_from(covered.len() + INTEGRITY_LEN - HEADER_LEN).ok()?;
    mac.update(covered.get(..2)?);
    mac.update(&len.to_be_bytes());
    mac.update(covered.get(4..)?);
    Some(mac)
}

/// Ends a message with MESSAGE-INTEGRITY and FINGERPRINT.
fn seal(out: &mut Vec<u8>, password: &str) {
    if let Some(mac) = mac(password, out) {
        attribute(out, MESSAGE_INTEGRITY, &mac.finalize().into_bytes());
    }
    set_len(out, FINGERPRINT_LEN);
    let crc = fingerprint_value(out);
    attribute(out, FINGERPRINT, &crc.to_be_bytes());
}

/// Appends one padded attribute. Values are at most 513 bytes here.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    set_len(out, 0);
}

/// Writes the header's length: what is there and `more` bytes to come.
fn set_len(out: &mut [u8], more: usize) {
    let len = (out.len() + more - HEADER_LEN) as u16;
    if let Some(field) = out.get_mut(2..4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_of(value: &[u8]) -> Result<u32, StunError> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| StunError::Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtc_stun::attributes::{
        ATTR_ICE_CONTROLLING, ATTR_MESSAGE_INTEGRITY, ATTR_UNKNOWN_ATTRIBUTES, ATTR_USERNAME,
        AttrType,
    };
    use rtc_stun::error_code::ErrorCodeAttribute;
    use rtc_stun::fingerprint::FINGERPRINT as WITH_FINGERPRINT;
    use rtc_stun::integrity::MessageIntegrity;
    use rtc_stun::message::{BINDING_REQUEST, Getter, Message, Setter, TransactionId};
    use rtc_stun::xoraddr::XorMappedAddress;

    /// RFC 5769 section 2.1.
    const SAMPLE_REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    /// A check by `rtc-stun`: USERNAME, the given attributes, MESSAGE-INTEGRITY if there is a password, FINGERPRINT.
    pub(crate) fn request(
        username: &str,
        password: Option<&str>,
        attributes: &[(u16, &[u8])],
    ) -> Vec<u8> {
        let provider = rtc_stun::crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.write_header();
        TransactionId([7; 12]).add_to(&mut message).unwrap();
        message.add(ATTR_USERNAME, username.as_bytes());
        for (kind, value) in attributes {
            message.add(AttrType(*kind), value);
        }
        if let Some(password) = password {
            MessageIntegrity::new_short_term_integrity_with_provider(
                password.to_owned(),
                provider.crypto(),
            )
            .add_to(&mut message)
            .unwrap();
        }
        WITH_FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    /// Reads a response with `rtc-stun`, integrity and fingerprint checked.
    pub(crate) fn response(bytes: &[u8], password: &str) -> Message {
        let provider = rtc_stun::crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.unmarshal_binary(bytes).unwrap();
        MessageIntegrity::check(&mut message, password.as_bytes(), provider.crypto()).unwrap();
        WITH_FINGERPRINT.check(&message).unwrap();
        assert_eq!(message.transaction_id.0, [7; 12]);
        message
    }

    pub(crate) fn error_code(message: &Message) -> u16 {
        let mut code = ErrorCodeAttribute::default();
        code.get_from(message).unwrap();
        code.code.0
    }

    #[test]
    fn reads_the_sample_request_of_rfc_5769() {
        let request = Request::parse(SAMPLE_REQUEST).unwrap();
        assert_eq!(request.ufrags(), Some(("evtj", "h6vY")));
        assert_eq!(ufrag_of(SAMPLE_REQUEST), Some(("evtj", "h6vY")));
        assert_eq!(request.priority(), 0x6e00_01ff);
        assert!(request.controlled() && !request.use_candidate());
        assert!(request.verify(SAMPLE_PASSWORD));
        assert!(!request.verify("VOkJxbRl1RmTxUk/WvJxBu"));
    }

    #[test]
    fn one_flipped_bit_is_never_accepted() {
        for bit in 0..SAMPLE_REQUEST.len() * 8 {
            let mut bytes = SAMPLE_REQUEST.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let accepted =
                Request::parse(&bytes).is_ok_and(|request| request.verify(SAMPLE_PASSWORD));
            // The type bytes of FINGERPRINT alone are covered by nothing.
            let fingerprint_type = SAMPLE_REQUEST.len() - FINGERPRINT_LEN;
            let uncovered = (fingerprint_type..fingerprint_type + 2).contains(&(bit / 8));
            assert!(!accepted || uncovered, "bit {bit}");
        }
    }

    #[test]
    fn attributes_behind_the_integrity_do_not_count() {
        let mut bytes = request("a:b", Some("secret"), &[]);
        bytes.truncate(bytes.len() - FINGERPRINT_LEN);
        attribute(&mut bytes, USE_CANDIDATE, &[]);
        attribute(&mut bytes, NOMINATION, &[0, 0, 0, 9]);
        attribute(&mut bytes, ICE_CONTROLLED, &[0; 8]);
        let request = Request::parse(&bytes).unwrap();
        assert!(request.verify("secret"));
        assert!(!request.use_candidate() && !request.controlled());
        assert_eq!(request.nomination(), None);
    }

    #[test]
    fn nothing_may_follow_the_fingerprint() {
        let mut bytes = request("a:b", Some("secret"), &[]);
        bytes.truncate(bytes.len() - FINGERPRINT_LEN);
        set_len(&mut bytes, FINGERPRINT_LEN + 4);
        let crc = fingerprint_value(&bytes);
        attribute(&mut bytes, FINGERPRINT, &crc.to_be_bytes());
        attribute(&mut bytes, 0x8022, &[]);
        assert_eq!(Request::parse(&bytes).unwrap_err(), StunError::Fingerprint);
    }

    #[test]
    fn success_says_the_mapped_address() {
        let bytes = request("a:b", Some("secret"), &[(ATTR_ICE_CONTROLLING.0, &[1; 8])]);
        let request = Request::parse(&bytes).unwrap();
        for mapped in ["192.0.2.1:32853", "[2001:db8::1:2]:5"] {
            let mapped: SocketAddr = mapped.parse().unwrap();
            let mut out = vec![1, 2, 3];
            request.write_success(&mut out, mapped, "secret");
            let message = response(&out, "secret");
            let mut address = XorMappedAddress::default();
            address.get_from(&message).unwrap();
            assert_eq!(SocketAddr::new(address.ip, address.port), mapped);
            assert_eq!(message.typ, rtc_stun::message::BINDING_SUCCESS);
            assert!(out.len() * 2 <= bytes.len() * 3, "an amplifier");
        }
    }

    #[test]
    fn errors_say_their_code() {
        let bytes = request("a:b", Some("secret"), &[(0x7001, &[1]), (0x0999, &[]), (0xC123, &[])]);
        let request = Request::parse(&bytes).unwrap();
        let mut out = Vec::new();
        request.write_unknown(&mut out, "secret");
        let message = response(&out, "secret");
        assert_eq!(error_code(&message), 420);
        assert_eq!(message.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap(), [0x70, 0x01, 0x09, 0x99]);
        request.write_role_conflict(&mut out, "secret");
        let message = response(&out, "secret");
        assert_eq!(error_code(&message), 487);
        assert_eq!(message.typ, rtc_stun::message::BINDING_ERROR);
        assert!(message.contains(ATTR_MESSAGE_INTEGRITY));
    }

    #[test]
    fn many_unknown_attributes_make_no_long_answer() {
        let kinds: Vec<(u16, &[u8])> = (0..200).map(|kind| (0x4000 + kind, &[][..])).collect();
        let bytes = request("a:b", Some("secret"), &kinds);
        let mut out = Vec::new();
        Request::parse(&bytes).unwrap().write_unknown(&mut out, "secret");
        assert_eq!(response(&out, "secret").get(ATTR_UNKNOWN_ATTRIBUTES).unwrap().len(), 16);
    }

    #[test]
    fn other_messages_are_not_binding_requests() {
        for kind in [0x0011u16, BINDING_SUCCESS, BINDING_ERROR, 0x0003] {
            let mut bytes = SAMPLE_REQUEST.to_vec();
            bytes[..2].copy_from_slice(&kind.to_be_bytes());
            assert_eq!(Request::parse(&bytes).unwrap_err(), StunError::NotBindingRequest);
            assert_eq!(ufrag_of(&bytes), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), shape: bool) {
            if shape && bytes.len() >= HEADER_LEN {
                bytes.truncate(bytes.len() / 4 * 4);
                bytes[..2].copy_from_slice(&super::BINDING_REQUEST.to_be_bytes());
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
                set_len(&mut bytes, 0);
            }
            let _ = is_stun(&bytes);
            let _ = ufrag_of(&bytes);
            if let Ok(request) = Request::parse(&bytes) {
                prop_assert!(!request.verify("secret"));
                let mut out = Vec::new();
                request.write_unknown(&mut out, "secret");
            }
        }

        #[test]
        fn damaged_requests_never_panic(at in 0..SAMPLE_REQUEST.len(), value: u8, len in 0..=SAMPLE_REQUEST.len()) {
            let mut bytes = SAMPLE_REQUEST.to_vec();
            bytes[at] = value;
            bytes.truncate(len);
            let _ = Request::parse(&bytes).map(|request| request.verify(SAMPLE_PASSWORD));
        }
    }
}
