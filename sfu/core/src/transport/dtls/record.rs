//! DTLS 1.2 record and handshake headers, as far as they are in the clear (RFC 6347 sections 4.1 and 4.2.2).
//!
//! Owns bytes <-> values. Never decides what is allowed.

/// Length of a record header in bytes.
pub(super) const RECORD_HEADER_LEN: usize = 13;
/// Length of a handshake header in bytes.
const HANDSHAKE_HEADER_LEN: usize = 12;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const HELLO_VERIFY_REQUEST: u8 = 3;
pub(super) const CERTIFICATE: u8 = 11;
pub(super) const SERVER_KEY_EXCHANGE: u8 = 12;
pub(super) const CERTIFICATE_REQUEST: u8 = 13;
pub(super) const SERVER_HELLO_DONE: u8 = 14;
pub(super) const CERTIFICATE_VERIFY: u8 = 15;
pub(super) const CLIENT_KEY_EXCHANGE: u8 = 16;

/// One record of a datagram.
pub(super) struct Record<'a> {
    pub(super) content_type: u8,
    pub(super) epoch: u16,
    /// Header and body, as received.
    pub(super) bytes: &'a [u8],
    pub(super) body: &'a [u8],
}

/// The records of a datagram. Ends at the first byte that is not a whole DTLS 1.0 or 1.2 record.
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let &[content_type, 0xfe, 0xfd | 0xff, e0, e1, _, _, _, _, _, _, l0, l1, ..] = self.0
        else {
            return None;
        };
        let len = RECORD_HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let epoch = u16::from_be_bytes([e0, e1]);
        Some(Record { content_type, epoch, bytes, body: bytes.get(RECORD_HEADER_LEN..)? })
    }
}

/// A whole handshake message, or a piece of one.
#[derive(Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) message_type: u8,
    /// Length of the whole message in bytes.
    pub(super) length: usize,
    pub(super) sequence: u16,
    pub(super) offset: usize,
    pub(super) data: &'a [u8],
}

/// The fragments in the body of a handshake record. Ends at the first malformed one.
pub(super) struct Fragments<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fragments<'a> {
    type Item = Fragment<'a>;

    fn next(&mut self) -> Option<Fragment<'a>> {
        let &[message_type, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2, ..] = self.0 else {
            return None;
        };
        let length = u24([l0, l1, l2]);
        let offset = u24([o0, o1, o2]);
        let end = HANDSHAKE_HEADER_LEN + u24([f0, f1, f2]);
        let (fragment, rest) = self.0.split_at_checked(end)?;
        let data = fragment.get(HANDSHAKE_HEADER_LEN..)?;
        if offset + data.len() > length {
            return None;
        }
        self.0 = rest;
        let sequence = u16::from_be_bytes([s0, s1]);
        Some(Fragment { message_type, length, sequence, offset, data })
    }
}

fn u24([a, b, c]: [u8; 3]) -> usize {
    (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c)
}

/// Appends the header of a plaintext record.
pub(super) fn write_record_header(out: &mut Vec<u8>, content_type: u8, sequence: u32, len: u16) {
    out.extend_from_slice(&[content_type, 0xfe, 0xfd, 0, 0, 0, 0]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
}

/// Appends one plaintext handshake record that holds one fragment. Nothing is written when it would not fit a record.
pub(super) fn write_handshake(out: &mut Vec<u8>, record_sequence: u32, fragment: Fragment<'_>) {
    let Ok(len) = u16::try_from(HANDSHAKE_HEADER_LEN + fragment.data.len()) else { return };
    write_record_header(out, HANDSHAKE, record_sequence, len);
    out.push(fragment.message_type);
    out.extend_from_slice(&bytes_of_u24(fragment.length));
    out.extend_from_slice(&fragment.sequence.to_be_bytes());
    out.extend_from_slice(&bytes_of_u24(fragment.offset));
    out.extend_from_slice(&bytes_of_u24(fragment.data.len()));
    out.extend_from_slice(fragment.data);
}

fn bytes_of_u24(value: usize) -> [u8; 3] {
    let [.., a, b, c] = value.to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_fragment_reads_back() {
        let mut out = Vec::new();
        let data = [7; 300];
        let fragment = Fragment {
            message_type: CERTIFICATE,
            length: 0x01_02_03,
            sequence: 5,
            offset: 0x01_00,
            data: &data,
        };
        write_handshake(&mut out, 9, fragment);
        let records: Vec<_> = Records(&out).collect();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].content_type, records[0].epoch), (HANDSHAKE, 0));
        let fragments: Vec<_> = Fragments(records[0].body).collect();
        assert_eq!(fragments.len(), 1);
        assert_eq!(fragments[0].message_type, CERTIFICATE);
        assert_eq!(fragments[0].length, 0x01_02_03);
        assert_eq!((fragments[0].sequence, fragments[0].offset), (5, 0x01_00));
        assert_eq!(fragments[0].data, data);
    }

    #[test]
    fn a_cut_record_and_a_foreign_version_end_the_datagram() {
        let mut out = Vec::new();
        write_record_header(&mut out, CHANGE_CIPHER_SPEC, 0, 1);
        out.push(1);
        assert_eq!(Records(&out).count(), 1);
        assert_eq!(Records(&out[..13]).count(), 0);
        out[2] = 0xfc;
        assert_eq!(Records(&out).count(), 0);
        assert_eq!(Records(&[]).count(), 0);
    }

    #[test]
    fn a_fragment_that_ends_beyond_its_message_is_malformed() {
        let mut out = Vec::new();
        let fragment = Fragment {
            message_type: CLIENT_HELLO,
            length: 4,
            sequence: 0,
            offset: 2,
            data: &[1, 2, 3],
        };
        write_handshake(&mut out, 0, fragment);
        let body = Records(&out).next().map(|record| record.body.to_vec());
        assert_eq!(Fragments(&body.unwrap_or_default()).count(), 0);
    }
}
