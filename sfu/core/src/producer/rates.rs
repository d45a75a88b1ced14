//! How much each layer of an encoding takes: bytes and frames of about the last second.

use super::encoding::FLOW_TIMEOUT;
use super::layers::{LAYERS, LayerSet, place};
use crate::params::Layer;

/// One part of the window.
const BUCKET_US: u64 = 250_000;
/// Whole ones that are looked at.
const WINDOW: u64 = 4;
/// A stream that stood still for so long begins anew, as for those who are shown it.
const REST_US: u64 = FLOW_TIMEOUT.as_micros() as u64;
/// With nothing for so long, what is counted is about to fall: the stream may have ended.
const STALE_US: u64 = 120_000;
/// One more is being filled.
const BUCKETS: usize = WINDOW as usize + 1;

/// One layer alone, without those below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerRate {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// Payload bits per second of this layer alone.
    pub(crate) bits_per_second: u64,
    /// Width and height in pixels, if known.
    pub(crate) size: Option<(u16, u16)>,
    /// Frames per second of this layer alone; with the lower temporal layers of the same spatial one they add up to what is seen.
    pub(crate) fps: f32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    bytes: [u32; LAYERS],
    frames: [u16; LAYERS],
}

/// What one packet adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) layer: Layer,
    pub(crate) bytes: u32,
    /// The first packet of a frame.
    pub(crate) frame: bool,
    pub(crate) timestamp: u32,
}

#[derive(Debug, Default)]
pub(crate) struct LayerRates {
    /// By the bucket's number, which is its time in [`BUCKET_US`].
    buckets: [Bucket; BUCKETS],
    /// Number of the bucket that is being filled.
    newest: u64,
    /// When the second picture began since the stream last stood still.
    first_us: Option<u64>,
    /// When the newest packet came.
    last_us: u64,
    /// Between the last two pictures.
    pause_us: u64,
    /// Of the newest picture.
    timestamp: Option<u32>,
}

impl LayerRates {
    pub(crate) fn count(&mut self, at_us: u64, counted: Counted) {
        let newer = self.timestamp.is_none_or(|t| (counted.timestamp.wrapping_sub(t) as i32) > 0);
        let pause_us = at_us.saturating_sub(self.last_us);
        // A page that is shared may have one picture a second.
        if pause_us > REST_US.max(2 * self.pause_us) {
            (self.first_us, self.timestamp) = (None, None);
        }
        if newer {
            self.pause_us = pause_us;
        }
        self.last_us = self.last_us.max(at_us);
        if self.first_us.is_none() {
            // A stream begins with a keyframe, which says nothing about what follows.
            if *self.timestamp.get_or_insert(counted.timestamp) == counted.timestamp {
                return;
            }
            self.first_us = Some(at_us);
        }
        let number = at_us / BUCKET_US;
        if number > self.newest {
            for stale in (self.newest + 1).max(number.saturating_sub(WINDOW))..=number {
                self.buckets[stale as usize % BUCKETS] = Bucket::default();
            }
            self.newest = number;
        } else if number + WINDOW < self.newest {
            return;
        }
        let bucket = &mut self.buckets[number as usize % BUCKETS];
        let place = place(counted.layer);
        bucket.bytes[place] = bucket.bytes[place].saturating_add(counted.bytes);
        bucket.frames[place] = bucket.frames[place].saturating_add(counted.frame.into());
        if newer {
            self.timestamp = Some(counted.timestamp);
        }
    }

    /// Of the newest picture.
    pub(crate) fn timestamp(&self) -> Option<u32> {
        self.timestamp
    }

    /// Does the stream run for less than the window? Then a keyframe or a pause decides what was counted.
    fn is_young(&self, now_us: u64) -> bool {
        self.first_us.is_none_or(|first| now_us.saturating_sub(first) < (WINDOW + 1) * BUCKET_US)
    }

    /// Has it run for too short a time to say anything?
    pub(crate) fn is_fresh(&self, now_us: u64) -> bool {
        self.first_us.is_none_or(|first| now_us.saturating_sub(first) < 2 * BUCKET_US)
    }

    /// Does what was counted say what the stream takes?
    pub(crate) fn is_settled(&self, now_us: u64) -> bool {
        !self.is_young(now_us) && now_us.saturating_sub(self.last_us) < STALE_US
    }

    /// The sum over the window, and how many seconds that is.
    fn window(&self, now_us: u64) -> (Bucket, f32) {
        let now = now_us / BUCKET_US;
        let age_us = self.first_us.map_or(0, |first| now_us.saturating_sub(first));
        // The window is longer than the stream so far: what is not whole yet counts too.
        let (last, span_us) = match self.is_young(now_us) {
            true => (now, age_us.max(BUCKET_US)),
            false => (now.saturating_sub(1), WINDOW * BUCKET_US),
        };
        let mut sum = Bucket::default();
        // What was before the stream stood still does not count.
        let began = self.first_us.map_or(0, |first| first / BUCKET_US);
        let oldest = self.newest.saturating_sub(WINDOW).max(began);
        for number in
            (now.saturating_sub(WINDOW)..=last).filter(|n| (oldest..=self.newest).contains(n))
        {
            let bucket = &self.buckets[number as usize % BUCKETS];
            for place in 0..LAYERS {
                sum.bytes[place] = sum.bytes[place].saturating_add(bucket.bytes[place]);
                sum.frames[place] = sum.frames[place].saturating_add(bucket.frames[place]);
            }
        }
        (sum, span_us as f32 / 1e6)
    }

    /// Layers that sent something in the window.
    pub(crate) fn seen(&self, now_us: u64) -> LayerSet {
        let (sum, _) = self.window(now_us);
        LayerSet::of(LayerSet::ALL.iter().filter(|layer| sum.bytes[place(*layer)] > 0))
    }

    /// The rates of these layers.
    pub(crate) fn of(&self, layers: LayerSet, now_us: u64) -> impl Iterator<Item = LayerRate> {
        let (sum, seconds) = self.window(now_us);
        layers.iter().map(move |layer| LayerRate {
            spatial: layer.spatial,
            temporal: layer.temporal,
            bits_per_second: (f64::from(sum.bytes[place(layer)]) * 8.0 / f64::from(seconds)) as u64,
            size: None,
            fps: f32::from(sum.frames[place(layer)]) / seconds,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BASE: Layer = Layer { spatial: 0, temporal: 0 };
    const TOP: Layer = Layer { spatial: 1, temporal: 2 };

    /// 40 pictures a second: every second one has a frame of `TOP`, two packets of 100 bytes each.
    fn run(rates: &mut LayerRates, from_ms: u64, to_ms: u64) {
        for ms in (from_ms..to_ms).step_by(25) {
            let mut layers = vec![BASE];
            if ms % 50 == 0 {
                layers.push(TOP);
            }
            for layer in layers {
                for frame in [true, false] {
                    let counted = Counted { layer, bytes: 100, frame, timestamp: ms as u32 * 90 };
                    rates.count(ms * 1000, counted);
                }
            }
        }
    }

    fn rate(rates: &LayerRates, layer: Layer, ms: u64) -> (u64, f32) {
        let rate = rates.of(LayerSet::of([layer].into_iter()), ms * 1000).next().unwrap();
        (rate.bits_per_second, rate.fps)
    }

    #[test]
    fn a_layer_counts_alone() {
        let mut rates = LayerRates::default();
        run(&mut rates, 10_000, 15_000);
        assert_eq!(rate(&rates, BASE, 14_990), (64_000, 40.0));
        assert_eq!(rate(&rates, TOP, 14_990), (32_000, 20.0));
        assert_eq!(rates.seen(14_990_000), LayerSet::of([BASE, TOP].into_iter()));
    }

    #[test]
    fn the_first_second_counts_as_long_as_it_is() {
        let mut rates = LayerRates::default();
        run(&mut rates, 10_100, 10_600);
        assert_eq!(rate(&rates, BASE, 10_600), (64_000, 40.0));
    }

    /// A page of text that is shared, 0.8 pictures a second.
    #[test]
    fn few_pictures_are_counted_too() {
        let mut rates = LayerRates::default();
        for ms in (10_000..30_000).step_by(1250) {
            let timestamp = ms as u32 * 90;
            rates.count(ms * 1000, Counted { layer: BASE, bytes: 12_500, frame: true, timestamp });
        }
        assert_eq!(rate(&rates, BASE, 29_000).0, 100_000);
    }

    /// A layer that rested for less than the window: what it takes is not the little that it has sent since.
    #[test]
    fn what_rested_for_a_moment_is_not_settled_when_it_begins_again() {
        let mut rates = LayerRates::default();
        run(&mut rates, 10_000, 15_000);
        assert!(rates.is_settled(15_000_000));
        run(&mut rates, 15_800, 16_000);
        assert!(!rates.is_settled(16_000_000));
    }

    #[test]
    fn what_stopped_is_forgotten_after_a_second() {
        let mut rates = LayerRates::default();
        run(&mut rates, 10_000, 15_000);
        assert_eq!(rate(&rates, BASE, 15_500).0, 32_000, "half of the window");
        assert_eq!(rate(&rates, BASE, 16_300), (0, 0.0));
        assert_eq!(rates.seen(16_300_000), LayerSet::default());
        run(&mut rates, 60_000, 62_000);
        assert_eq!(rate(&rates, BASE, 62_000), (64_000, 40.0), "and begins anew");
    }
}
