//! EBML elements (RFC 8794): an id, the length of the content in eight bytes or fewer, the content.

/// Content of a length that is not known while it is written (section 6.2), in eight bytes so that it can be put in later.
pub(super) const UNKNOWN_LENGTH: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// An element of bytes, or of other elements.
pub(super) fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = id_bytes(id);
    bytes.extend(length(content.len() as u64));
    bytes.extend_from_slice(content);
    bytes
}

/// An element of other elements.
pub(super) fn master(id: u32, children: &[Vec<u8>]) -> Vec<u8> {
    element(id, &children.concat())
}

pub(super) fn unsigned(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

pub(super) fn float(id: u32, value: f64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

pub(super) fn text(id: u32, value: &str) -> Vec<u8> {
    element(id, value.as_bytes())
}

/// The bytes of an id, its marker included.
pub(super) fn id_bytes(id: u32) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    bytes[id.leading_zeros() as usize / 8..].to_vec()
}

/// Always eight bytes: a marker bit, then 56 bits.
pub(super) fn length(value: u64) -> [u8; 8] {
    (value | 1 << 56).to_be_bytes()
}
