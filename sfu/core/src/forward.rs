//! The hot loop: what was received in this batch goes out subscriber by subscriber.
//!
//! Two steps for each of them: packets are chosen and numbered, slot by slot and up to the subscriber's limit; then they are brought into an order
//! that makes long runs, written and sealed. Nothing here allocates after warm-up, looks up a hash, logs or reads a clock.

mod flat;
mod order;
mod probe;
mod repair;
mod replay;
mod spare;
mod write;

pub(crate) use repair::retransmit;

use crate::clock::MediaClock;
use crate::consumer::Consumer;
use crate::consumer::history::Sent;
use crate::consumer::replay::{Timing, live};
use crate::consumer::rewriter::Rewritten;
use crate::consumer::selector::{Selection, Source, Told};
use crate::counters::MediaCounters;
use crate::drop_reason::{DropReason, Drops};
use crate::egress::{Egress, Tuple};
use crate::params::{Codec, MediaKind, PayloadMapping};
use crate::producer::Producer;
use crate::producer::encoding::Encoding;
use crate::producer::packet::CachedPacket;
use crate::transport::Transport;
use crate::transport::pace::{Taken, Waiting};
use order::{Item, Order};
use slab::Slab;
use std::collections::VecDeque;
use std::time::Instant;
use write::View;

/// About what a packet has beside payload and carried extensions: packets without payload are no reason to send any number of them.
const HEADERS: usize = 40;
/// Packets that may follow a keyframe whose first packet came late.
const CATCH_UP_MAX: u64 = 256;

/// Who lost a packet on the way to its link, that later pictures need, goes on with a keyframe, not oftener than this: what waits behind it is of no use, and
/// libwebrtc asks for one after 3 s; and later each time that it was for nothing.
const GIVE_UP_US: u64 = 3_000_000;
const GIVE_UPS_DOUBLED_MAX: u8 = 3;

/// A packet waited for too long.
fn give_up(
    consumer: &mut Consumer,
    producer: &Producer,
    (encoding, source): (u8, &Encoding),
    packet: &CachedPacket,
    now_us: u64,
) {
    let shown = consumer.selector.current() == Some(Source { encoding, epoch: source.epoch });
    let since = |at: u64| now_us.saturating_sub(at);
    let last = consumer.gave_up;
    let just_did = last.is_some_and(|(at, times)| since(at) < GIVE_UP_US << times);
    let needed = packet.info.temporal == 0 || consumer.rewriter.is_flat();
    if !shown || !needed || just_did {
        return;
    }
    let again = last.filter(|(at, times)| since(*at) < GIVE_UP_US << (times + 1));
    let times = again.map_or(0, |(_, times)| (times + 1).min(GIVE_UPS_DOUBLED_MAX));
    // Where keyframes come when the publisher likes, some of its frames are better than none until then; and where it goes on to send more than there is room for,
    // a keyframe does not pass either.
    if !source.keyframes.are_ignored() && !producer.ceiling.is_ignored() {
        consumer.restart();
        // What the cache has is what could not leave.
        consumer.replayed_us = Some(now_us);
        consumer.gave_up = Some((now_us, times));
    }
}

/// What every call of one flush shares.
#[derive(Debug)]
pub(crate) struct Flush<'a, 'b> {
    pub(crate) now: Instant,
    pub(crate) clock: &'a MediaClock,
    /// `now` in microseconds of the media clock.
    pub(crate) now_us: u64,
    /// `abs-send-time` of this flush.
    pub(crate) abs_send_time: u32,
    pub(crate) egress: &'a mut Egress<'b>,
    pub(crate) drops: &'a mut Drops,
    pub(crate) counters: &'a mut MediaCounters,
}

impl<'a, 'b> Flush<'a, 'b> {
    pub(crate) fn new(
        now: Instant,
        clock: &'a MediaClock,
        egress: &'a mut Egress<'b>,
        drops: &'a mut Drops,
        counters: &'a mut MediaCounters,
    ) -> Self {
        let (now_us, abs_send_time) = (clock.micros(now), clock.abs_send_time(now));
        Self { now, clock, now_us, abs_send_time, egress, drops, counters }
    }
}

/// A packet that leaves in this flush.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    consumer: usize,
    encoding: u8,
    /// Extended sequence number in the encoding's cache.
    seq: u64,
    mapping: PayloadMapping,
    rewritten: Rewritten,
    told: Told,
    size: usize,
    /// Fills a number with nothing.
    blank: bool,
}

/// Working memory of flushes.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    queue: VecDeque<Waiting>,
    chosen: Vec<Chosen>,
    order: Order,
}

/// One subscriber in one flush.
pub(crate) struct Fan<'a> {
    pub(crate) producers: &'a Slab<Producer>,
    pub(crate) consumers: &'a mut Slab<Consumer>,
    pub(crate) transport: &'a mut Transport,
    /// Of the transport.
    pub(crate) key: usize,
    pub(crate) plan: &'a mut Plan,
}

impl Fan<'_> {
    /// Sends what came for these consumers of the subscriber in this batch; returns whether something has to wait for the next slot.
    pub(crate) fn send_ready(
        &mut self,
        flush: &mut Flush<'_, '_>,
        pending: impl Iterator<Item = usize>,
    ) -> bool {
        let tuple = self.transport.selected.filter(|_| self.transport.is_connected());
        let waited = !self.transport.pace.is_empty();
        let mut taken = Taken::default();
        for key in pending {
            let Some(consumer) = self.consumers.get(key) else { continue };
            let bound = consumer.bound.as_ref().map(|bound| bound.producer);
            let Some(producer) = bound.and_then(|bound| self.producers.get(bound)) else {
                continue;
            };
            if tuple.is_none() || consumer.paused {
                flush.drops.count(DropReason::NotReady);
                continue;
            }
            for &(encoding, seq) in &producer.ready {
                let epoch = || producer.encodings.get(usize::from(encoding)).map_or(0, |e| e.epoch);
                // A replay comes to it in its place.
                if consumer.replay.is_some() && consumer.replay_covers(encoding, epoch(), seq) {
                    continue;
                }
                let (binding, since_us) = (consumer.binding, flush.now_us);
                self.plan.queue.push_back(Waiting {
                    consumer: key,
                    binding,
                    encoding,
                    seq,
                    since_us,
                });
            }
            let video = producer.is_video();
            // Audio never waits, and nothing overtakes what waits already.
            if !(video && waited) {
                self.choose(flush, video.then_some(1), &mut taken);
            }
            for one in self.plan.queue.drain(..) {
                if !self.transport.pace.wait(one) {
                    flush.drops.count(DropReason::PaceFull);
                }
            }
        }
        if let Some(tuple) = tuple {
            self.send_chosen(flush, &tuple, taken);
        }
        if !waited {
            self.transport.pace.left(flush.now_us);
        }
        !self.transport.pace.is_empty() || (self.transport.pace.spares() && taken.packets > 0)
    }

    /// Sends the next part of what waits; returns whether there is more.
    pub(crate) fn send_waiting(&mut self, flush: &mut Flush<'_, '_>) -> bool {
        let Some(tuple) = self.transport.selected.filter(|_| self.transport.is_connected()) else {
            return self.end_replays(flush.now_us);
        };
        let mut taken = Taken::default();
        self.plan.queue = self.transport.pace.take();
        let slots = self.transport.pace.slots(flush.now_us);
        self.choose(flush, Some(slots), &mut taken);
        self.transport.pace.give_back(std::mem::take(&mut self.plan.queue));
        let replays = self.replay(flush, slots, &mut taken);
        // One slot's packets may stand apart in what waited.
        self.plan.chosen.sort_by_key(|chosen| chosen.consumer);
        if !self.plan.chosen.is_empty() {
            self.begin_first_probe(flush.now_us);
        }
        self.send_chosen(flush, &tuple, taken);
        self.transport.pace.left(flush.now_us);
        let spares = self.spare(flush);
        let probes = self.probe(flush);
        replays || spares || probes || !self.transport.pace.is_empty()
    }

    /// Chooses packets from the front of the queue, as many as may leave in so many slots; `None`: all.
    fn choose(&mut self, flush: &mut Flush<'_, '_>, slots: Option<usize>, taken: &mut Taken) {
        while let Some(&next) = self.plan.queue.front() {
            let pace = &self.transport.pace;
            let full = |slots| !pace.allows_waiting(flush.now_us, *taken, slots, &next);
            if slots.is_some_and(full) {
                return;
            }
            self.plan.queue.pop_front();
            match self.judge(flush, next) {
                Err(reason) => flush.drops.count(reason),
                Ok((chosen, switched)) => {
                    self.take(chosen, taken);
                    if switched {
                        self.catch_up(next);
                    }
                }
            }
        }
    }

    fn take(&mut self, chosen: Chosen, taken: &mut Taken) {
        taken.packets += 1;
        taken.bytes += chosen.size + HEADERS;
        self.plan.chosen.push(chosen);
    }

    /// Queues what came before the keyframe that it follows: a keyframe's first packet may be the last one to come.
    fn catch_up(&mut self, keyframe: Waiting) {
        let consumer = self.consumers.get(keyframe.consumer);
        let Some(source) = consumer
            .and_then(|consumer| self.producers.get(consumer.bound.as_ref()?.producer))
            .and_then(|producer| producer.encodings.get(usize::from(keyframe.encoding)))
        else {
            return;
        };
        let highest = source.highest().unwrap_or(keyframe.seq);
        let first = (keyframe.seq + 1).max(highest.saturating_sub(CATCH_UP_MAX));
        for seq in (first..=highest).rev() {
            let follows = Waiting { seq, ..keyframe };
            let same =
                |there: &Waiting| Waiting { since_us: follows.since_us, ..*there } == follows;
            if source.cache.contains(seq) && !self.plan.queue.iter().any(same) {
                self.plan.queue.push_front(follows);
            }
        }
    }

    /// Decides on one packet, and gives it its number. Returns whether the slot switched to its source with it.
    fn judge(
        &mut self,
        flush: &Flush<'_, '_>,
        waiting: Waiting,
    ) -> Result<(Chosen, bool), DropReason> {
        let Waiting { consumer: key, encoding, seq, .. } = waiting;
        let consumer = self.consumers.get_mut(key).filter(|consumer| {
            consumer.transport == self.key
                && consumer.binding == waiting.binding
                && !consumer.paused
        });
        let consumer = consumer.ok_or(DropReason::BeforeSwitch)?;
        let bound = consumer.bound.as_ref().ok_or(DropReason::UnknownId)?;
        let producer = self.producers.get(bound.producer).ok_or(DropReason::UnknownId)?;
        let source = producer.encodings.get(usize::from(encoding)).ok_or(DropReason::TooOld)?;
        let (packet, bytes) = source.cache.get(seq).ok_or(DropReason::TooOld)?;
        let behind = |(at, _)| waiting.since_us.saturating_sub(at) < GIVE_UP_US;
        let behind = consumer.gave_up.is_some_and(behind);
        if waiting.is_overdue(flush.now_us, behind) {
            give_up(consumer, producer, (encoding, source), packet, flush.now_us);
            return Err(DropReason::PaceOverdue);
        }
        let mapping = write::mapping(bound, packet, bytes)?;
        let size = usize::from(packet.payload_len) + packet.carried_len();
        let chosen = |rewritten, told: Option<Told>| Chosen {
            consumer: key,
            encoding,
            seq,
            mapping,
            rewritten,
            told: told.unwrap_or_default(),
            size: told.map_or(0, |_| size),
            blank: told.is_none(),
        };
        let own = (packet.timestamp, packet.arrival_us);
        let newest = || {
            let newest = source.newest.map_or(own, |(rtp, at)| (rtp, flush.clock.micros(at)));
            live(newest, source.clock_rate, flush.now_us)
        };
        let selection = consumer.selector.select(producer, encoding, packet);
        match selection {
            Selection::Forward => {}
            Selection::Switch => {
                let offset = exact_offset(producer, consumer, encoding);
                let reference = if consumer.replays() { newest() } else { own };
                consumer.rewriter.switch(packet, reference, source.clock_rate, offset);
                begin_source(consumer, (encoding, source));
            }
            Selection::Skip(DropReason::TemporalLayer)
                if flat::is_counted(consumer, source, packet) => {}
            Selection::Skip(reason) => {
                let hole = consumer.rewriter.skip(packet).ok_or(reason)?;
                return Ok((chosen(hole, None), false));
            }
            Selection::Other => return Err(DropReason::OtherEncoding),
            Selection::WaitKeyframe => return Err(DropReason::WaitingKeyframe),
            Selection::Paused => return Err(DropReason::NotAllocated),
        }
        flat::update(self.transport, consumer, (producer, source), (packet, bytes));
        let timing = match consumer.replay {
            None => Timing::Exact,
            Some(_) => {
                consumer.timing((encoding, source), (seq, packet.timestamp), newest(), flush.now_us)
            }
        };
        let rewritten = match timing {
            Timing::Exact => consumer.rewriter.rewrite(packet)?,
            Timing::At(timestamp) => {
                consumer.rewriter.rewrite_at(packet, timestamp, flush.now_us)?
            }
            Timing::Unknown => return Err(DropReason::TooOld),
        };
        let told = consumer.selector.tell(source, packet, bytes);
        Ok((chosen(rewritten, Some(told)), selection == Selection::Switch))
    }

    fn send_chosen(&mut self, flush: &mut Flush<'_, '_>, tuple: &Tuple, taken: Taken) {
        let Self { producers, consumers, transport, plan, .. } = self;
        let Plan { chosen, order, .. } = &mut **plan;
        let item = |index: usize| Item { lane: chosen[index].consumer, size: chosen[index].size };
        let sound = |lane: usize| {
            consumers.get(lane).is_some_and(|it: &Consumer| it.params.kind == MediaKind::Audio)
        };
        for &index in order.of(chosen.len(), item, sound) {
            let one = &chosen[index];
            let Some(consumer) = consumers.get_mut(one.consumer) else { continue };
            let bound = consumer.bound.as_ref().map(|bound| bound.producer);
            let Some(producer) = bound.and_then(|bound| producers.get(bound)) else { continue };
            if let Err(reason) = send(flush, producer, consumer, transport, tuple, one) {
                flush.drops.count(reason);
            }
        }
        chosen.clear();
        transport.pace.sent(flush.now_us, taken);
    }
}

/// A slot shows another source from now on.
fn begin_source(consumer: &mut Consumer, (encoding, source): (u8, &Encoding)) {
    consumer.waiting_since_us = None;
    if let Some(replay) = &mut consumer.replay {
        replay.begin_source();
    }
    let before = consumer.switched_from.replace((encoding, source.epoch));
    consumer.report_due = true;
    // A publisher may begin new numbers with every packet; the layer is the same.
    consumer.layer_changed |= before.is_none_or(|(layer, _)| layer != encoding);
}

/// Writes and seals one packet, and what must follow it.
fn send(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    tuple: &Tuple,
    chosen: &Chosen,
) -> Result<(), DropReason> {
    let Chosen { encoding, seq, mapping, rewritten, told, .. } = *chosen;
    let source = producer.encodings.get(usize::from(encoding)).ok_or(DropReason::TooOld)?;
    let (packet, bytes) = source.cache.get(seq).ok_or(DropReason::TooOld)?;
    let sent = Sent {
        seq: rewritten.seq,
        source: seq as u32,
        encoding,
        epoch: source.epoch as u16,
        timestamp: rewritten.timestamp,
        picture_id: rewritten.picture_id,
        tl0_picture_index: rewritten.tl0_picture_index,
        flat: rewritten.flat,
        frame_number: rewritten.frame_number,
        active_targets: told.active_targets,
        marker: told.marker,
        transport_sequence: transport.transport_sequence.wrapping_add(1),
        abs_send_time: flush.abs_send_time,
        redundancy: match packet.codec {
            Codec::Opus => {
                let level = consumer.delivery.redundancy.level();
                write::redundancy(source, packet, &mapping, level)
            }
            _ => 0,
        },
    };
    let payload = write::payload(&mapping, packet, bytes);
    let repeated = write::repeated(source, packet, sent.redundancy).ok_or(DropReason::TooOld)?;
    let speaks = consumer.playout_delay.speaks(transport.playout_delay) && !chosen.blank;
    let speaks = speaks && write::takes_playout_delay(producer, consumer, packet, &mapping);
    let playout_delay =
        if speaks { consumer.playout_delay.say(transport.playout_delay) } else { None };
    let view =
        View { consumer, mapping, packet, bytes, payload, repeated, sent: &sent, playout_delay };
    let slot = flush.egress.reserve();
    let written = if chosen.blank { None } else { write::write_media(slot, &view) };
    // What cannot be written leaves no gap either: receivers count on from what they got.
    let blank = written.is_none();
    let written = match written {
        None => write::write_blank(slot, &view),
        some => some,
    };
    let (header_len, len) = written.ok_or(DropReason::Malformed)?;
    let srtp = transport.srtp_out.as_mut().ok_or(DropReason::NotReady)?;
    let len = srtp.protect_rtp(slot, header_len, len, rewritten.seq);
    if len == 0 {
        return Err(DropReason::Malformed);
    }
    flush.egress.commit(tuple, len);
    transport.numbered(flush.now_us, len, consumer.ids.transport_wide_cc != 0);
    if blank {
        return if chosen.blank { Ok(()) } else { Err(DropReason::Malformed) };
    }
    consumer.delivery.packets += 1;
    consumer.delivery.bytes += u64::from(packet.payload_len);
    flush.counters.forwarded.count(producer.params.kind, usize::from(packet.payload_len));
    let asked_for = mapping.nack && consumer.history.record(flush.now_us, &sent);
    if asked_for && repair::has_room(flush.now_us, producer, transport) {
        // Asked for before it was here: it is late already, and a loss now would make it too late.
        if let Err(reason) = retransmit(flush, producer, consumer, transport, sent.seq as u16) {
            flush.drops.count(reason);
        }
    }
    if std::mem::take(&mut consumer.report_due) {
        let clock = producer.sender_clock;
        let report =
            crate::feedback::sender_report(flush.now, flush.clock, producer, consumer, clock);
        if let Some(report) = report {
            transport.send_rtcp(flush.egress, &report);
        }
    }
    Ok(())
}

/// Timestamp offset that keeps capture times exact over a switch between two encodings of one track, from both encodings' sender reports.
fn exact_offset(producer: &Producer, consumer: &Consumer, to: u8) -> Option<u32> {
    let (from, epoch) = consumer.switched_from?;
    let from = producer.encodings.get(usize::from(from)).filter(|e| e.epoch == epoch)?;
    let to = producer.encodings.get(usize::from(to))?;
    let (from_report, to_report) = (from.sender_report?, to.sender_report?);
    let elapsed = to_report.ntp.wrapping_sub(from_report.ntp) as i64;
    let ticks = crate::clock::ntp_diff_to_rtp(elapsed, from.clock_rate) as u32;
    // Both name the same moment: the old encoding's time then, and the new one's.
    let old = from_report.rtp.wrapping_add(ticks);
    Some(consumer.rewriter.timestamp_offset().wrapping_add(old).wrapping_sub(to_report.rtp))
}
