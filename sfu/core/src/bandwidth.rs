//! How much the way to one subscriber carries, estimated at the sender.
//!
//! The method is that of browsers (draft-ietf-rmcat-gcc-02 and what became of it in libwebrtc, whose constants these are): the rate that the
//! one-way delay allows (`groups`, `trend`, `aimd`), which never grows far beyond what arrives (`throughput`), bounded by the rate that the
//! loss allows (`loss`), and probes that find out about more (`probe`, `probe_result`). Peers that send no transport-wide feedback are
//! estimated by their reports (`reports`). Times are µs of the media clock, rates are bits per second.
//!
//! An SFU is not a browser: it forwards what others encode, in slots of 5 ms. So, measured on the links of `tests`, this differs:
//! - A burst is told by the first packets of two slots, not by neighbours; or with a standing queue everything is one burst, and
//!   the queue at 5 Mbit/s is 200 ms long before it is seen.
//! - Packets of a probe, and those right behind it, are left out of the trend; or each probe on a full link ends in a decrease.
//! - Probes come every 5 s for as long as more is wanted than estimated, also when the application is not what limits the rate: the sum
//!   of some layers may be 70 % of an estimate that could be five times as high. When the estimate is enough, more is looked for rarely,
//!   until 1.5 times what is wanted got through: then whole frames leave at once. The first probe of a shortage does not wait; nor does the one after loss, or
//!   after a drop, which asks for 0.85 times what was there before, and another one two seconds after it; nor the one after a queue that made us leave out frames of a picture that is still shown.
//! - Overuse within 500 ms of a probe takes the rate no lower than what was carried before it, if that was not all that was estimated: between two layers
//!   the queue of a probe on a full link takes long to empty, and each probe cost the layer that was shown.
//! - What a probe got through counts like arrived media for 5 s when a rate that loss limits grows; layers do not fill it.
//! - The hold after a decrease by loss ends at 5 s instead of 60 s, and 8 observations without loss end the memory of it: a viewer's radio
//!   link that was bad for 20 s has its top layer back in 4 to 9 s instead of 10 to 15 s.
//! - When nothing came of what left for more than a second there was no network: that is no loss, or the estimate falls to a twentieth.
//! - The length of the queue is known besides its trend (`queue`): one that jumps is overuse at once, or a link that is cut to a tenth is seen after 400 ms
//!   instead of 200, and what its full queue loses is no loss; one that shrinks is none any more; and nothing is probed behind a long one.
//! - Beside somebody who fills the queue and answers to loss only (`contention`) the rate stays at a share of the link; or a download took all of it: the threshold
//!   of the trend rises too slowly for somebody who begins by filling the queue, and who has stopped sending pictures never gets anything back.
//! - The send rate of a probe, and of the throughput, leaves out all that left at the last time stamp: a slot leaves at once.
//!
//! The start is 300 kbit/s, as in browsers: the probes of 0.9 and 1.8 Mbit/s that leave with the first media, and a further one, bring a
//! top layer of 2.35 Mbit/s after 0.2 s at a round trip of 20 ms and after 0.8 s at 300 ms, and a link of 300 kbit/s is not flooded.

mod aimd;
mod alr;
mod contention;
mod delay;
mod groups;
mod loss;
mod probe;
mod probe_result;
mod queue;
mod reports;
mod throughput;
mod trend;

use alr::Sent;
use delay::Delay;
use loss::{Known, Loss};
use probe::{Condition, ProbeController};
use probe_result::{ProbeResult, ProbeResults};
pub(crate) use queue::Backlog;
use reports::Reports;
use throughput::Throughput;
use trend::Usage;

const START_BITS_PER_SECOND: f64 = 300_000.0;
const MIN_BITS_PER_SECOND: f64 = 30_000.0;
const MAX_BITS_PER_SECOND: f64 = 100_000_000.0;
/// The first media is the first probe, as far as it leaves in one go: its cluster.
pub(crate) const FIRST_PROBE: u16 = u16::MAX;
/// When nothing is heard of what is sent for so long, the rate falls to so much of it every so often.
const SILENCE_US: u64 = 3_000_000;
/// Feedback comes every 250 ms at least.
const HEARD_US: u64 = 1_000_000;
const SILENCE_FACTOR: f64 = 0.8;
const SILENCE_STEP_US: u64 = 1_000_000;
/// When nothing at all came for so long there was no network, which says nothing of what it carries.
const OUTAGE_US: u64 = 1_000_000;
/// The queue that a probe left is gone after so long, if media leaves a tenth of the link free.
const OWN_QUEUE_US: u64 = 500_000;
/// That is for media that took less than this of the estimate.
const SOME_OF_IT: f64 = 0.85;

/// A link that became narrow takes so long until its queue holds nothing of before.
const NARROWED_US: u64 = 1_000_000;

/// Slots hear of a link that is free again with the next allocation or two.
const FREED_US: u64 = 500_000;

/// With more loss than this, repairs take what a short queue would have room for.
const LOSS_NONE: f64 = 0.01;

/// One sent packet whose fate is known now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketResult {
    /// Transport-wide.
    pub number: u16,
    /// When it left.
    pub sent_us: u64,
    /// On the receiver's clock, unrelated to ours; `None`: a feedback said that it is missing.
    pub arrival_us: Option<i64>,
    /// Of the UDP payload, in bytes.
    pub size: u16,
}

/// What decides the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nothing was measured yet.
    Start,
    /// The queue grew.
    Delay,
    /// Packets are lost.
    Loss,
    /// A probe got through at that rate.
    Probe,
    /// The receiver says so.
    Remb,
    /// Receiver reports, without other feedback.
    Reports,
    /// It grows with what arrives.
    Growing,
    /// The configured maximum.
    Max,
}

/// The estimate and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    /// Never below 30 kbit/s, never above the maximum.
    pub bits_per_second: u64,
    /// For `explain` and the statistics.
    pub cause: Cause,
}

/// Packets to send at a rate: media, and padding as far as there is none. Padding of `min_bytes / min_packets` a packet keeps the queue
/// of a slow link short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeCluster {
    /// To be given back with [`BandwidthEstimator::probe_sent`].
    pub id: u16,
    /// At which it is to be sent.
    pub bits_per_second: u64,
    /// At least so many bytes.
    pub min_bytes: u32,
    /// At least so many packets, over two or more slots: a single burst has no rate that could be compared.
    pub min_packets: u32,
    /// How long that takes at the rate, if it is more than `min_packets`.
    pub duration_us: u64,
}

/// The estimator of one transport.
#[derive(Debug)]
pub(crate) struct BandwidthEstimator {
    estimate: f64,
    cause: Cause,
    sent: Sent,
    throughput: Throughput,
    /// As of the last feedback.
    acked: Option<f64>,
    delay: Delay,
    loss: Loss,
    probes: ProbeController,
    results: ProbeResults,
    reports: Reports,
    has_reports: bool,
    /// Of transport-wide feedback.
    feedback_us: Option<u64>,
    backed_off_us: u64,
    /// No picture is sent. GStreamer answers the last packet of each, and sound each five seconds.
    sound_only: bool,
    /// When the queue was long last.
    queued_us: Option<u64>,
    /// When the link was found to be far narrower last.
    narrowed_us: Option<u64>,
    /// When somebody else who filled the link was gone last.
    freed_us: Option<u64>,
    /// When the last probe had left, and what arrived before it without a queue that grew.
    before_probe: Option<(u64, f64)>,
}

impl BandwidthEstimator {
    /// Starts at 300 kbit/s.
    pub(crate) fn new(now_us: u64) -> Self {
        let (start, max) = (START_BITS_PER_SECOND, MAX_BITS_PER_SECOND);
        Self {
            estimate: start,
            cause: Cause::Start,
            sent: Sent::new(now_us),
            throughput: Throughput::default(),
            acked: None,
            delay: Delay::new(now_us, start),
            loss: Loss::new(),
            probes: ProbeController::new(now_us, start, max),
            results: ProbeResults::default(),
            reports: Reports::new(start),
            has_reports: false,
            feedback_us: None,
            backed_off_us: now_us,
            sound_only: false,
            queued_us: None,
            narrowed_us: None,
            freed_us: None,
            before_probe: None,
        }
    }

    /// One datagram left.
    #[inline]
    pub(crate) fn sent(&mut self, _now_us: u64, size: usize) {
        self.sent.add(size);
    }

    /// A cluster left, as the packets `first..=last` (media among them), with so many bytes. Before their feedback comes.
    pub(crate) fn probe_sent(
        &mut self,
        now_us: u64,
        cluster: u16,
        first: u16,
        last: u16,
        bytes: u32,
    ) {
        if contention::is_own(cluster) {
            return;
        }
        self.results.sent(now_us, first, last, bytes);
        // Whoever fills the link by himself has a queue of his own.
        let some = |acked: &f64| *acked < SOME_OF_IT * self.estimate;
        let calm = self.acked.filter(some).filter(|_| self.delay.usage() != Usage::Over);
        self.before_probe = calm.map(|acked| (now_us, acked));
    }

    /// What one feedback packet tells that was not known before, in order of number; `rtt_us` is smoothed.
    pub(crate) fn feedback(&mut self, now_us: u64, results: &[PacketResult], rtt_us: Option<u64>) {
        if results.is_empty() {
            return;
        }
        self.feedback_us = Some(now_us);
        self.sent.settle(now_us, self.estimate);
        self.delay.begin(now_us, rtt_us);
        let same =
            |a: &PacketResult, b: &PacketResult| a.arrival_us.is_some() == b.arrival_us.is_some();
        let runs = results.chunk_by(same).filter(|run| !is_outage(run));
        for packet in runs.flatten() {
            self.loss.add(packet);
            if let Some(arrival_us) = packet.arrival_us {
                self.throughput.add(packet, arrival_us);
                self.delay.note(packet, arrival_us);
                if !self.results.add(packet, arrival_us) {
                    self.delay.add(now_us, packet, arrival_us);
                }
            }
        }
        self.acked = self.throughput.rate();
        // Where everything fits, a probe that a busy worker sent too slowly says nothing.
        let (estimate, short) = (self.estimate, self.probes.is_short());
        let tells = |p: &ProbeResult| p.saturated || p.rate >= estimate || short;
        let probe = self.results.take(now_us).filter(tells).map(|probe| probe.rate);
        let own = |at: u64| now_us.saturating_sub(at) < OWN_QUEUE_US;
        let carried = self.before_probe.filter(|(at, _)| own(*at)).map(|(_, carried)| carried);
        let recent = self.throughput.recent();
        let acked = delay::Acked { rate: self.acked, recent, estimate, carried };
        let was_contended = self.delay.share().is_some();
        let taken = self.delay.update(now_us, acked, probe, MAX_BITS_PER_SECOND);
        // Once a second: a network that jumps all the time loses packets, too.
        if self.delay.has_narrowed() && !self.has_narrowed(now_us) {
            self.loss.excuse(now_us);
            self.narrowed_us = Some(now_us);
        }
        self.contend(now_us, was_contended);
        let probed = probe.filter(|_| taken);
        if let Some(rate) = probed {
            self.loss.probed(now_us, rate);
        }
        let known = Known {
            delay_rate: self.delay.rate(),
            acked: self.acked,
            limited: self.sent.is_limited(),
            max: MAX_BITS_PER_SECOND,
        };
        self.loss.update(now_us, known);
        if self.delay.backlog() == Backlog::Long {
            self.queued_us = Some(now_us);
        }
        self.refresh(now_us);
        if let Some(rate) = self.acked {
            self.probes.carried(rate);
        }
        if let Some(rate) = probed {
            self.probes.result(now_us, rate.min(self.estimate));
        }
        if self.delay.has_recovered() {
            self.probes.recovered(now_us);
        }
    }

    fn contend(&mut self, now_us: u64, before: bool) {
        match self.delay.share() {
            Some(share) => {
                if !before {
                    // What was lost until now says nothing of what is lost at that rate.
                    self.loss = Loss::new();
                }
                self.loss.probed(now_us, share);
            }
            None if before => self.freed_us = Some(now_us),
            None => {}
        }
    }

    /// `fraction_lost` is between 0 and 1 (RFC 3550, 6.4.1); it counts only without transport-wide feedback, which knows better.
    pub(crate) fn receiver_report(&mut self, now_us: u64, fraction_lost: f32, rtt_us: Option<u64>) {
        let lost = f64::from(fraction_lost).clamp(0.0, 1.0);
        if self.feedback_us.is_none() && lost.is_finite() {
            self.has_reports = true;
            self.sent.settle(now_us, self.estimate);
            self.reports.report(now_us, lost, rtt_us, self.sent.rate());
            self.refresh(now_us);
        }
    }

    /// The receiver's own estimate (draft-alvestrand-rmcat-remb-03) of the SSRCs that begin with the given one. `beside`: what is sent that it is not
    /// about, bits per second.
    pub(crate) fn remb(&mut self, now_us: u64, (about, rate): (u32, u64), beside: u64) {
        self.has_reports = true;
        self.reports.set_remb(now_us, (about, rate as f64), beside as f64, self.sent.rate());
        self.refresh(now_us);
    }

    /// The rate of all that would be sent if it fitted; 0: nothing is subscribed. `frames`: what does not fit is only more frames of the same pictures.
    pub(crate) fn set_wanted(&mut self, now_us: u64, bits_per_second: u64, frames: bool) {
        self.probes.set_lacks_frames(frames);
        self.probes.set_wanted(now_us, bits_per_second as f64);
    }

    /// Whether no picture is sent.
    pub(crate) fn set_sound_only(&mut self, sound_only: bool) {
        self.sound_only = sound_only;
    }

    /// Periodic work, every 25 ms to 1 s while media flows.
    pub(crate) fn tick(&mut self, now_us: u64) {
        self.sent.settle(now_us, self.estimate);
        self.back_off(now_us);
        if self.feedback_us.is_none() && self.has_reports {
            // A REMB may have become too old.
            self.refresh(now_us);
        }
        // A probe of which nothing will be heard is wasted.
        let fresh = |at: u64| self.sound_only || now_us.saturating_sub(at) < HEARD_US;
        let heard = self.feedback_us.is_some_and(fresh);
        self.probes.tick(now_us, heard);
    }

    /// Sent, but nothing heard of it: the way is broken or its queue is seconds long.
    fn back_off(&mut self, now_us: u64) {
        let Some(at) = self.feedback_us else { return };
        let silent = now_us.saturating_sub(at) > SILENCE_US;
        let due = now_us.saturating_sub(self.backed_off_us) >= SILENCE_STEP_US;
        if silent && due && !self.sound_only && self.sent.rate() > 0.0 {
            self.backed_off_us = now_us;
            self.delay.back_off(now_us, SILENCE_FACTOR);
            self.refresh(now_us);
        }
    }

    /// The next cluster to send now, if any; ask after each [`BandwidthEstimator::tick`] and feedback.
    pub(crate) fn poll_probe(&mut self, now_us: u64) -> Option<ProbeCluster> {
        self.delay.poll_probe(now_us).or_else(|| self.probes.poll(now_us))
    }

    /// As if a probe had got through at that rate: whoever cannot be probed is shown by media whether it does.
    pub(crate) fn assume(&mut self, now_us: u64, bits_per_second: u64) {
        let rate = (bits_per_second as f64).min(MAX_BITS_PER_SECOND);
        self.delay.assume(now_us, rate);
        self.loss.probed(now_us, rate);
        self.refresh(now_us);
    }

    /// What may be sent.
    pub(crate) fn estimate(&self) -> Estimate {
        Estimate { bits_per_second: self.estimate.round() as u64, cause: self.cause }
    }

    /// 1.5 times what is wanted got through, and nothing has been in its way since.
    pub(crate) fn has_room(&self) -> bool {
        !self.probes.is_tight()
    }

    /// Share of what is sent that is lost, between 0 and 1.
    pub(crate) fn loss(&self) -> f64 {
        self.loss.average()
    }

    /// When there was a long queue last.
    pub(crate) fn queued_us(&self) -> Option<u64> {
        self.queued_us
    }

    /// The link has just become far narrower, so that most of what is in its queue is of no use.
    pub(crate) fn has_narrowed(&self, now_us: u64) -> bool {
        self.narrowed_us.is_some_and(|at| now_us.saturating_sub(at) < NARROWED_US)
    }

    /// Somebody else who filled the link has just gone.
    pub(crate) fn is_freed(&self, now_us: u64) -> bool {
        self.freed_us.is_some_and(|at| now_us.saturating_sub(at) < FREED_US)
    }

    /// The queue at the link, where it is what decides.
    pub(crate) fn backlog(&self) -> Backlog {
        match self.cause {
            Cause::Loss | Cause::Remb | Cause::Reports | Cause::Start => Backlog::Unknown,
            _ if self.delay.share().is_some() => Backlog::Unknown,
            _ if self.delay.backlog() == Backlog::Short && self.loss() > LOSS_NONE => {
                Backlog::Unknown
            }
            _ => self.delay.backlog(),
        }
    }

    /// `false` until the first feedback, REMB or receiver report.
    pub(crate) fn is_measured(&self) -> bool {
        self.feedback_us.is_some() || self.has_reports
    }

    /// Has there been transport-wide feedback?
    pub(crate) fn has_feedback(&self) -> bool {
        self.feedback_us.is_some()
    }

    /// Has there been a REMB?
    pub(crate) fn has_remb(&self) -> bool {
        self.reports.has_remb()
    }

    /// The estimate rests on a REMB and receiver reports, and those tell of little loss.
    pub(crate) fn is_vague(&self) -> bool {
        self.feedback_us.is_none() && self.has_reports && !self.reports.is_very_lossy()
    }

    fn refresh(&mut self, now_us: u64) {
        let (mut rate, mut cause) = match (self.feedback_us, self.has_reports) {
            (Some(_), _) => (self.delay.rate(), self.delay.cause()),
            (None, true) => (self.reports.rate(), Cause::Reports),
            (None, false) => (self.estimate, self.cause),
        };
        let bounds = [
            (self.loss.rate(), Cause::Loss),
            (self.reports.remb(now_us, self.sent.rate()), Cause::Remb),
            (Some(MAX_BITS_PER_SECOND), Cause::Max),
        ];
        for (bound, by) in bounds {
            if let Some(bound) = bound.filter(|bound| *bound <= rate) {
                (rate, cause) = (bound, by);
            }
        }
        (self.estimate, self.cause) = (rate.max(MIN_BITS_PER_SECOND), cause);
        let condition = match (self.delay.usage(), self.loss.state()) {
            (Usage::Over, _) => Condition::Overuse,
            (_, loss::State::Decreasing) => Condition::LossDecreasing,
            (_, loss::State::Increasing) => Condition::LossIncreasing,
            _ => Condition::Free,
        };
        self.probes.set_queued(self.delay.backlog() == Backlog::Long);
        self.probes.set_estimate(now_us, self.estimate, condition);
    }
}

/// A run of packets that came, or of such that did not: was there no network while they left? A queue that is full lets one in now and then.
fn is_outage(run: &[PacketResult]) -> bool {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return false };
    first.arrival_us.is_none() && last.sent_us.saturating_sub(first.sent_us) > OUTAGE_US
}

#[cfg(test)]
mod tests;
