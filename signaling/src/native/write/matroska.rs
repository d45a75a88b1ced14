//! Matroska and WebM (RFC 9559): clusters that begin with keyframes, and an index of these, so that players can seek.

use std::fs::File;
use std::io::{BufWriter, Result, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use super::ebml::{UNKNOWN_LENGTH, element, float, id_bytes, length, master, text, unsigned};
use super::{Format, Frame, Track, Writer};
use crate::native::{annex_b, opus, picture};

/// Ids of section 5.1, without what their fields say themselves.
const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114d_9b74;
const INFO: u32 = 0x1549_a966;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const CUES: u32 = 0x1c53_bb6b;
const VOID: u32 = 0xec;
/// Of the head of a hole: id and length.
const VOID_BYTES: usize = 1 + 8;

/// The times in the file are in milliseconds.
const TICK_NS: u64 = 1_000_000;
/// Ticks until the next cluster begins, at a keyframe where there is video: a time in a cluster has 16 bits.
const CLUSTER_TICKS: u64 = 2_000;
const CLUSTER_TICKS_MAX: u64 = 30_000;
/// RFC 7845 section 4.6: what a decoder of Opus needs before the place that was sought.
const OPUS_PRE_ROLL_NS: u64 = 80_000_000;

pub(super) struct Matroska {
    file: BufWriter<File>,
    tracks: Vec<Track>,
    /// Where the content of the segment begins: positions count from there.
    segment: u64,
    /// What the header lists with its position: the index comes last, when it is known where.
    places: [(u32, u64); 3],
    /// Where the header has a place for the length of the recording.
    duration: u64,
    /// Time and blocks of the cluster that is not written yet.
    cluster: Option<(u64, Vec<u8>)>,
    /// Time and position of each cluster that begins with a keyframe.
    cues: Vec<(u64, u64)>,
    end: u64,
}

impl Matroska {
    pub(super) fn start(
        mut file: BufWriter<File>,
        doc_type: &str,
        tracks: &[Track],
    ) -> Result<Self> {
        file.write_all(&master(
            EBML,
            &[text(0x4282, doc_type), unsigned(0x4287, 4), unsigned(0x4285, 2)],
        ))?;
        file.write_all(&id_bytes(SEGMENT))?;
        file.write_all(&UNKNOWN_LENGTH)?;
        let segment = file.stream_position()?;
        // A hole until it is known where the index is: a recording that breaks off can be read as well.
        let mut places = [(INFO, 0), (TRACKS, 0), (CUES, 0)];
        let hole = seek_head(&places).len() - VOID_BYTES;
        file.write_all(&element(VOID, &vec![0; hole]))?;
        places[0].1 = file.stream_position()? - segment;
        let info = [
            float(DURATION, 0.0),
            unsigned(0x2a_d7b1, TICK_NS),
            text(0x4d80, "Switchyard"),
            text(0x5741, "Switchyard"),
        ];
        let info = master(INFO, &info);
        // The duration is the first in it: after the ids and the lengths of both.
        let duration = file.stream_position()? + 4 + 8 + 2 + 8;
        file.write_all(&info)?;
        places[1].1 = file.stream_position()? - segment;
        let entries: Vec<Vec<u8>> = (1..).zip(tracks).map(|(n, track)| entry(n, track)).collect();
        file.write_all(&master(TRACKS, &entries))?;
        let tracks = tracks.to_vec();
        let (cluster, cues) = (None, Vec::new());
        Ok(Self { file, tracks, segment, places, duration, cluster, cues, end: 0 })
    }

    fn write_cluster(&mut self) -> Result<()> {
        let Some((time, blocks)) = self.cluster.take() else { return Ok(()) };
        let children = [unsigned(0xe7, time), blocks];
        self.file.write_all(&master(CLUSTER, &children))
    }

    /// Whether a frame begins a cluster.
    fn begins_cluster(&self, frame: &Frame, tick: u64) -> bool {
        let Some((began, _)) = self.cluster else { return true };
        let passed = tick.saturating_sub(began);
        let has_video = self.tracks.iter().any(|track| track.format.is_video());
        let is_video = self.tracks[frame.track].format.is_video();
        let is_good_place = if has_video { is_video && frame.is_keyframe } else { true };
        passed >= CLUSTER_TICKS_MAX || (passed >= CLUSTER_TICKS && is_good_place)
    }
}

impl Writer for Matroska {
    fn write(&mut self, frame: &Frame) -> Result<()> {
        let tick = u64::try_from((frame.at.as_micros() + 500) / 1000).unwrap_or(u64::MAX);
        if self.begins_cluster(frame, tick) {
            self.write_cluster()?;
            if frame.is_keyframe {
                let position = self.file.stream_position()? - self.segment;
                self.cues.push((tick, position));
            }
            self.cluster = Some((tick, Vec::new()));
        }
        let format = self.tracks[frame.track].format;
        if let Some((began, blocks)) = &mut self.cluster {
            // Section 10.2: track, time in the cluster, flags; a track of an earlier time may come later.
            let offset = tick.cast_signed() - began.cast_signed();
            let offset = i16::try_from(offset).unwrap_or(i16::MIN);
            let mut block = vec![0x80 | (frame.track + 1) as u8];
            block.extend(offset.to_be_bytes());
            block.push(if frame.is_keyframe { 0x80 } else { 0 });
            block.extend(stored(format, &frame.data));
            blocks.extend(element(0xa3, &block));
        }
        self.end = self.end.max(tick);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.write_cluster()?;
        self.places[2].1 = self.file.stream_position()? - self.segment;
        let cues: Vec<Vec<u8>> = self
            .cues
            .iter()
            .map(|(time, position)| {
                let place = [unsigned(0xf7, 1), unsigned(0xf1, *position)];
                master(0xbb, &[unsigned(0xb3, *time), master(0xb7, &place)])
            })
            .collect();
        self.file.write_all(&master(CUES, &cues))?;
        let end = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(self.segment - 8))?;
        self.file.write_all(&length(end - self.segment))?;
        self.file.seek(SeekFrom::Start(self.segment))?;
        self.file.write_all(&seek_head(&self.places))?;
        self.file.seek(SeekFrom::Start(self.duration))?;
        let duration = Duration::from_millis(self.end);
        self.file.write_all(&(duration.as_millis() as f64 + 1.0).to_be_bytes())?;
        self.file.flush()
    }
}

/// Where the parts of the segment are; of a length that does not depend on it.
fn seek_head(places: &[(u32, u64)]) -> Vec<u8> {
    let seek = |(id, position): &(u32, u64)| {
        master(0x4dbb, &[element(0x53ab, &id_bytes(*id)), unsigned(0x53ac, *position)])
    };
    master(SEEK_HEAD, &places.iter().map(seek).collect::<Vec<_>>())
}

/// A `TrackEntry`.
fn entry(number: u64, track: &Track) -> Vec<u8> {
    let (codec, private) = codec(track);
    let mut fields = vec![
        unsigned(0xd7, number),
        unsigned(0x73c5, number),
        unsigned(0x83, if track.format.is_video() { 1 } else { 2 }),
        unsigned(0x9c, 0), // no lacing
        text(0x86, codec),
    ];
    if !private.is_empty() {
        fields.push(element(0x63a2, &private));
    }
    if let Some(picture) = track.picture {
        let size =
            [unsigned(0xb0, u64::from(picture.width)), unsigned(0xba, u64::from(picture.height))];
        fields.push(master(0xe0, &size));
    } else {
        fields.push(unsigned(0x56bb, OPUS_PRE_ROLL_NS));
        fields.push(master(0xe1, &[float(0xb5, 48_000.0), unsigned(0x9f, 2)]));
    }
    master(0xae, &fields)
}

/// Codec id and private data (the codec mappings of Matroska).
fn codec(track: &Track) -> (&'static str, Vec<u8>) {
    match track.format {
        Format::Vp8 => ("V_VP8", Vec::new()),
        Format::Vp9 { .. } => ("V_VP9", Vec::new()),
        Format::Av1 => ("V_AV1", av1_configuration(&track.first)),
        Format::H264 { .. } => ("V_MPEG4/ISO/AVC", h264_configuration(&track.first)),
        Format::Opus => ("A_OPUS", opus::head()),
    }
}

/// AV1 in ISO base media files, section 2.3: version; profile 0 and the level that is always enough; 8 bits, 4:2:0, as
/// WebRTC sends it; then the sequence header, which says all this again.
fn av1_configuration(keyframe: &[u8]) -> Vec<u8> {
    let mut configuration = vec![0x81, 31, 0x0c, 0];
    configuration.extend(picture::sequence_header(keyframe).map_or(&[][..], |found| found.unit));
    configuration
}

/// ISO/IEC 14496-15 section 5.3.3.1: version, profile and level, lengths of four bytes, one set of each.
fn h264_configuration(keyframe: &[u8]) -> Vec<u8> {
    let units = annex_b::units(keyframe);
    let find = |kind| units.iter().find(|unit| annex_b::kind(unit) == kind);
    let (Some(sps), Some(pps)) = (find(annex_b::SPS), find(annex_b::PPS)) else {
        return Vec::new();
    };
    let mut configuration = vec![1];
    configuration.extend(sps.iter().skip(1).take(3));
    configuration.extend([0xff, 0xe1]);
    configuration.extend((sps.len() as u16).to_be_bytes());
    configuration.extend_from_slice(sps);
    configuration.push(1);
    configuration.extend((pps.len() as u16).to_be_bytes());
    configuration.extend_from_slice(pps);
    configuration
}

/// A frame as Matroska has it: H.264 with lengths, AV1 without the temporal delimiter.
fn stored(format: Format, frame: &[u8]) -> Vec<u8> {
    match format {
        Format::H264 { .. } => {
            let with_length = |unit: &&[u8]| [&(unit.len() as u32).to_be_bytes(), *unit].concat();
            annex_b::units(frame).iter().flat_map(with_length).collect()
        }
        Format::Av1 => frame.get(2..).unwrap_or_default().to_vec(),
        _ => frame.to_vec(),
    }
}
