//! The rate that the loss allows: of some candidate rates the one that explains the losses of the last seconds best, where a link loses
//! an inherent part of everything, and all that is sent above its rate.
//!
//! With p the probability of loss that a candidate predicts for an observation, the objective is the likelihood of what was seen,
//! `lost * ln p + received * ln (1 - p)`, plus a preference for more. The inherent loss of each candidate is moved one Newton step towards
//! the maximum first. Below 20 % of loss more is preferred, above it less.

use super::{MIN_BITS_PER_SECOND, PacketResult};

/// An observation is at least so long; so many are remembered, each counting 0.9 times as much as the next.
const OBSERVATION_US: u64 = 250_000;
const OBSERVATIONS: usize = 15;
const FADE: f64 = 0.9;
/// Before so many there is no judgement.
const OBSERVATIONS_MIN: u32 = 3;
const FACTORS: [f64; 3] = [1.02, 1.0, 0.95];
const INHERENT_FIRST: f64 = 0.01;
const INHERENT_MIN: f64 = 0.001;
/// The inherent loss is at most this, plus a rate over the candidate's; loss above this bounds the rate by the same rate over the rest.
const LOSS_OFFSET: f64 = 0.05;
const BALANCE: f64 = 100_000.0;
const NEWTON_STEP: f64 = 0.75;
/// Preference for a higher rate: per kbit/s, and per its logarithm.
const BIAS: f64 = 0.0002;
const BIAS_LOG: f64 = 0.02;
const BIAS_LOSS: f64 = 0.2;
const BIAS_SMOOTHING: f64 = 0.002;
/// While loss limits, the rate grows at most so much per window …
const GROWTH: f64 = 1.3;
const GROWTH_US: u64 = 300_000;
/// … and up to so much of what arrives; less, if that is not yet well above the rate that was held.
const ACKED_FACTOR: f64 = 1.5;
const ACKED_FACTOR_HELD: f64 = 1.2;
const HELD_FACTOR: f64 = 1.3;
/// After a decrease the rate is held, each time twice as long.
const HOLD_US: (u64, u64) = (300_000, 5_000_000);
/// What a probe got through counts as arrived for so long.
const PROVED_US: u64 = 5_000_000;
/// An observation sent at so much more than usual is not an outlier.
const MEDIAN_FACTOR: f64 = 2.0;
/// After so many observations of so many packets without any loss, what was lost before is forgotten.
const CLEAN_OBSERVATIONS: u32 = 8;
const CLEAN_PACKETS: u32 = 40;
/// Numbers back to which a loss may turn out to be a late arrival.
const LATE: u16 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Loss does not limit.
    Unlimited,
    Increasing,
    Decreasing,
}

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    bytes: f64,
    lost: f64,
    /// Sent, in bits per second.
    rate: f64,
}

/// A link: what it carries, and what it loses anyway.
#[derive(Clone, Copy, Debug)]
struct Channel {
    rate: f64,
    inherent: f64,
}

#[derive(Debug)]
struct Hold {
    until_us: u64,
    duration_us: u64,
    rate: f64,
}

impl Hold {
    const NONE: Self = Self { until_us: 0, duration_us: HOLD_US.0, rate: f64::INFINITY };
}

/// Packets told lost, by number.
#[derive(Debug, Default)]
struct Missing {
    bits: [u64; LATE as usize / 64],
    newest: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Loss {
    /// A ring; the newest is at `count - 1`.
    observations: [Observation; OBSERVATIONS],
    count: u32,
    partial: Observation,
    /// Observations and packets since the last loss.
    clean: (u32, u32),
    missing: Missing,
    /// When the newest packet of the last observation was sent.
    until_us: Option<u64>,
    newest_us: u64,
    average: f64,
    best: Option<Channel>,
    state: State,
    rate: f64,
    hold: Hold,
    /// End of the window of growth and its bound.
    window: Option<(u64, f64)>,
    /// What a probe got through, and when.
    proved: Option<(u64, f64)>,
    /// What left until then was lost by a queue that was full.
    excused_us: u64,
}

/// What the other parts know when an observation ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) delay_rate: f64,
    pub(super) acked: Option<f64>,
    pub(super) limited: bool,
    pub(super) max: f64,
}

impl Loss {
    pub(super) fn new() -> Self {
        Self {
            observations: [Observation::default(); OBSERVATIONS],
            count: 0,
            partial: Observation::default(),
            clean: (0, 0),
            missing: Missing::default(),
            until_us: None,
            newest_us: 0,
            average: 0.0,
            best: None,
            state: State::Unlimited,
            rate: f64::INFINITY,
            hold: Hold::NONE,
            window: None,
            proved: None,
            excused_us: 0,
        }
    }

    /// Share of what was sent that is lost.
    pub(super) fn average(&self) -> f64 {
        self.average
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Loss, if there is a judgement and it limits.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.state != State::Unlimited).then_some(self.rate)
    }

    /// A probe got through at that rate.
    pub(super) fn probed(&mut self, now_us: u64, rate: f64) {
        self.proved = Some((now_us, rate));
    }

    /// The link has become so narrow that the delay alone told it: what was sent until now and is lost did not fit into its queue, which says nothing of what
    /// is lost at the rate that follows.
    pub(super) fn excuse(&mut self, now_us: u64) {
        self.excused_us = now_us;
        self.partial.bytes -= self.partial.lost;
        self.partial.lost = 0.0;
        self.missing.bits.fill(0);
    }

    pub(super) fn add(&mut self, packet: &PacketResult) {
        let size = f64::from(packet.size);
        let lost = packet.arrival_us.is_none();
        if lost && packet.sent_us < self.excused_us {
            self.clean = (0, 0);
            return;
        }
        if self.missing.note(packet.number, lost) {
            // It is counted already, in this observation or in the last one.
            let last = (self.count as usize).wrapping_sub(1) % OBSERVATIONS;
            let here = if self.partial.lost >= size {
                &mut self.partial
            } else {
                &mut self.observations[last]
            };
            here.lost = (here.lost - size).max(0.0);
            return;
        }
        self.clean = if lost { (0, 0) } else { (self.clean.0, self.clean.1.saturating_add(1)) };
        self.partial.bytes += size;
        self.partial.lost += if lost { size } else { 0.0 };
        self.until_us.get_or_insert(packet.sent_us);
        self.newest_us = self.newest_us.max(packet.sent_us);
    }

    /// After all packets of one feedback.
    pub(super) fn update(&mut self, now_us: u64, known: Known) {
        if !self.observe() {
            return;
        }
        if self.proved.is_some_and(|(at, _)| now_us.saturating_sub(at) > PROVED_US) {
            self.proved = None;
        }
        let proved = self.proved.map(|(_, rate)| rate);
        let acked = if known.acked < proved { proved } else { known.acked };
        let old =
            *self.best.get_or_insert(Channel { rate: known.delay_rate, inherent: INHERENT_FIRST });
        if self.is_clean() {
            // Every candidate explains it, so the highest is the best: what the delay allows.
            self.best = Some(Channel { rate: known.delay_rate, inherent: INHERENT_MIN });
            self.unlimited(known.delay_rate);
            return;
        }
        let mut best = self.choose(old, known);
        if self.average > best.inherent && old.rate < best.rate {
            best.rate = old.rate;
        }
        if self.state != State::Unlimited {
            best.rate = self.bound_growth(old.rate, best.rate, acked);
        }
        let lower = known.acked.unwrap_or(0.0).max(MIN_BITS_PER_SECOND);
        let bounded = best.rate.min(self.instant_bound(known.max)).min(known.delay_rate).max(lower);
        self.best = Some(if bounded < best.rate {
            Channel { rate: bounded, inherent: 0.0 }
        } else {
            Channel { rate: best.rate.max(lower), ..best }
        });
        if self.count >= OBSERVATIONS_MIN {
            self.judge(bounded, lower, known);
        }
    }

    fn is_clean(&self) -> bool {
        self.state == State::Unlimited && self.observations.iter().all(|o| o.lost == 0.0)
    }

    fn unlimited(&mut self, rate: f64) {
        self.hold = Hold::NONE;
        self.state = State::Unlimited;
        self.rate = rate;
    }

    /// Completes an observation. `false`: it is too short yet.
    fn observe(&mut self) -> bool {
        let Some(until_us) = self.until_us else { return false };
        let elapsed = self.newest_us.saturating_sub(until_us);
        if elapsed < OBSERVATION_US {
            return false;
        }
        self.until_us = Some(self.newest_us);
        let mut partial = std::mem::take(&mut self.partial);
        partial.rate = partial.bytes * 8e6 / elapsed as f64;
        self.observations[self.count as usize % OBSERVATIONS] = partial;
        self.count = self.count.wrapping_add(1).max(1);
        self.clean.0 = self.clean.0.saturating_add(1);
        if self.clean.0 > CLEAN_OBSERVATIONS && self.clean.1 >= CLEAN_PACKETS {
            self.observations.iter_mut().for_each(|o| o.lost = 0.0);
        }
        self.average = self.average_loss();
        true
    }

    /// Observations with their weights, newest first.
    fn weighted(&self) -> impl Iterator<Item = (&Observation, f64)> {
        let newest = self.count as usize + OBSERVATIONS - 1;
        let mut weight = 1.0 / FADE;
        (0..OBSERVATIONS.min(self.count as usize)).map(move |age| {
            weight *= FADE;
            (&self.observations[(newest - age) % OBSERVATIONS], weight)
        })
    }

    /// Weighted and without the worst and the best observation, unless the worst was one of much sending.
    fn average_loss(&self) -> f64 {
        let (mut bytes, mut lost) = (0.0, 0.0);
        let (mut worst, mut best) = ((0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0));
        for (o, weight) in self.weighted() {
            bytes += weight * o.bytes;
            lost += weight * o.lost;
            let part = if o.bytes > 0.0 { o.lost / o.bytes } else { 0.0 };
            if self.count > OBSERVATIONS_MIN && part > worst.0 {
                worst = (part, weight * o.bytes, weight * o.lost, o.rate);
            }
            if self.count > OBSERVATIONS_MIN && part < best.0 {
                best = (part, weight * o.bytes, weight * o.lost);
            }
        }
        let rest = bytes - worst.1 - best.1;
        if bytes <= 0.0 {
            0.0
        } else if self.median_rate() * MEDIAN_FACTOR <= worst.3 || rest <= 0.0 {
            lost / bytes
        } else {
            ((lost - worst.2 - best.2) / rest).max(0.0)
        }
    }

    fn median_rate(&self) -> f64 {
        let mut rates = [0.0; OBSERVATIONS];
        let mut len = 0;
        for (o, _) in self.weighted().filter(|(o, _)| o.rate > 0.0) {
            rates[len] = o.rate;
            len += 1;
        }
        let rates = &mut rates[..len];
        rates.sort_unstable_by(f64::total_cmp);
        match len {
            0 => 0.0,
            _ => f64::midpoint(rates[(len - 1) / 2], rates[len / 2]),
        }
    }

    fn instant_bound(&self, max: f64) -> f64 {
        if self.average > LOSS_OFFSET { BALANCE / (self.average - LOSS_OFFSET) } else { max }
    }

    fn choose(&self, old: Channel, known: Known) -> Channel {
        let limit = match self.window {
            Some((_, bound)) if self.state != State::Unlimited => bound,
            _ => known.max,
        };
        let acked = known.acked.filter(|_| !known.limited);
        let delay = Some(known.delay_rate).filter(|rate| *rate > old.rate);
        let (mut best, mut score) = (old, f64::NEG_INFINITY);
        let rates = FACTORS.map(|factor| Some(factor * old.rate));
        for rate in rates.into_iter().chain([acked, delay]).flatten() {
            let rate = rate.min(limit.max(old.rate)).max(1.0);
            let inherent = feasible(old.inherent, rate);
            let candidate = self.newton(Channel { rate, inherent });
            let candidate_score = self.objective(candidate);
            let better = candidate_score > score;
            if better || candidate_score == score && candidate.rate > best.rate {
                (best, score) = (candidate, candidate_score);
            }
        }
        best
    }

    fn newton(&self, channel: Channel) -> Channel {
        let (mut first, mut second) = (0.0, 0.0);
        for (o, weight) in self.weighted() {
            let p = channel.loss_at(o.rate);
            let (lost, received) = (o.lost / 1000.0, (o.bytes - o.lost) / 1000.0);
            first += weight * (lost / p - received / (1.0 - p));
            second -= weight * (lost / (p * p) + received / ((1.0 - p) * (1.0 - p)));
        }
        let step = NEWTON_STEP * first / second.min(-1e-6);
        Channel { inherent: feasible(channel.inherent - step, channel.rate), ..channel }
    }

    fn objective(&self, channel: Channel) -> f64 {
        let preference = BIAS_LOSS - self.average;
        let preference = preference / (BIAS_SMOOTHING + preference.abs());
        let kbps = channel.rate / 1000.0;
        let bias = preference * (BIAS * kbps + BIAS_LOG * kbps.ln_1p());
        let score = |(o, weight): (&Observation, f64)| {
            let p = channel.loss_at(o.rate);
            let seen = o.lost * p.ln() + (o.bytes - o.lost) * (1.0 - p).ln();
            weight * (seen + bias * o.bytes) / 1000.0
        };
        self.weighted().map(score).sum()
    }

    /// Of the best candidate, while loss limits.
    fn bound_growth(&self, old: f64, best: f64, acked: Option<f64>) -> f64 {
        let mut rate = best;
        if let Some((end_us, bound)) = self.window
            && end_us > self.newest_us
        {
            rate = rate.min(bound);
        }
        let increasing = old < rate || old == rate && self.state == State::Increasing;
        let Some(acked) = acked.filter(|_| increasing) else { return rate };
        let held = self.hold.rate.is_finite() && acked < HELD_FACTOR * self.hold.rate;
        let factor = if held { ACKED_FACTOR_HELD } else { ACKED_FACTOR };
        rate = rate.min(factor * acked).max(old);
        if self.state == State::Decreasing && rate == old {
            // Enough to change the state.
            rate += 1.0;
        }
        rate
    }

    fn judge(&mut self, bounded: f64, lower: f64, known: Known) {
        let below = bounded < known.delay_rate && bounded < known.max;
        if self.state == State::Decreasing
            && self.hold.until_us > self.newest_us
            && bounded < known.delay_rate
        {
            self.hold.rate = self.hold.rate.max(lower);
            self.rate = bounded.min(self.hold.rate);
            return;
        }
        let grows = self.rate < bounded || self.rate == bounded && self.state == State::Increasing;
        if !below {
            self.unlimited(bounded);
            return;
        }
        if grows && self.state != State::Unlimited {
            self.state = State::Increasing;
        } else {
            if self.state != State::Decreasing {
                let duration_us = self.hold.duration_us;
                self.hold = Hold {
                    until_us: self.newest_us.saturating_add(duration_us),
                    duration_us: (duration_us * 2).min(HOLD_US.1),
                    rate: bounded,
                };
            }
            self.state = State::Decreasing;
        }
        self.rate = bounded;
        if self.window.is_none_or(|(end_us, _)| end_us < self.newest_us)
            && let Some(best) = self.best
        {
            let bound = (best.rate * GROWTH).max(MIN_BITS_PER_SECOND);
            self.window = Some((self.newest_us.saturating_add(GROWTH_US), bound));
        }
    }
}

impl Channel {
    /// The probability of loss when so much is sent.
    fn loss_at(self, sent: f64) -> f64 {
        let excess = if sent > self.rate { (sent - self.rate) / sent } else { 0.0 };
        (self.inherent + (1.0 - self.inherent) * excess).clamp(1e-6, 1.0 - 1e-6)
    }
}

fn feasible(inherent: f64, rate: f64) -> f64 {
    let upper = (LOSS_OFFSET + BALANCE / rate).min(1.0);
    inherent.max(INHERENT_MIN).min(upper)
}

impl Missing {
    /// Was this one told lost before?
    fn note(&mut self, number: u16, lost: bool) -> bool {
        let newest = *self.newest.get_or_insert(number);
        let ahead = number.wrapping_sub(newest);
        if ahead >= LATE && newest.wrapping_sub(number) >= LATE {
            // So far from the others, it comes after a silence.
            self.bits.fill(0);
            self.newest = Some(number);
        } else if ahead < LATE {
            (1..=ahead).for_each(|i| self.clear(newest.wrapping_add(i)));
            self.newest = Some(number);
        }
        let (at, bit) = Self::place(number);
        let before = self.bits[at] & bit != 0;
        if lost {
            self.bits[at] |= bit;
        } else {
            self.bits[at] &= !bit;
        }
        before
    }

    fn clear(&mut self, number: u16) {
        let (at, bit) = Self::place(number);
        self.bits[at] &= !bit;
    }

    fn place(number: u16) -> (usize, u64) {
        let number = usize::from(number % LATE);
        (number / 64, 1 << (number % 64))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 100 packets of 1250 bytes a second, of which every `nth` is lost.
    fn feed(loss: &mut Loss, from: u32, seconds: u32, nth: u32, acked: f64) {
        for i in from..from + seconds * 100 {
            let now = u64::from(i) * 10_000;
            let arrival_us = (nth == 0 || i % nth != 0).then_some(0);
            loss.add(&PacketResult { number: i as u16, sent_us: now, arrival_us, size: 1250 });
            if i % 10 == 0 {
                loss.update(
                    now,
                    Known { delay_rate: 3e6, acked: Some(acked), limited: false, max: 1e8 },
                );
            }
        }
    }

    #[test]
    fn half_of_it_lost_takes_the_rate_down_and_no_loss_lets_it_back() {
        let mut loss = Loss::new();
        feed(&mut loss, 0, 2, 0, 1e6);
        assert_eq!(loss.rate(), None);
        feed(&mut loss, 200, 4, 2, 0.1e6);
        assert!(loss.rate().unwrap() < 0.5e6, "{:?}", loss.rate());
        feed(&mut loss, 600, 20, 0, 2e6);
        assert_eq!(loss.rate(), None);
    }

    /// A queue that was full said it by its delay.
    #[test]
    fn what_left_before_the_link_was_known_to_be_narrow_does_not_count() {
        for (excused, limits) in [(false, true), (true, false)] {
            let mut loss = Loss::new();
            feed(&mut loss, 0, 2, 0, 1e6);
            if excused {
                loss.excuse(3_000_000);
            }
            feed(&mut loss, 200, 1, 2, 0.1e6);
            assert_eq!(loss.rate().is_some(), limits);
            feed(&mut loss, 300, 2, 2, 0.1e6);
            assert!(loss.rate().is_some(), "what is lost later does");
        }
        let mut loss = Loss::new();
        let mut packet = PacketResult { number: 7, sent_us: 1, arrival_us: None, size: 1250 };
        loss.add(&packet);
        loss.excuse(10);
        assert_eq!((loss.partial.bytes, loss.partial.lost), (0.0, 0.0));
        packet.arrival_us = Some(0);
        loss.add(&packet);
        assert_eq!((loss.partial.bytes, loss.partial.lost), (1250.0, 0.0), "it came late");
    }

    #[test]
    fn two_percent_do_not_matter() {
        let mut loss = Loss::new();
        feed(&mut loss, 0, 20, 50, 1e6);
        assert_eq!(loss.rate(), None);
    }

    #[test]
    fn a_late_arrival_was_not_lost() {
        let mut loss = Loss::new();
        for i in 0..2_000_u32 {
            let now = u64::from(i) * 10_000;
            let mut packet = PacketResult {
                number: (i + 65_000) as u16,
                sent_us: now,
                arrival_us: None,
                size: 1250,
            };
            loss.add(&packet);
            packet.arrival_us = Some(0);
            loss.add(&packet);
            loss.update(now, Known { delay_rate: 3e6, acked: Some(1e6), limited: false, max: 1e8 });
        }
        assert_eq!((loss.average, loss.rate()), (0.0, None));
        assert_eq!(loss.observations[3].bytes, 1250.0 * 25.0);
    }
}
