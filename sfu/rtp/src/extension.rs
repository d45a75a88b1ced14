//! RTP header extensions (RFC 8285): iteration, writing, and the values that the media path reads or writes.
//!
//! Knows no meaning of ids: which id is which extension was negotiated and is the caller's to know.

use std::time::Duration;

/// Profile of the one-byte form.
pub const PROFILE_ONE_BYTE: u16 = 0xBEDE;
/// Profile of the two-byte form; the low 4 bits ("appbits") are ignored when reading and 0 when writing.
pub const PROFILE_TWO_BYTE: u16 = 0x1000;

const EXTENSION_HEADER_LEN: usize = 4;
const ONE_BYTE_ID_MAX: u8 = 14;
const ONE_BYTE_VALUE_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
}

/// Iterates over (id, value). A malformed length ends it; other profiles yield nothing.
#[derive(Clone, Debug)]
pub struct ExtensionIter<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> ExtensionIter<'a> {
    /// `body` is what follows the 4-byte extension header.
    #[inline]
    #[must_use]
    pub fn new(profile: u16, body: &'a [u8]) -> Self {
        match profile {
            PROFILE_ONE_BYTE => Self { form: Form::OneByte, rest: body },
            _ if profile & 0xFFF0 == PROFILE_TWO_BYTE => Self { form: Form::TwoByte, rest: body },
            _ => Self { form: Form::OneByte, rest: &[] },
        }
    }
}

impl<'a> Iterator for ExtensionIter<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = std::mem::take(&mut self.rest).split_first()?;
            if first == 0 {
                self.rest = rest; // padding
                continue;
            }
            let (id, len, rest) = match self.form {
                Form::OneByte => (first >> 4, usize::from(first & 0x0F) + 1, rest),
                Form::TwoByte => {
                    let (&len, rest) = rest.split_first()?;
                    (first, usize::from(len), rest)
                }
            };
            // RFC 8285 section 4.2: id 15, and id 0 with a length, end the processing.
            if self.form == Form::OneByte && (id == 0 || id == 15) {
                return None;
            }
            let (value, rest) = rest.split_at_checked(len)?;
            self.rest = rest;
            return Some((id, value));
        }
    }
}

/// Writes an extension block (its 4-byte header included) to the front of a caller's buffer.
#[derive(Debug)]
pub struct ExtensionWriter<'a> {
    buf: &'a mut [u8],
    form: Form,
    len: usize,
}

impl<'a> ExtensionWriter<'a> {
    /// Starts a block at `buf[0]`. The two-byte form is needed for ids above 14 and values that are empty or longer
    /// than 16 bytes, and may be used only where `a=extmap-allow-mixed` or such an id was negotiated.
    #[inline]
    pub fn new(buf: &'a mut [u8], two_byte: bool) -> Self {
        let form = if two_byte { Form::TwoByte } else { Form::OneByte };
        Self { buf, form, len: EXTENSION_HEADER_LEN }
    }

    /// Appends one extension and returns the offset of its value in the buffer, so that it can be patched later.
    /// `None`, with nothing written: the id or the length does not exist in this form, or the buffer is full.
    #[inline]
    pub fn push(&mut self, id: u8, value: &[u8]) -> Option<usize> {
        let head = match self.form {
            Form::OneByte => {
                let valid = (1..=ONE_BYTE_ID_MAX).contains(&id)
                    && (1..=ONE_BYTE_VALUE_MAX).contains(&value.len());
                if !valid {
                    return None;
                }
                1
            }
            Form::TwoByte => {
                if id == 0 || value.len() > usize::from(u8::MAX) {
                    return None;
                }
                2
            }
        };
        let start = self.len + head;
        let end = start + value.len();
        // `finish` pads to 4 bytes, and the length word counts 16 bits.
        if end.next_multiple_of(4) > self.buf.len() || end > 4 * usize::from(u16::MAX) {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)] // at most 255, checked above
        let len = value.len() as u8;
        match self.form {
            Form::OneByte => self.buf[self.len] = id << 4 | (len - 1),
            Form::TwoByte => self.buf[self.len..start].copy_from_slice(&[id, len]),
        }
        self.buf[start..end].copy_from_slice(value);
        self.len = end;
        Some(start)
    }

    /// Pads to 4 bytes, writes the extension header and returns all bytes of the block; 0 when nothing was pushed
    /// (then the extension bit must stay clear, see [`crate::packet::set_extension_bit`]).
    #[inline]
    #[must_use]
    pub fn finish(self) -> usize {
        if self.len == EXTENSION_HEADER_LEN {
            return 0;
        }
        let total = self.len.next_multiple_of(4);
        self.buf[self.len..total].fill(0);
        #[allow(clippy::cast_possible_truncation)] // `push` keeps it in 16 bits
        let words = (total / 4 - 1) as u16;
        let profile = match self.form {
            Form::OneByte => PROFILE_ONE_BYTE,
            Form::TwoByte => PROFILE_TWO_BYTE,
        };
        self.buf[..2].copy_from_slice(&profile.to_be_bytes());
        self.buf[2..4].copy_from_slice(&words.to_be_bytes());
        total
    }
}

/// `abs-send-time`: 24 bits, 6.18 fixed-point seconds, wraps every 64 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsSendTime(pub u32);

impl AbsSendTime {
    /// From a 64-bit NTP timestamp (32.32 seconds).
    #[inline]
    #[must_use]
    pub fn from_ntp(ntp: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // masked to 24 bits
        Self((ntp >> 14) as u32 & 0x00FF_FFFF)
    }

    /// From the time since any fixed origin: receivers use only differences.
    #[inline]
    #[must_use]
    pub fn from_duration(elapsed: Duration) -> Self {
        let fraction = (u64::from(elapsed.subsec_nanos()) << 18) / 1_000_000_000;
        #[allow(clippy::cast_possible_truncation)] // masked to 6 + 18 bits
        Self(((elapsed.as_secs() & 0x3F) << 18 | fraction) as u32)
    }

    /// Reads the 3-byte value.
    #[inline]
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = value else { return None };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// The 3-byte value.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

/// Reads the transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2). Version 2
/// of the extension appends a feedback request, which is ignored.
#[inline]
#[must_use]
pub fn read_transport_sequence(value: &[u8]) -> Option<u16> {
    match *value {
        [a, b] | [a, b, _, _] => Some(u16::from_be_bytes([a, b])),
        _ => None,
    }
}

/// Client-to-mixer audio level (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// The encoder believes that this packet holds voice.
    pub voice: bool,
    /// Level in -dBov: 0 is the loudest, 127 is silence.
    pub level: u8,
}

impl AudioLevel {
    /// Reads the 1-byte value; of a 2-byte value (one padding byte inside, as some stacks send it) the first byte.
    #[inline]
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let &([byte] | [byte, _]) = value else { return None };
        Some(Self { voice: byte & 0x80 != 0, level: byte & 0x7F })
    }

    /// The 1-byte value.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.level.min(127)]
    }
}

/// Coordination of video orientation (3GPP TS 26.114 section 7.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoOrientation {
    /// Taken by the back-facing camera.
    pub back_camera: bool,
    /// To be mirrored left to right for display.
    pub flip: bool,
    /// Quarter turns to the right for display, 0..=3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// Reads the 1-byte value.
    #[inline]
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let &[byte] = value else { return None };
        Some(Self {
            back_camera: byte & 0x08 != 0,
            flip: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    /// The 1-byte value.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        let flags = u8::from(self.back_camera) << 3 | u8::from(self.flip) << 2;
        [flags | self.quarter_turns & 0x03]
    }
}

/// Playout delay limits in units of 10 ms, 12 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// Lower limit, 0..=4095.
    pub min: u16,
    /// Upper limit, 0..=4095.
    pub max: u16,
}

impl PlayoutDelay {
    /// Reads the 3-byte value. A lower limit above the upper one is no value.
    #[inline]
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = value else { return None };
        let min = u16::from_be_bytes([a, b]) >> 4;
        let max = u16::from_be_bytes([b, c]) & 0x0FFF;
        (min <= max).then_some(Self { min, max })
    }

    /// The 3-byte value; limits above 4095 are cut to it.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        let both = u32::from(self.min.min(0x0FFF)) << 12 | u32::from(self.max.min(0x0FFF));
        let [_, a, b, c] = both.to_be_bytes();
        [a, b, c]
    }
}

/// Reads a MID: an SDP token (RFC 8843 section 15.1). Zero bytes at the end are padding.
#[inline]
#[must_use]
pub fn read_mid(value: &[u8]) -> Option<&str> {
    read_identifier(value, |byte| match byte {
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'~' => true,
        _ => byte.is_ascii_alphanumeric(),
    })
}

/// Reads a RID or repaired RID: letters and digits (RFC 8852 section 3), and `-` and `_`, which RFC 8851 allows in
/// `a=rid`. Zero bytes at the end are padding.
#[inline]
#[must_use]
pub fn read_rid(value: &[u8]) -> Option<&str> {
    read_identifier(value, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// RFC 8843 section 15.1 asks for one or two bytes; no offer with longer ones than this is accepted.
const IDENTIFIER_LEN_MAX: usize = 16;

#[inline]
fn read_identifier(value: &[u8], allowed: impl Fn(u8) -> bool) -> Option<&str> {
    let len = value.iter().rposition(|&byte| byte != 0)? + 1;
    let text = value.get(..len).filter(|text| text.len() <= IDENTIFIER_LEN_MAX)?;
    if !text.iter().all(|&byte| allowed(byte)) {
        return None;
    }
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(profile: u16, body: &[u8]) -> Vec<(u8, &[u8])> {
        ExtensionIter::new(profile, body).collect()
    }

    #[test]
    fn one_byte_form_stops_at_id_15_and_at_id_0_with_a_length() {
        assert_eq!(read(0xBEDE, &[0x10, 7, 0, 0xF0, 0x20, 8]), [(1, &[7][..])]);
        assert_eq!(read(0xBEDE, &[0x10, 7, 0, 0x01, 0x20, 8]), [(1, &[7][..])]);
        assert_eq!(read(0xBEDE, &[0x10, 7, 0, 0, 0x20, 8]), [(1, &[7][..]), (2, &[8][..])]);
    }

    #[test]
    fn two_byte_form_takes_any_appbits_and_empty_values() {
        let body = [15, 1, 9, 0, 200, 0];
        for appbits in 0..16 {
            assert_eq!(read(0x1000 | appbits, &body), [(15, &[9][..]), (200, &[][..])]);
        }
        assert!(read(0x1010, &body).is_empty());
        assert!(read(0, &body).is_empty());
    }

    #[test]
    fn lengths_beyond_the_body_end_it() {
        assert_eq!(read(0xBEDE, &[0x10, 7, 0x21, 8]), [(1, &[7][..])]);
        assert_eq!(read(0x1000, &[1, 1, 7, 2, 2, 8]), [(1, &[7][..])]);
        assert_eq!(read(0x1000, &[1, 1, 7, 2]), [(1, &[7][..])]);
    }

    #[test]
    fn writer_returns_patchable_offsets() {
        let mut buf = [0xEE; 16];
        let mut writer = ExtensionWriter::new(&mut buf, false);
        assert_eq!(writer.push(1, b"0"), Some(5));
        assert_eq!(writer.push(14, &[0; 3]), Some(7));
        assert_eq!(writer.finish(), 12);
        assert_eq!(buf[..12], [0xBE, 0xDE, 0, 2, 0x10, b'0', 0xE2, 0, 0, 0, 0, 0]);
        assert_eq!(buf[12..], [0xEE; 4]);
    }

    #[test]
    fn writer_refuses_what_the_form_cannot_hold() {
        let mut buf = [0; 64];
        let mut writer = ExtensionWriter::new(&mut buf, false);
        for (id, len) in [(0, 1), (15, 1), (1, 0), (1, 17)] {
            assert_eq!(writer.push(id, &[0; 20][..len]), None);
        }
        assert_eq!(writer.finish(), 0);
        let mut writer = ExtensionWriter::new(&mut buf, true);
        assert_eq!(writer.push(0, &[1]), None);
        assert_eq!(writer.push(15, &[]), Some(6));
        assert_eq!(writer.push(1, &[0; 256]), None);
        assert_eq!(writer.finish(), 8);
    }

    #[test]
    fn full_buffer_keeps_what_was_written() {
        let mut buf = [0; 8];
        let mut writer = ExtensionWriter::new(&mut buf, false);
        assert_eq!(writer.push(1, &[1, 2]), Some(5));
        assert_eq!(writer.push(2, &[3]), None);
        assert_eq!(writer.finish(), 8);
        assert_eq!(read(0xBEDE, &buf[4..]), [(1, &[1, 2][..])]);
        // Room for the value but not for its padding to 4 bytes.
        assert_eq!(ExtensionWriter::new(&mut [0; 7], false).push(1, &[1]), None);
        assert_eq!(ExtensionWriter::new(&mut [], false).finish(), 0);
    }

    #[test]
    fn abs_send_time_is_6_18_fixed_point() {
        assert_eq!(AbsSendTime::from_duration(Duration::from_millis(65_500)).0, 3 << 17);
        assert_eq!(AbsSendTime::from_ntp(65 << 32 | 1 << 31).0, 3 << 17);
        assert_eq!(AbsSendTime(0x12_3456).to_bytes(), [0x12, 0x34, 0x56]);
        assert_eq!(AbsSendTime::read(&[0x12, 0x34, 0x56]), Some(AbsSendTime(0x12_3456)));
        assert_eq!(AbsSendTime::read(&[1, 2]), None);
    }

    #[test]
    fn values_read_back() {
        assert_eq!(AudioLevel::read(&[0x85]), Some(AudioLevel { voice: true, level: 5 }));
        assert_eq!(AudioLevel::read(&[0x7F, 0]), Some(AudioLevel { voice: false, level: 127 }));
        assert_eq!(AudioLevel::read(&[]), None);
        assert_eq!(AudioLevel { voice: true, level: 200 }.to_bytes(), [0xFF]);
        let orientation = VideoOrientation { back_camera: true, flip: false, quarter_turns: 3 };
        assert_eq!(orientation.to_bytes(), [0x0B]);
        assert_eq!(VideoOrientation::read(&[0x0B]), Some(orientation));
        let delay = PlayoutDelay { min: 0x123, max: 0x456 };
        assert_eq!(delay.to_bytes(), [0x12, 0x34, 0x56]);
        assert_eq!(PlayoutDelay::read(&[0x12, 0x34, 0x56]), Some(delay));
        assert_eq!(PlayoutDelay::read(&[0x45, 0x61, 0x23]), None);
        assert_eq!(read_transport_sequence(&[1, 2]), Some(0x0102));
        assert_eq!(read_transport_sequence(&[1, 2, 0, 0]), Some(0x0102));
        assert_eq!(read_transport_sequence(&[1, 2, 3]), None);
    }

    #[test]
    fn identifiers_are_tokens() {
        assert_eq!(read_mid(b"audio-0"), Some("audio-0"));
        assert_eq!(read_mid(b"0\0\0"), Some("0"));
        for bad in [&b""[..], b"\0", b"a b", b"a\0b", b"\xC3\xA9", b"a:b", b"\"", b"\x7F"] {
            assert_eq!(read_mid(bad), None, "{bad:?}");
            assert_eq!(read_rid(bad), None, "{bad:?}");
        }
        assert_eq!(read_rid(b"hi_1-x"), Some("hi_1-x"));
        assert_eq!(read_rid(b"h.i"), None);
        assert_eq!(read_mid(b"h.i"), Some("h.i"));
    }

    proptest! {
        #[test]
        fn ntp_and_duration_agree(micros in 0..1_u64 << 40) {
            let elapsed = Duration::from_micros(micros);
            let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
            let ntp = elapsed.as_secs() << 32 | fraction;
            prop_assert_eq!(AbsSendTime::from_ntp(ntp), AbsSendTime::from_duration(elapsed));
        }
    }
}
