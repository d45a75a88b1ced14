//! Who speaks: smoothed audio levels (RFC 6464) of the audio tracks in a room.

use crate::Speaker;
use std::time::{Duration, Instant};

/// How often a router looks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);
/// Louder than this (-dBov) counts as speech.
const SPEECH: u8 = 50;
/// A pause between words does not end a turn.
const HOLD: Duration = Duration::from_millis(600);
/// Without packets (DTX, mute) the level decays to silence.
const SILENCE: u8 = 127;

/// Smooths one track's levels.
#[derive(Debug, Default)]
pub(crate) struct LevelMeter {
    sum: u32,
    packets: u32,
    level: Option<f32>,
    last_speech: Option<Instant>,
}

impl LevelMeter {
    /// One packet's level in -dBov.
    pub(crate) fn add(&mut self, level: u8) {
        // Whatever carries a level comes here, and only what is sound is ever asked for it.
        self.sum = self.sum.saturating_add(level.min(SILENCE).into());
        self.packets = self.packets.saturating_add(1);
    }

    /// Closes one interval; returns the smoothed level while the track counts as speaking.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<u8> {
        let heard = self.sum.checked_div(self.packets).map_or(SILENCE, |mean| mean as u8);
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
        speaking.then_some(level.round() as u8)
    }
}

/// The last announced set of one room.
#[derive(Debug, Default)]
pub(crate) struct SpeakerList {
    announced: Vec<Speaker>,
}

impl SpeakerList {
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
    use crate::ProducerId;

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
