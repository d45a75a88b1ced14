//! When to send more than the media, to learn whether it would get through.
//!
//! An SFU cannot choose its rate finely: between two layers nothing shows that the next one would fit. So a shortage is probed every 5 s,
//! whether the application is what limits the rate or not. Where everything fits, the probes of the start go on until there is room for
//! whole frames to leave at once, which is what makes them cheap; later that is looked for more and more rarely.

use super::ProbeCluster;

/// The first clusters, as multiples of the start.
const FIRST: [f64; 2] = [3.0, 6.0];
/// Every later one goes so far above the estimate, and again if so much of it got through.
const SCALE: f64 = 2.0;
const FURTHER: f64 = 0.7;
/// A link that carried so many times what is wanted has room for whole frames at once …
const ROOM_SCALE: f64 = 1.5;
/// … and nobody needs more than that, and what a busy worker's probe measures too low.
const WANTED_SCALE: f64 = 2.25;
/// Room is looked for after so long, and each time that there is none so many times later, up to a limit.
const ROOM_INTERVAL_US: u64 = 5_000_000;
const ROOM_BACKOFF: u64 = 4;
const ROOM_INTERVAL_US_MAX: u64 = 80_000_000;
/// While a loss-limited rate grows.
const LOSS_SCALE: f64 = 1.5;
const INTERVAL_US: u64 = 5_000_000;
/// When what limited has just ceased.
const EAGER_INTERVAL_US: u64 = 2_000_000;
/// What is wanted must have grown by so much to be probed for before that, and not more often than this.
const WANTED_GROWTH: f64 = 1.1;
const WANTED_INTERVAL_US: u64 = 1_000_000;
/// The result of a cluster is waited for so long.
const RESULT_US: u64 = 1_000_000;
/// After a drop to less than this, a probe of so much of the old rate; if it was not longer ago.
const DROP: f64 = 0.66;
const DROP_SCALE: f64 = 0.85;
const DROP_US: u64 = 5_000_000;
/// A probe that is to find less than this above the estimate is not worth it.
const GAIN_MIN: f64 = 1.05;
const PACKETS_MIN: u32 = 5;
const DURATION_US: u64 = 15_000;

/// What the network says about probing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Free,
    /// Loss limits the rate, which grows.
    LossIncreasing,
    /// Loss takes the rate down.
    LossDecreasing,
    /// The queue grows.
    Overuse,
}

impl Condition {
    fn is_lossy(self) -> bool {
        matches!(self, Self::LossIncreasing | Self::LossDecreasing)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Init,
    /// For a result above so much, to go on.
    Waiting(f64),
    Complete,
}

#[derive(Debug)]
pub(super) struct ProbeController {
    state: State,
    condition: Condition,
    /// There is a long queue at the link.
    queued: bool,
    estimate: f64,
    /// What got through since the network was congested last.
    proved: f64,
    wanted: f64,
    /// All that is short is frames of pictures that are shown: they come back at no cost.
    lacks_frames: bool,
    /// What was wanted when it was probed last.
    probed_for: f64,
    max: f64,
    probed_us: u64,
    /// Loss has just ceased to limit, or the queue is empty again.
    eager: bool,
    /// When and from where the estimate dropped.
    drop: Option<(u64, f64)>,
    /// Until the next look for room.
    room_interval_us: u64,
    queue: [Option<f64>; 2],
    next_id: u16,
}

impl ProbeController {
    pub(super) fn new(now_us: u64, start: f64, max: f64) -> Self {
        Self {
            state: State::Init,
            condition: Condition::Free,
            queued: false,
            estimate: start,
            proved: 0.0,
            wanted: 0.0,
            lacks_frames: false,
            probed_for: 0.0,
            max,
            probed_us: now_us,
            eager: false,
            drop: None,
            room_interval_us: ROOM_INTERVAL_US,
            queue: [None; 2],
            next_id: 0,
        }
    }

    pub(super) fn set_wanted(&mut self, now_us: u64, wanted: f64) {
        self.wanted = wanted;
        match self.state {
            State::Init if self.is_tight() => {
                let [first, second] = FIRST.map(|scale| scale * self.estimate);
                self.probe(now_us, first, Some(second));
            }
            State::Complete
                if self.is_short()
                    && wanted > WANTED_GROWTH * self.probed_for
                    && now_us.saturating_sub(self.probed_us) >= WANTED_INTERVAL_US =>
            {
                self.probe(now_us, SCALE * self.estimate, None);
            }
            _ => {}
        }
    }

    /// Is all that is short frames of pictures that are shown? Then the next probe comes soon after the queue has emptied.
    pub(super) fn set_lacks_frames(&mut self, lacks_frames: bool) {
        self.lacks_frames = lacks_frames;
    }

    /// Is there a queue that a probe would only make longer?
    pub(super) fn set_queued(&mut self, queued: bool) {
        self.queued = queued;
    }

    /// Does somebody want more than there is?
    pub(super) fn is_short(&self) -> bool {
        self.wanted.min(self.max) > self.estimate
    }

    /// Is there too little for frames to leave at once, as far as is known?
    pub(super) fn is_tight(&self) -> bool {
        (ROOM_SCALE * self.wanted).min(self.max) > self.proved
    }

    pub(super) fn set_estimate(&mut self, now_us: u64, estimate: f64, condition: Condition) {
        self.eager |= match condition {
            Condition::Free => self.condition.is_lossy(),
            Condition::LossIncreasing => self.condition == Condition::LossDecreasing,
            _ => false,
        };
        self.condition = condition;
        if matches!(condition, Condition::Overuse | Condition::LossDecreasing) {
            self.proved = 0.0;
        }
        if estimate < DROP * self.estimate {
            // It may take several steps; the first one is where it came from.
            let before = self.dropped_from(now_us).map_or(self.estimate, |b| b.max(self.estimate));
            self.drop = Some((now_us, before));
        }
        self.estimate = estimate;
        if !self.is_short() {
            // The next shortage is a new one.
            self.probed_for = 0.0;
        }
        if !self.is_tight() {
            self.room_interval_us = ROOM_INTERVAL_US;
        }
    }

    /// Media got through at that rate.
    pub(super) fn carried(&mut self, rate: f64) {
        if self.condition == Condition::Free {
            self.proved = self.proved.max(rate);
        }
    }

    /// A probe got through at that rate; the estimate that came of it is set already.
    pub(super) fn result(&mut self, now_us: u64, rate: f64) {
        self.carried(rate);
        if let State::Waiting(least) = self.state
            && rate > least
            && self.is_tight()
        {
            self.probe(now_us, SCALE * rate, None);
        }
    }

    /// The queue has emptied after overuse.
    pub(super) fn recovered(&mut self, now_us: u64) {
        if self.lacks_frames || self.dropped_from(now_us).is_some() {
            self.eager = true;
            let due = now_us.saturating_sub(self.probed_us) >= WANTED_INTERVAL_US;
            if due && self.state == State::Complete && self.is_short() {
                self.probe_again(now_us);
            }
        }
    }

    /// The estimate before a drop, for as long as that may have been an accident.
    fn dropped_from(&self, now_us: u64) -> Option<f64> {
        let recent = |since_us| now_us.saturating_sub(since_us) < DROP_US;
        self.drop.filter(|(since_us, _)| recent(*since_us)).map(|(_, before)| before)
    }

    fn probe_again(&mut self, now_us: u64) {
        let dropped = self.dropped_from(now_us);
        let before = dropped.map_or(0.0, |before| DROP_SCALE * before);
        if self.probe(now_us, before.max(SCALE * self.estimate), None) {
            self.drop = None;
            // The link may have been narrow for a second, and this one too early. Where packets are lost at random, more probes lose more.
            self.eager = dropped.is_some() && !self.condition.is_lossy();
        }
    }

    /// `heard`: feedback comes, so that there is a result to be had.
    pub(super) fn tick(&mut self, now_us: u64, heard: bool) {
        let since = now_us.saturating_sub(self.probed_us);
        if since > RESULT_US && matches!(self.state, State::Waiting(_)) {
            self.state = State::Complete;
        }
        let interval = match (self.is_short(), self.eager) {
            (false, _) => self.room_interval_us,
            (true, false) => INTERVAL_US,
            (true, true) => EAGER_INTERVAL_US,
        };
        if heard && since >= interval && self.state == State::Complete && self.is_tight() {
            if !self.is_short() {
                let later = self.room_interval_us * ROOM_BACKOFF;
                self.room_interval_us = later.min(ROOM_INTERVAL_US_MAX);
            }
            self.probe_again(now_us);
        }
    }

    /// `false`: not now.
    fn probe(&mut self, now_us: u64, first: f64, second: Option<f64>) -> bool {
        let mut max = self.max.min(WANTED_SCALE * self.wanted);
        match self.condition {
            Condition::LossDecreasing | Condition::Overuse => return false,
            Condition::LossIncreasing => max = max.min(LOSS_SCALE * self.estimate),
            Condition::Free => {}
        }
        let first = first.min(max);
        if self.queued || first < GAIN_MIN * self.estimate {
            return false;
        }
        let second = second.map(|rate| rate.min(max)).filter(|rate| *rate > GAIN_MIN * first);
        let last = second.unwrap_or(first);
        self.queue = [Some(first), second];
        (self.eager, self.probed_us) = (false, now_us);
        self.probed_for = self.wanted;
        self.state = if last < max { State::Waiting(FURTHER * last) } else { State::Complete };
        true
    }

    pub(super) fn poll(&mut self, now_us: u64) -> Option<ProbeCluster> {
        // What was not sent in time is no longer of use.
        if now_us.saturating_sub(self.probed_us) > RESULT_US {
            self.queue = [None; 2];
        }
        let rate = self.queue[0].take()?;
        self.queue.swap(0, 1);
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let min_bytes = (rate * DURATION_US as f64 / 8e6) as u32;
        let bits_per_second = rate as u64;
        Some(ProbeCluster {
            id,
            bits_per_second,
            min_bytes,
            min_packets: PACKETS_MIN,
            duration_us: DURATION_US,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(controller: &mut ProbeController, now_us: u64) -> Vec<u64> {
        std::iter::from_fn(|| controller.poll(now_us)).map(|c| c.bits_per_second / 1000).collect()
    }

    #[test]
    fn the_start_goes_on_for_as_long_as_it_succeeds() {
        let mut controller = ProbeController::new(0, 300e3, 100e6);
        controller.set_wanted(0, 8e6);
        assert_eq!(rates(&mut controller, 0), [900, 1800]);
        controller.set_estimate(100_000, 1.7e6, Condition::Free);
        controller.result(100_000, 1.7e6);
        assert_eq!(rates(&mut controller, 100_000), [3400]);
        controller.set_estimate(200_000, 2.3e6, Condition::Free);
        controller.result(200_000, 2.3e6);
        assert_eq!(rates(&mut controller, 200_000), [0; 0], "less than 0.7 of it got through");
    }

    #[test]
    fn little_more_than_twice_what_is_wanted_is_probed() {
        let mut controller = ProbeController::new(0, 300e3, 100e6);
        controller.set_wanted(0, 250e3);
        assert_eq!(rates(&mut controller, 0), [562]);
        controller.set_estimate(200_000, 500e3, Condition::Free);
        controller.result(200_000, 500e3);
        controller.tick(60_000_000, true);
        assert_eq!(rates(&mut controller, 60_000_000), [0; 0]);
        // More is wanted: a little more than twice that is probed.
        controller.set_wanted(61_000_000, 600e3);
        assert_eq!(rates(&mut controller, 61_000_000), [1000]);
        controller.set_estimate(61_200_000, 950e3, Condition::Free);
        controller.result(61_200_000, 950e3);
        controller.tick(90_000_000, true);
        assert_eq!(rates(&mut controller, 90_000_000), [0; 0]);
    }

    #[test]
    fn room_for_whole_frames_is_looked_for_at_the_start_and_then_rarely() {
        let mut controller = ProbeController::new(0, 300e3, 100e6);
        controller.set_wanted(0, 1.3e6);
        assert_eq!(rates(&mut controller, 0), [900, 1800]);
        controller.set_estimate(100_000, 1.7e6, Condition::Free);
        controller.result(100_000, 1.7e6);
        assert_eq!(rates(&mut controller, 100_000), [2925]);
        controller.set_estimate(200_000, 1.8e6, Condition::Free);
        controller.result(200_000, 1.8e6);
        assert!(controller.is_tight());
        for at_us in [5_100_000, 25_100_000, 105_100_000, 185_100_000] {
            controller.tick(at_us - 100_000, true);
            assert_eq!(rates(&mut controller, at_us - 100_000), [0; 0], "everything fits");
            controller.tick(at_us, true);
            assert_eq!(rates(&mut controller, at_us), [2925]);
        }
        controller.set_estimate(186_000_000, 2.1e6, Condition::Free);
        controller.result(186_000_000, 2.1e6);
        assert!(!controller.is_tight());
        // Not for as long as it is there, but again when something was in the way.
        controller.tick(900_000_000, true);
        assert_eq!(rates(&mut controller, 900_000_000), [0; 0]);
        controller.set_estimate(900_000_000, 2.1e6, Condition::Overuse);
        assert!(controller.is_tight());
        controller.set_estimate(901_000_000, 2.1e6, Condition::Free);
        controller.tick(901_000_000, true);
        assert_eq!(rates(&mut controller, 901_000_000), [2925]);
    }

    #[test]
    fn a_shortage_is_probed_every_five_seconds_unless_the_network_is_congested() {
        let mut controller = ProbeController::new(0, 300e3, 100e6);
        controller.set_wanted(0, 3e6);
        assert_eq!(rates(&mut controller, 0).len(), 2);
        controller.set_estimate(1_000_000, 1e6, Condition::Overuse);
        controller.tick(6_000_000, true);
        assert_eq!(rates(&mut controller, 6_000_000), [0; 0]);
        controller.set_estimate(6_100_000, 1e6, Condition::LossIncreasing);
        controller.tick(6_100_000, true);
        assert_eq!(rates(&mut controller, 6_100_000), [1500]);
        // As soon as loss does not limit any more, two seconds are enough.
        controller.set_estimate(6_200_000, 1e6, Condition::Free);
        controller.tick(8_000_000, true);
        assert_eq!(rates(&mut controller, 8_000_000), [0; 0], "too early");
        controller.tick(8_100_000, true);
        assert_eq!(rates(&mut controller, 8_100_000), [2000]);
        controller.tick(13_000_000, true);
        assert_eq!(rates(&mut controller, 13_000_000), [0; 0], "too early");
        controller.tick(13_100_000, true);
        assert_eq!(rates(&mut controller, 13_100_000), [2000]);
    }

    #[test]
    fn a_drop_that_was_none_is_probed_away() {
        let mut controller = ProbeController::new(0, 300e3, 100e6);
        controller.set_wanted(0, 3e6);
        controller.set_estimate(500_000, 2.8e6, Condition::Free);
        controller.tick(1_500_000, true);
        assert_eq!(rates(&mut controller, 0).len(), 2);
        controller.set_estimate(2_000_000, 1e6, Condition::Overuse);
        controller.set_estimate(2_500_000, 1e6, Condition::Free);
        controller.recovered(2_500_000);
        assert_eq!(rates(&mut controller, 2_500_000), [2380]);
        // It got nowhere: the next one comes sooner than usual.
        controller.tick(4_400_000, true);
        assert_eq!(rates(&mut controller, 4_400_000), [0; 0]);
        controller.tick(4_500_000, true);
        assert_eq!(rates(&mut controller, 4_500_000), [2000]);
        controller.tick(9_400_000, true);
        assert_eq!(rates(&mut controller, 9_400_000), [0; 0], "once");
    }

    #[test]
    fn a_drop_by_loss_is_probed_for_once() {
        let mut controller = ProbeController::new(0, 300e3, 100e6);
        controller.set_wanted(0, 3e6);
        controller.set_estimate(500_000, 2.8e6, Condition::Free);
        controller.tick(1_500_000, true);
        assert_eq!(rates(&mut controller, 0).len(), 2);
        controller.set_estimate(2_000_000, 1e6, Condition::LossDecreasing);
        controller.set_estimate(2_500_000, 1e6, Condition::LossIncreasing);
        controller.tick(2_500_000, true);
        assert_eq!(rates(&mut controller, 2_500_000), [1500]);
        controller.tick(7_400_000, true);
        assert_eq!(rates(&mut controller, 7_400_000), [0; 0]);
    }

    #[test]
    fn frames_that_a_queue_cost_are_probed_for_when_it_has_emptied() {
        for (frames, probed) in [(true, vec![3200]), (false, vec![])] {
            let mut controller = ProbeController::new(0, 300e3, 100e6);
            controller.set_wanted(0, 1.9e6);
            assert_eq!(rates(&mut controller, 0).len(), 2);
            controller.set_estimate(500_000, 1.9e6, Condition::Free);
            controller.tick(1_500_000, true);
            controller.set_estimate(2_000_000, 1.6e6, Condition::Overuse);
            controller.set_lacks_frames(frames);
            controller.set_estimate(2_300_000, 1.6e6, Condition::Free);
            controller.recovered(2_300_000);
            assert_eq!(rates(&mut controller, 2_300_000), probed);
        }
    }
}
