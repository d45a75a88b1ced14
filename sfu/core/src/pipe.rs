//! Pipes: how a track gets from the worker that has its publisher to a worker that has subscribers of it.
//!
//! Owns the messages and what each end remembers; `engine/pipes.rs` acts on them, and the shell around the engine carries the bytes, in
//! order, over one bounded ring per ordered pair of workers. Never waits: what a full ring does not take is dropped (media, until the
//! next keyframe) or told again later (everything else is state, so the newest value is all that is needed).

mod message;

use crate::WorkerId;
use crate::producer::ceiling::Headroom;
pub(crate) use message::{HEAD_BYTES, Head, PipeMessage, Report, State, TrackState, Want};
use std::time::{Duration, Instant};

/// Bytes of the largest message: a datagram and what was parsed of it.
pub const PIPE_MESSAGE_MAX: usize = HEAD_BYTES + 2048;

/// A wish for a keyframe that was passed on is passed on again after so long. The publisher's worker repeats it by itself.
const WISH_INTERVAL: Duration = Duration::from_millis(500);

/// Where messages for other workers' engines go.
pub trait PipeTransmit {
    /// Queues `head` and `body` as one message for the engine of `to`, whole or not at all. Must not block; `false`: there is no room.
    fn transmit(&mut self, to: WorkerId, head: &[u8], body: &[u8]) -> bool;

    /// The same for data, which leaves room for packets: at least half of all that there is stays free. A message may have 320 KiB.
    fn transmit_data(&mut self, to: WorkerId, message: &[u8]) -> bool;
}

/// The publisher's end: one worker that has consumers of a track.
#[derive(Debug)]
pub(crate) struct PipeOut {
    pub(crate) to: WorkerId,
    /// Bit per encoding that somebody consumes there.
    pub(crate) wanted: u8,
    /// Bit per layer that somebody there is to be shown.
    pub(crate) watched: u8,
    /// What the best of the links there has for it.
    pub(crate) headroom: Headroom,
    /// Bit per encoding that goes on with its next keyframe, because the ring was full.
    pub(crate) waiting: u8,
    /// Bit per encoding that began to flow since the last [`State`].
    pub(crate) fresh: u8,
    /// Bit per encoding whose sender report is to be told.
    pub(crate) reports: u8,
    /// What was told last. `None`: nothing yet.
    pub(crate) told: Option<TrackState>,
    /// What followed the last keyframe is on its way.
    pub(crate) replay: Option<PipeReplay>,
}

/// A cursor into the cache of an encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipeReplay {
    pub(crate) encoding: u8,
    pub(crate) epoch: u32,
    /// The next packet.
    pub(crate) next: u64,
}

impl PipeOut {
    pub(crate) fn new(to: WorkerId) -> Self {
        Self {
            to,
            wanted: 0,
            watched: 0,
            headroom: Headroom::Unknown,
            waiting: 0,
            fresh: 0,
            reports: u8::MAX,
            told: None,
            replay: None,
        }
    }

    /// A live packet to which the replay under way will come.
    pub(crate) fn replay_covers(&self, encoding: u8, seq: u64) -> bool {
        self.replay.is_some_and(|replay| replay.encoding == encoding && seq >= replay.next)
    }
}

/// The subscribers' end: the worker that has the publisher.
#[derive(Debug)]
pub(crate) struct PipeIn {
    pub(crate) from: WorkerId,
    /// Over there they do not know yet that this end is open.
    pub(crate) hello: bool,
    /// What is known over there of the track was told.
    pub(crate) informed: bool,
    /// What the other end believes that is wanted here.
    pub(crate) wanted: u8,
    /// The same of layers and links.
    pub(crate) watched: u8,
    pub(crate) headroom: Headroom,
    /// A consumer shows another encoding than it should: what is wanted changes as soon as it has switched.
    pub(crate) switching: bool,
    /// Keyframes to ask for.
    pub(crate) keyframes: u8,
    /// Keyframes that were asked for and did not come yet, and when that was.
    pub(crate) asked: u8,
    pub(crate) asked_at: Option<Instant>,
}

impl PipeIn {
    pub(crate) fn new(from: WorkerId) -> Self {
        Self {
            from,
            hello: true,
            informed: false,
            wanted: 0,
            watched: 0,
            headroom: Headroom::Unknown,
            switching: false,
            keyframes: 0,
            asked: 0,
            asked_at: None,
        }
    }

    /// Consumers wait for these keyframes. Whether that is news for the other end.
    pub(crate) fn wish(&mut self, now: Instant, wanted: u8) -> bool {
        let again = |at: Instant| now.saturating_duration_since(at) >= WISH_INTERVAL;
        if self.asked_at.is_some_and(|at| !again(at)) && wanted & !self.asked == 0 {
            return false;
        }
        self.keyframes |= wanted;
        self.asked |= wanted;
        self.asked_at = Some(now);
        true
    }

    /// One of them came.
    pub(crate) fn keyframe_arrived(&mut self, encoding: u8) {
        self.asked &= !(1 << encoding);
    }
}

/// What waits for the next [`crate::Engine::flush_pipes`].
#[derive(Debug, Default)]
pub(crate) struct PipeQueue {
    /// Producers of which there is something to tell.
    pub(crate) due: Vec<usize>,
    /// Packets: (producer, encoding, extended sequence number).
    pub(crate) media: Vec<(usize, u8, u64)>,
    /// Producers that have replays under way.
    pub(crate) replays: Vec<usize>,
}

impl PipeQueue {
    pub(crate) fn push(&mut self, producer: usize, encoding: u8, seq: u64) {
        self.media.push((producer, encoding, seq));
    }

    /// A producer is gone, and its key may soon be another's.
    pub(crate) fn forget(&mut self, producer: usize) {
        self.due.retain(|&other| other != producer);
        self.media.retain(|(other, _, _)| *other != producer);
        self.replays.retain(|&other| other != producer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_passed_on_once_until_it_is_granted_or_time_has_passed() {
        let t0 = Instant::now();
        let mut pipe = PipeIn::new(WorkerId(1));
        assert!(pipe.wish(t0, 0b01));
        assert!(!pipe.wish(t0, 0b01));
        assert!(pipe.wish(t0, 0b11), "another encoding");
        assert!(!pipe.wish(t0 + WISH_INTERVAL / 2, 0b11));
        pipe.keyframe_arrived(0);
        assert!(!pipe.wish(t0 + WISH_INTERVAL / 2, 0b10), "the other one is still to come");
        assert!(pipe.wish(t0 + WISH_INTERVAL / 2, 0b01));
        assert!(pipe.wish(t0 + WISH_INTERVAL * 2, 0b10));
        assert_eq!(pipe.keyframes, 0b11);
    }
}
