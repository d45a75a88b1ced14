//! Matroska and WebM: one video and one Opus track; others, such as subtitles, are left alone.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use matroska_demuxer::{MatroskaFile, TrackEntry, TrackType};
use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use super::{Format, Frame, Reader};
use crate::native::annex_b::ParameterSets;
use crate::native::picture;

pub(super) struct Matroska {
    file: MatroskaFile<BufReader<File>>,
    formats: Vec<Format>,
    /// Number and way of storing of the track of each format.
    tracks: Vec<(u64, Stored)>,
    /// Nanoseconds of one tick.
    tick_ns: u64,
    /// Read while opening.
    first: VecDeque<Frame>,
}

/// How the frames of a track become what is sent.
enum Stored {
    AsIs,
    /// H.264 units with lengths of so many bytes before them, and parameter sets elsewhere.
    Units(usize, ParameterSets),
}

impl Matroska {
    pub(super) fn open(file: File) -> anyhow::Result<Self> {
        let file = MatroskaFile::open(BufReader::new(file)).context("it is no Matroska file")?;
        let tick_ns = file.info().timestamp_scale().get();
        let (mut formats, mut tracks) = (Vec::new(), Vec::new());
        for wanted in [TrackType::Video, TrackType::Audio] {
            let Some(entry) = file.tracks().iter().find(|entry| entry.track_type() == wanted)
            else {
                continue;
            };
            if entry.content_encodings().is_some_and(|encodings| !encodings.is_empty()) {
                bail!(
                    "its tracks are compressed once more (ContentEncodings): remux it with ffmpeg -c copy"
                );
            }
            let (format, stored) = describe(entry)?;
            formats.push(format);
            tracks.push((entry.track_number().get(), stored));
        }
        if formats.is_empty() {
            bail!("it has no video and no audio track");
        }
        let mut matroska = Self { file, formats, tracks, tick_ns, first: VecDeque::new() };
        matroska.find_vp9_profile()?;
        Ok(matroska)
    }

    /// The track's entry need not say it; the first frame does.
    fn find_vp9_profile(&mut self) -> anyhow::Result<()> {
        let is_vp9 = |format: &Format| matches!(format, Format::Vp9 { .. });
        let Some(track) = self.formats.iter().position(is_vp9) else { return Ok(()) };
        while let Some(frame) = self.read()? {
            self.first.push_back(frame.clone());
            if frame.track == track {
                let profile = picture::vp9_profile(&frame.data)?;
                self.formats[track] = Format::Vp9 { profile };
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            let mut block = matroska_demuxer::Frame::default();
            if !self.file.next_frame(&mut block)? {
                return Ok(None);
            }
            let mut tracks = self.tracks.iter_mut().enumerate();
            let found = tracks.find(|(_, (number, _))| *number == block.track);
            let Some((track, (_, stored))) = found else { continue };
            let at = Duration::from_nanos(block.timestamp.saturating_mul(self.tick_ns));
            return Ok(Some(Frame { track, at, data: stored.unpack(block.data)? }));
        }
    }
}

impl Stored {
    fn unpack(&mut self, data: Vec<u8>) -> anyhow::Result<Bytes> {
        match self {
            Self::AsIs => Ok(data.into()),
            Self::Units(length_bytes, sets) => {
                let units = units_with_lengths(&data, *length_bytes);
                Ok(sets.complete(&units.context("a frame is damaged")?).into())
            }
        }
    }
}

/// ISO/IEC 14496-15 section 5.3.2: units with big-endian lengths.
fn units_with_lengths(mut data: &[u8], length_bytes: usize) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !data.is_empty() {
        let (length, rest) = data.split_at_checked(length_bytes)?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        units.push(unit);
        data = rest;
    }
    Some(units)
}

fn describe(entry: &TrackEntry) -> anyhow::Result<(Format, Stored)> {
    let format = match entry.codec_id() {
        "V_VP8" => Format::Vp8,
        "V_VP9" => Format::Vp9 { profile: 0 },
        "V_AV1" => Format::Av1,
        "A_OPUS" => Format::Opus,
        "V_MPEG4/ISO/AVC" => return describe_h264(entry.codec_private().unwrap_or_default()),
        other => bail!(
            "it has a track of codec {other}, and only VP8, VP9, AV1, H.264 and Opus can be published: convert it with ffmpeg -c:v libvpx -c:a libopus"
        ),
    };
    Ok((format, Stored::AsIs))
}

/// ISO/IEC 14496-15 section 5.3.3.1: profile and level, size of the lengths, parameter sets.
fn describe_h264(private: &[u8]) -> anyhow::Result<(Format, Stored)> {
    let parse = || {
        let head = private.first_chunk::<6>()?;
        let (sps, rest) = unit_with_length(&private[6..])?;
        let (pps, _) = unit_with_length(rest.get(1..)?)?;
        let mut sets = ParameterSets::default();
        sets.complete(&[sps, pps]);
        let format = Format::H264 { profile_level_id: [head[1], head[2], head[3]] };
        Some((format, Stored::Units(usize::from(head[4] & 3) + 1, sets)))
    };
    parse().context("its H.264 track has no parameter sets")
}

fn unit_with_length(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl Reader for Matroska {
    fn formats(&self) -> &[Format] {
        &self.formats
    }

    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        match self.first.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.read(),
        }
    }
}
