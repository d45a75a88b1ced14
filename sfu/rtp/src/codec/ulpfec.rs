//! ULPFEC (RFC 5109) with one level of protection, as libwebrtc sends it inside RED: which packets a FEC packet protects, and
//! rebuilding the one of them that is missing.
//!
//! A protected packet counts as its sender had it before RED, with zeros where the sender writes header extensions after FEC
//! was made (libwebrtc: transport-wide sequence number and absolute send time).

use crate::error::ParseError;
use crate::packet::FIXED_HEADER_LEN;

/// Header and mask of the shortest FEC packet: the FEC header, the protection length, 16 bits of mask.
const HEADER_LEN: usize = 14;
/// 32 more bits of mask where the L bit is set.
const LONG_HEADER_LEN: usize = 18;
const LONG_MASK_BIT: u8 = 0x40;
/// The bits of an RTP packet's first byte that are not its version.
const FIRST_BITS: u8 = 0x3F;
const VERSION_2: u8 = 2 << 6;

/// A parsed FEC packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecPacket<'a> {
    /// The first sequence number that may be protected.
    pub base: u16,
    /// Bit `i`: packet `base + i` is protected; never 0.
    pub mask: u64,
    /// The sum of the protected packets' first two bytes, timestamps and lengths.
    head: [u8; 2],
    timestamp: u32,
    len: u16,
    /// The sum of what follows their fixed headers.
    body: &'a [u8],
}

impl<'a> FecPacket<'a> {
    /// Reads the payload of a RED block.
    ///
    /// # Errors
    /// Too short for its mask, a reserved form (E bit), a mask without packets, a protection length beyond the payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ParseError> {
        let fixed = payload.first_chunk::<HEADER_LEN>().ok_or(ParseError::Truncated)?;
        if fixed[0] & 0x80 != 0 {
            return Err(ParseError::Malformed);
        }
        let short = u64::from(u16::from_be_bytes([fixed[12], fixed[13]]).reverse_bits());
        let (mask, start) = if fixed[0] & LONG_MASK_BIT == 0 {
            (short, HEADER_LEN)
        } else {
            let rest = payload[HEADER_LEN..].first_chunk::<4>().ok_or(ParseError::Truncated)?;
            let rest = u64::from(u32::from_be_bytes(*rest).reverse_bits());
            (short | rest << 16, LONG_HEADER_LEN)
        };
        let protected = usize::from(u16::from_be_bytes([fixed[10], fixed[11]]));
        let body = payload.get(start..start + protected).ok_or(ParseError::Truncated)?;
        if mask == 0 {
            return Err(ParseError::Malformed);
        }
        Ok(Self {
            base: u16::from_be_bytes([fixed[2], fixed[3]]),
            mask,
            head: [fixed[0], fixed[1]],
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            len: u16::from_be_bytes([fixed[8], fixed[9]]),
            body,
        })
    }
}

/// Takes all protected packets but one, and has that one then.
#[derive(Clone, Debug)]
pub struct Rebuilder {
    head: [u8; 2],
    timestamp: u32,
    len: u16,
    /// Room for the fixed header, then what is protected.
    packet: Vec<u8>,
}

impl Rebuilder {
    /// Nothing but the FEC packet was taken yet.
    #[must_use]
    pub fn new(fec: &FecPacket<'_>) -> Self {
        let packet = [&[0; FIXED_HEADER_LEN], fec.body].concat();
        Self { head: fec.head, timestamp: fec.timestamp, len: fec.len, packet }
    }

    /// Takes a packet that came: its fixed header, and what follows it in two parts (CSRCs and extensions, payload with padding).
    pub fn add(&mut self, fixed: &[u8; FIXED_HEADER_LEN], parts: [&[u8]; 2]) {
        self.head[0] ^= fixed[0];
        self.head[1] ^= fixed[1];
        self.timestamp ^= u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        // Lengths are sums modulo 2 of 16-bit fields.
        #[allow(clippy::cast_possible_truncation)]
        let len = (parts[0].len() + parts[1].len()) as u16;
        self.len ^= len;
        let mut rest = &mut self.packet[FIXED_HEADER_LEN..];
        for part in parts {
            // What is longer than the protected length adds nothing.
            let (head, tail) = rest.split_at_mut(part.len().min(rest.len()));
            head.iter_mut().zip(part).for_each(|(sum, byte)| *sum ^= byte);
            rest = tail;
        }
    }

    /// The packet that was missing, whole.
    ///
    /// # Errors
    /// It was longer than what is protected.
    pub fn finish(mut self, sequence_number: u16, ssrc: u32) -> Result<Vec<u8>, ParseError> {
        let len = FIXED_HEADER_LEN + usize::from(self.len);
        if len > self.packet.len() {
            return Err(ParseError::Truncated);
        }
        self.packet.truncate(len);
        self.packet[0] = VERSION_2 | self.head[0] & FIRST_BITS;
        self.packet[1] = self.head[1];
        self.packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
        self.packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        self.packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Ok(self.packet)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packet::{HeaderFields, write_header};

    fn media(sequence_number: u16, len: usize) -> Vec<u8> {
        let mut packet = vec![0; FIXED_HEADER_LEN];
        let fields = HeaderFields {
            marker: len.is_multiple_of(2),
            payload_type: 96,
            sequence_number,
            timestamp: 0x1234_5678 + u32::from(sequence_number),
            ssrc: 7,
            ..HeaderFields::default()
        };
        write_header(&mut packet, &fields);
        packet.extend((0..len).map(|i| (i * 31 + len) as u8));
        packet
    }

    /// Made after RFC 5109 section 7.3, apart from the code above.
    fn protect(packets: &[&Vec<u8>], base: u16, long: bool) -> Vec<u8> {
        let longest = packets.iter().map(|packet| packet.len() - 12).max().unwrap();
        let mut fec = vec![0; if long { 18 } else { 14 } + longest];
        let start = fec.len() - longest;
        for packet in packets {
            fec[0] ^= packet[0] & 0x3f;
            fec[1] ^= packet[1];
            for i in 4..8 {
                fec[i] ^= packet[i];
            }
            let len = (packet.len() as u16 - 12).to_be_bytes();
            fec[8] ^= len[0];
            fec[9] ^= len[1];
            let at = usize::from(u16::from_be_bytes([packet[2], packet[3]]).wrapping_sub(base));
            fec[12 + at / 8] |= 0x80 >> (at % 8);
            for (sum, byte) in fec[start..].iter_mut().zip(&packet[12..]) {
                *sum ^= byte;
            }
        }
        fec[0] |= if long { 0x40 } else { 0 };
        fec[2..4].copy_from_slice(&base.to_be_bytes());
        fec[10..12].copy_from_slice(&(longest as u16).to_be_bytes());
        fec
    }

    fn add(rebuilder: &mut Rebuilder, packet: &[u8]) {
        let (fixed, rest) = packet.split_first_chunk().unwrap();
        let (head, tail) = rest.split_at(rest.len() / 3);
        rebuilder.add(fixed, [head, tail]);
    }

    #[test]
    fn any_one_packet_is_rebuilt() {
        for (long, offsets) in [(false, [0, 3, 15]), (true, [1, 17, 47])] {
            let base = 65_530_u16;
            let packets: Vec<_> = (offsets.iter().zip([1100, 3, 640]))
                .map(|(&at, len)| media(base.wrapping_add(at), len))
                .collect();
            let fec = protect(&packets.iter().collect::<Vec<_>>(), base, long);
            let parsed = FecPacket::parse(&fec).unwrap();
            assert_eq!(parsed.base, base);
            assert_eq!(parsed.mask, offsets.iter().map(|at| 1 << at).sum::<u64>());
            for lost in 0..3 {
                let mut rebuilder = Rebuilder::new(&parsed);
                for packet in packets.iter().enumerate().filter(|(i, _)| *i != lost) {
                    add(&mut rebuilder, packet.1);
                }
                let number = base.wrapping_add(offsets[lost]);
                assert_eq!(rebuilder.finish(number, 7).unwrap(), packets[lost], "{lost}");
            }
        }
    }

    #[test]
    fn what_is_not_protected_whole_is_not_rebuilt() {
        let (short, long) = (media(1, 10), media(2, 50));
        let mut fec = protect(&[&short, &long], 1, false);
        fec[10..12].copy_from_slice(&20_u16.to_be_bytes());
        let mut rebuilder = Rebuilder::new(&FecPacket::parse(&fec).unwrap());
        add(&mut rebuilder, &short);
        assert_eq!(rebuilder.finish(2, 7), Err(ParseError::Truncated));
    }

    #[test]
    fn malformed_packets_are_errors() {
        let fec = protect(&[&media(1, 10)], 1, true);
        for len in 0..fec.len() {
            assert_eq!(FecPacket::parse(&fec[..len]).unwrap_err(), ParseError::Truncated, "{len}");
        }
        let mut reserved = fec.clone();
        reserved[0] |= 0x80;
        assert_eq!(FecPacket::parse(&reserved), Err(ParseError::Malformed));
        let mut nothing = fec;
        nothing[12..18].fill(0);
        assert_eq!(FecPacket::parse(&nothing), Err(ParseError::Malformed));
    }
}
