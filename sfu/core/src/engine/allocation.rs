//! From a subscriber's feedback to the layers of its slots, and on to what publishers need to send.

use super::Engine;
use crate::Event;
use crate::allocate::{Budget, Given, Slot};
use crate::bandwidth::Backlog;
use crate::consumer::Consumer;
use crate::consumer::playout_delay;
use crate::consumer::selector::Aim;
use crate::event::{ConsumerStatus, LayerStatus, Limit};
use crate::params::{Layer, MediaKind};
use crate::producer::Producer;
use crate::producer::ceiling::Headroom;
use crate::timers::TimerKind;
use crate::transport::downlink::Downlink;
use sfu_rtp::TransportFeedback;
use std::time::Instant;

/// Left to one more voice while some are quiet, bits per second.
const AUDIO_USUAL: u64 = 40_000;
/// In steps of so much: pictures do not come and go with a packet of sound.
const AUDIO_STEP: u64 = 10_000;
/// Repairs take at most one part in so many of the estimate: without a picture there would be nothing to repair.
const REPAIRS_PART: u64 = 5;
/// A layer for which there is less than this of its cost, in percent, is not shown until a lower one begins: its frames would
/// come too late, and fill the queue in front of the next keyframe.
const STARVED_PERCENT: u64 = 60;
/// … of which there is enough already.
const STARVED_PERCENT_QUEUED: u64 = 95;
/// … and if that is only some of its frames, they must leave room for it to empty.
const STARVED_PERCENT_SOME: u64 = 150;
/// A status is told again when a bitrate in it changed by so many percent.
const TOLD_PERCENT: u64 = 25;

impl Engine {
    /// The slots of a transport are given anew at the end of this turn.
    pub(super) fn mark_allocation(&mut self, key: usize) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        if !std::mem::replace(&mut transport.allocation_due, true) {
            self.allocations.push(key);
        }
    }

    /// The same for everybody who is shown a track.
    pub(super) fn mark_allocations_of(&mut self, producer: usize) {
        let Some(from) = self.producers.get_mut(producer).filter(|from| from.is_video()) else {
            return;
        };
        from.rungs.outdate();
        for index in 0..self.producers[producer].consumers.len() {
            let consumer = self.producers[producer].consumers[index];
            if let Some(consumer) = self.consumers.get(consumer) {
                self.mark_allocation(consumer.transport);
            }
        }
    }

    pub(super) fn run_allocations(&mut self, now: Instant) {
        // What is allocated may ask for more of it.
        for _ in 0..2 {
            for key in std::mem::take(&mut self.allocations) {
                self.allocate(now, key);
            }
        }
    }

    /// Transport-wide feedback of a subscriber.
    pub(super) fn handle_transport_feedback(
        &mut self,
        arrival: Instant,
        key: usize,
        feedback: &TransportFeedback<'_>,
    ) {
        let now_us = self.clock.micros(arrival);
        self.results.clear();
        let transport = &mut self.transports[key];
        transport.send_log.feedback(now_us, feedback, &mut self.results);
        let missing = self.results.iter().filter(|result| result.arrival_us.is_none());
        transport.repairs.prove(missing.map(|result| u64::from(result.size)).sum());
        let total = transport.pace.total_bytes();
        let acked = transport.send_log.acked().and_then(|acked| acked.rtt);
        let rtt_us = transport.rtt.or(acked).map(|rtt| rtt.as_micros() as u64);
        let Some(downlink) = &mut transport.downlink else { return };
        downlink.feedback(now_us, &self.results, total, rtt_us);
        self.after_estimate(arrival, key);
    }

    /// A subscriber's estimate may have changed.
    pub(super) fn after_estimate(&mut self, now: Instant, key: usize) {
        let now_us = self.clock.micros(now);
        let transport = &mut self.transports[key];
        let Some(downlink) = &mut transport.downlink else { return };
        let total = transport.pace.total_bytes();
        downlink.tick(now_us, total);
        if let Some(estimate) = downlink.pace(now_us) {
            transport.pace.set_estimate(estimate, downlink.paced(now_us), downlink.is_roomy());
        }
        let rtt_us = transport.rtt.map(|rtt| rtt.as_micros() as u64);
        downlink.update_late(now_us, rtt_us);
        transport.pace.set_spares(downlink.spares());
        transport.repairs_late = downlink.is_late();
        let attempts = downlink.attempts(now_us);
        let waits = |rtt| playout_delay::for_repairs(rtt * attempts, transport.playout_delay);
        transport.playout_delay = transport.rtt.filter(|_| attempts > 0).map_or(0, waits);
        transport.waits_long = attempts > 1;
        if downlink.ends_flat(now_us) {
            self.end_flat(now, key);
        }
        self.begin_probe(now, key);
        if self.transports[key].downlink.as_ref().is_some_and(|d| d.allocation_due(now_us)) {
            self.mark_allocation(key);
        }
    }

    /// Asks for the keyframe with which a flat slot is given its temporal layers again.
    fn end_flat(&mut self, now: Instant, key: usize) {
        let flat = |&key: &usize| {
            let ends = |it: &&Consumer| it.rewriter.is_flat() && it.can_be_told_to_wait();
            let consumer = self.consumers.get(key).filter(ends)?;
            Some((consumer.bound.as_ref()?.producer, consumer.selector.current()?.encoding))
        };
        if let Some((producer, encoding)) = self.transports[key].consumers.iter().find_map(flat) {
            self.request_keyframes(now, producer, 1 << encoding);
        }
    }

    fn allocate(&mut self, now: Instant, key: usize) {
        let now_us = self.clock.micros(now);
        let Some(transport) = self.transports.get_mut(key) else { return };
        transport.allocation_due = false;
        if !transport.is_connected() {
            return;
        }
        let (slots, told, probed) = self.video_slots(now_us, key);
        if slots.is_empty() {
            if let Some(downlink) = &mut self.transports[key].downlink {
                downlink.allocate(now_us, (0, 0, false), (0, 0), true);
            }
            return;
        }
        let (audio, reserve) = self.audio_bitrate(now_us, key, |_| true);
        let audio = audio + reserve;
        let transport = &mut self.transports[key];
        // Who waits for something that does not come yet needs no memory for it.
        if slots.iter().any(|&(_, producer)| self.producers[producer].flowing != 0) {
            let new = || Box::new(Downlink::new(now_us, told, probed));
            transport.downlink.get_or_insert_with(new);
        }
        let downlink = transport.downlink.as_deref();
        let repairs = downlink.map_or(0, |downlink| {
            // What was lost when the link became narrow is no measure of what will be.
            let most = downlink.estimate(now_us).map_or(0, |e| e.bits_per_second / REPAIRS_PART);
            downlink.repairs().min(most)
        });
        let other = audio + repairs;
        let budget = downlink.and_then(|downlink| {
            Some(Budget {
                bits_per_second: downlink.estimate(now_us)?.bits_per_second.saturating_sub(other),
                starting: downlink.is_starting(now_us),
                keeps_lowest: downlink.keeps_lowest(),
                backlog: downlink.backlog(),
            })
        });
        let narrowed = downlink.is_some_and(|downlink| downlink.has_narrowed(now_us));
        let mut given = std::mem::take(&mut self.given);
        let asks: Vec<Slot<'_>> = slots
            .iter()
            .map(|&(c, p)| slot(now_us, &self.consumers[c], &self.producers[p], narrowed))
            .collect();
        self.allocator.allocate(budget, &asks, &mut given);
        let changed = asks.iter().zip(&given).any(|(slot, given)| slot.held != given.layer);
        drop(asks);
        let sum = |of: fn(&Given) -> u64| given.iter().map(of).sum::<u64>();
        let (wanted, spent) = (sum(|g| g.needed), sum(|g| g.cost));
        let picture = |layer: Option<Layer>| layer.map(|layer| layer.spatial);
        let frames = wanted > spent && given.iter().all(|g| picture(g.layer) == picture(g.wanted));
        let transport = &mut self.transports[key];
        if let Some(downlink) = &mut transport.downlink {
            downlink.allocate(now_us, (wanted, spent, frames), (other, audio), changed);
            downlink.set_over(given.iter().any(|given| given.lacks > 0));
            if let Some(estimate) = downlink.pace(now_us) {
                transport.pace.set_estimate(estimate, downlink.paced(now_us), downlink.is_roomy());
            }
        }
        let left = budget.map_or(0, |budget| budget.bits_per_second.saturating_sub(spent));
        let backlog = budget.map_or(Backlog::Unknown, |budget| budget.backlog);
        let guess = self.transports[key].downlink.as_ref().is_none_or(|d| d.is_guess());
        // Before anything is sent nothing can be said of the link.
        if self.transports[key].downlink.is_some() {
            self.set_headrooms(&slots, &given, left, budget);
        }
        for (&(consumer, producer), given) in slots.iter().zip(&given) {
            if let Some(consumer) = self.consumers.get_mut(consumer) {
                consumer.footing.take(now_us, given, guess, narrowed);
            }
            self.give(now, (consumer, producer), given, (left, backlog));
        }
        self.given = given;
        self.forgive(now_us, key, &slots);
        self.begin_probe(now, key);
    }

    /// What did not hold beside somebody who has gone says nothing.
    fn forgive(&mut self, now_us: u64, key: usize, slots: &[(usize, usize)]) {
        if self.transports[key].downlink.as_ref().is_some_and(|d| d.is_freed(now_us)) {
            for (consumer, _) in slots {
                self.consumers[*consumer].footing.forgive();
            }
        }
    }

    /// Begins the next probe, if one is of use.
    fn begin_probe(&mut self, now: Instant, key: usize) {
        let now_us = self.clock.micros(now);
        let transport = &mut self.transports[key];
        let Some(downlink) = &mut transport.downlink else { return };
        if downlink.poll_probe(now_us) {
            transport.timers.set_earlier(TimerKind::Pace, now);
            self.timers.arm(key, transport.id, &mut transport.timers);
        }
    }

    /// The video slots of a transport that show something: (consumer, producer); and whether they tell transport-wide numbers, and have RTX.
    fn video_slots(&mut self, now_us: u64, key: usize) -> (Vec<(usize, usize)>, bool, bool) {
        let (mut slots, mut told, mut probed) = (Vec::new(), false, false);
        for &key in &self.transports[key].consumers {
            let Some(consumer) = self.consumers.get(key) else { continue };
            let Some(bound) = consumer.bound.as_ref().map(|bound| bound.producer) else { continue };
            let Some(producer) = self.producers.get(bound) else { continue };
            if producer.is_video() && !producer.paused && !consumer.paused {
                slots.push((key, bound));
                told |= consumer.ids.transport_wide_cc != 0;
                probed |= consumer.has_rtx();
            }
        }
        for &(_, producer) in &slots {
            if !self.producers[producer].rungs.are_due(now_us) {
                continue;
            }
            let wanted = self.watched(&self.producers[producer]);
            let producer = &mut self.producers[producer];
            producer.update_rungs(now_us, wanted);
            if producer.rungs.take_reversed() {
                self.events.push_back(Event::EncodingsReversed { producer: producer.id });
            }
        }
        (slots, told, probed)
    }

    /// What a subscriber is sent that a REMB about the `named` SSRCs leaves out: receivers that estimate each track by itself name its SSRCs only (aiortc).
    pub(super) fn bitrate_beside(
        &self,
        now_us: u64,
        key: usize,
        named: impl Fn(u32) -> bool,
    ) -> u64 {
        let beside = |consumer: &Consumer| {
            !named(consumer.params.ssrc) && !consumer.rtx_ssrc.is_some_and(&named)
        };
        let consumers = self.transports[key].consumers.iter();
        let video = consumers
            .filter_map(|&consumer| self.consumers.get(consumer))
            .filter(|it| it.params.kind == MediaKind::Video && it.bound.is_some() && !it.paused)
            .filter(|consumer| beside(consumer))
            .map(|consumer| consumer.footing.cost());
        video.sum::<u64>() + self.audio_bitrate(now_us, key, beside).0
    }

    /// What the subscriber's audio takes, of these consumers, bits per second; and what is to be left to one more voice.
    fn audio_bitrate(&self, now_us: u64, key: usize, of: impl Fn(&Consumer) -> bool) -> (u64, u64) {
        let consumers =
            self.transports[key].consumers.iter().filter_map(|&c| self.consumers.get(c));
        let sounds = consumers
            .filter(|consumer| consumer.params.kind == MediaKind::Audio && of(consumer))
            .filter_map(|consumer| self.producers.get(consumer.bound.as_ref()?.producer))
            .filter(|producer| !producer.paused && producer.flowing != 0);
        let (mut sum, mut quiet) = (0, false);
        for producer in sounds {
            let rate = producer.encodings.first().and_then(|sound| sound.audio_bitrate(now_us));
            quiet |= rate.is_none_or(|rate| rate < AUDIO_USUAL / 2);
            sum += rate.unwrap_or(0);
        }
        // Of those who are quiet one may begin to speak.
        let reserve = if quiet { AUDIO_USUAL } else { 0 };
        ((sum + AUDIO_STEP / 2) / AUDIO_STEP * AUDIO_STEP, reserve)
    }

    /// Applies what one slot was given. `left`: bits per second that nobody was given; `backlog`: the queue at the link.
    fn give(
        &mut self,
        now: Instant,
        at: (usize, usize),
        given: &Given,
        (left, backlog): (u64, Backlog),
    ) {
        let (key, from) = at;
        let (Some(producer), Some(consumer)) =
            (self.producers.get(from), self.consumers.get_mut(key))
        else {
            return;
        };
        let aim = aim(producer, given.layer);
        let before = consumer.selector.aimed();
        if before != aim {
            let paused = aim == Aim::Nothing;
            consumer.selector.aim(aim);
            if paused || before == Aim::Nothing {
                consumer.restart();
            }
        }
        if is_starved(producer, consumer, given, (left, backlog)) {
            consumer.selector.starve();
            if producer.encodings.len() == 1 {
                consumer.leave_behind();
            }
        }
        let status = status(producer, consumer, given, left);
        let stalls = |status: &ConsumerStatus| status.limit == Limit::PublisherNotSending;
        let waits = stalls(&status) != consumer.footing.told().is_some_and(stalls);
        if consumer.footing.told().is_none_or(|told| differs(told, &status)) {
            consumer.footing.tell(status.clone());
            let (consumer, status) = (consumer.id, Box::new(status));
            self.events.push_back(Event::ConsumerStatus { consumer, status });
        }
        if before != aim {
            self.wish_keyframe_for(now, key);
        }
        if before != aim || waits {
            self.update_published(now, from);
        }
    }
}

fn slot<'a>(now_us: u64, consumer: &Consumer, producer: &'a Producer, narrowed: bool) -> Slot<'a> {
    let preferred = consumer.selector.preferred();
    let named = preferred.rid.as_ref().and_then(|rid| {
        producer.encodings.iter().position(|encoding| encoding.rid.as_ref() == Some(rid))
    });
    let spatial = match producer.encodings.len() {
        1 => preferred.spatial,
        _ => named.map(|index| index as u8),
    };
    Slot {
        demand: consumer.demand,
        cap: (spatial, preferred.temporal),
        rungs: producer.rungs.list(),
        held: consumer.footing.held(),
        grounded: consumer.footing.is_grounded(now_us),
        careful: consumer.footing.is_careful(now_us),
        passes: consumer.footing.passes(now_us),
        narrowed,
        apart: producer.encodings.len() > 1,
        whole: producer.ceiling.whole(producer.rungs.costs().1),
        short: matches!(consumer.footing.headroom(), Headroom::Short(_)),
    }
}

/// Is a picture shown that the link carries no more, until a keyframe of the one that was given?
fn is_starved(
    producer: &Producer,
    consumer: &Consumer,
    given: &Given,
    (left, backlog): (u64, Backlog),
) -> bool {
    let shown = match &producer.encodings[..] {
        [only] => consumer.selector.stuck_on(only),
        _ => consumer.selector.current().map(|shown| shown.encoding),
    };
    let Some(shown) = shown else { return false };
    let above = given.layer.is_some_and(|layer| layer.spatial < shown);
    let same = || producer.rungs.list().iter().filter(|r| r.layer.spatial == shown);
    let cost = same().map(|rung| rung.bits_per_second).min().unwrap_or(0);
    let there = given.available(left);
    let share = match backlog {
        Backlog::Long if same().count() > 1 => STARVED_PERCENT_SOME,
        Backlog::Long => STARVED_PERCENT_QUEUED,
        _ => STARVED_PERCENT,
    };
    above && given.limit == Limit::Bandwidth && there * 100 < cost * share
}

/// The best of a kind means whatever is added to it later, too.
fn aim(producer: &Producer, layer: Option<Layer>) -> Aim {
    let Some(layer) = layer else { return Aim::Nothing };
    let rungs = || producer.rungs.list().iter().map(|rung| rung.layer);
    let last = |best: bool, value: u8| if best { u8::MAX } else { value };
    let same = rungs().filter(|other| other.spatial == layer.spatial);
    Aim::Layer(Layer {
        spatial: last(rungs().all(|other| other.spatial <= layer.spatial), layer.spatial),
        temporal: last(same.map(|o| o.temporal).max() <= Some(layer.temporal), layer.temporal),
    })
}

fn status(producer: &Producer, consumer: &Consumer, given: &Given, left: u64) -> ConsumerStatus {
    let named = |layer: Layer| {
        let simulcast = producer.encodings.len() > 1;
        let rid = producer.encodings.get(usize::from(layer.spatial)).filter(|_| simulcast);
        let rung = producer.rungs.list().iter().find(|rung| rung.layer == layer);
        LayerStatus {
            rid: rid.and_then(|encoding| encoding.rid.clone()),
            spatial: if simulcast { 0 } else { layer.spatial },
            temporal: layer.temporal,
            size: rung.and_then(|rung| rung.size),
        }
    };
    let shown = consumer.selector.current().and_then(|source| {
        let given = given.layer?;
        // Of an only encoding, spatial layers that rest are still to come.
        let spatial = match producer.encodings.len() {
            1 => given.spatial.min(producer.rungs.flowing().checked_ilog2().unwrap_or(0) as u8),
            _ => source.encoding,
        };
        let same = producer.rungs.list().iter().filter(|rung| rung.layer.spatial == spatial);
        let temporal = same.map(|rung| rung.layer.temporal).max()?;
        let limited = spatial == given.spatial;
        Some(Layer { spatial, temporal: if limited { given.temporal } else { temporal } })
    });
    let flows = |layer: Layer| match producer.encodings.len() {
        1 => producer.rungs.flowing() & 1 << layer.spatial != 0,
        _ => producer.flowing & 1 << layer.spatial != 0,
    };
    let limit = match given.layer {
        // Whatever it waits for at the moment is what the link is too narrow for.
        Some(_) if given.lacks > 0 => given.limit,
        Some(layer) if shown != Some(layer) && flows(layer) => Limit::WaitingKeyframe,
        Some(layer) if shown != Some(layer) => Limit::PublisherNotSending,
        _ => given.limit,
    };
    ConsumerStatus {
        wanted: given.wanted.map(named),
        shown: shown.map(named),
        limit,
        needed: given.needed,
        available: given.available(left),
    }
}

fn differs(told: &ConsumerStatus, now: &ConsumerStatus) -> bool {
    let far = |a: u64, b: u64| a.abs_diff(b) * 100 > a.max(b) * TOLD_PERCENT;
    (&told.wanted, &told.shown, told.limit) != (&now.wanted, &now.shown, now.limit)
        || now.limit == Limit::Bandwidth
            && (far(told.needed, now.needed) || far(told.available, now.available))
}
