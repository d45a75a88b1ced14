//! IVF, with the RTP clock as its time base, so that no time is rounded.

use std::fs::File;
use std::io::{BufWriter, Result, Seek as _, SeekFrom, Write as _};

use super::{Format, Frame, Track, Writer};

const CLOCK_RATE: u32 = 90_000;
/// Where the header counts the frames.
const COUNT_OFFSET: u64 = 24;

pub(super) struct Ivf {
    file: BufWriter<File>,
    count: u32,
}

impl Ivf {
    pub(super) fn start(mut file: BufWriter<File>, tracks: &[Track]) -> Result<Self> {
        let track = tracks.first();
        let four_cc = match track.map(|track| track.format) {
            Some(Format::Vp9 { .. }) => b"VP90",
            Some(Format::Av1) => b"AV01",
            _ => b"VP80",
        };
        let size = |of: Option<u32>| u16::try_from(of.unwrap_or_default()).unwrap_or_default();
        let picture = track.and_then(|track| track.picture);
        file.write_all(b"DKIF\0\0\x20\0")?;
        file.write_all(four_cc)?;
        file.write_all(&size(picture.map(|picture| picture.width)).to_le_bytes())?;
        file.write_all(&size(picture.map(|picture| picture.height)).to_le_bytes())?;
        file.write_all(&CLOCK_RATE.to_le_bytes())?;
        file.write_all(&1u32.to_le_bytes())?;
        file.write_all(&[0; 8])?; // the count, and nothing
        Ok(Self { file, count: 0 })
    }
}

impl Writer for Ivf {
    fn write(&mut self, frame: &Frame) -> Result<()> {
        let length = u32::try_from(frame.data.len()).map_err(std::io::Error::other)?;
        let ticks = (frame.at.as_nanos() * u128::from(CLOCK_RATE) + 500_000_000) / 1_000_000_000;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&u64::try_from(ticks).unwrap_or(u64::MAX).to_le_bytes())?;
        self.file.write_all(&frame.data)?;
        self.count += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(COUNT_OFFSET))?;
        self.file.write_all(&self.count.to_le_bytes())?;
        self.file.flush()
    }
}
