//! A raw H.264 stream: units without times, gathered into frames that follow each other at one rate.

use anyhow::Context as _;
use rtc::media::io::h26x_reader::H26xReader;
use rtc::shared::error::Error;
use std::fs::File;
use std::time::Duration;

use super::{Format, Frame, Reader};
use crate::native::annex_b::{self, ParameterSets};
use crate::native::picture;

/// Bytes read at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Frames per second where neither the stream nor the command says: what FFmpeg takes too.
const FPS: f64 = 25.0;

pub(super) struct AnnexB {
    formats: [Format; 1],
    reader: H26xReader<File>,
    fps: f64,
    /// Frames read.
    count: u32,
    sets: ParameterSets,
    /// The first unit of the next frame.
    unit: Option<Vec<u8>>,
    next: Option<Frame>,
}

impl AnnexB {
    pub(super) fn open(file: File, fps: Option<f64>) -> anyhow::Result<Self> {
        let mut stream = Self {
            formats: [Format::H264 { profile_level_id: [0; 3] }],
            reader: H26xReader::new(file, BUFFER_BYTES, false),
            fps: FPS,
            count: 0,
            sets: ParameterSets::default(),
            unit: None,
            next: None,
        };
        stream.unit = stream.read_unit()?;
        stream.next = stream.read()?;
        let sps = stream.sets.sps();
        let parsed = picture::sequence_parameters(sps);
        let parsed = parsed.context("it does not begin with a sequence parameter set of H.264")?;
        let profile_level_id = [sps[1], sps[2], sps[3]];
        stream.formats = [Format::H264 { profile_level_id }];
        let told = parsed.fps().filter(|fps| (1.0..=1000.0).contains(fps));
        stream.fps = fps.or(told).unwrap_or(FPS);
        Ok(stream)
    }

    /// The units up to the next that begins a frame (section 7.4.1.2.3).
    fn read(&mut self) -> anyhow::Result<Option<Frame>> {
        let Some(first) = self.unit.take() else { return Ok(None) };
        let mut has_slice = is_slice(&first);
        let mut units = vec![first];
        while let Some(unit) = self.read_unit()? {
            let kind = annex_b::kind(&unit);
            let comes_before =
                matches!(kind, annex_b::SEI | annex_b::SPS | annex_b::PPS | annex_b::DELIMITER);
            if has_slice && (comes_before || begins_picture(&unit)) {
                self.unit = Some(unit);
                break;
            }
            has_slice |= is_slice(&unit);
            units.push(unit);
        }
        let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
        let data = self.sets.complete(&units).into();
        let at = Duration::from_secs_f64(f64::from(self.count) / self.fps);
        self.count += 1;
        Ok(Some(Frame { track: 0, at, data }))
    }

    fn read_unit(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        match self.reader.next_nal() {
            Ok(unit) => Ok(Some(unit.data().to_vec())),
            Err(Error::ErrIoEOF) => Ok(None),
            Err(error) => Err(error).context("it is no H.264 stream with start codes"),
        }
    }
}

fn is_slice(unit: &[u8]) -> bool {
    (annex_b::SLICE..=annex_b::IDR).contains(&annex_b::kind(unit))
}

/// A slice whose `first_mb_in_slice` is 0, in Exp-Golomb a single 1.
fn begins_picture(unit: &[u8]) -> bool {
    is_slice(unit) && unit.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

impl Reader for AnnexB {
    fn formats(&self) -> &[Format] {
        &self.formats
    }

    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}
