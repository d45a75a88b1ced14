//! Who speaks: smoothed audio levels (RFC 6464) of the audio tracks in a room.

use crate::{ProducerId, Speaker};
use std::time::{Duration, Instant};

/// How often a router looks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);
/// Louder than this (-dBov) counts as speech.
const SPEECH: u8 = 50;
/// A pause between words does not end a turn.
const HOLD: Duration = Duration::from_millis(600);
/// Without packets (DTX, mute) the level decays to silence.
const SILENCE: u8 = 127;
/// Who is loud in so many tenths of an interval, of the last four, speaks; a cough or a key is over before.
const SPEAKS_TENTHS: u32 = 14;
const RECENT: usize = 4;
/// Whose turn is over keeps the floor for so long against what is not known to be speech.
const FLOOR: Duration = Duration::from_secs(2);

/// Smooths one track's levels.
#[derive(Debug, Default)]
pub(crate) struct LevelMeter {
    sum: u32,
    packets: u32,
    level: Option<f32>,
    last_speech: Option<Instant>,
    /// Packets of speech: in this interval, and in each of the last ones.
    loud: u16,
    recent: [u16; RECENT],
    /// Most packets of an interval: packets of any length, and DTX sends few.
    most: u32,
    /// In this turn.
    speaks: bool,
}

impl LevelMeter {
    /// One packet's level in -dBov.
    pub(crate) fn add(&mut self, level: u8) {
        // Whatever carries a level comes here, and only what is sound is ever asked for it.
        self.sum = self.sum.saturating_add(level.min(SILENCE).into());
        self.packets = self.packets.saturating_add(1);
        self.loud = self.loud.saturating_add(u16::from(level <= SPEECH));
    }

    /// Closes one interval; returns the smoothed level while the track counts as speaking.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<u8> {
        let heard = self.sum.checked_div(self.packets).map_or(SILENCE, |mean| mean as u8);
        self.most = self.most.max(self.packets);
        self.recent.rotate_right(1);
        self.recent[0] = std::mem::take(&mut self.loud);
        (self.sum, self.packets) = (0, 0);
        let before = self.level.unwrap_or(f32::from(SILENCE));
        // Rises at once, falls over about a second: the ring must light with the first word.
        let weight = if f32::from(heard) < before { 0.8 } else { 0.3 };
        let level = before + (f32::from(heard) - before) * weight;
        self.level = Some(level);
        if heard <= SPEECH {
            self.last_speech = Some(now);
        }
        let speaking = self.last_speech.is_some_and(|at| now.saturating_duration_since(at) <= HOLD);
        let loud: u32 = self.recent.map(u32::from).iter().sum();
        self.speaks = speaking && (self.speaks || loud * 10 >= SPEAKS_TENTHS * self.most);
        speaking.then_some(level.round() as u8)
    }

    /// Is it known to be speech, and no short noise?
    pub(crate) fn speaks(&self) -> bool {
        self.speaks
    }
}

/// The last announced set of one room.
#[derive(Debug, Default)]
pub(crate) struct SpeakerList {
    announced: Vec<Speaker>,
    /// The loudest who was known to speak last, and when that was.
    floor: Option<(ProducerId, Instant)>,
}

impl SpeakerList {
    /// Leaves out short noises after somebody's turn: while people speak, or nobody has for long, they are told at once. `heard`: with each, whether it is known to
    /// be speech.
    pub(crate) fn settle(&mut self, now: Instant, heard: Vec<(Speaker, bool)>) -> Vec<Speaker> {
        let speech = heard.iter().filter(|(_, speaks)| *speaks).map(|(speaker, _)| *speaker);
        if let Some(loudest) = speech.min_by_key(|speaker| speaker.level) {
            self.floor = Some((loudest.producer, now));
        }
        let kept = self.floor.filter(|(_, at)| now.saturating_duration_since(*at) <= FLOOR);
        let takes = |speaker: &Speaker| {
            kept.is_none_or(|(holder, at)| at == now || holder == speaker.producer)
        };
        heard.into_iter().map(|(speaker, _)| speaker).filter(takes).collect()
    }

    /// The list to announce, if who speaks or who is loudest changed.
    pub(crate) fn update(&mut self, mut speakers: Vec<Speaker>) -> Option<Vec<Speaker>> {
        speakers.sort_by_key(|speaker| (speaker.level, speaker.producer));
        let same = speakers.len() == self.announced.len()
            && speakers.iter().all(|s| self.announced.iter().any(|a| a.producer == s.producer))
            && speakers.first().map(|s| s.producer) == self.announced.first().map(|s| s.producer);
        if same {
            return None;
        }
        self.announced.clone_from(&speakers);
        Some(speakers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publisher may send levels with its pictures.
    #[test]
    fn row_16_levels_that_nobody_takes_overflow_nothing() {
        let mut meter = LevelMeter::default();
        for _ in 0..40_000_000 {
            meter.add(127);
        }
        assert_eq!(meter.tick(Instant::now()), None);
    }

    #[test]
    fn speech_starts_at_once_and_outlives_a_pause() {
        let t0 = Instant::now();
        let mut meter = LevelMeter::default();
        for _ in 0..12 {
            meter.add(20);
        }
        assert!(meter.tick(t0).is_some_and(|level| level < 50));
        assert!(meter.tick(t0 + INTERVAL).is_some(), "a pause between words");
        assert_eq!(meter.tick(t0 + INTERVAL * 4), None);
    }

    /// After somebody's turn there is a noise of 300 ms, then others speak; packets of 20 or 60 ms.
    #[test]
    fn a_cough_does_not_take_the_floor_and_a_voice_does() {
        for packet_ms in [20, 60] {
            let (mut now, mut list) = (Instant::now(), SpeakerList::default());
            let mut meters = [LevelMeter::default(), LevelMeter::default()];
            // Loud until …, in ms, by turns; returns who was first at each interval.
            let mut run = |ms: [std::ops::Range<u32>; 2], until: u32| {
                let mut first = Vec::new();
                for at in (0..until).step_by(packet_ms) {
                    for (meter, loud) in meters.iter_mut().zip(&ms) {
                        meter.add(if loud.contains(&at) { 30 } else { 90 });
                    }
                    if at % 250 + packet_ms as u32 >= 250 {
                        now += INTERVAL;
                        let heard = meters.iter_mut().zip(1..).filter_map(|(meter, id)| {
                            let level = meter.tick(now)?;
                            Some((Speaker { producer: ProducerId(id), level }, meter.speaks()))
                        });
                        let list = list.settle(now, heard.collect());
                        first.push(list.iter().min_by_key(|s| s.level).map(|s| s.producer.0));
                    }
                }
                first
            };
            let quiet = 0..0;
            assert_eq!(run([0..2000, quiet.clone()], 2000).last(), Some(&Some(1)));
            for begin in [900, 960, 1080] {
                let noise = run([quiet.clone(), begin..begin + 300], 2000);
                assert!(!noise.contains(&Some(2)), "{packet_ms} ms, {begin}: {noise:?}");
                assert_eq!(run([0..2000, quiet.clone()], 2000).last(), Some(&Some(1)));
            }
            let talk = run([quiet.clone(), 900..4000], 4000);
            let first = talk.iter().position(|first| *first == Some(2)).unwrap();
            assert!(first < (900 + 1000) / 250, "{packet_ms} ms: {talk:?}");
            // A short noise is told again when nobody has spoken for long.
            run([quiet.clone(), quiet.clone()], 4000);
            assert!(run([250..500, quiet], 1000).contains(&Some(1)), "{packet_ms} ms");
        }
    }

    #[test]
    fn only_changes_are_announced() {
        let mut list = SpeakerList::default();
        let speaker = |id, level| Speaker { producer: ProducerId(id), level };
        assert!(list.update(vec![]).is_none());
        assert!(list.update(vec![speaker(1, 30), speaker(2, 20)]).is_some());
        assert!(list.update(vec![speaker(1, 29), speaker(2, 20)]).is_none());
        assert!(list.update(vec![speaker(1, 10), speaker(2, 20)]).is_some());
        assert!(list.update(vec![]).is_some());
    }
}
