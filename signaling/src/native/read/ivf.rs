//! IVF: VP8, VP9 or AV1, each frame with its time.

use anyhow::{Context as _, bail};
use rtc::media::io::ivf_reader::IVFReader;
use rtc::shared::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use super::{Format, Frame, Reader};
use crate::native::picture;

pub(super) struct Ivf {
    formats: [Format; 1],
    reader: IVFReader<BufReader<File>>,
    /// Seconds of one tick, as a fraction.
    tick: (u32, u32),
    next: Option<Frame>,
}

impl Ivf {
    pub(super) fn open(file: File) -> anyhow::Result<Self> {
        let (reader, header) = IVFReader::new(BufReader::new(file)).context("it is no IVF file")?;
        let tick = (header.timebase_numerator, header.timebase_denominator);
        if tick.1 == 0 {
            bail!("its header has no frame rate");
        }
        let mut ivf = Self { formats: [Format::Vp8], reader, tick, next: None };
        ivf.next = ivf.read()?;
        let first = ivf.next.as_ref().context("it has no frames")?;
        ivf.formats = match &header.four_cc {
            b"VP80" => [Format::Vp8],
            b"VP90" => [Format::Vp9 { profile: picture::vp9_profile(&first.data)? }],
            b"AV01" => [Format::Av1],
            other => bail!(
                "its codec is {}, and only VP8, VP9 and AV1 can be published",
                String::from_utf8_lossy(other)
            ),
        };
        Ok(ivf)
    }

    fn read(&mut self) -> anyhow::Result<Option<Frame>> {
        let (data, header) = match self.reader.parse_next_frame() {
            Ok(frame) => frame,
            Err(Error::Io(_) | Error::ErrIoEOF) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (numerator, denominator) = self.tick;
        let nanoseconds = u128::from(header.timestamp) * u128::from(numerator) * 1_000_000_000
            / u128::from(denominator);
        let at = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        Ok(Some(Frame { track: 0, at, data: data.freeze() }))
    }
}

impl Reader for Ivf {
    fn formats(&self) -> &[Format] {
        &self.formats
    }

    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}
