//! Why everybody sees what they see: what the room knows of every slot, and the media plane's counters, asked for twice so that they
//! make rates.

use super::participant::Participant;
use super::status::without_slot;
use super::{Effect, Room};
use crate::protocol::{
    Kind, LayerName, ParticipantId, Priority, PublisherLimit, Source, TrackId, TrackLimit,
    TrackStatus,
};
use serde::Serialize;
use sfu::{Command, ConsumerId, TransportStats};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between the two looks at the counters.
const MEASURE_OVER: Duration = Duration::from_millis(400);
/// A worker that has not answered by then is left out.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Explanation {
    room: String,
    participants: Vec<Report>,
}

/// One peer connection.
#[derive(Clone, Debug, Serialize)]
struct Report {
    participant: ParticipantId,
    /// Of whom the others know.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The media connection is there, and not silent.
    connected: bool,
    rtt_ms: Option<f64>,
    bandwidth: Option<Link>,
    tracks: Vec<Received>,
    /// Tracks beyond `max_video` and `max_audio`.
    without_slot: Vec<TrackId>,
    published: Vec<Published>,
}

/// The way to a subscriber.
#[derive(Clone, Debug, Serialize)]
struct Link {
    estimate: u64,
    cause: &'static str,
    wanted: u64,
    allocated: u64,
}

/// A track at a subscriber.
#[derive(Clone, Debug, Serialize)]
struct Received {
    #[serde(flatten)]
    status: Told,
    participant: ParticipantId,
    kind: Kind,
    source: Source,
    codec: &'static str,
    muted: bool,
    mid: Option<String>,
    settings: Option<Shown>,
    /// Bits per second that were sent, retransmissions not included.
    measured: Option<u64>,
}

/// As in `track_status`. Without a limit: nothing is known, of sound ever, of a picture yet.
#[derive(Clone, Debug, Serialize)]
struct Told {
    track: TrackId,
    wanted: Option<LayerName>,
    shown: Option<LayerName>,
    limit: Option<TrackLimit>,
    needed: u64,
    available: u64,
}

impl Told {
    fn nothing(track: TrackId) -> Self {
        Self { track, wanted: None, shown: None, limit: None, needed: 0, available: 0 }
    }
}

impl From<TrackStatus> for Told {
    fn from(status: TrackStatus) -> Self {
        let TrackStatus { track, wanted, shown, limit, needed, available } = status;
        Self { track, wanted, shown, limit: Some(limit), needed, available }
    }
}

/// What the subscriber said of a track.
#[derive(Clone, Debug, Serialize)]
struct Shown {
    width: u16,
    height: u16,
    fps: u8,
    paused: bool,
    priority: Priority,
}

/// A track at its publisher.
#[derive(Clone, Debug, Serialize)]
struct Published {
    track: TrackId,
    source: Source,
    layers: Vec<String>,
    watched: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spatial_layers: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bitrate: Option<u64>,
    limited: PublisherLimit,
}

/// Somebody waits for an explanation; whoever asks meanwhile gets the same.
#[derive(Debug)]
pub(super) struct Inquiry {
    deadline: Instant,
    /// When to ask a second time, before that was done.
    again_at: Option<Instant>,
    /// Whose answers are yet to come.
    asked: BTreeMap<u64, ParticipantId>,
    samples: BTreeMap<ParticipantId, Vec<Sample>>,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    stats: TransportStats,
}

impl Inquiry {
    fn is_done(&self) -> bool {
        self.again_at.is_none() && self.asked.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.again_at.unwrap_or(self.deadline)
    }

    /// What a slot was sent between the two looks.
    fn measured(&self, id: ParticipantId, consumer: ConsumerId) -> Option<u64> {
        let [first, .., last] = self.samples.get(&id)?.as_slice() else { return None };
        let bytes = |sample: &Sample| {
            let consumers = sample.stats.consumers.iter();
            consumers.filter(|stats| stats.consumer == consumer).map(|stats| stats.bytes).next()
        };
        let millis = u64::try_from(last.at.duration_since(first.at).as_millis()).ok()?;
        let bits = bytes(last)?.saturating_sub(bytes(first)?).saturating_mul(8);
        bits.saturating_mul(1000).checked_div(millis)
    }
}

impl Room {
    /// Answered by [`Effect::Explanation`].
    pub(super) fn explain(&mut self) {
        if self.inquiry.is_some() {
            return;
        }
        self.inquiry = Some(Inquiry {
            deadline: self.now + ANSWER_WITHIN,
            again_at: Some(self.now + MEASURE_OVER),
            asked: BTreeMap::new(),
            samples: BTreeMap::new(),
        });
        self.ask_for_stats();
    }

    fn ask_for_stats(&mut self) {
        let transports =
            self.participants.values().filter_map(|p| Some((p.id, p.transport.as_ref()?.id)));
        for (id, transport) in transports.collect::<Vec<_>>() {
            let request = self.ids.next();
            if let Some(inquiry) = &mut self.inquiry {
                inquiry.asked.insert(request, id);
            }
            self.media(Command::RequestStats { transport, request });
        }
    }

    /// Counters have come; returns whether they were asked for here.
    pub(super) fn note_stats(&mut self, request: u64, stats: &TransportStats) -> bool {
        let Some(inquiry) = &mut self.inquiry else { return false };
        let Some(id) = inquiry.asked.remove(&request) else { return false };
        let sample = Sample { at: self.now, stats: stats.clone() };
        inquiry.samples.entry(id).or_default().push(sample);
        if inquiry.is_done() {
            self.finish_inquiry();
        }
        true
    }

    /// Asks a second time, and stops waiting in the end.
    pub(super) fn tick_inquiry(&mut self) {
        let now = self.now;
        let Some(inquiry) = &mut self.inquiry else { return };
        if inquiry.again_at.take_if(|again_at| *again_at <= now).is_some() {
            self.ask_for_stats();
        }
        let done = |inquiry: &mut Inquiry| inquiry.is_done() || inquiry.deadline <= now;
        if self.inquiry.as_mut().is_some_and(done) {
            self.finish_inquiry();
        }
    }

    fn finish_inquiry(&mut self) {
        let Some(inquiry) = self.inquiry.take() else { return };
        let reports = self.participants.values().map(|p| self.report(p, &inquiry));
        let explanation = Explanation { room: self.name.clone(), participants: reports.collect() };
        self.effects.push(Effect::Explanation(Box::new(explanation)));
    }

    fn report(&self, participant: &Participant, inquiry: &Inquiry) -> Report {
        let stats = inquiry.samples.get(&participant.id).and_then(|samples| samples.last());
        let stats = stats.map(|sample| &sample.stats);
        let bandwidth = stats.and_then(|stats| stats.bandwidth).map(|bandwidth| Link {
            estimate: bandwidth.estimate,
            cause: bandwidth.cause,
            wanted: bandwidth.wanted,
            allocated: bandwidth.allocated,
        });
        let known = |text: &String| (!participant.is_viewer()).then(|| text.clone());
        let (tracks, without_slot) = self.received(participant, inquiry);
        let own = self.tracks.values().filter(|track| track.owner == participant.id);
        let published = own.map(|track| {
            let watched = track.watched_layers();
            Published {
                track: track.id,
                source: track.source,
                layers: track.layers.clone(),
                watched: watched.layers,
                spatial_layers: watched.spatial_layers,
                max_bitrate: watched.max_bitrate,
                limited: track.limited,
            }
        });
        Report {
            participant: participant.id,
            identity: known(&participant.identity),
            name: known(&participant.name),
            connected: participant.transport.is_some_and(|t| t.connected && !t.silent),
            rtt_ms: stats.and_then(|stats| stats.rtt).map(|rtt| rtt.as_secs_f64() * 1000.0),
            bandwidth,
            tracks,
            without_slot,
            published: published.collect(),
        }
    }

    /// What a subscriber is shown, or could be if it were for it; and what it would be shown in more slots.
    fn received(
        &self,
        participant: &Participant,
        inquiry: &Inquiry,
    ) -> (Vec<Received>, Vec<TrackId>) {
        let (mut received, mut without) = (Vec::new(), Vec::new());
        let viewer = participant.is_viewer();
        for track in self.tracks.values().filter(|track| track.owner != participant.id) {
            let slot = participant.slots.showing(track.id);
            let known = participant.status_of(track).map(Told::from);
            let status = match slot {
                Some(_) => known.unwrap_or_else(|| Told::nothing(track.id)),
                None if participant.unavailable.contains(&track.id) => {
                    without_slot(track.id, TrackLimit::Codec).into()
                }
                None if participant.unsubscribed.contains(&track.id) => {
                    without_slot(track.id, TrackLimit::Policy).into()
                }
                None if viewer || participant.max == Default::default() => continue,
                None => {
                    without.push(track.id);
                    continue;
                }
            };
            let settings = participant.settings_of(track.id).map(|settings| Shown {
                width: settings.width,
                height: settings.height,
                fps: settings.fps,
                paused: settings.paused,
                priority: settings.priority,
            });
            received.push(Received {
                status,
                participant: track.owner,
                kind: track.kind,
                source: track.source,
                codec: track.codec(),
                muted: track.muted,
                mid: slot.map(|slot| slot.mid.clone()),
                settings,
                measured: slot.and_then(|slot| inquiry.measured(participant.id, slot.consumer)),
            });
        }
        (received, without)
    }
}
