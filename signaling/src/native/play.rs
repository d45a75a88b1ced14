//! `switchyard play`: what a WHEP server shows, into a file.

use anyhow::{Context as _, bail};
use reqwest::Url;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use std::fs::File;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::endpoint::{Endpoint, Reply};
use super::format::{Format, RECEIVED};
use super::inbound::Inbound;
use super::peer::Peer;
use super::progress::Progress;
use super::recording::Recording;
use super::write::Container;
use crate::cli::PlayArgs;

/// How often frames are taken out of packets, and packets looked for that are missing.
const TICK: Duration = Duration::from_millis(100);

/// Records until `shutdown` is cancelled, the time is over, or the server ends it.
///
/// # Errors
/// The file cannot be written, or the server refuses, cannot be reached or sends nothing; the message says what to do.
pub async fn play(args: PlayArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let container = Container::of(&args.output)?;
    let shown = args.output.display();
    // What is there stays until there is something to put in its place.
    let file = File::options().write(true).create(true).truncate(false).open(&args.output);
    let file = file.with_context(|| format!("cannot write {shown}"))?;
    let endpoint = Endpoint::new(&args.url, args.token, args.insecure)?;
    let formats: Vec<(u8, Format)> =
        RECEIVED.into_iter().filter(|(_, format)| container.holds(*format)).collect();
    let (mut peer, mut inbound) = Peer::new(&formats, endpoint.is_local()).await?;
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        if formats.iter().any(|(_, format)| format.kind() == kind) {
            peer.receive(kind).await?;
        }
    }
    let mut progress = Progress::new();
    let offer = peer.offer().await?;
    let answered = tokio::select! {
        answered = ask(&endpoint, &offer, &mut progress) => answered?,
        () = shutdown.cancelled() => bail!("nothing was live"),
    };
    let Some((sdp, resource)) = answered else {
        bail!(
            "what is live is in no format that {shown} can hold (406): -o FILE.mkv holds every one"
        );
    };
    // Devices have no length.
    let _ = file.set_len(0);
    let mut recording = Recording::new(container, file, &sdp);
    let end = tokio::select! {
        end = record(&mut recording, &mut peer, &mut inbound, sdp, &mut progress, args.duration) => end,
        () = shutdown.cancelled() => Ok(()),
    };
    endpoint.delete(resource.as_ref()).await;
    peer.close().await;
    recording.finish().with_context(|| format!("cannot write {shown}"))?;
    progress.say(&format!("{shown}: {}", recording.told()));
    end?;
    if recording.is_empty() {
        bail!("nothing came that could be written");
    }
    Ok(())
}

/// Posts the offer until something is live; `None`: it is in no format of the offer.
async fn ask(
    endpoint: &Endpoint,
    offer: &str,
    progress: &mut Progress,
) -> anyhow::Result<Option<(String, Option<Url>)>> {
    loop {
        match endpoint.post(offer).await? {
            Reply::Answer { sdp, resource } => return Ok(Some((sdp, resource))),
            Reply::NoCommonFormat => return Ok(None),
            Reply::NothingLive(wait) => {
                progress.show(|| {
                    format!("nothing is live yet: asking again every {} s", wait.as_secs())
                });
                sleep(wait).await;
            }
        }
    }
}

/// Nothing is lost when this is dropped in between.
async fn record(
    recording: &mut Recording,
    peer: &mut Peer,
    inbound: &mut mpsc::Receiver<Inbound>,
    answer: String,
    progress: &mut Progress,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    progress.show(|| "connecting".to_owned());
    peer.connect(answer).await?;
    let ended = peer.ended();
    tokio::pin!(ended);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let end = recording.began().zip(duration).map(|(began, duration)| began + duration);
        tokio::select! {
            Some(track) = peer.tracks.recv() => recording.add(track).await,
            Some(arrived) = inbound.recv() => recording.take(arrived, Instant::now())?,
            _ = ticks.tick() => {
                recording.tick().await?;
                progress.show(|| recording.told());
            }
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(()),
            () = &mut ended => {
                progress.say("the server ended the connection");
                return Ok(());
            }
        }
    }
}
