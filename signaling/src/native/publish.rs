//! `switchyard publish`: files into a WHIP server, at the pace of their own clock.

use anyhow::bail;
use rand::Rng as _;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use webrtc::media_stream::track_local::TrackLocal as _;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::endpoint::{Endpoint, Reply};
use super::format::{Format, Payloading};
use super::inbound::Inbound;
use super::peer::Peer;
use super::progress::{Amount, Progress, clock};
use super::read::{Files, Frame};
use crate::cli::PublishArgs;

/// After the last frame, for those who still ask for a lost packet.
const LINGER: Duration = Duration::from_millis(500);
/// Packets at once, and the pause after them: at most 100 Mbit/s, so that a large keyframe floods no buffer on its way.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);

/// Publishes until the files end, `shutdown` is cancelled or the server ends it.
///
/// # Errors
/// A file cannot be read, or the server refuses, cannot be reached or is gone; the message says what to do.
pub async fn publish(args: PublishArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut files = Files::open(args.files, args.fps, args.repeat)?;
    let endpoint = Endpoint::new(&args.url, args.token, args.insecure)?;
    let formats = files.formats();
    let offered: Vec<(u8, Format)> = formats.iter().map(|f| (f.payload_type(), *f)).collect();
    let (mut peer, inbound) = Peer::new(&offered, endpoint.is_local()).await?;
    let mut tracks = Vec::new();
    for format in formats {
        tracks.push(Track::new(&peer, format).await?);
    }
    let offer = peer.offer().await?;
    let reply = tokio::select! {
        reply = endpoint.post(&offer) => reply?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let Reply::Answer { sdp, resource } = reply else {
        bail!("{} takes no publishers: is it an address of WHEP, for players?", args.url);
    };
    let mut progress = Progress::new();
    let feedback = Arc::default();
    tokio::spawn(listen(inbound, Arc::clone(&feedback)));
    let sent = tokio::select! {
        sent = send(&mut files, &mut peer, sdp, &mut tracks, &feedback, &mut progress) => sent,
        () = shutdown.cancelled() => Ok(()),
    };
    endpoint.delete(resource.as_ref()).await;
    peer.close().await;
    progress.say(&format!("published {}", told(&tracks, &feedback, tracks_end(&tracks))));
    sent
}

/// Sends the files. Nothing is lost when this is dropped in between.
async fn send(
    files: &mut Files,
    peer: &mut Peer,
    answer: String,
    tracks: &mut [Track],
    feedback: &Mutex<Feedback>,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    progress.show(|| "connecting".to_owned());
    peer.connect(answer).await?;
    let start = Instant::now();
    while let Some(frame) = files.next_frame()? {
        wait(peer, start + frame.at).await?;
        let at = frame.at;
        tracks[frame.track].send(frame).await?;
        progress.show(|| format!("publishing {}", told(tracks, feedback, at)));
    }
    wait(peer, start + files.end() + LINGER).await
}

async fn wait(peer: &Peer, until: Instant) -> anyhow::Result<()> {
    tokio::select! {
        () = sleep_until(until) => Ok(()),
        () = peer.ended() => bail!("the server ended the connection"),
    }
}

/// `0:12 | VP8 300 frames 310 kbit/s | lost 0 | keyframe wishes 1`
fn told(tracks: &[Track], feedback: &Mutex<Feedback>, at: Duration) -> String {
    let mut parts = vec![clock(at)];
    parts.extend(tracks.iter().map(|track| track.amount.told(track.format, at)));
    let feedback = feedback.lock().unwrap_or_else(PoisonError::into_inner);
    parts.push(format!("lost {}", feedback.lost.values().sum::<u32>()));
    parts.push(format!("keyframe wishes {}", feedback.wishes));
    parts.join(" | ")
}

fn tracks_end(tracks: &[Track]) -> Duration {
    tracks.iter().map(|track| track.at).max().unwrap_or_default()
}

/// What the server reports.
#[derive(Default)]
struct Feedback {
    /// By SSRC, packets that did not arrive at the server, resent ones not counted.
    lost: BTreeMap<u32, u32>,
    /// Keyframes that viewers asked for. A file has its own, so nothing follows from it.
    wishes: u64,
}

struct Track {
    format: Format,
    payload_type: u8,
    ssrc: u32,
    sequence_number: u16,
    /// RTP timestamp of the beginning of the files.
    timestamp: u32,
    payloading: Payloading,
    track: Arc<TrackLocalStaticRTP>,
    amount: Amount,
    at: Duration,
}

impl Track {
    /// RFC 3550 section 5.1: both numbers begin anywhere.
    async fn new(peer: &Peer, format: Format) -> anyhow::Result<Self> {
        let mut random = rand::rng();
        let (ssrc, timestamp) = (random.random(), random.random());
        // Far enough from the wrap for every SRTP library (RFC 3711 section 3.3.1).
        let sequence_number = random.random_range(0..0x8000);
        drop(random);
        let track = peer.send(format, ssrc).await?;
        Ok(Self {
            format,
            payload_type: format.payload_type(),
            ssrc,
            sequence_number,
            timestamp,
            payloading: format.payloading(),
            track,
            amount: Amount::default(),
            at: Duration::ZERO,
        })
    }

    async fn send(&mut self, frame: Frame) -> anyhow::Result<()> {
        let payloads = self.payloading.payloads(&frame.data)?;
        let nanoseconds = frame.at.as_nanos() * u128::from(self.format.clock_rate());
        let ticks = (nanoseconds + 500_000_000) / 1_000_000_000;
        let count = payloads.len();
        for (index, payload) in payloads.into_iter().enumerate() {
            let header = rtp::Header {
                version: 2,
                // RFC 7587 section 4.1: Opus marks what follows a silence, which is not known here.
                marker: self.format.is_video() && index + 1 == count,
                payload_type: self.payload_type,
                sequence_number: self.sequence_number,
                timestamp: self.timestamp.wrapping_add(ticks as u32),
                ssrc: self.ssrc,
                ..Default::default()
            };
            self.sequence_number = self.sequence_number.wrapping_add(1);
            self.track.write_rtp(rtp::Packet { header, payload }).await?;
            if (index + 1) % BURST == 0 {
                sleep(PAUSE).await;
            }
        }
        self.amount.add(&frame.data);
        self.at = frame.at;
        Ok(())
    }
}

/// Reads the server's reports until the peer connection is gone.
async fn listen(mut inbound: mpsc::Receiver<Inbound>, feedback: Arc<Mutex<Feedback>>) {
    while let Some(arrived) = inbound.recv().await {
        let Inbound::Rtcp(packets) = arrived else { continue };
        let mut feedback = feedback.lock().unwrap_or_else(PoisonError::into_inner);
        for packet in &packets {
            let packet = packet.as_any();
            if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
                feedback.wishes += 1;
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                feedback.lost.extend(report.reports.iter().map(|r| (r.ssrc, r.total_lost)));
            }
        }
    }
}
