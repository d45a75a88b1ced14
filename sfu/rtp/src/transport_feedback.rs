//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1): builder
//! and parser of RTCP packet type 205, format 15.
//!
//! Knows nothing of bandwidth; arrival times come in and go out as microseconds.

use crate::error::ParseError;
use crate::rtcp::{RtcpPacket, TRANSPORT_FEEDBACK};

/// Feedback message type.
pub const FORMAT: u8 = 15;
/// One feedback packet never grows beyond this, so that SRTCP around it still fits every path.
pub const PACKET_LEN_MAX: usize = 1200;
/// One received packet: fixed part, one chunk and a small delta, padded.
pub const PACKET_LEN_MIN: usize = 24;

const FIXED_LEN: usize = 20;
const TICK_US: u64 = 250;
/// The reference time counts 64 ms.
const TICKS_PER_REFERENCE: u64 = 256;
const RUN_LENGTH_MAX: u16 = 0x1FFF;

/// Status symbols of section 3.1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Symbol {
    #[default]
    NotReceived,
    SmallDelta,
    LargeDelta,
}

impl Symbol {
    fn from_bits(bits: u16) -> Result<Self, ParseError> {
        match bits & 0x03 {
            0 => Ok(Self::NotReceived),
            1 => Ok(Self::SmallDelta),
            2 => Ok(Self::LargeDelta),
            _ => Err(ParseError::Malformed),
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::NotReceived => 0,
            Self::SmallDelta => 1,
            Self::LargeDelta => 2,
        }
    }

    fn delta_len(self) -> usize {
        usize::from(self.bits())
    }
}

/// Writes feedback packets; numbers them.
#[derive(Clone, Copy, Debug)]
pub struct TransportFeedbackBuilder {
    /// Our SSRC.
    pub sender_ssrc: u32,
    /// SSRC of any media stream of the peer.
    pub media_ssrc: u32,
    /// Feedback packet count of the next packet; goes up by one with each, wrapping.
    pub feedback_count: u8,
}

/// What one [`TransportFeedbackBuilder::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the packet in the buffer; 0 when none of the entries was received, so that there is nothing to send.
    pub len: usize,
    /// Entries that the packet covers. The next packet begins at base sequence + consumed.
    pub consumed: usize,
}

impl TransportFeedbackBuilder {
    /// Starts at feedback packet count 0.
    #[must_use]
    pub fn new(sender_ssrc: u32, media_ssrc: u32) -> Self {
        Self { sender_ssrc, media_ssrc, feedback_count: 0 }
    }

    /// Writes one RTCP packet of at most [`PACKET_LEN_MAX`] bytes that covers as many entries as fit. Entry `i` is
    /// transport-wide sequence number `base_sequence + i` and its arrival time in µs since any fixed origin, or `None`
    /// when it has not arrived. Ends early at a step between arrivals that a delta cannot hold (±8.19 s): the rest
    /// goes into the next packet. The packet may end in padding, so it must be the last of a compound packet.
    ///
    /// `None`: no entries, or a buffer below [`PACKET_LEN_MIN`].
    pub fn write(
        &mut self,
        buf: &mut [u8],
        base_sequence: u16,
        arrivals: impl IntoIterator<Item = Option<u64>>,
    ) -> Option<Written> {
        let limit = buf.len().min(PACKET_LEN_MAX) & !3;
        if limit < PACKET_LEN_MIN {
            return None;
        }
        let mut deltas = Deltas::default();
        let mut chunks = Chunks::new(&mut buf[FIXED_LEN..limit]);
        let mut consumed = 0_u16;
        for arrival in arrivals {
            let Some((symbol, delta)) = deltas.classify(arrival) else { break };
            let len = FIXED_LEN + chunks.len_with(symbol) + deltas.len + symbol.delta_len();
            if len > limit || consumed == u16::MAX {
                break;
            }
            chunks.push(symbol);
            deltas.push(arrival, symbol, delta);
            consumed += 1;
        }
        if consumed == 0 {
            return None;
        }
        let consumed_all = usize::from(consumed);
        let Some(reference) = deltas.reference else {
            return Some(Written { len: 0, consumed: consumed_all });
        };
        let end = FIXED_LEN + chunks.finish();
        let unpadded = end + deltas.len;
        buf[end..unpadded].copy_from_slice(&deltas.bytes[..deltas.len]);
        let len = unpadded.next_multiple_of(4);
        pad(&mut buf[unpadded..len]);
        self.write_fixed(buf, len, unpadded < len);
        buf[12..14].copy_from_slice(&base_sequence.to_be_bytes());
        buf[14..16].copy_from_slice(&consumed.to_be_bytes());
        #[allow(clippy::cast_possible_truncation)] // 24 bits of it are sent
        let reference = (reference as u32) << 8 | u32::from(self.feedback_count);
        buf[16..20].copy_from_slice(&reference.to_be_bytes());
        self.feedback_count = self.feedback_count.wrapping_add(1);
        Some(Written { len, consumed: consumed_all })
    }

    /// RTCP header and SSRCs.
    fn write_fixed(&self, buf: &mut [u8], len: usize, padding: bool) {
        buf[0] = 0x80 | u8::from(padding) << 5 | FORMAT;
        buf[1] = TRANSPORT_FEEDBACK;
        #[allow(clippy::cast_possible_truncation)] // at most PACKET_LEN_MAX
        buf[2..4].copy_from_slice(&((len / 4 - 1) as u16).to_be_bytes());
        buf[4..8].copy_from_slice(&self.sender_ssrc.to_be_bytes());
        buf[8..12].copy_from_slice(&self.media_ssrc.to_be_bytes());
    }
}

/// Zeros that end in their own count.
fn pad(padding: &mut [u8]) {
    padding.fill(0);
    #[allow(clippy::cast_possible_truncation)] // at most 3
    let count = padding.len() as u8;
    if let Some(last) = padding.last_mut() {
        *last = count;
    }
}

/// Receive deltas, kept aside until the chunks in front of them are complete.
struct Deltas {
    bytes: [u8; PACKET_LEN_MAX],
    len: usize,
    /// In units of 64 ms; set by the first arrival.
    reference: Option<u64>,
    /// Ticks of the arrival before, or of the reference time.
    last: u64,
}

impl Default for Deltas {
    fn default() -> Self {
        Self { bytes: [0; PACKET_LEN_MAX], len: 0, reference: None, last: 0 }
    }
}

impl Deltas {
    /// Symbol and delta of the next entry; `None` when its delta does not fit 16 bits.
    fn classify(&self, arrival: Option<u64>) -> Option<(Symbol, i16)> {
        let Some(arrival) = arrival else { return Some((Symbol::NotReceived, 0)) };
        let ticks = arrival / TICK_US;
        let last = match self.reference {
            Some(_) => self.last,
            None => ticks - ticks % TICKS_PER_REFERENCE,
        };
        let delta = i16::try_from(ticks.wrapping_sub(last).cast_signed()).ok()?;
        let small = (0..=255).contains(&delta);
        Some((if small { Symbol::SmallDelta } else { Symbol::LargeDelta }, delta))
    }

    /// Keeps a delta that was checked to fit.
    fn push(&mut self, arrival: Option<u64>, symbol: Symbol, delta: i16) {
        let Some(arrival) = arrival else { return };
        let ticks = arrival / TICK_US;
        self.reference.get_or_insert(ticks / TICKS_PER_REFERENCE);
        self.last = ticks;
        let [high, low] = delta.to_be_bytes();
        match symbol {
            Symbol::NotReceived => {}
            Symbol::SmallDelta => self.bytes[self.len] = low,
            Symbol::LargeDelta => self.bytes[self.len..self.len + 2].copy_from_slice(&[high, low]),
        }
        self.len += symbol.delta_len();
    }
}

/// Symbols that a one-bit vector chunk holds.
const ONE_BIT_SYMBOLS: usize = 14;
/// Symbols that a two-bit vector chunk holds.
const TWO_BIT_SYMBOLS: usize = 7;

/// Packs symbols into chunks. What is pending always fits into one chunk: a run of equal symbols, at most 14 without
/// large deltas, or at most 7.
struct Chunks<'a> {
    buf: &'a mut [u8],
    len: usize,
    /// The first pending symbols; of a run only those matter.
    pending: [Symbol; ONE_BIT_SYMBOLS],
    pending_len: u16,
    uniform: bool,
    has_large: bool,
}

impl<'a> Chunks<'a> {
    fn new(buf: &'a mut [u8]) -> Self {
        let pending = [Symbol::NotReceived; ONE_BIT_SYMBOLS];
        Self { buf, len: 0, pending, pending_len: 0, uniform: true, has_large: false }
    }

    fn fits_pending(&self, symbol: Symbol) -> bool {
        let count = usize::from(self.pending_len);
        let large = self.has_large || symbol == Symbol::LargeDelta;
        count < TWO_BIT_SYMBOLS
            || (count < ONE_BIT_SYMBOLS && !large)
            || (self.uniform && symbol == self.pending[0] && self.pending_len < RUN_LENGTH_MAX)
    }

    /// Bytes of all chunks if `symbol` were pushed and nothing after it.
    fn len_with(&self, symbol: Symbol) -> usize {
        self.len + if self.fits_pending(symbol) { 2 } else { 4 }
    }

    fn push(&mut self, symbol: Symbol) {
        if !self.fits_pending(symbol) {
            self.emit();
        }
        if let Some(slot) = self.pending.get_mut(usize::from(self.pending_len)) {
            *slot = symbol;
        }
        self.uniform &= symbol == self.pending[0];
        self.has_large |= symbol == Symbol::LargeDelta;
        self.pending_len += 1;
    }

    /// Writes one chunk from the front of what is pending.
    fn emit(&mut self) {
        let count = usize::from(self.pending_len);
        let taken = if self.uniform {
            self.write(self.pending[0].bits() << 13 | self.pending_len);
            count
        } else if count == ONE_BIT_SYMBOLS {
            self.write(pack(&self.pending, 1) | 0x8000);
            count
        } else {
            self.write(pack(&self.pending[..TWO_BIT_SYMBOLS], 2) | 0xC000);
            count.min(TWO_BIT_SYMBOLS)
        };
        // Something stays only when a large delta comes behind at most 13 symbols that were not all equal: it has no
        // large delta yet, and the one that follows keeps it from being a run.
        let left = count - taken;
        self.pending.copy_within(taken.min(ONE_BIT_SYMBOLS).., 0);
        self.pending[left..].fill(Symbol::NotReceived);
        #[allow(clippy::cast_possible_truncation)] // fewer than before
        let left_len = left as u16;
        self.pending_len = left_len;
        self.uniform = true;
        self.has_large = false;
    }

    fn write(&mut self, chunk: u16) {
        self.buf[self.len..self.len + 2].copy_from_slice(&chunk.to_be_bytes());
        self.len += 2;
    }

    /// Writes what is pending; returns the bytes of all chunks.
    fn finish(mut self) -> usize {
        let mixed = usize::from(self.pending_len) > TWO_BIT_SYMBOLS && !self.uniform;
        if mixed {
            self.write(pack(&self.pending, 1) | 0x8000);
        } else if self.pending_len > 0 {
            self.emit();
        }
        self.len
    }
}

/// A vector of symbols of `width` bits, the first one highest in 14 bits.
fn pack(symbols: &[Symbol], width: usize) -> u16 {
    symbols.iter().enumerate().fold(0, |chunk, (index, symbol)| {
        chunk | symbol.bits() << (ONE_BIT_SYMBOLS - width * (index + 1))
    })
}

/// A parsed feedback packet; borrows the RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// SSRC of the peer that sent it.
    pub sender_ssrc: u32,
    /// SSRC of one of our streams.
    pub media_ssrc: u32,
    /// Transport-wide sequence number of the first status.
    pub base_sequence: u16,
    /// Statuses, 0..=65535: a few bytes can state thousands, so drop feedback for more than was sent lately.
    pub status_count: u16,
    /// Reference time in units of 64 ms, 24 bits, on the peer's clock.
    pub reference_time: u32,
    /// Feedback packet count.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// Parses and checks the whole packet.
    ///
    /// # Errors
    /// Another type of packet, fewer chunks or deltas than stated, a reserved symbol.
    pub fn parse(packet: &RtcpPacket<'a>) -> Result<Self, ParseError> {
        if packet.packet_type != TRANSPORT_FEEDBACK || packet.count != FORMAT {
            return Err(ParseError::Malformed);
        }
        let (fixed, rest) = packet.body.split_first_chunk::<16>().ok_or(ParseError::Truncated)?;
        let status_count = u16::from_be_bytes([fixed[10], fixed[11]]);
        let (chunks_len, deltas_len) = measure(rest, status_count)?;
        let (chunks, rest) = rest.split_at(chunks_len);
        let deltas = rest.get(..deltas_len).ok_or(ParseError::Truncated)?;
        Ok(Self {
            sender_ssrc: u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]),
            media_ssrc: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            base_sequence: u16::from_be_bytes([fixed[8], fixed[9]]),
            status_count,
            reference_time: u32::from_be_bytes([0, fixed[12], fixed[13], fixed[14]]),
            feedback_count: fixed[15],
            chunks,
            deltas,
        })
    }

    /// The statuses in order: transport-wide sequence number, and µs since the reference time where it was received.
    #[must_use]
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            sequence: self.base_sequence,
            left: self.status_count,
            chunks: self.chunks,
            chunk: Chunk::Run { symbol: Symbol::NotReceived, len: 0 },
            index: 0,
            deltas: self.deltas,
            ticks: 0,
        }
    }
}

/// Bytes of the chunks for `status_count` statuses at the front of `bytes`, and of the deltas that belong to them.
fn measure(bytes: &[u8], status_count: u16) -> Result<(usize, usize), ParseError> {
    let mut left = status_count;
    let mut deltas_len = 0;
    let mut rest = bytes;
    while left > 0 {
        let (chunk, tail) = rest.split_first_chunk::<2>().ok_or(ParseError::Truncated)?;
        rest = tail;
        let chunk = Chunk::parse(u16::from_be_bytes(*chunk))?;
        let count = chunk.len().min(left);
        deltas_len += match chunk {
            Chunk::Run { symbol, .. } => usize::from(count) * symbol.delta_len(),
            Chunk::Vector { .. } => (0..count)
                .map(|index| chunk.symbol(index).map(Symbol::delta_len))
                .sum::<Result<usize, _>>()?,
        };
        left -= count;
    }
    Ok((bytes.len() - rest.len(), deltas_len))
}

#[derive(Clone, Copy, Debug)]
enum Chunk {
    Run { symbol: Symbol, len: u16 },
    Vector { bits: u16, width: u16 },
}

impl Chunk {
    fn parse(bits: u16) -> Result<Self, ParseError> {
        Ok(match bits >> 14 {
            0 | 1 => {
                Self::Run { symbol: Symbol::from_bits(bits >> 13)?, len: bits & RUN_LENGTH_MAX }
            }
            2 => Self::Vector { bits, width: 1 },
            _ => Self::Vector { bits, width: 2 },
        })
    }

    fn len(self) -> u16 {
        match self {
            Self::Run { len, .. } => len,
            Self::Vector { width, .. } => 14 / width,
        }
    }

    /// `index` must be below `len`.
    fn symbol(self, index: u16) -> Result<Symbol, ParseError> {
        match self {
            Self::Run { symbol, .. } => Ok(symbol),
            Self::Vector { bits, width } => {
                Symbol::from_bits(bits >> (14 - width * (index + 1)) & width_mask(width))
            }
        }
    }
}

fn width_mask(width: u16) -> u16 {
    (1 << width) - 1
}

/// See [`TransportFeedback::statuses`].
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    sequence: u16,
    left: u16,
    chunks: &'a [u8],
    chunk: Chunk,
    index: u16,
    deltas: &'a [u8],
    ticks: i64,
}

impl Iterator for Statuses<'_> {
    type Item = (u16, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        while self.index >= self.chunk.len() {
            let (chunk, rest) = self.chunks.split_first_chunk::<2>()?;
            self.chunks = rest;
            self.chunk = Chunk::parse(u16::from_be_bytes(*chunk)).ok()?;
            self.index = 0;
        }
        let symbol = self.chunk.symbol(self.index).ok()?;
        self.index += 1;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let (delta, rest) = self.deltas.split_at_checked(symbol.delta_len())?;
        self.deltas = rest;
        match *delta {
            [small] => self.ticks += i64::from(small),
            [high, low] => self.ticks += i64::from(i16::from_be_bytes([high, low])),
            _ => return Some((sequence, None)),
        }
        Some((sequence, Some(self.ticks * TICK_US.cast_signed())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtcp::transport_feedbacks::transport_layer_cc::{
        PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk,
        SymbolSizeTypeTcc, SymbolTypeTcc, TransportLayerCc,
    };
    use webrtc_util::marshal::{Marshal, Unmarshal};

    type Statuses = Vec<(u16, Option<i64>)>;

    fn ours(packet: &[u8]) -> Result<Statuses, ParseError> {
        let (packet, rest) = RtcpPacket::parse(packet)?;
        assert!(rest.is_empty());
        let feedback = TransportFeedback::parse(&packet)?;
        let statuses = feedback.statuses().collect::<Vec<_>>();
        assert_eq!(statuses.len(), usize::from(feedback.status_count));
        Ok(statuses)
    }

    /// The same reading out of the `rtcp` crate's value.
    fn theirs(packet: &[u8]) -> (TransportLayerCc, Statuses) {
        let value = TransportLayerCc::unmarshal(&mut Bytes::copy_from_slice(packet)).unwrap();
        let mut symbols = Vec::new();
        for chunk in &value.packet_chunks {
            match chunk {
                PacketStatusChunk::RunLengthChunk(run) => {
                    symbols.extend((0..run.run_length).map(|_| run.packet_status_symbol));
                }
                PacketStatusChunk::StatusVectorChunk(vector) => symbols.extend(&vector.symbol_list),
            }
        }
        symbols.truncate(value.packet_status_count.into());
        let mut deltas = value.recv_deltas.iter();
        let mut sum = 0;
        let mut sequence = value.base_sequence_number;
        let statuses = symbols
            .iter()
            .map(|symbol| {
                let received = *symbol != SymbolTypeTcc::PacketNotReceived;
                let status = (
                    sequence,
                    received.then(|| {
                        sum += deltas.next().unwrap().delta;
                        sum
                    }),
                );
                sequence = sequence.wrapping_add(1);
                status
            })
            .collect();
        (value, statuses)
    }

    /// Gaps in µs between entries; `None` is a lost packet.
    fn arrivals() -> impl Strategy<Value = Vec<Option<u64>>> {
        let gap = prop_oneof![
            6 => 0..3000_i64,
            2 => 60_000..70_000_i64,
            1 => -40_000..0_i64,
            1 => -9_000_000..9_000_000_i64,
        ];
        let entry = prop_oneof![3 => gap.clone().prop_map(Some), 1 => Just(None)];
        let run = prop_oneof![
            4 => entry.clone().prop_map(|entry| vec![entry]),
            1 => (0..60_usize).prop_map(|len| vec![None; len]),
            1 => (gap, 0..60_usize).prop_map(|(gap, len)| vec![Some(gap); len]),
        ];
        (100_000_000..1_u64 << 40, prop::collection::vec(run, 1..120)).prop_map(|(start, runs)| {
            let mut now = start;
            let entries = runs.into_iter().flatten();
            entries
                .map(|gap| {
                    gap.map(|gap| {
                        now = now.saturating_add_signed(gap);
                        now
                    })
                })
                .collect()
        })
    }

    /// Checks one packet against the `rtcp` crate and the arrivals it covers.
    fn check_packet(packet: &[u8], base: u16, covered: &[Option<u64>]) {
        let (value, statuses) = theirs(packet);
        assert_eq!(ours(packet).unwrap(), statuses);
        assert_eq!(statuses.len(), covered.len());
        let origin_ms = u64::from(value.reference_time) * 64;
        for (index, (&(sequence, delta), arrival)) in statuses.iter().zip(covered).enumerate() {
            #[allow(clippy::cast_possible_truncation)]
            let expected = base.wrapping_add(index as u16);
            assert_eq!(sequence, expected);
            assert_eq!(delta.is_some(), arrival.is_some());
            if let (Some(delta), Some(arrival)) = (delta, *arrival) {
                // The reference time is cut to 24 bits of 64 ms.
                let cycle = (1_u64 << 24) * 64_000;
                let got = (cycle + origin_ms * 1000).wrapping_add_signed(delta) % cycle;
                assert_eq!(got, arrival / TICK_US * TICK_US % cycle);
            }
        }
    }

    proptest! {
        #[test]
        fn built_packets_say_what_was_received(base in any::<u16>(), arrivals in arrivals(), size in PACKET_LEN_MIN..1300) {
            let mut builder = TransportFeedbackBuilder::new(0x0102_0304, 0x0506_0708);
            let mut buf = vec![0xEE; size];
            let mut done = 0;
            let mut packets = 0_u8;
            while done < arrivals.len() {
                #[allow(clippy::cast_possible_truncation)]
                let first = base.wrapping_add(done as u16);
                let rest = &arrivals[done..];
                let written = builder.write(&mut buf, first, rest.iter().copied()).unwrap();
                prop_assert!(written.consumed > 0);
                prop_assert!(written.len <= size.min(PACKET_LEN_MAX) && written.len.is_multiple_of(4));
                let covered = &rest[..written.consumed];
                if written.len == 0 {
                    prop_assert!(covered.iter().all(Option::is_none));
                } else {
                    check_packet(&buf[..written.len], first, covered);
                    let (value, _) = theirs(&buf[..written.len]);
                    prop_assert_eq!((value.sender_ssrc, value.media_ssrc), (0x0102_0304, 0x0506_0708));
                    prop_assert_eq!(value.fb_pkt_count, packets);
                    packets = packets.wrapping_add(1);
                }
                done += written.consumed;
            }
        }

        #[test]
        fn parser_agrees_with_the_rtcp_crate(chunks in prop::collection::vec(chunk(), 1..12), base in any::<u16>(), cut in 0..7_u16,
                                             bytes in prop::collection::vec(any::<i16>(), 4000)) {
            let mut symbols = Vec::new();
            for chunk in &chunks {
                match chunk {
                    PacketStatusChunk::RunLengthChunk(run) => {
                        symbols.extend((0..run.run_length).map(|_| run.packet_status_symbol));
                    }
                    PacketStatusChunk::StatusVectorChunk(vector) => symbols.extend(&vector.symbol_list),
                }
            }
            #[allow(clippy::cast_possible_truncation)]
            let status_count = (symbols.len() as u16).saturating_sub(cut);
            // A last chunk of which nothing counts would be read as deltas.
            let last = chunks.last().map_or(0, |chunk| match chunk {
                PacketStatusChunk::RunLengthChunk(run) => run.run_length,
                PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.len() as u16,
            });
            prop_assume!(last > cut);
            let value = TransportLayerCc {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_sequence_number: base,
                packet_status_count: status_count,
                reference_time: 77,
                fb_pkt_count: 3,
                packet_chunks: chunks,
                recv_deltas: symbols.iter().zip(&bytes).filter(|(s, _)| **s != SymbolTypeTcc::PacketNotReceived).map(|(symbol, delta)| {
                    let small = *symbol == SymbolTypeTcc::PacketReceivedSmallDelta;
                    let ticks = if small { i64::from(delta & 0xFF) } else { i64::from(*delta) };
                    RecvDelta { type_tcc_packet: *symbol, delta: ticks * 250 }
                }).collect(),
            };
            prop_assume!(!value.recv_deltas.is_empty());
            let packet = value.marshal().unwrap();
            prop_assert_eq!(ours(&packet).unwrap(), theirs(&packet).1);
            let (header, _) = RtcpPacket::parse(&packet).unwrap();
            let feedback = TransportFeedback::parse(&header).unwrap();
            prop_assert_eq!((feedback.sender_ssrc, feedback.media_ssrc), (1, 2));
            prop_assert_eq!((feedback.reference_time, feedback.feedback_count), (77, 3));
        }
    }

    fn chunk() -> impl Strategy<Value = PacketStatusChunk> {
        use SymbolTypeTcc::{
            PacketNotReceived as Lost, PacketReceivedLargeDelta as Large,
            PacketReceivedSmallDelta as Small,
        };
        let any_symbol = prop::sample::select(vec![Lost, Small, Large]);
        let one_bit = prop::sample::select(vec![Lost, Small]);
        prop_oneof![
            (any_symbol.clone(), 0..300_u16).prop_map(|(symbol, len)| {
                PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                    type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                    packet_status_symbol: symbol,
                    run_length: len,
                })
            }),
            prop::collection::vec(one_bit, 14)
                .prop_map(|list| vector(SymbolSizeTypeTcc::OneBit, list)),
            prop::collection::vec(any_symbol, 7)
                .prop_map(|list| vector(SymbolSizeTypeTcc::TwoBit, list)),
        ]
    }

    fn vector(
        symbol_size: SymbolSizeTypeTcc,
        symbol_list: Vec<SymbolTypeTcc>,
    ) -> PacketStatusChunk {
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size,
            symbol_list,
        })
    }

    fn write(arrivals: &[Option<u64>]) -> (Vec<u8>, usize) {
        let mut buf = [0; PACKET_LEN_MAX];
        let mut builder = TransportFeedbackBuilder::new(1, 2);
        let written = builder.write(&mut buf, 10, arrivals.iter().copied()).unwrap();
        (buf[..written.len].to_vec(), written.consumed)
    }

    #[test]
    fn a_known_packet_byte_by_byte() {
        // 128 ms + 1 ms, + 0.25 ms, lost, - 0.5 ms
        let (packet, consumed) = write(&[Some(129_000), Some(129_250), None, Some(128_750)]);
        let expected = [
            0xAF, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, // header with padding, SSRCs
            0, 10, 0, 4, 0, 0, 2, 0, // base, count, reference 2 * 64 ms, feedback 0
            0xD4, 0x80, // two-bit vector: small, small, lost, large
            4, 1, 0xFF, 0xFE, 0, 2, // deltas, padding
        ];
        assert_eq!(packet, expected);
        assert_eq!(consumed, 4);
        let all = [(10, Some(1000)), (11, Some(1250)), (12, None), (13, Some(750))];
        assert_eq!(ours(&packet).unwrap(), all);
    }

    #[test]
    fn steps_beyond_16_bits_begin_a_new_packet() {
        let edge = 8_191_750;
        assert_eq!(write(&[Some(0), Some(edge)]).1, 2);
        assert_eq!(write(&[Some(0), None, Some(edge + 250)]).1, 2);
        assert_eq!(write(&[Some(8_192_000), Some(0)]).1, 2);
        assert_eq!(write(&[Some(8_192_250), Some(0)]).1, 1);
    }

    #[test]
    fn nothing_received_is_nothing_to_send() {
        let mut builder = TransportFeedbackBuilder::new(1, 2);
        let mut buf = [0; 1200];
        assert_eq!(builder.write(&mut buf, 0, [None; 5]), Some(Written { len: 0, consumed: 5 }));
        assert_eq!(builder.feedback_count, 0);
        assert_eq!(builder.write(&mut buf, 0, []), None);
        assert_eq!(builder.write(&mut buf[..23], 0, [Some(0)]), None);
        assert_eq!(builder.write(&mut buf[..24], 0, [Some(0)]).unwrap().len, 24);
        assert_eq!(builder.feedback_count, 1);
    }

    #[test]
    fn long_runs_take_few_bytes() {
        let mut arrivals = vec![Some(0)];
        arrivals.extend(vec![None; 20_000]);
        arrivals.push(Some(1000));
        let (packet, consumed) = write(&arrivals);
        assert_eq!(consumed, arrivals.len());
        assert!(packet.len() <= 36, "{}", packet.len());
        check_packet(&packet, 10, &arrivals);
    }

    #[test]
    fn truncated_and_foreign_packets_are_errors() {
        let (packet, _) = write(&[Some(129_000), Some(129_250), None, Some(128_750)]);
        let (whole, _) = RtcpPacket::parse(&packet).unwrap();
        for len in 0..whole.body.len() {
            let cut = RtcpPacket { body: &whole.body[..len], ..whole };
            assert_eq!(TransportFeedback::parse(&cut), Err(ParseError::Truncated), "{len}");
        }
        let nack = RtcpPacket { count: 1, ..whole };
        assert_eq!(TransportFeedback::parse(&nack), Err(ParseError::Malformed));
        let mut reserved = packet.clone();
        reserved[20] = 0xFC;
        assert_eq!(ours(&reserved), Err(ParseError::Malformed));
    }
}
