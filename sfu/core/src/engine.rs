//! The engine of one worker: owns every transport, producer and consumer of it.
//!
//! Contract. Feed it with [`Engine::handle_datagram`], [`Engine::handle_command`] and, when
//! [`Engine::poll_timeout`] has passed, [`Engine::handle_timeout`]; after a batch of those call [`Engine::flush`] once, and when media has left,
//! [`Engine::run_data`] for as long as there is time; then drain [`Engine::poll_event`] and [`Engine::poll_data_event`]. Time never goes back between calls.

mod allocation;
mod commands;
mod data;
mod data_pipes;
mod ingress;
mod lifecycle;
mod pipe_replay;
mod pipes;
mod published;
mod rtcp_in;
mod rtp_in;
mod strangers;
mod timeouts;

use crate::allocate::{Allocator, Given};
use crate::bandwidth::PacketResult;
use crate::clock::MediaClock;
use crate::command::Command;
use crate::consumer::Consumer;
use crate::counters::MediaCounters;
use crate::data::queue::Outflow;
use crate::demux::{Class, Demux, classify};
use crate::drop_reason::{DropReason, Drops};
use crate::egress::{Datagram, Egress};
use crate::forward::{Fan, Flush, Plan};
use crate::pipe::PipeQueue;
use crate::producer::Producer;
use crate::router::Router;
use crate::timers::{TimerKind, TimerQueue};
use crate::transport::Transport;
use crate::transport::dtls::Certificate;
use crate::transport::pace::SLOT;
use crate::{ConsumerId, Event, ProducerId, RouterId, TransportId, WorkerId};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use slab::Slab;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// DTLS certificate of this server.
    pub certificate: Certificate,
    /// Seed of initial sequence numbers and timer phases; secrets come from control.
    pub seed: u64,
    /// Where the monotonic clock is …
    pub epoch: Instant,
    /// … when NTP time is this (32.32 fixed point seconds since 1900).
    pub epoch_ntp: u64,
}

/// A consumer with packets in a flush; ordered by transport, then as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    transport: usize,
    order: usize,
    consumer: usize,
}

/// After packets of a consumer were chosen: the keyframe that it waits for, and whether it shows something else now. Returns whether it begins with
/// what the cache has.
fn note(
    producers: &Slab<Producer>,
    consumer: &mut Consumer,
    now_us: u64,
    wishes: &mut Vec<(usize, u8)>,
    (events, switched): (&mut VecDeque<Event>, &mut bool),
) -> bool {
    let Some(key) = consumer.bound.as_ref().map(|bound| bound.producer) else { return false };
    let Some(producer) = producers.get(key).filter(|_| !consumer.paused) else { return false };
    let replays = consumer.begin_replay(producer, now_us);
    if let Some(encoding) = consumer.needs_keyframe(producer) {
        wishes.push((key, encoding));
    }
    if std::mem::take(&mut consumer.layer_changed) {
        *switched = true;
        events.push_back(lifecycle::layer_event(producer, consumer));
    }
    replays
}

/// See the module.
pub struct Engine {
    certificate: Certificate,
    clock: MediaClock,
    rng: SmallRng,
    transports: Slab<Transport>,
    producers: Slab<Producer>,
    consumers: Slab<Consumer>,
    /// Ordered, so that a walk over it is the same in every run.
    routers: BTreeMap<RouterId, Router>,
    transport_keys: HashMap<TransportId, usize>,
    producer_keys: HashMap<ProducerId, usize>,
    consumer_keys: HashMap<ConsumerId, usize>,
    demux: Demux,
    /// When media of strangers may be looked at again.
    stranger_at: Option<Instant>,
    timers: TimerQueue,
    /// Next look at who speaks; `None` while no audio came since the last one.
    speakers_due: Option<Instant>,
    events: VecDeque<Event>,
    drops: Drops,
    counters: MediaCounters,
    /// Producers with packets for this flush.
    ready: Vec<usize>,
    /// Consumers of this flush.
    pending: Vec<Pending>,
    plan: Plan,
    /// Keyframes that consumers wait for: (producer, encoding).
    wishes: Vec<(usize, u8)>,
    /// STUN responses are built here.
    scratch: Vec<u8>,
    /// What other workers are to be told.
    pipes: PipeQueue,
    /// Transports whose slots are to be given anew.
    allocations: Vec<usize>,
    allocator: Allocator,
    given: Vec<Given>,
    /// Of the feedback that is read now.
    results: Vec<PacketResult>,
    /// Transports that have data to receive or to send.
    data_due: VecDeque<usize>,
    /// Data for other workers …
    data_pipes: BTreeMap<WorkerId, Outflow<Bytes>>,
    /// … and for control.
    data_events: Outflow<Event>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("transports", &self.transports.len())
            .field("producers", &self.producers.len())
            .field("consumers", &self.consumers.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without transports.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            certificate: config.certificate,
            clock: MediaClock::new(config.epoch, config.epoch_ntp),
            rng: SmallRng::seed_from_u64(config.seed),
            transports: Slab::new(),
            producers: Slab::new(),
            consumers: Slab::new(),
            routers: BTreeMap::new(),
            transport_keys: HashMap::new(),
            producer_keys: HashMap::new(),
            consumer_keys: HashMap::new(),
            demux: Demux::default(),
            stranger_at: None,
            timers: TimerQueue::default(),
            speakers_due: None,
            events: VecDeque::new(),
            drops: Drops::default(),
            counters: MediaCounters::default(),
            ready: Vec::new(),
            pending: Vec::new(),
            plan: Plan::default(),
            wishes: Vec::new(),
            scratch: Vec::with_capacity(256),
            pipes: PipeQueue::default(),
            allocations: Vec::new(),
            allocator: Allocator::default(),
            given: Vec::new(),
            results: Vec::new(),
            data_due: VecDeque::new(),
            data_pipes: BTreeMap::new(),
            data_events: Outflow::default(),
        }
    }

    /// Takes one received datagram; its bytes are decrypted in place.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: Datagram<'_>,
        egress: &mut Egress<'_>,
    ) {
        let Datagram { tuple, arrival, bytes } = datagram;
        let class = classify(bytes);
        let whole = Datagram { tuple, arrival, bytes: &mut *bytes };
        let result = match class {
            Some(Class::Stun) => self.handle_stun(now, &tuple, bytes, egress),
            Some(Class::Dtls) => self.handle_dtls(now, &tuple, bytes, egress),
            Some(Class::Rtp) => self.handle_rtp(whole),
            Some(Class::Rtcp) => self.handle_rtcp(now, whole, egress),
            None => Err(DropReason::Malformed),
        };
        if let Err(reason) = result {
            self.drops.count(reason);
            if let (DropReason::UnknownTuple, Some(class @ (Class::Rtp | Class::Rtcp))) =
                (reason, class)
            {
                self.look_at_stranger(now, &tuple, bytes, class, egress);
            }
        }
    }

    /// Executes one command of control.
    pub fn handle_command(&mut self, now: Instant, command: Command, egress: &mut Egress<'_>) {
        if let Err(reason) = self.execute(now, command, egress) {
            self.drops.count(reason);
        }
    }

    /// Sends what was received since the last flush to its subscribers, one subscriber after the other, and asks for the keyframes that are missing.
    pub fn flush(&mut self, now: Instant, egress: &mut Egress<'_>) {
        self.run_allocations(now);
        if self.ready.is_empty() {
            return;
        }
        self.list_pending();
        let mut flush = Flush::new(now, &self.clock, egress, &mut self.drops, &mut self.counters);
        let same = |a: &Pending, b: &Pending| a.transport == b.transport;
        for group in self.pending.chunk_by(same) {
            let Some(key) = group.first().map(|pending| pending.transport) else { continue };
            let Some(transport) = self.transports.get_mut(key) else { continue };
            let mut fan = Fan {
                producers: &self.producers,
                consumers: &mut self.consumers,
                transport,
                key,
                plan: &mut self.plan,
            };
            let mut next = fan
                .send_ready(&mut flush, group.iter().map(|pending| pending.consumer))
                .then(|| now + SLOT);
            let mut switched = false;
            if transport.is_connected() {
                for pending in group {
                    let Some(consumer) = self.consumers.get_mut(pending.consumer) else { continue };
                    let (wishes, events) = (&mut self.wishes, (&mut self.events, &mut switched));
                    if note(&self.producers, consumer, flush.now_us, wishes, events) {
                        next = Some(now);
                    }
                }
            }
            if let Some(at) = next {
                transport.timers.set_earlier(TimerKind::Pace, at);
                self.timers.arm(key, transport.id, &mut transport.timers);
            }
            if switched && !std::mem::replace(&mut transport.allocation_due, true) {
                self.allocations.push(key);
            }
        }
        for key in self.ready.drain(..) {
            if let Some(producer) = self.producers.get_mut(key) {
                producer.ready.clear();
            }
        }
        self.pass_wishes(now);
    }

    /// Which consumers the packets of this flush are for, by transport.
    fn list_pending(&mut self) {
        self.pending.clear();
        for producer in self.ready.iter().filter_map(|&key| self.producers.get(key)) {
            for &key in &producer.consumers {
                if let Some(consumer) = self.consumers.get(key) {
                    let order = self.pending.len();
                    let transport = consumer.transport;
                    self.pending.push(Pending { transport, order, consumer: key });
                }
            }
        }
        self.pending.sort_unstable();
    }

    /// Sends the next part of what waits for one subscriber.
    fn send_waiting(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let mut flush = Flush::new(now, &self.clock, egress, &mut self.drops, &mut self.counters);
        let mut fan = Fan {
            producers: &self.producers,
            consumers: &mut self.consumers,
            transport,
            key,
            plan: &mut self.plan,
        };
        let mut more = fan.send_waiting(&mut flush);
        let mut switched = false;
        for &key in &transport.consumers {
            let Some(consumer) = self.consumers.get_mut(key) else { continue };
            let (wishes, events) = (&mut self.wishes, (&mut self.events, &mut switched));
            more |= note(&self.producers, consumer, flush.now_us, wishes, events);
        }
        transport.timers.set(TimerKind::Pace, more.then(|| now + SLOT));
        if switched {
            self.mark_allocation(key);
        }
        self.pass_wishes(now);
    }

    /// Passes on which keyframes consumers wait for.
    fn pass_wishes(&mut self, now: Instant) {
        let mut wishes = std::mem::take(&mut self.wishes);
        wishes.sort_unstable();
        wishes.dedup();
        for (producer, encoding) in wishes.drain(..) {
            self.request_keyframes(now, producer, 1 << encoding);
        }
        self.wishes = wishes;
    }

    /// When [`Engine::handle_timeout`] wants to be called; may be early, never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.timers.next(), self.speakers_due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next point in time at which deadlines meet that may be somewhat off: for whoever has such a deadline of its own.
    #[must_use]
    pub fn grid_after(&self, now: Instant) -> Instant {
        self.clock.grid_after(now)
    }

    /// The next event for control.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Dropped packets by reason.
    #[must_use]
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Packets and bytes of media.
    #[must_use]
    pub fn counters(&self) -> &MediaCounters {
        &self.counters
    }

    /// Numbers of transports, producers and consumers.
    #[must_use]
    pub fn population(&self) -> (usize, usize, usize) {
        (self.transports.len(), self.producers.len(), self.consumers.len())
    }

    /// Everything that is held for somebody, by name. All of it is 0 when the last transport has gone and the longest deadline has passed.
    #[must_use]
    pub fn held(&self) -> [(&'static str, usize); 11] {
        let (tuples, ufrags) = self.demux.held();
        let ids = self.transport_keys.len() + self.producer_keys.len() + self.consumer_keys.len();
        [
            ("transports", self.transports.len()),
            ("producers", self.producers.len()),
            ("consumers", self.consumers.len()),
            ("routers", self.routers.len()),
            ("ids", ids),
            ("tuples", tuples),
            ("ufrags", ufrags),
            ("timers", self.timers.len()),
            ("events", self.events.len()),
            ("ready", self.ready.len()),
            ("allocations", self.allocations.len()),
        ]
    }

    fn random(&mut self) -> u64 {
        self.rng.random()
    }
}
