//! Birth and end of transports, wishes for keyframes, statistics.

use super::Engine;
use crate::consumer::Consumer;
use crate::egress::{Egress, Tuple};
use crate::params::TransportParams;
use crate::producer::{Origin, Producer};
use crate::timers::TimerKind;
use crate::transport::Transport;
use crate::{
    CloseReason, ConsumerStats, Event, ProducerStats, RouterId, TransportId, TransportStats,
};
use std::time::{Duration, Instant};

/// Housekeeping of one transport.
pub(super) const HOUSEKEEPING: Duration = Duration::from_millis(500);

impl Engine {
    pub(super) fn create_transport(
        &mut self,
        now: Instant,
        id: TransportId,
        router: RouterId,
        params: TransportParams,
    ) {
        let seed = self.random();
        let transport = Transport::new(now, id, router, params, &self.certificate, seed);
        let mut transport = match transport {
            Ok(transport) => transport,
            Err(reason) => {
                self.events.push_back(Event::TransportClosed { transport: id, reason });
                return;
            }
        };
        // Phases differ, so that a thousand transports are not due in the same turn.
        let phase = HOUSEKEEPING.mul_f64((seed >> 32) as f64 / f64::from(u32::MAX));
        let due = self.clock.on_grid(now + phase);
        transport.timers.set(TimerKind::Housekeeping, Some(due));
        let key = self.transports.insert(transport);
        let transport = &mut self.transports[key];
        for ufrag in transport.ice.local_ufrags() {
            self.demux.add_ufrag(ufrag, key);
        }
        self.timers.arm(key, id, &mut transport.timers);
        self.transport_keys.insert(id, key);
        self.routers.entry(router).or_default().transports += 1;
    }

    /// Ends a transport with everything that hangs on it; says goodbye by DTLS.
    pub(super) fn close_transport(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        let tuple = self.transports[key].control_tuple();
        if let (Some(dtls), Some(tuple)) = (&mut self.transports[key].dtls, tuple) {
            dtls.close(now);
            while let Some(record) = dtls.poll_transmit() {
                egress.send(&tuple, &record);
            }
        }
        self.allocations.retain(|&other| other != key);
        self.leave_data(key);
        for producer in std::mem::take(&mut self.transports[key].producers) {
            self.close_producer(producer);
        }
        for consumer in std::mem::take(&mut self.transports[key].consumers) {
            self.close_consumer(consumer);
        }
        let transport = self.transports.remove(key);
        for ufrag in transport.ice.local_ufrags() {
            self.demux.remove_ufrag(ufrag);
        }
        for tuple in transport.ice.verified() {
            self.demux.remove_tuple(tuple, key);
        }
        self.transport_keys.remove(&transport.id);
        if let Some(router) = self.routers.get_mut(&transport.router) {
            router.transports -= 1;
            if router.transports == 0 {
                self.routers.remove(&transport.router);
            }
        }
    }

    /// A path is no more: a TCP connection was closed, and the next one from there may be anybody's.
    pub fn forget_tuple(&mut self, tuple: &Tuple) {
        let Some(key) = self.demux.transport_of(tuple) else { return };
        self.demux.remove_tuple(tuple, key);
        let Some(transport) = self.transports.get_mut(key) else { return };
        transport.ice.forget(tuple);
        transport.selected = transport.ice.selected().copied();
    }

    /// Ends a transport by itself and tells control.
    pub(super) fn fail_transport(
        &mut self,
        now: Instant,
        key: usize,
        reason: CloseReason,
        egress: &mut Egress<'_>,
    ) {
        let id = self.transports[key].id;
        self.close_transport(now, key, egress);
        self.events.push_back(Event::TransportClosed { transport: id, reason });
    }

    /// All consumers of a producer: which keyframes do they wait for?
    pub(super) fn wish_keyframes(&mut self, now: Instant, producer: usize) {
        self.tell_pipes(producer);
        let Some(from) = self.producers.get_mut(producer) else { return };
        if !from.is_video() {
            return;
        }
        let from = &self.producers[producer];
        let wanted =
            from.consumers.iter().fold(0, |wanted, &key| wanted | self.wanted_by(key, from));
        self.request_keyframes(now, producer, wanted);
    }

    /// The encoding (as a bit) whose keyframe a consumer of `producer` waits for.
    fn wanted_by(&self, consumer: usize, producer: &Producer) -> u8 {
        let Some(consumer) = self.consumers.get(consumer).filter(|consumer| !consumer.paused)
        else {
            return 0;
        };
        let connected =
            self.transports.get(consumer.transport).is_some_and(Transport::is_connected);
        let needed = connected.then(|| consumer.needs_keyframe(producer)).flatten();
        needed.map_or(0, |encoding| 1 << encoding)
    }

    /// One consumer that was bound, resumed or asked for another layer: it begins with what the cache has, or waits for a keyframe. Looks at no
    /// other one: a thousand viewers join at once.
    pub(super) fn wish_keyframe_for(&mut self, now: Instant, consumer: usize) {
        let there = self.consumers.get_mut(consumer);
        let Some((there, producer)) =
            there.and_then(|c| c.bound.as_ref().map(|bound| bound.producer).map(|p| (c, p)))
        else {
            return;
        };
        let key = there.transport;
        let connected = self.transports.get(key).is_some_and(Transport::is_connected);
        if let Some(from) = self.producers.get(producer).filter(|_| connected)
            && there.begin_replay(from, self.clock.micros(now))
        {
            self.start_replay(now, key);
        }
        self.tell_pipes(producer);
        let Some(from) = self.producers.get(producer) else { return };
        let wanted = self.wanted_by(consumer, from);
        self.request_keyframes(now, producer, wanted);
    }

    /// All consumers of a producer that show nothing begin with what the cache has.
    pub(super) fn begin_replays(&mut self, now: Instant, producer: usize) {
        for index in 0..self.producers[producer].consumers.len() {
            let from = &self.producers[producer];
            let there = self.consumers.get_mut(from.consumers[index]);
            let Some(there) = there else { continue };
            let key = there.transport;
            let connected = self.transports.get(key).is_some_and(Transport::is_connected);
            if connected && there.begin_replay(from, self.clock.micros(now)) {
                self.start_replay(now, key);
            }
        }
    }

    /// A consumer of this transport begins with what the cache has.
    pub(super) fn start_replay(&mut self, now: Instant, key: usize) {
        let transport = &mut self.transports[key];
        transport.timers.set_earlier(TimerKind::Pace, now);
        self.timers.arm(key, transport.id, &mut transport.timers);
    }

    /// Marks encodings (a bit each) as waiting for a keyframe; the repair timer sends the requests.
    pub(super) fn request_keyframes(&mut self, now: Instant, producer: usize, wanted: u8) {
        let Some(from) = self.producers.get_mut(producer).filter(|_| wanted != 0) else { return };
        let key = match &mut from.origin {
            Origin::Transport(key) => *key,
            Origin::Pipe(pipe) => {
                if pipe.wish(now, wanted) {
                    self.tell_pipes(producer);
                }
                return;
            }
        };
        let Some(transport) = self.transports.get_mut(key) else { return };
        for (index, encoding) in from.encodings.iter_mut().enumerate() {
            let stopped = from.flowing & !(1 << index) != 0 && from.flowing & (1 << index) == 0;
            // A layer that stopped sends no keyframe; the wish is made again when it flows.
            if wanted & (1 << index) != 0 && !from.paused && !stopped {
                encoding.keyframes.wish();
                if let Some(at) = encoding.keyframes.next_due(now) {
                    transport.timers.set_earlier(TimerKind::Repair, at);
                }
            }
        }
        self.timers.arm(key, transport.id, &mut transport.timers);
    }

    pub(super) fn stats(&self, now: Instant, key: usize) -> TransportStats {
        let transport = &self.transports[key];
        let producers = transport.producers.iter().flat_map(|&key| {
            let producer = &self.producers[key];
            producer.encodings.iter().map(move |encoding| ProducerStats {
                producer: producer.id,
                rid: encoding.rid.clone(),
                packets: encoding.reception.packets,
                bytes: encoding.reception.bytes,
                lost: encoding.lost(),
                jitter: encoding.jitter_seconds(),
                nacks: encoding.nack.requested(),
                keyframe_requests: encoding.keyframes.sent(),
            })
        });
        let consumers = transport.consumers.iter().map(|&key| {
            let consumer = &self.consumers[key];
            ConsumerStats {
                consumer: consumer.id,
                packets: consumer.delivery.packets,
                bytes: consumer.delivery.bytes,
                resent: consumer.delivery.resent,
                fraction_lost: consumer.delivery.fraction_lost,
                rtt: consumer.delivery.rtt,
            }
        });
        let now_us = self.clock.micros(now);
        let bandwidth = transport.downlink.as_ref().and_then(|d| d.bandwidth(now_us));
        TransportStats {
            rtt: transport.rtt,
            acked: transport.send_log.acked(),
            bandwidth,
            producers: producers.collect(),
            consumers: consumers.collect(),
        }
    }
}

/// What a slot shows now.
pub(super) fn layer_event(producer: &Producer, consumer: &Consumer) -> Event {
    let rid = consumer.selector.current().and_then(|source| {
        producer.encodings.get(usize::from(source.encoding)).and_then(|e| e.rid.clone())
    });
    Event::ConsumerLayer {
        consumer: consumer.id,
        rid,
        temporal: consumer.selector.preferred().temporal,
    }
}
