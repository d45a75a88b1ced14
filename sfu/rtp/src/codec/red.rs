//! Redundant audio (RFC 2198): the block header walk, and rewriting of the block payload types in place.

use crate::error::ParseError;

const FOLLOWS_BIT: u8 = 0x80;
/// A block's timestamp offset has 14 bits (RFC 2198 section 3) …
pub const TIMESTAMP_OFFSET_MAX: u32 = 0x3FFF;
/// … and its length 10.
pub const BLOCK_MAX: usize = 0x3FF;

/// One block: redundant ones first, the primary one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedBlock<'a> {
    /// Payload type of the block.
    pub payload_type: u8,
    /// How far the block lies before the packet's timestamp, in clock ticks; 0 in the primary block.
    pub timestamp_offset: u16,
    /// The last block, whose timestamp is the packet's.
    pub primary: bool,
    /// Its payload.
    pub data: &'a [u8],
}

/// Iterates over the blocks of a payload.
///
/// # Errors
/// The headers are cut, or the blocks are longer than the payload.
pub fn blocks(payload: &[u8]) -> Result<RedBlocks<'_>, ParseError> {
    let mut headers_len = 0;
    let mut blocks_len = 0;
    loop {
        let header = Header::read(payload, headers_len)?;
        headers_len += header.len();
        blocks_len += header.block_len;
        if header.primary {
            break;
        }
    }
    if headers_len + blocks_len > payload.len() {
        return Err(ParseError::Truncated);
    }
    Ok(RedBlocks { payload, header: Some(0), data: headers_len })
}

/// Writes redundant blocks of one payload type (timestamp offset, data), oldest first, and the primary one. Returns the length.
///
/// `None`: it does not fit into `out`, or a block into its fields.
pub fn write<'a>(
    out: &mut [u8],
    payload_type: u8,
    redundant: impl Iterator<Item = (u16, &'a [u8])> + Clone,
    primary: &[u8],
) -> Option<usize> {
    let mut at = 0;
    for (offset, data) in redundant.clone() {
        if u32::from(offset) > TIMESTAMP_OFFSET_MAX || data.len() > BLOCK_MAX {
            return None;
        }
        let [_, a, b, c] = (u32::from(offset) << 10 | data.len() as u32).to_be_bytes();
        let header = [FOLLOWS_BIT | payload_type & 0x7F, a, b, c];
        out.get_mut(at..at + header.len())?.copy_from_slice(&header);
        at += header.len();
    }
    *out.get_mut(at)? = payload_type & 0x7F;
    at += 1;
    for data in redundant.map(|(_, data)| data).chain([primary]) {
        out.get_mut(at..at + data.len())?.copy_from_slice(data);
        at += data.len();
    }
    Some(at)
}

/// Maps the payload type of every block in place.
///
/// # Errors
/// A malformed payload, or a payload type that `map` does not know; then nothing is changed.
pub fn rewrite_block_payload_types(
    payload: &mut [u8],
    map: impl Fn(u8) -> Option<u8>,
) -> Result<(), ParseError> {
    for block in blocks(payload)? {
        map(block.payload_type).ok_or(ParseError::UnmappedPayloadType)?;
    }
    let mut offset = 0;
    loop {
        let header = Header::read(payload, offset)?;
        let mapped = map(header.payload_type).ok_or(ParseError::UnmappedPayloadType)?;
        payload[offset] = payload[offset] & FOLLOWS_BIT | mapped & 0x7F;
        if header.primary {
            return Ok(());
        }
        offset += header.len();
    }
}

/// See [`blocks`].
#[derive(Clone, Debug)]
pub struct RedBlocks<'a> {
    payload: &'a [u8],
    /// Offset of the next block header.
    header: Option<usize>,
    /// Offset of the next block's data.
    data: usize,
}

impl<'a> Iterator for RedBlocks<'a> {
    type Item = RedBlock<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.header.take()?;
        let header = Header::read(self.payload, offset).ok()?;
        let end = if header.primary { self.payload.len() } else { self.data + header.block_len };
        let data = self.payload.get(self.data..end)?;
        self.data = end;
        self.header = (!header.primary).then_some(offset + header.len());
        Some(RedBlock {
            payload_type: header.payload_type,
            timestamp_offset: header.timestamp_offset,
            primary: header.primary,
            data,
        })
    }
}

struct Header {
    payload_type: u8,
    timestamp_offset: u16,
    block_len: usize,
    primary: bool,
}

impl Header {
    fn read(payload: &[u8], offset: usize) -> Result<Self, ParseError> {
        let rest = payload.get(offset..).unwrap_or_default();
        let &first = rest.first().ok_or(ParseError::Truncated)?;
        let payload_type = first & 0x7F;
        if first & FOLLOWS_BIT == 0 {
            return Ok(Self { payload_type, timestamp_offset: 0, block_len: 0, primary: true });
        }
        let &[_, a, b, c] = rest.first_chunk::<4>().ok_or(ParseError::Truncated)?;
        Ok(Self {
            payload_type,
            timestamp_offset: u16::from_be_bytes([a, b]) >> 2,
            block_len: usize::from(u16::from_be_bytes([b & 0x03, c])),
            primary: false,
        })
    }

    fn len(&self) -> usize {
        if self.primary { 1 } else { 4 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Two redundant blocks of payload type 111 (1920 and 960 ticks back, 2 and 3 bytes), then the primary.
    const SAMPLE: [u8; 16] =
        [0xEF, 0x1E, 0x00, 0x02, 0xEF, 0x0F, 0x00, 0x03, 0x6F, 1, 2, 3, 4, 5, 6, 7];

    #[test]
    fn what_is_written_is_read() {
        let redundant = [(1920, &[1, 2, 3][..]), (960, &[4; 200][..])];
        let mut out = [0; 300];
        let len = write(&mut out, 111, redundant.iter().copied(), &[9, 9]).unwrap();
        let read: Vec<_> = blocks(&out[..len])
            .unwrap()
            .map(|b| (b.payload_type, b.timestamp_offset, b.primary, b.data.to_vec()))
            .collect();
        let expected = [
            (111, 1920, false, vec![1, 2, 3]),
            (111, 960, false, vec![4; 200]),
            (111, 0, true, vec![9, 9]),
        ];
        assert_eq!(read, expected);
        assert_eq!(write(&mut out[..len - 1], 111, redundant.iter().copied(), &[9, 9]), None);
        assert_eq!(write(&mut out, 111, [(0x4000, &[1][..])].into_iter(), &[9]), None);
    }

    #[test]
    fn blocks_are_walked() {
        let all = blocks(&SAMPLE).unwrap().collect::<Vec<_>>();
        let block = |timestamp_offset, data| RedBlock {
            payload_type: 111,
            timestamp_offset,
            primary: timestamp_offset == 0,
            data,
        };
        assert_eq!(
            all,
            [block(1920, &[1, 2][..]), block(960, &[3, 4, 5][..]), block(0, &[6, 7][..])]
        );
        let lone = blocks(&[0x6F]).unwrap().collect::<Vec<_>>();
        assert_eq!(lone, [block(0, &[][..])]);
    }

    #[test]
    fn lengths_have_ten_bits() {
        let mut payload = vec![0x80 | 5, 0xFF, 0xFF, 0xFF, 5];
        payload.resize(5 + 1023, 0);
        let first = blocks(&payload).unwrap().next().unwrap();
        assert_eq!((first.timestamp_offset, first.data.len()), (0x3FFF, 1023));
        payload.pop();
        assert!(blocks(&payload).is_err());
    }

    #[test]
    fn truncations_are_errors() {
        for len in 0..14 {
            assert_eq!(blocks(&SAMPLE[..len]).unwrap_err(), ParseError::Truncated, "{len}");
        }
        assert!(blocks(&SAMPLE[..14]).unwrap().last().unwrap().data.is_empty());
    }

    #[test]
    fn payload_types_are_mapped_in_place() {
        let mut payload = SAMPLE;
        payload[4] = 0xE0; // 96
        rewrite_block_payload_types(&mut payload, |from| match from {
            111 => Some(63),
            96 => Some(97),
            _ => None,
        })
        .unwrap();
        let expected = [0xBF, 0x1E, 0x00, 0x02, 0xE1, 0x0F, 0x00, 0x03, 0x3F, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(payload, expected);
    }

    #[test]
    fn an_unknown_payload_type_changes_nothing() {
        let mut payload = SAMPLE;
        payload[8] = 0x05;
        let before = payload;
        let result = rewrite_block_payload_types(&mut payload, |from| (from == 111).then_some(63));
        assert_eq!(result, Err(ParseError::UnmappedPayloadType));
        assert_eq!(payload, before);
    }
}
