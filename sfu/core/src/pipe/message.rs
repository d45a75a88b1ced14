//! The bytes of one message between two workers of one process. Both ends are this code, yet nothing here trusts a length.

use crate::ProducerId;
use crate::producer::ceiling::{CeilingState, Headroom};
use crate::producer::layers::SPATIAL_MAX;
use crate::producer::packet::{CARRIED, CachedPacket, Slice};
use crate::producer::rungs::Resting;

/// Longest head: that of a track's state.
pub(crate) const HEAD_BYTES: usize = 96;

const WANT: u8 = 1;
const STATE: u8 = 2;
const REPORT: u8 = 3;
const MEDIA: u8 = 4;

/// Upward: what the consumers of one worker need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Bit per encoding.
    pub(crate) wanted: u8,
    /// Bit per layer that somebody is to be shown.
    pub(crate) watched: u8,
    /// What the best of their links has for the track.
    pub(crate) headroom: Headroom,
    /// Bit per encoding whose keyframe somebody waits for.
    pub(crate) keyframes: u8,
    /// This end is new and knows nothing.
    pub(crate) hello: bool,
}

/// What the publisher's worker knows of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrackState {
    /// Bit per encoding.
    pub(crate) flowing: u8,
    /// Encodings whose keyframe requests the publisher does not answer.
    pub(crate) ignored: u8,
    /// Publisher's NTP clock to ours.
    pub(crate) sender_clock: Option<i64>,
    pub(crate) ceiling: CeilingState,
    pub(crate) resting: [Resting; SPATIAL_MAX],
}

/// Downward: what is known of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) track: TrackState,
    /// Encodings that began just now: their first packet follows.
    pub(crate) fresh: u8,
    /// What this worker is believed to want, to be shown and to have.
    pub(crate) wanted: u8,
    pub(crate) watched: u8,
    pub(crate) headroom: Headroom,
    /// The first one since the pipe was opened.
    pub(crate) open: bool,
}

/// Downward: a sender report of the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) encoding: u8,
    pub(crate) epoch: u32,
    pub(crate) ntp: u64,
    pub(crate) rtp: u32,
    /// Microseconds of the media clock, which all workers share.
    pub(crate) arrival_us: u64,
}

/// One message about one producer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PipeMessage<'a> {
    Want(Want),
    State(State),
    Report(Report),
    /// Downward: a packet, decrypted and parsed.
    Media {
        encoding: u8,
        /// Sequence space of the encoding.
        epoch: u32,
        /// Not live: it is for those who come late.
        replayed: bool,
        /// Without what its payload says.
        packet: CachedPacket,
        bytes: &'a [u8],
    },
}

/// A message but for a media packet's own bytes, which follow.
#[derive(Debug)]
pub(crate) struct Head {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

impl Head {
    pub(crate) fn new(producer: ProducerId, message: &PipeMessage<'_>) -> Self {
        let mut head = Self { bytes: [0; HEAD_BYTES], len: 0 };
        let kind = match message {
            PipeMessage::Want(_) => WANT,
            PipeMessage::State(_) => STATE,
            PipeMessage::Report(_) => REPORT,
            PipeMessage::Media { .. } => MEDIA,
        };
        head.put([kind]);
        head.put(producer.0.to_be_bytes());
        match message {
            PipeMessage::Want(want) => {
                head.put([want.wanted, want.watched, want.keyframes, u8::from(want.hello)]);
                head.put_headroom(want.headroom);
            }
            PipeMessage::State(state) => {
                let TrackState { flowing, ignored, sender_clock, ceiling, resting } = state.track;
                let flags = u8::from(state.open)
                    | u8::from(sender_clock.is_some()) << 1
                    | u8::from(ceiling.ignored) << 2;
                head.put([flowing, state.fresh, ignored, flags]);
                head.put([state.wanted, state.watched]);
                head.put_headroom(state.headroom);
                head.put(sender_clock.unwrap_or_default().to_be_bytes());
                head.put(ceiling.told.to_be_bytes());
                head.put(ceiling.whole.to_be_bytes());
                for Resting { bits_per_second, size: (width, height) } in resting {
                    head.put(bits_per_second.to_be_bytes());
                    head.put(width.to_be_bytes());
                    head.put(height.to_be_bytes());
                }
            }
            PipeMessage::Report(report) => {
                head.put([report.encoding]);
                head.put(report.epoch.to_be_bytes());
                head.put(report.ntp.to_be_bytes());
                head.put(report.rtp.to_be_bytes());
                head.put(report.arrival_us.to_be_bytes());
            }
            PipeMessage::Media { encoding, epoch, replayed, packet, .. } => {
                head.put([*encoding, u8::from(*replayed)]);
                head.put(epoch.to_be_bytes());
                head.put_packet(packet);
            }
        }
        head
    }

    fn put_headroom(&mut self, headroom: Headroom) {
        let (kind, there) = match headroom {
            Headroom::Unknown => (0, 0),
            Headroom::Short(there) => (1, there),
            Headroom::Enough => (2, 0),
        };
        self.put([kind]);
        self.put(there.to_be_bytes());
    }

    fn put_packet(&mut self, packet: &CachedPacket) {
        self.put(packet.seq.to_be_bytes());
        self.put(packet.arrival_us.to_be_bytes());
        self.put(packet.timestamp.to_be_bytes());
        self.put(packet.payload_start.to_be_bytes());
        self.put(packet.payload_len.to_be_bytes());
        self.put([packet.payload_type, u8::from(packet.marker)]);
        for slice in packet.carried {
            self.put(slice.to_bytes());
        }
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + N) {
            place.copy_from_slice(&bytes);
            self.len += N;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<'a> PipeMessage<'a> {
    /// Reads a message that [`Head::new`] began.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(ProducerId, Self)> {
        let mut reader = Reader(bytes);
        let [kind] = reader.take()?;
        let producer = ProducerId(reader.u64()?);
        let message = match kind {
            WANT => {
                let [wanted, watched, keyframes, hello] = reader.take()?;
                let headroom = reader.headroom()?;
                Self::Want(Want { wanted, watched, headroom, keyframes, hello: hello != 0 })
            }
            STATE => {
                let [flowing, fresh, ignored, flags] = reader.take()?;
                let [wanted, watched] = reader.take()?;
                let headroom = reader.headroom()?;
                let clock = i64::from_be_bytes(reader.take()?);
                let (open, sender_clock) = (flags & 1 != 0, (flags & 2 != 0).then_some(clock));
                let (told, whole) = (reader.u64()?, reader.u64()?);
                let ceiling = CeilingState { told, whole, ignored: flags & 4 != 0 };
                let mut resting = [Resting::default(); SPATIAL_MAX];
                for layer in &mut resting {
                    layer.bits_per_second = reader.u32()?;
                    layer.size = (reader.u16()?, reader.u16()?);
                }
                let track = TrackState { flowing, ignored, sender_clock, ceiling, resting };
                Self::State(State { track, fresh, wanted, watched, headroom, open })
            }
            REPORT => {
                let [encoding] = reader.take()?;
                Self::Report(Report {
                    encoding,
                    epoch: reader.u32()?,
                    ntp: reader.u64()?,
                    rtp: reader.u32()?,
                    arrival_us: reader.u64()?,
                })
            }
            MEDIA => {
                let [encoding, replayed] = reader.take()?;
                let epoch = reader.u32()?;
                let packet = reader.packet()?;
                Self::Media { encoding, epoch, replayed: replayed != 0, packet, bytes: reader.0 }
            }
            _ => return None,
        };
        Some((producer, message))
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*value)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn headroom(&mut self) -> Option<Headroom> {
        let [kind] = self.take()?;
        let there = self.u64()?;
        Some(match kind {
            0 => Headroom::Unknown,
            1 => Headroom::Short(there),
            _ => Headroom::Enough,
        })
    }

    fn packet(&mut self) -> Option<CachedPacket> {
        let (seq, arrival_us, timestamp) = (self.u64()?, self.u64()?, self.u32()?);
        let (payload_start, payload_len) = (self.u16()?, self.u16()?);
        let [payload_type, marker] = self.take()?;
        let mut carried = [Slice::default(); CARRIED.len()];
        for slice in &mut carried {
            *slice = Slice::from_bytes(self.take()?);
        }
        Some(CachedPacket {
            seq,
            arrival_us,
            timestamp,
            payload_start,
            payload_len,
            payload_type,
            marker: marker != 0,
            carried,
            ..CachedPacket::default()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn there_and_back(message: &PipeMessage<'_>, body: &[u8]) -> String {
        let bytes = [Head::new(ProducerId(77), message).as_bytes(), body].concat();
        let (producer, back) = PipeMessage::parse(&bytes).unwrap();
        assert_eq!(producer, ProducerId(77));
        for len in 0..bytes.len() - body.len() {
            assert!(PipeMessage::parse(&bytes[..len]).is_none(), "cut at {len}");
        }
        format!("{back:?}")
    }

    #[test]
    fn messages_survive_their_bytes_and_short_ones_are_refused() {
        let mut carried = [Slice::default(); CARRIED.len()];
        carried[1] = Slice::new(300, 3);
        carried[4] = Slice::new(12, 40);
        let packet = CachedPacket {
            seq: 0x1_2345_6789,
            arrival_us: 987_654_321,
            timestamp: 0xfedc_ba98,
            payload_start: 28,
            payload_len: 1100,
            payload_type: 96,
            marker: true,
            carried,
            ..CachedPacket::default()
        };
        let body = [7; 200];
        let messages = [
            PipeMessage::Want(Want {
                wanted: 5,
                watched: 3,
                headroom: Headroom::Short(0x1_0000_0002),
                keyframes: 1,
                hello: true,
            }),
            PipeMessage::Want(Want {
                wanted: 1,
                watched: 15,
                headroom: Headroom::Enough,
                keyframes: 0,
                hello: false,
            }),
            PipeMessage::State(State {
                track: TrackState {
                    flowing: 7,
                    ignored: 2,
                    sender_clock: Some(-5),
                    ceiling: CeilingState { told: 850_000, whole: 2_000_000, ignored: true },
                    resting: [3, 0, 1_700_000, 9].map(|bits_per_second| Resting {
                        bits_per_second,
                        size: (1280, bits_per_second as u16),
                    }),
                },
                fresh: 4,
                wanted: 3,
                watched: 7,
                headroom: Headroom::Short(5),
                open: true,
            }),
            PipeMessage::State(State {
                track: TrackState { flowing: 1, ..TrackState::default() },
                fresh: 0,
                wanted: 1,
                watched: 0,
                headroom: Headroom::Unknown,
                open: false,
            }),
            PipeMessage::Report(Report {
                encoding: 2,
                epoch: 3,
                ntp: 0xe800_0000_1234_5678,
                rtp: 99,
                arrival_us: 1_000_000,
            }),
            PipeMessage::Media { encoding: 1, epoch: 9, replayed: true, packet, bytes: &body },
        ];
        for message in messages {
            let body = if let PipeMessage::Media { bytes, .. } = message { bytes } else { &[] };
            assert_eq!(there_and_back(&message, body), format!("{message:?}"));
        }
        assert!(PipeMessage::parse(&[9; 80]).is_none(), "no such kind");
    }
}
