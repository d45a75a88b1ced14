//! A late viewer begins with the last keyframe, from the producer's cache, and catches up with those who were there before.
//!
//! What came since the keyframe leaves in parts, one every 5 ms, so that it takes about two seconds at most; live packets of the source follow
//! in their place. The frames are shown as fast as they come: each is given the time of what is live when it leaves. With their own times a
//! player would stay as far behind as the keyframe was old, and its jitter buffer would take the burst for jitter.

use crate::consumer::Consumer;
use crate::producer::Producer;
use crate::producer::encoding::Encoding;
use crate::producer::gop::Gop;
use crate::transport::pace::SLOT;

/// What the publisher's last keyframe may be old for not even asking for another one.
const FRESH_US: u64 = 1_000_000;
/// How long a viewer waits for the keyframe that was asked for.
const PATIENCE_US: u64 = 150_000;
/// A viewer whose picture broke is replayed to again after so long, then after twice as long, and so on up to eight times: a network that is
/// full does not get better by it.
const AGAIN_AFTER_US: u64 = 3_000_000;
const AGAIN_DOUBLED_MAX: u8 = 3;
/// Everything before a replay's end leaves within so many slots, if the subscriber's limit lets it.
const SLOTS: usize = 2_000 / SLOT.as_millis() as usize;
/// A slot's share is at least so many bytes.
const SHARE_MIN: u64 = 4800;
/// How long times are remembered for packets of the last frames that come late.
const MEMORY_US: u64 = 500_000;
/// Frames whose times are remembered.
const FRAMES: usize = 8;
/// Between two frames the live time is taken to go on by so much at most, in µs: the next frame must come after it.
const AHEAD_MAX_US: u64 = 15_000;
/// … but whoever is silent for so long rests: what comes next is of then, and not of when it fell silent.
const SILENT_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Replay {
    encoding: u8,
    epoch: u32,
    /// The next packet, as a sequence number of the source.
    pub(crate) next: u64,
    /// The newest one that was given a time.
    newest_seq: u64,
    /// Bytes that leave in one slot.
    pub(crate) share: usize,
    /// When everything had left.
    ended_us: Option<u64>,
    /// The last frames' source and outgoing timestamps, newest last.
    frames: Vec<(u32, u32)>,
}

impl Replay {
    fn new(encoding: u8, source: &Encoding, gop: &Gop, now_us: u64) -> Box<Self> {
        let slot_us = SLOT.as_micros() as u64;
        // As much as comes meanwhile, and part of what is there.
        let comes = gop.bytes * slot_us / gop.age_us(now_us).max(slot_us);
        Box::new(Self {
            encoding,
            epoch: source.epoch,
            next: gop.first,
            newest_seq: 0,
            share: (gop.bytes / SLOTS as u64 + comes).max(SHARE_MIN) as usize,
            ended_us: None,
            frames: Vec::with_capacity(FRAMES),
        })
    }

    pub(crate) fn encoding(&self) -> u8 {
        self.encoding
    }

    pub(crate) fn runs(&self) -> bool {
        self.ended_us.is_none()
    }

    pub(crate) fn end(&mut self, now_us: u64) {
        self.ended_us = Some(now_us);
    }

    /// A keyframe begins a new source: its times need not follow.
    pub(crate) fn begin_source(&mut self) {
        self.frames.clear();
    }

    pub(crate) fn is_of(&self, encoding: u8, epoch: u32) -> bool {
        (self.encoding, self.epoch) == (encoding, epoch)
    }

    fn is_over(&self, now_us: u64) -> bool {
        self.ended_us.is_some_and(|at| now_us.saturating_sub(at) > MEMORY_US)
    }

    /// The outgoing time of a frame. `exact`: where it belongs on the subscriber's timeline; `live`: what is live now. `None`: a packet that
    /// came `late`, of a frame that has no place between those that are remembered.
    fn timestamp(&mut self, source: u32, exact: u32, live: u32, late: bool) -> Option<u32> {
        if let Some((_, out)) = self.frames.iter().rev().find(|(frame, _)| *frame == source) {
            return Some(*out);
        }
        let mut out = if self.runs() { live } else { exact };
        if let Some(&(newest, last)) = self.frames.last() {
            // Else the encoder has put it behind a later one (B-frames).
            if late && (source.wrapping_sub(newest) as i32) < 0 {
                return self.place(source, exact);
            }
            if (out.wrapping_sub(last) as i32) <= 0 {
                out = last.wrapping_add(1);
            }
        }
        if self.frames.len() == FRAMES {
            self.frames.remove(0);
        }
        self.frames.push((source, out));
        Some(out)
    }

    /// Where a late frame belongs, if that is between the frames around it.
    fn place(&mut self, source: u32, exact: u32) -> Option<u32> {
        let after = |a: u32, b: u32| (a.wrapping_sub(b) as i32) > 0;
        let at = self.frames.iter().position(|(frame, _)| after(*frame, source))?;
        let (_, before) = *self.frames.get(at.checked_sub(1)?)?;
        let fits = after(exact, before) && after(self.frames[at].1, exact);
        if fits && self.frames.len() == FRAMES {
            self.frames.remove(0);
            self.frames.insert(at - 1, (source, exact));
        } else if fits {
            self.frames.insert(at, (source, exact));
        }
        fits.then_some(exact)
    }
}

/// Whose packets a replay gives other times.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timing {
    /// The source's own.
    Exact,
    /// This one.
    At(u32),
    /// The frame is not known any more.
    Unknown,
}

/// RTP time and arrival of what is live at a source whose `newest` packet came so; `now_us` where it rests.
pub(crate) fn live((timestamp, at_us): (u32, u64), clock_rate: u32, now_us: u64) -> (u32, u64) {
    match now_us.saturating_sub(at_us) {
        silent if silent > SILENT_US => {
            let ticks = u128::from(silent) * u128::from(clock_rate) / 1_000_000;
            (timestamp.wrapping_add(ticks as u32), now_us)
        }
        _ => (timestamp, at_us),
    }
}

impl Consumer {
    /// Begins a replay, if the slot shows nothing and the cache has where it could begin; it then runs with the transport's next slots.
    pub(crate) fn begin_replay(&mut self, producer: &Producer, now_us: u64) -> bool {
        if self.paused || self.replays() || !producer.is_video() || producer.paused {
            return false;
        }
        // One is enough: if it showed nothing, another one will not either.
        let just_was = |at: u64| now_us.saturating_sub(at) < AGAIN_AFTER_US;
        if self.selector.current().is_some() || self.replayed_us.is_some_and(just_was) {
            return false;
        }
        let waited = now_us.saturating_sub(*self.waiting_since_us.get_or_insert(now_us));
        let best = self.selector.target(producer).map(usize::from);
        let others = (0..producer.encodings.len()).rev().filter(|index| Some(*index) != best);
        for index in best.into_iter().chain(others) {
            let source = &producer.encodings[index];
            let Some(gop) = source.gop(now_us) else { continue };
            let at_once = gop.age_us(now_us) <= FRESH_US || source.keyframes.are_ignored();
            if at_once || waited >= PATIENCE_US {
                self.replay = Some(Replay::new(index as u8, source, &gop, now_us));
                self.replayed_us = Some(now_us);
                return true;
            }
        }
        false
    }

    /// The viewer asks for a keyframe of a publisher that makes them when it likes: starts over with the last one.
    pub(crate) fn replay_again(&mut self, producer: &Producer, now_us: u64) -> bool {
        let shown = self.selector.current().map(|source| usize::from(source.encoding));
        let Some(source) = shown.and_then(|shown| producer.encodings.get(shown)) else {
            return false;
        };
        let pause_us = AGAIN_AFTER_US << self.replayed_again.min(AGAIN_DOUBLED_MAX);
        let too_soon = self.replayed_us.is_some_and(|at| now_us.saturating_sub(at) < pause_us);
        if too_soon || !source.keyframes.are_ignored() || source.gop(now_us).is_none() {
            return false;
        }
        self.restart();
        self.replayed_again = self.replayed_again.saturating_add(1);
        self.begin_replay(producer, now_us)
    }

    /// Is a replay under way?
    pub(crate) fn replays(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.runs())
    }

    /// A live packet that the replay under way will come to.
    pub(crate) fn replay_covers(&self, encoding: u8, epoch: u32, seq: u64) -> bool {
        self.replay.as_ref().is_some_and(|replay| {
            replay.runs() && replay.is_of(encoding, epoch) && seq >= replay.next
        })
    }

    /// The encoding whose keyframe the slot waits for.
    pub(crate) fn needs_keyframe(&self, producer: &Producer) -> Option<u8> {
        let needed = self.selector.needs_keyframe(producer)?;
        let coming = self.replay.as_ref().is_some_and(|replay| {
            replay.runs() && replay.encoding == needed && self.selector.current().is_none()
        });
        (!coming).then_some(needed)
    }

    /// The outgoing time of a packet of `source` that leaves at `now_us`; `newest`: RTP time and arrival of the newest one there.
    pub(crate) fn timing(
        &mut self,
        (encoding, source): (u8, &Encoding),
        (seq, timestamp): (u64, u32),
        newest: (u32, u64),
        now_us: u64,
    ) -> Timing {
        let Some(replay) = &mut self.replay else { return Timing::Exact };
        if !replay.is_of(encoding, source.epoch) || replay.is_over(now_us) {
            self.replay = None;
            return Timing::Exact;
        }
        let offset = self.rewriter.timestamp_offset();
        let (newest, arrival_us) = newest;
        let mut live = newest.wrapping_add(offset);
        if timestamp != newest {
            let ahead_us = now_us.saturating_sub(arrival_us).min(AHEAD_MAX_US);
            live = live.wrapping_add((ahead_us * u64::from(source.clock_rate) / 1_000_000) as u32);
        }
        let exact = timestamp.wrapping_add(offset);
        let late = seq < replay.newest_seq;
        replay.newest_seq = replay.newest_seq.max(seq);
        replay.timestamp(timestamp, exact, live, late).map_or(Timing::Unknown, Timing::At)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn replay() -> Replay {
        Replay {
            encoding: 0,
            epoch: 0,
            next: 0,
            newest_seq: 0,
            share: 0,
            ended_us: None,
            frames: Vec::with_capacity(FRAMES),
        }
    }

    /// 100 frames of 3000 ticks, four for each that comes meanwhile.
    #[test]
    fn frames_are_given_the_live_time_and_never_go_back() {
        let (mut replay, mut last, mut live) = (replay(), None, 300_000_u32);
        for frame in 0..100_u32 {
            live += 750;
            let source = frame * 3000;
            let out = replay.timestamp(source, source, live, false).unwrap();
            assert_eq!(
                replay.timestamp(source, source, live + 9, false),
                Some(out),
                "one frame, one time"
            );
            assert!(last.is_none_or(|last| out > last));
            assert!((out - live) <= 1);
            last = Some(out);
        }
        // Everything before 297 000 was live at 375 000; what comes now keeps its own distance to that, unless it would go back.
        replay.end(0);
        assert_eq!(replay.timestamp(300_000, 375_000, 0, false), Some(375_001));
        assert_eq!(replay.timestamp(303_000, 378_000, 0, false), Some(378_000));
        assert_eq!(
            replay.timestamp(285_000, 1, 0, true),
            Some(372_000),
            "late, of a frame that is remembered"
        );
        assert_eq!(replay.timestamp(30_000, 1, 0, true), None, "of one that is not");
        assert_eq!(
            replay.timestamp(301_500, 376_500, 0, true),
            Some(376_500),
            "late, in its place"
        );
        let b_frame = replay.timestamp(301_600, 376_600, 0, false);
        assert_eq!(b_frame, Some(378_001), "it comes after what it is shown before");
    }
}
