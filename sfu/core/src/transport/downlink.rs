//! What one subscriber's link carries: the estimate with its inputs, and the probe that is under way.

mod probe;
mod trial;

use crate::allocate::climbs_with;
use crate::bandwidth::{
    Backlog, BandwidthEstimator, Cause, Estimate, FIRST_PROBE, PacketResult, ProbeCluster,
};
use crate::event::Bandwidth;
use probe::{PROBE_MAX_US, Probe};
use trial::Trial;

/// A peer that negotiated transport-wide feedback and sends none for so long after the first packet is taken for one that cannot be measured.
const FEEDBACK_PATIENCE_US: u64 = 2_000_000;
/// The first probes and their answers take so long, on a slow way.
const STARTING_US: u64 = 3_000_000;
/// Before the answer to the first probe the estimate is a guess, by which nothing is held back.
const GUESS_US: u64 = 500_000;
/// The estimator's periodic work.
const TICK_US: u64 = 25_000;
/// Slots are given anew at least so often, while anything is known …
const ALLOCATE_US: u64 = 200_000;
/// … and at once when the estimate fell by so much, in percent.
const FALL_PERCENT: u64 = 4;
/// Twice the room that repairs need in the pacer, for bursts and for audio that is repeated; but for repairs of no more than one part in so many of the media.
const PACED_REPAIRS_PART: u64 = 4;
/// What a layer takes is measured over a second, and evened out over so many allocations.
const EVENED_PARTS: u64 = 10;
/// From this share of loss on a repair leaves twice: to ask once more takes a round trip, and then the frame is late.
const LOSSY: f64 = 0.02;
/// … and while more than this is lost, whoever is so far away and has room is sent everything twice.
const LOSS_OVER: f64 = 0.01;
const FAR_US: u64 = 60_000;
/// … and has seen no queue for so long.
const CALM_US: u64 = 5_000_000;
/// Players wait for repairs for so long after that was so last: a short queue, or a moment without loss, is no reason to show pictures sooner.
const PATIENCE_US: u64 = 10_000_000;
/// When so much was lost lately that many a repair is lost too, they wait for the second attempt, …
const LOSS_HIGH: f64 = 0.08;
const HIGH_LOSS_US: u64 = 20_000_000;
/// … where there is time for it, …
const SECOND_ATTEMPT_US: u64 = 110_000;
/// … and flat pictures are taken back one slot after the other: each costs everybody who is shown it a keyframe.
const LAYERED_EACH_US: u64 = 2_000_000;
/// From this share of loss on players wait for repairs that come after the next picture, …
const LATE: f64 = 0.005;
/// … until it is less than this, …
const LATE_OVER: f64 = 0.002;
/// … in round trips from here, where the next picture is there sooner, to where they may not be told to wait for so long.
const LATE_US: std::ops::RangeInclusive<u64> = 30_000..=180_000;
/// … and a little beyond, once they wait.
const LATE_STILL_US: std::ops::RangeInclusive<u64> = 25_000..=200_000;
/// Copies may fill so much of the estimate, in percent, …
const SPARE_PERCENT: u64 = 90;
/// … saved up over so long.
const SPARE_US: u64 = 200_000;
/// Repairs are averaged over so long.
const REPAIRS_US: u64 = 1_000_000;

/// Boxed: subscribers without video have none.
#[derive(Debug)]
pub(crate) struct Downlink {
    estimator: BandwidthEstimator,
    /// Slots tell transport-wide numbers.
    told: bool,
    /// A slot has RTX, which probes are sent by.
    probed: bool,
    /// Once something was in the way of who cannot be probed.
    trial: Option<Box<Trial>>,
    first_sent_us: Option<u64>,
    counted_bytes: u64,
    ticked_us: u64,
    pub(crate) probe: Option<Probe>,
    /// The next one; it begins with its first slot, which may come late on a busy worker.
    next_probe: Option<ProbeCluster>,
    /// Last allocation: when, and the estimate of then.
    allocated: (u64, u64),
    /// What slots have use for and what they were given, bits per second.
    wanted: u64,
    given: u64,
    /// What slots were given without what comes and goes, as a keyframe does.
    evened: u64,
    paced: u64,
    /// Slots have more than there is.
    over: bool,
    repair_bytes: u64,
    repairs_since_us: u64,
    repairs: u64,
    /// Everything leaves twice.
    spares: bool,
    /// Repairs come too late for players that do not wait.
    late: bool,
    /// When they did last, when much was lost then, and when a flat slot was taken back.
    late_us: Option<u64>,
    high_loss_us: Option<u64>,
    layered_us: Option<u64>,
    /// Bytes that copies may take, and of when that is.
    spare_bytes: u64,
    spare_us: u64,
}

impl Downlink {
    pub(crate) fn new(now_us: u64, told: bool, probed: bool) -> Self {
        Self {
            estimator: BandwidthEstimator::new(now_us),
            told,
            probed,
            trial: None,
            first_sent_us: None,
            counted_bytes: 0,
            ticked_us: 0,
            probe: None,
            next_probe: None,
            allocated: (0, 0),
            wanted: 0,
            given: 0,
            evened: 0,
            paced: 0,
            over: false,
            repair_bytes: 0,
            repairs_since_us: now_us,
            repairs: 0,
            spares: false,
            late: false,
            late_us: None,
            high_loss_us: None,
            layered_us: None,
            spare_bytes: 0,
            spare_us: now_us,
        }
    }

    /// The estimate; `None` while nothing is known of the link, and nothing will be soon.
    pub(crate) fn estimate(&self, now_us: u64) -> Option<Estimate> {
        // Nobody can find out how much more it carries: it is limited when it shows a limit.
        if self.told && !self.probed && self.trial.is_none() {
            return None;
        }
        let waited = |at: u64| self.told && now_us.saturating_sub(at) < FEEDBACK_PATIENCE_US;
        let hopes = self.first_sent_us.map_or(self.told, waited);
        (self.estimator.is_measured() || hopes).then(|| self.estimator.estimate())
    }

    /// The estimate that what leaves is paced by; `None`: it is too early to hold anything back.
    pub(crate) fn pace(&self, now_us: u64) -> Option<u64> {
        let estimate = self.estimate(now_us).filter(|_| self.estimator.is_measured())?;
        let early = self.first_sent_us.is_none_or(|at| now_us.saturating_sub(at) < GUESS_US);
        (estimate.cause != Cause::Start || !early).then_some(estimate.bits_per_second)
    }

    /// Nothing has been measured for long enough to leave anybody without a picture.
    pub(crate) fn is_starting(&self, now_us: u64) -> bool {
        self.first_sent_us.is_none_or(|at| now_us.saturating_sub(at) < STARTING_US)
    }

    /// The estimate rests on nothing yet.
    pub(crate) fn is_guess(&self) -> bool {
        self.estimator.estimate().cause == Cause::Start
    }

    /// The estimate leaves nobody without his lowest layer: it rests on nothing yet, or on a REMB or reports without much loss. Neither grows without
    /// video.
    pub(crate) fn keeps_lowest(&self) -> bool {
        self.is_guess() || self.estimator.is_vague()
    }

    /// The queue at the link.
    pub(crate) fn backlog(&self) -> Backlog {
        self.estimator.backlog()
    }

    /// The link has just become far narrower.
    pub(crate) fn has_narrowed(&self, now_us: u64) -> bool {
        self.estimator.has_narrowed(now_us)
    }

    /// Somebody else who filled the link has just gone.
    pub(crate) fn is_freed(&self, now_us: u64) -> bool {
        self.estimator.is_freed(now_us)
    }

    /// What repairs took of it lately, bits per second.
    pub(crate) fn repairs(&self) -> u64 {
        self.repairs
    }

    /// So much is lost that a repair may well be lost too.
    pub(crate) fn is_lossy(&self) -> bool {
        self.estimator.loss() >= LOSSY
    }

    /// What is done about loss that repairs are too late for. `rtt_us`: of the transport.
    pub(crate) fn update_late(&mut self, now_us: u64, rtt_us: Option<u64>) {
        let loss = self.estimator.loss();
        let far = rtt_us.is_some_and(|rtt| rtt >= FAR_US);
        // What a full queue loses is not sent twice into it.
        let can = self.told && self.probed && self.is_calm(now_us);
        let more = |before: bool, least: f64, over: f64| loss >= if before { over } else { least };
        self.spares = can && far && more(self.spares, LOSSY, LOSS_OVER);
        let range = if self.late { LATE_STILL_US } else { LATE_US };
        let late = rtt_us.is_some_and(|rtt| range.contains(&rtt));
        self.late = self.spares || can && late && more(self.late, LATE, LATE_OVER);
        if self.late {
            self.late_us = Some(now_us);
            let near = rtt_us.is_some_and(|rtt| rtt <= SECOND_ATTEMPT_US);
            if near && loss >= LOSS_HIGH {
                self.high_loss_us = Some(now_us);
            }
        }
    }

    /// Is everything to leave twice?
    pub(crate) fn spares(&self) -> bool {
        self.spares
    }

    /// Do repairs come too late for players that do not wait?
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    /// How many attempts of a repair players are to wait for.
    pub(crate) fn attempts(&self, now_us: u64) -> u32 {
        let waits = is_within(now_us, self.late_us, PATIENCE_US);
        let much = is_within(now_us, self.high_loss_us, HIGH_LOSS_US);
        match (waits, much) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }

    /// Is it time to take a flat slot back?
    pub(crate) fn ends_flat(&mut self, now_us: u64) -> bool {
        let due = self.attempts(now_us) > 1 && !is_within(now_us, self.layered_us, LAYERED_EACH_US);
        if due {
            self.layered_us = Some(now_us);
        }
        due
    }

    /// Is there room for a copy? What later pictures refer to comes first.
    pub(crate) fn has_spare(&mut self, now_us: u64, needed: bool) -> bool {
        let room = self.estimator.estimate().bits_per_second * SPARE_PERCENT / 100;
        let rate = room.saturating_sub(self.given);
        let most = rate * SPARE_US / 8_000_000;
        let elapsed = now_us.saturating_sub(self.spare_us).min(SPARE_US);
        self.spare_us = now_us;
        self.spare_bytes = (self.spare_bytes + rate * elapsed / 8_000_000).min(most);
        self.spare_bytes > if needed { 0 } else { most / 2 }
    }

    /// A copy left.
    pub(crate) fn spared(&mut self, bytes: usize) {
        self.spare_bytes = self.spare_bytes.saturating_sub(bytes as u64);
    }

    /// A packet was sent again.
    pub(crate) fn repaired(&mut self, bytes: usize) {
        self.repair_bytes += bytes as u64;
    }

    /// Takes new results of the subscriber's feedback. `total_bytes`: that left so far.
    pub(crate) fn feedback(
        &mut self,
        now_us: u64,
        results: &[PacketResult],
        total_bytes: u64,
        rtt_us: Option<u64>,
    ) {
        self.count(now_us, total_bytes);
        self.estimator.feedback(now_us, results, rtt_us);
        if !self.probed {
            Trial::note(&mut self.trial, now_us, self.estimator.estimate());
        }
        self.tick(now_us, total_bytes);
    }

    /// Does a REMB count? Who sends feedback as well is measured better by that.
    pub(crate) fn takes_remb(&self) -> bool {
        !self.told || !self.estimator.has_feedback()
    }

    pub(crate) fn remb(&mut self, now_us: u64, (about, rate): (u32, u64), beside: u64) {
        self.estimator.remb(now_us, (about, rate), beside);
    }

    pub(crate) fn receiver_report(&mut self, now_us: u64, lost: u8, rtt_us: Option<u64>) {
        let waited = |at: u64| now_us.saturating_sub(at) >= FEEDBACK_PATIENCE_US;
        let silent = !self.estimator.has_feedback() && self.first_sent_us.is_some_and(waited);
        // Who neither sends feedback nor a REMB, though it could, gets what there is.
        if !self.told || (silent && self.estimator.has_remb()) {
            self.estimator.receiver_report(now_us, f32::from(lost) / 256.0, rtt_us);
        }
    }

    /// Periodic work.
    pub(crate) fn tick(&mut self, now_us: u64, total_bytes: u64) {
        if now_us.saturating_sub(self.ticked_us) < TICK_US {
            return;
        }
        self.ticked_us = now_us;
        self.count(now_us, total_bytes);
        self.estimator.tick(now_us);
        let elapsed = now_us.saturating_sub(self.repairs_since_us);
        if elapsed >= REPAIRS_US {
            self.repairs = std::mem::take(&mut self.repair_bytes) * 8_000_000 / elapsed;
            self.repairs_since_us = now_us;
        }
    }

    fn count(&mut self, now_us: u64, total_bytes: u64) {
        let new = total_bytes - self.counted_bytes;
        self.counted_bytes = total_bytes;
        if new > 0 {
            self.first_sent_us.get_or_insert(now_us);
            self.estimator.sent(now_us, new as usize);
        }
    }

    /// Is it time to give the slots anew?
    pub(crate) fn allocation_due(&self, now_us: u64) -> bool {
        let (at_us, estimate) = self.allocated;
        let now = self.estimator.estimate().bits_per_second;
        now_us.saturating_sub(at_us) >= ALLOCATE_US || now * 100 < estimate * (100 - FALL_PERCENT)
    }

    /// The slots were given anew, and the estimate is not enough for `wanted`; `frames`: only more frames of the same pictures are missing.
    /// `other`: what audio and repairs take, and audio alone. `changed`: a slot was given another layer.
    pub(crate) fn allocate(
        &mut self,
        now_us: u64,
        (wanted, given, frames): (u64, u64, bool),
        (other, audio): (u64, u64),
        changed: bool,
    ) {
        self.allocated = (now_us, self.estimator.estimate().bits_per_second);
        (self.wanted, self.given) = (wanted + other, given + other);
        // Where packets are lost without a queue, what waits is only late.
        self.evened = match changed || self.is_lossy() {
            true => given,
            false => (self.evened * (EVENED_PARTS - 1) + given) / EVENED_PARTS,
        };
        // What loss takes of a link that is wide enough; what a full queue lost is not sent as fast again.
        self.paced = self.evened + audio + 2 * self.repairs.min(given / PACED_REPAIRS_PART);
        // Nothing needs a probe that everything fits into.
        let ask = if wanted > given { climbs_with(wanted) } else { wanted } + other;
        self.estimator.set_sound_only(given == 0);
        self.estimator.set_wanted(now_us, if wanted > 0 { ask } else { 0 }, frames);
    }

    /// The first media leaves: what of it leaves at once tells more than any probe that follows.
    pub(crate) fn begin_first(&mut self, now_us: u64, total_bytes: u64, number: u16) {
        if self.first_sent_us.is_some() || self.probe.is_some() || !self.told {
            return;
        }
        let cluster = ProbeCluster {
            id: FIRST_PROBE,
            // Nothing is added to it.
            bits_per_second: 0,
            min_bytes: 0,
            min_packets: 0,
            duration_us: PROBE_MAX_US / 4,
        };
        let since_us = now_us;
        self.probe = Some(Probe { cluster, since_us, bytes_before: total_bytes, first: number });
    }

    /// Is there a probe to begin?
    pub(crate) fn poll_probe(&mut self, now_us: u64) -> bool {
        // The first probe is the first media.
        let due = self.probe.is_none() && self.told && self.first_sent_us.is_some();
        if due && let Some(trial) = &mut self.trial {
            if trial.is_due(now_us, self.wanted > self.given)
                && let Some(probe) = self.estimator.poll_probe(now_us)
            {
                trial.begin(now_us, self.estimator.estimate());
                self.estimator.assume(now_us, probe.bits_per_second.min(climbs_with(self.wanted)));
            }
            return false;
        }
        if due && self.next_probe.is_none() {
            self.next_probe = self.estimator.poll_probe(now_us);
        }
        due && self.next_probe.is_some()
    }

    /// Begins the probe that was polled, if there is none under way. `number`: the next transport-wide number.
    pub(crate) fn begin_probe(&mut self, now_us: u64, total_bytes: u64, number: u16) {
        if self.probe.is_none()
            && let Some(cluster) = self.next_probe.take()
        {
            let (since_us, first) = (now_us, number);
            self.probe = Some(Probe { cluster, since_us, bytes_before: total_bytes, first });
        }
    }

    /// Bytes of the probe that should leave now, beyond what left since it began. `last`: the last transport-wide number given.
    pub(crate) fn probe_due(&self, now_us: u64, total_bytes: u64, last: u16, slot_us: u64) -> u64 {
        let Some(probe) = &self.probe else { return 0 };
        // This slot's part leaves at its beginning.
        let mut until_us = now_us.saturating_sub(probe.since_us) + slot_us;
        // Large packets take longer than planned until there are enough of them.
        if probe.packets(last) >= probe.cluster.min_packets {
            until_us = until_us.min(probe.cluster.duration_us);
        }
        let due = probe.cluster.bits_per_second * until_us / 8_000_000;
        due.saturating_sub(total_bytes - probe.bytes_before)
    }

    /// Ends the probe if all of it left; `last`: the last transport-wide number given. Returns whether it goes on.
    pub(crate) fn go_on(&mut self, now_us: u64, total_bytes: u64, last: u16, slot_us: u64) -> bool {
        let Some(probe) = self.probe else { return false };
        if !probe.is_complete(now_us + slot_us, total_bytes, last) {
            return true;
        }
        self.probe = None;
        let bytes = (total_bytes - probe.bytes_before).min(u32::MAX.into()) as u32;
        // With nothing to fill it the probe shows what was sent, and not what would get through.
        if bytes > 0 && bytes >= probe.cluster.min_bytes {
            self.estimator.probe_sent(now_us, probe.cluster.id, probe.first, last, bytes);
        }
        false
    }

    /// For statistics.
    pub(crate) fn bandwidth(&self, now_us: u64) -> Option<Bandwidth> {
        let estimate = self.estimate(now_us)?;
        Some(Bandwidth {
            estimate: estimate.bits_per_second,
            cause: name(estimate.cause),
            wanted: self.wanted,
            allocated: self.given,
        })
    }

    /// Is there room for whole frames to leave at once?
    pub(crate) fn is_roomy(&self) -> bool {
        self.estimator.has_room()
    }

    /// Whether slots have more than there is.
    pub(crate) fn set_over(&mut self, over: bool) {
        self.over = over;
    }

    /// Was there no queue for long?
    pub(crate) fn is_calm(&self, now_us: u64) -> bool {
        let queued = self.estimator.queued_us();
        queued.is_none_or(|at| now_us.saturating_sub(at) >= CALM_US)
    }

    /// What must get through the pacer, bits per second; `None`: it cannot. An estimate that fell without a queue says nothing of that.
    pub(crate) fn paced(&self, now_us: u64) -> Option<u64> {
        // Loss without a queue: to send it more evenly would only make it late.
        let paced = match self.estimator.estimate().cause {
            Cause::Loss => self.paced * 3 / 2,
            _ => self.paced,
        };
        (!self.over || self.is_calm(now_us)).then_some(paced)
    }
}

fn is_within(now_us: u64, at_us: Option<u64>, duration_us: u64) -> bool {
    at_us.is_some_and(|at| now_us.saturating_sub(at) < duration_us)
}

fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Start => "start",
        Cause::Delay => "delay",
        Cause::Loss => "loss",
        Cause::Probe => "probe",
        Cause::Remb => "remb",
        Cause::Reports => "reports",
        Cause::Growing => "growing",
        Cause::Max => "max",
    }
}
