//! Files to publish: their tracks, and their frames in the order and at the times of the file.

mod annex_b;
mod ivf;
mod matroska;
mod ogg;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::Format;

/// One encoded picture or packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Which of the formats.
    pub(super) track: usize,
    /// Since the beginning of the file.
    pub(super) at: Duration,
    pub(super) data: Bytes,
}

/// One open file.
trait Reader: Send {
    /// Known after opening, at most one of video and one of audio.
    fn formats(&self) -> &[Format];

    /// The next frame in file order; `None` at the end.
    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>>;
}

fn open(path: &Path, fps: Option<f64>) -> anyhow::Result<Box<dyn Reader>> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let reader: anyhow::Result<Box<dyn Reader>> = match extension.to_ascii_lowercase().as_str() {
        "ivf" => ivf::Ivf::open(file).map(|reader| Box::new(reader) as _),
        "h264" | "264" => annex_b::AnnexB::open(file, fps).map(|reader| Box::new(reader) as _),
        "ogg" | "opus" => ogg::Ogg::open(file).map(|reader| Box::new(reader) as _),
        "mkv" | "webm" => matroska::Matroska::open(file).map(|reader| Box::new(reader) as _),
        _ => bail!("{shown}: publish takes .ivf, .h264, .ogg, .mkv and .webm files"),
    };
    reader.with_context(|| format!("cannot read {shown}"))
}

/// A file of the command, with its next frame.
struct Opened {
    reader: Box<dyn Reader>,
    /// The number of its first track among those of all files.
    first_track: usize,
    next: Option<Frame>,
}

/// When a track last had a frame, and how long after the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    at: Duration,
    step: Duration,
}

/// All files of one command as one, each from its beginning.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    fps: Option<f64>,
    repeat: bool,
    opened: Vec<Opened>,
    last: Vec<Last>,
    /// Where the present round began.
    round: Duration,
}

impl Files {
    /// # Errors
    /// A file cannot be read, or there is more than one video or audio track.
    pub(super) fn open(
        paths: Vec<PathBuf>,
        fps: Option<f64>,
        repeat: bool,
    ) -> anyhow::Result<Self> {
        let (opened, last) = (Vec::new(), Vec::new());
        let mut files = Self { paths, fps, repeat, opened, last, round: Duration::ZERO };
        files.rewind()?;
        let formats = files.formats();
        files.last = vec![Last::default(); formats.len()];
        let videos = formats.iter().filter(|format| format.is_video()).count();
        if videos > 1 || formats.len() - videos > 1 {
            bail!(
                "the files have {videos} video and {} audio tracks: publish one of each at most",
                formats.len() - videos
            );
        }
        Ok(files)
    }

    pub(super) fn formats(&self) -> Vec<Format> {
        self.opened.iter().flat_map(|opened| opened.reader.formats()).copied().collect()
    }

    /// The frame that is due next; `None` at the end of all files.
    pub(super) fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        let mut frame = self.take_earliest()?;
        if frame.is_none() && self.repeat {
            self.round = self.end();
            self.rewind()?;
            frame = self.take_earliest()?;
        }
        let Some(mut frame) = frame else { return Ok(None) };
        frame.at += self.round;
        let last = &mut self.last[frame.track];
        let Some(step) = frame.at.checked_sub(last.at) else {
            bail!(
                "the pictures are not in the order in which they are shown (B-frames), which receivers of WebRTC cannot play: encode with -bf 0"
            );
        };
        *last = Last { at: frame.at, step };
        Ok(Some(frame))
    }

    /// When the last frame is over.
    pub(super) fn end(&self) -> Duration {
        self.last.iter().map(|last| last.at + last.step).max().unwrap_or_default()
    }

    fn rewind(&mut self) -> anyhow::Result<()> {
        self.opened.clear();
        let mut first_track = 0;
        for path in &self.paths {
            let mut reader = open(path, self.fps)?;
            let next = reader.next_frame()?;
            let tracks = reader.formats().len();
            self.opened.push(Opened { reader, first_track, next });
            first_track += tracks;
        }
        Ok(())
    }

    fn take_earliest(&mut self) -> anyhow::Result<Option<Frame>> {
        let due = |opened: &&mut Opened| opened.next.as_ref().map(|frame| frame.at);
        let waiting = self.opened.iter_mut().filter(|opened| opened.next.is_some());
        let Some(opened) = waiting.min_by_key(due) else { return Ok(None) };
        let next = opened.reader.next_frame()?;
        let frame = std::mem::replace(&mut opened.next, next);
        Ok(frame.map(|frame| Frame { track: frame.track + opened.first_track, ..frame }))
    }
}
