//! Datagrams in a byte stream: each behind its length in two bytes (RFC 4571, as ICE-TCP uses it: RFC 6544 section 3).

use crate::egress::DATAGRAM_MAX;

/// The largest datagram that is taken. Nothing that a peer has to say is larger, and who says so has lost the frames, or never had any.
pub const FRAME_MAX: usize = DATAGRAM_MAX;
/// Bytes of a length.
pub const HEADER: usize = 2;

/// A frame that promises more than [`FRAME_MAX`] bytes. Where the next one begins is unknown from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLong(pub usize);

/// Cuts what comes in pieces of any size; keeps at most one frame.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The beginning of a frame, length included.
    partial: Vec<u8>,
}

impl Deframer {
    /// Hands every datagram that is complete with these bytes to `take`, in order; each may be written to.
    ///
    /// # Errors
    /// [`FrameTooLong`]: the stream has to end.
    pub fn push(
        &mut self,
        mut bytes: &mut [u8],
        mut take: impl FnMut(&mut [u8]),
    ) -> Result<(), FrameTooLong> {
        while !self.partial.is_empty() && !bytes.is_empty() {
            let end = self.partial.first_chunk().map_or(Ok(HEADER), |length| end_of(*length))?;
            let missing = (end - self.partial.len()).min(bytes.len());
            let (piece, rest) = bytes.split_at_mut(missing);
            self.partial.extend_from_slice(piece);
            bytes = rest;
            let complete = self.partial.first_chunk().map(|length| end_of(*length)).transpose()?;
            if complete == Some(self.partial.len()) {
                deliver(&mut self.partial, &mut take);
                self.partial.clear();
            }
        }
        while let Some(length) = bytes.first_chunk() {
            let end = end_of(*length)?;
            if bytes.len() < end {
                break;
            }
            let (frame, rest) = bytes.split_at_mut(end);
            deliver(frame, &mut take);
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

/// Where a frame of this length ends.
fn end_of(length: [u8; HEADER]) -> Result<usize, FrameTooLong> {
    match usize::from(u16::from_be_bytes(length)) {
        length if length > FRAME_MAX => Err(FrameTooLong(length)),
        length => Ok(HEADER + length),
    }
}

/// An empty frame says nothing.
fn deliver(frame: &mut [u8], take: &mut impl FnMut(&mut [u8])) {
    if let Some(datagram) = frame.get_mut(HEADER..).filter(|datagram| !datagram.is_empty()) {
        take(datagram);
    }
}

/// Puts a datagram behind its length. One of more than 65535 bytes is a bug and is cut off in release.
pub fn frame(out: &mut Vec<u8>, datagram: &[u8]) {
    debug_assert!(u16::try_from(datagram.len()).is_ok());
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&datagram[..usize::from(length)]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(
        deframer: &mut Deframer,
        bytes: &[u8],
        into: &mut Vec<Vec<u8>>,
    ) -> Result<(), FrameTooLong> {
        deframer.push(&mut bytes.to_vec(), |datagram| into.push(datagram.to_vec()))
    }

    #[test]
    fn a_frame_may_come_byte_by_byte_and_many_at_once() {
        let mut stream = Vec::new();
        for len in [1, 2, 0, 700, FRAME_MAX] {
            frame(&mut stream, &vec![len as u8; len]);
        }
        let whole: Vec<Vec<u8>> = [1, 2, 700, FRAME_MAX].map(|len| vec![len as u8; len]).to_vec();
        let (mut deframer, mut got) = (Deframer::default(), Vec::new());
        cut(&mut deframer, &stream, &mut got).unwrap();
        assert_eq!(got, whole);
        got.clear();
        for byte in &stream {
            cut(&mut deframer, &[*byte], &mut got).unwrap();
            assert!(deframer.partial.len() < HEADER + FRAME_MAX);
        }
        assert_eq!(got, whole);
    }

    #[test]
    fn what_promises_too_much_ends_the_stream_before_anything_is_kept() {
        let mut deframer = Deframer::default();
        let long = (FRAME_MAX as u16 + 1).to_be_bytes();
        let error = Err(FrameTooLong(FRAME_MAX + 1));
        assert_eq!(deframer.push(&mut [long[0], long[1], 7], |_| {}), error);
        deframer.push(&mut [long[0]], |_| {}).unwrap();
        assert_eq!(deframer.push(&mut [long[1]], |_| {}), error);
        assert!(deframer.partial.len() <= HEADER);
        assert!(Deframer::default().push(&mut b"GET / HTTP/1.1".to_vec(), |_| {}).is_err());
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
            cuts in prop::collection::vec(1_usize..400, 1..50),
        ) {
            let mut stream = Vec::new();
            for datagram in &frames {
                frame(&mut stream, datagram);
            }
            let (mut deframer, mut got, mut rest) = (Deframer::default(), Vec::new(), &stream[..]);
            for size in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*size).min(rest.len()));
                cut(&mut deframer, piece, &mut got).unwrap();
                rest = behind;
            }
            prop_assert_eq!(got, frames);
        }
    }
}
