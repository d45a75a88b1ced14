//! Files that a player writes: by extension, from received frames.

mod ebml;
mod ivf;
mod matroska;
mod ogg;

use anyhow::bail;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use super::format::Format;
use super::picture::Picture;

/// A frame for a file.
pub(super) struct Frame {
    /// Which of the tracks.
    pub(super) track: usize,
    /// Since the beginning of the file.
    pub(super) at: Duration,
    pub(super) data: Vec<u8>,
    pub(super) is_keyframe: bool,
}

/// A track of a file, with its first frame: a header is made of it.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) format: Format,
    /// Of video.
    pub(super) picture: Option<Picture>,
    /// Empty where nothing has come yet.
    pub(super) first: Vec<u8>,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Ivf,
    AnnexB,
    Ogg,
    Matroska,
    WebM,
}

impl Container {
    /// By the extension of the path.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        Ok(match extension.to_ascii_lowercase().as_str() {
            "ivf" => Self::Ivf,
            "h264" | "264" => Self::AnnexB,
            "ogg" | "opus" => Self::Ogg,
            "mkv" => Self::Matroska,
            "webm" => Self::WebM,
            _ => bail!(
                "{}: the extension says what is written: .mkv (everything), .webm (all but H.264), .ivf (VP8, VP9, AV1), .h264 or .ogg (Opus)",
                path.display()
            ),
        })
    }

    pub(super) fn holds(self, format: Format) -> bool {
        let is_h264 = matches!(format, Format::H264 { .. });
        match self {
            Self::Ivf => format.is_video() && !is_h264,
            Self::AnnexB => is_h264,
            Self::Ogg => !format.is_video(),
            Self::Matroska => true,
            Self::WebM => !is_h264,
        }
    }
}

/// A file that is being written.
pub(super) trait Writer: Send {
    fn write(&mut self, frame: &Frame) -> std::io::Result<()>;

    /// Writes what is held back, and what the header has to say of the whole.
    fn finish(&mut self) -> std::io::Result<()>;
}

/// Writes the header.
pub(super) fn start(
    container: Container,
    file: File,
    tracks: &[Track],
) -> std::io::Result<Box<dyn Writer>> {
    let file = BufWriter::new(file);
    Ok(match container {
        Container::Ivf => Box::new(ivf::Ivf::start(file, tracks)?),
        Container::AnnexB => Box::new(AnnexB(file)),
        Container::Ogg => Box::new(ogg::Ogg::start(file)?),
        Container::Matroska => Box::new(matroska::Matroska::start(file, "matroska", tracks)?),
        Container::WebM => Box::new(matroska::Matroska::start(file, "webm", tracks)?),
    })
}

/// A raw H.264 stream: frames have their start codes already.
struct AnnexB(BufWriter<File>);

impl Writer for AnnexB {
    fn write(&mut self, frame: &Frame) -> std::io::Result<()> {
        self.0.write_all(&frame.data)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
