//! What is received becomes a file: frames, one clock for sound and picture, and the wish for keyframes.

use anyhow::bail;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp::Packet;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use webrtc::media_stream::track_remote::TrackRemote;

use super::assembler::{Assembled, Assembler, extend};
use super::format::{Format, RECEIVED};
use super::inbound::Inbound;
use super::picture::{self, Picture};
use super::progress::{Amount, clock};
use super::write::{self, Container, Frame, Writer};

/// Between two wishes for a keyframe.
const WISH: Duration = Duration::from_secs(2);
/// How long the file waits, after the first frame, for the other track and the reports that put both on one clock.
const ORDINARY_WAIT: Duration = Duration::from_secs(2);
/// How long it waits for a picture where there is sound: as long as files have between keyframes.
const PICTURE_WAIT: Duration = Duration::from_secs(15);
/// Without packets until that is told: a viewer stays connected when those who publish have gone.
const SILENCE: Duration = Duration::from_secs(2);

/// One kind of media.
struct Track {
    kind: RtpCodecKind,
    remote: Option<Arc<dyn TrackRemote>>,
    /// Known by the first packet, with the payload type.
    format: Option<(u8, Format)>,
    assembler: Option<Assembler>,
    ssrc: u32,
    /// A keyframe is needed: at the start, and after a loss.
    needs_keyframe: bool,
    wished: Option<Instant>,
    lost: u64,
    first: Option<First>,
    /// Seconds of NTP time, and the RTP timestamp then.
    report: Option<(f64, u32)>,
    /// Wait for the file's header.
    frames: VecDeque<Assembled>,
    /// In the file, once its header is written: number, and when the track began.
    place: Option<(usize, Duration)>,
    amount: Amount,
    at: Duration,
}

/// The first frame of a track.
struct First {
    ticks: i64,
    arrived: Instant,
    data: Vec<u8>,
    picture: Option<Picture>,
}

/// Where the clock of the file begins.
#[derive(Clone, Copy)]
struct Origin {
    ntp: Option<f64>,
    arrived: Instant,
}

/// A file that is being recorded.
pub(super) struct Recording {
    container: Container,
    /// Until the header is written.
    file: Option<File>,
    writer: Option<Box<dyn Writer>>,
    tracks: Vec<Track>,
    origin: Option<Origin>,
    began: Option<Instant>,
    /// When the last packet came.
    heard: Option<Instant>,
}

impl Recording {
    /// Of what this answer promises.
    pub(super) fn new(container: Container, file: File, answer: &str) -> Self {
        let is_promised = |name: &str| {
            // RFC 3264 section 6: port 0 refuses a section.
            let refused = format!("{name} 0 ");
            let mut sections = answer.split("\nm=").skip(1).filter(|m| m.starts_with(name));
            sections
                .any(|section| !section.starts_with(&refused) && !section.contains("\na=inactive"))
        };
        let kinds = [(RtpCodecKind::Video, "video"), (RtpCodecKind::Audio, "audio")];
        let promised = kinds.into_iter().filter(|(_, name)| is_promised(name));
        let tracks = promised.map(|(kind, _)| Track::new(kind)).collect();
        Self {
            container,
            file: Some(file),
            writer: None,
            tracks,
            origin: None,
            began: None,
            heard: None,
        }
    }

    /// When the first frame came.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Whether no frame was written.
    pub(super) fn is_empty(&self) -> bool {
        self.tracks.iter().all(|track| track.amount.frames == 0)
    }

    fn track(&mut self, kind: RtpCodecKind) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.kind == kind)
    }

    /// A track of the server begins: it is asked for a keyframe.
    pub(super) async fn add(&mut self, remote: Arc<dyn TrackRemote>) {
        let kind = remote.kind().await;
        let ssrc = remote.ssrcs().await.first().copied().unwrap_or_default();
        if let Some(track) = self.track(kind) {
            track.remote = Some(remote);
            track.ssrc = ssrc;
        }
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// The codec has changed, which a file cannot do.
    pub(super) fn take(&mut self, inbound: Inbound, arrived: Instant) -> anyhow::Result<()> {
        match inbound {
            Inbound::Rtp(packet) => self.take_packet(packet, arrived),
            Inbound::Rtcp(packets) => {
                let reports = packets.iter().filter_map(|packet| packet.as_any().downcast_ref());
                reports.for_each(|report| self.note(report));
                Ok(())
            }
        }
    }

    fn take_packet(&mut self, packet: Packet, arrived: Instant) -> anyhow::Result<()> {
        let payload_type = packet.header.payload_type;
        let format = RECEIVED.iter().find(|(known, _)| *known == payload_type);
        let Some(&(_, format)) = format else { return Ok(()) };
        self.heard = Some(arrived);
        let Some(track) = self.track(format.kind()) else { return Ok(()) };
        let &mut (first, _) = track.format.get_or_insert((payload_type, format));
        if first != payload_type {
            bail!(
                "the stream goes on in another format ({}), so the file ends here",
                format.name()
            );
        }
        track.ssrc = packet.header.ssrc;
        track.assembler.get_or_insert_with(|| Assembler::new(format)).push(packet, arrived);
        Ok(())
    }

    /// Notes where the clock of a track is.
    fn note(&mut self, report: &SenderReport) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.ssrc == report.ssrc) {
            // RFC 3550 section 4: seconds in 32.32 bits.
            let seconds = report.ntp_time as f64 / (1u64 << 32) as f64;
            track.report = Some((seconds, report.rtp_time));
        }
    }

    /// Writes what has become whole, and asks for what is missing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) async fn tick(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        self.assemble(now, false);
        for track in &mut self.tracks {
            track.wish_for_keyframe(now).await;
        }
        if self.is_ready(now) {
            self.start()?;
        }
        self.write()
    }

    /// Writes the rest, and the file's end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.assemble(Instant::now(), true);
        if self.tracks.iter().any(|track| track.first.is_some()) {
            self.start()?;
        }
        self.write()?;
        if let Some(writer) = &mut self.writer {
            writer.finish()?;
        }
        Ok(())
    }

    fn assemble(&mut self, now: Instant, is_over: bool) {
        for track in &mut self.tracks {
            track.assemble(now, is_over);
            let first = track.first.as_ref().map(|first| first.arrived);
            self.began = self.began.or(first);
        }
    }

    /// Whether the header can be written: all is known, or waited for long enough.
    fn is_ready(&self, now: Instant) -> bool {
        let Some(began) = self.began else { return false };
        let waited = now.saturating_duration_since(began);
        let has_picture = self
            .tracks
            .iter()
            .all(|track| track.kind != RtpCodecKind::Video || track.first.is_some());
        let is_known = |track: &Track| track.first.is_some() && track.report.is_some();
        self.tracks.len() == 1
            || self.tracks.iter().all(is_known)
            || (has_picture && waited >= ORDINARY_WAIT)
            || waited >= PICTURE_WAIT
    }

    /// Writes the header, unless it is.
    fn start(&mut self) -> anyhow::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let mut described = Vec::new();
        for track in &mut self.tracks {
            let (picture, data) = match &track.first {
                Some(first) => (first.picture, first.data.clone()),
                // Sound may come later: its header is always the same.
                None if track.kind == RtpCodecKind::Audio => (None, Vec::new()),
                None => continue,
            };
            let format = track.format.map_or(Format::Opus, |(_, format)| format);
            track.place = Some((described.len(), Duration::ZERO));
            described.push(write::Track { format, picture, first: data });
        }
        let started: Vec<&Track> = self.tracks.iter().filter(|t| t.first.is_some()).collect();
        let ntp: Option<Vec<f64>> = started.iter().map(|track| track.began_ntp()).collect();
        let arrived = started.iter().filter_map(|t| t.first.as_ref()).map(|first| first.arrived);
        self.origin = arrived.min().map(|arrived| {
            let ntp = ntp.map(|ntp| ntp.into_iter().fold(f64::INFINITY, f64::min));
            Origin { ntp, arrived }
        });
        self.writer = Some(write::start(self.container, file, &described)?);
        Ok(())
    }

    /// Frames in the order of their times.
    fn write(&mut self) -> anyhow::Result<()> {
        let (Some(writer), Some(origin)) = (&mut self.writer, self.origin) else { return Ok(()) };
        let mut frames: Vec<Frame> =
            self.tracks.iter_mut().flat_map(|track| track.timed(origin)).collect();
        frames.sort_by_key(|frame| frame.at);
        for frame in &frames {
            writer.write(frame)?;
        }
        Ok(())
    }

    /// `0:12 | VP8 300 frames 310 kbit/s | lost 0 packets, 0 frames`
    pub(super) fn told(&self) -> String {
        let at = self.tracks.iter().map(|track| track.at).max().unwrap_or_default();
        let mut parts = vec![clock(at)];
        for track in &self.tracks {
            parts.push(match track.format {
                Some((_, format)) => track.amount.told(format, at),
                None => format!("no {} yet", track.kind),
            });
        }
        let sum = |of: fn(&Assembler) -> u64| {
            self.tracks.iter().filter_map(|track| track.assembler.as_ref()).map(of).sum::<u64>()
        };
        let (lost, incomplete) = (sum(|a| a.lost), sum(|a| a.incomplete));
        parts.push(format!("lost {lost} packets, {incomplete} frames"));
        let silence = self.heard.map(|heard| heard.elapsed()).unwrap_or_default();
        if silence >= SILENCE {
            parts.push(format!("nothing comes since {} s", silence.as_secs()));
        }
        parts.join(" | ")
    }
}

impl Track {
    fn new(kind: RtpCodecKind) -> Self {
        Self {
            kind,
            remote: None,
            format: None,
            assembler: None,
            ssrc: 0,
            needs_keyframe: kind == RtpCodecKind::Video,
            wished: None,
            lost: 0,
            first: None,
            report: None,
            frames: VecDeque::new(),
            place: None,
            amount: Amount::default(),
            at: Duration::ZERO,
        }
    }

    /// Frames from the first keyframe on.
    fn assemble(&mut self, now: Instant, is_over: bool) {
        let (Some(assembler), Some((_, format))) = (&mut self.assembler, self.format) else {
            return;
        };
        while let Some(frame) = assembler.pop(now, is_over) {
            let picture = picture::of_keyframe(format, &frame.data);
            if self.first.is_none() && format.is_video() && picture.is_none() {
                continue;
            }
            self.first.get_or_insert_with(|| First {
                ticks: frame.ticks,
                arrived: frame.arrived,
                data: frame.data.clone(),
                picture,
            });
            if picture.is_some() {
                self.needs_keyframe = false;
            }
            self.frames.push_back(frame);
        }
        if assembler.lost > self.lost && format.is_video() {
            self.needs_keyframe = true;
        }
        self.lost = assembler.lost;
    }

    async fn wish_for_keyframe(&mut self, now: Instant) {
        let is_due = self.wished.is_none_or(|wished| now.saturating_duration_since(wished) >= WISH);
        let Some(remote) = self.remote.as_ref().filter(|_| self.needs_keyframe && is_due) else {
            return;
        };
        self.wished = Some(now);
        let wish = PictureLossIndication { sender_ssrc: 0, media_ssrc: self.ssrc };
        // Where it does not leave, the next one may.
        let _ = remote.write_rtcp(vec![Box::new(wish)]).await;
    }

    /// NTP time of the first frame, in seconds.
    fn began_ntp(&self) -> Option<f64> {
        let ((seconds, timestamp), first) = (self.report?, self.first.as_ref()?);
        let reported = extend(Some(first.ticks), timestamp, 32);
        let ticks = (first.ticks - reported) as f64;
        Some(seconds + ticks / f64::from(self.format?.1.clock_rate()))
    }

    /// The frames that wait, with their times in the file.
    fn timed(&mut self, origin: Origin) -> Vec<Frame> {
        let (Some((number, mut began)), Some(first)) = (self.place, &self.first) else {
            // Not in the file.
            self.frames.clear();
            return Vec::new();
        };
        if self.amount.frames == 0 {
            began = match (origin.ntp, self.began_ntp()) {
                (Some(origin), Some(own)) => {
                    Duration::try_from_secs_f64(own - origin).unwrap_or_default()
                }
                _ => first.arrived.saturating_duration_since(origin.arrived),
            };
            self.place = Some((number, began));
        }
        let Some((_, format)) = self.format else { return Vec::new() };
        let mut frames = Vec::new();
        for frame in self.frames.drain(..) {
            let ticks = u64::try_from(frame.ticks - first.ticks).unwrap_or_default();
            let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(format.clock_rate());
            let at = began + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            self.amount.add(&frame.data);
            self.at = at;
            let is_keyframe =
                !format.is_video() || picture::of_keyframe(format, &frame.data).is_some();
            frames.push(Frame { track: number, at, data: frame.data, is_keyframe });
        }
        frames
    }
}
