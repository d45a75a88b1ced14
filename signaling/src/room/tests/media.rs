//! The media plane as far as control can get it wrong: what exists on which worker, what is bound to what, which SSRCs were used.

use sfu::params::{Demand, PayloadMapping};
use sfu::{Command, ConsumerId, DataMessage, DataParams, ProducerId, TransportId, WorkerId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

#[derive(Debug, Default)]
pub(super) struct MediaModel {
    transports: BTreeMap<TransportId, WorkerId>,
    /// At the publisher's worker, and wherever they are piped to.
    producers: BTreeMap<(ProducerId, WorkerId), Producer>,
    /// Open at the publisher's worker: (track, to).
    pipes: BTreeSet<(ProducerId, WorkerId)>,
    consumers: BTreeMap<ConsumerId, Consumer>,
    ids: HashSet<u64>,
    ssrcs: HashSet<(TransportId, u32)>,
    pub(super) restarts: usize,
    /// How often a slot was bound, or freed.
    pub(super) binds: usize,
    /// For counters, unanswered.
    pub(super) requests: Vec<(TransportId, u64)>,
    /// What was said of peer connections that take part in data.
    pub(super) data: BTreeMap<TransportId, DataParams>,
    /// The other workers of the room as each knows them, and whether it passes data on to the room.
    pub(super) links: BTreeMap<WorkerId, (Vec<WorkerId>, bool)>,
    /// What participants without channel said.
    pub(super) said: Vec<(WorkerId, DataMessage)>,
}

#[derive(Debug)]
struct Producer {
    /// `None`: it comes through a pipe.
    transport: Option<TransportId>,
    payload_types: Vec<u8>,
    paused: bool,
}

#[derive(Debug)]
struct Consumer {
    transport: TransportId,
    worker: WorkerId,
    bound: Option<ProducerId>,
    /// RED may be put around what it shows.
    redundant: bool,
    running: bool,
    demand: Demand,
}

impl MediaModel {
    pub(super) fn bound(&self, consumer: ConsumerId) -> Option<ProducerId> {
        self.consumers[&consumer].bound
    }

    pub(super) fn redundant(&self, consumer: ConsumerId) -> bool {
        self.consumers[&consumer].redundant
    }

    /// The slots of a peer connection.
    pub(super) fn consumers_of(&self, transport: TransportId) -> Vec<ConsumerId> {
        let own = self.consumers.iter().filter(|(_, consumer)| consumer.transport == transport);
        own.map(|(id, _)| *id).collect()
    }

    pub(super) fn demand(&self, consumer: ConsumerId) -> Demand {
        self.consumers[&consumer].demand
    }

    /// Tracks, each counted once.
    pub(super) fn producers(&self) -> usize {
        self.producers.values().filter(|producer| producer.transport.is_some()).count()
    }

    /// Tracks that are piped to another worker.
    pub(super) fn pipes(&self) -> usize {
        self.pipes.len()
    }

    pub(super) fn consumers(&self) -> usize {
        self.consumers.len()
    }

    /// Muted wherever it is.
    pub(super) fn paused(&self, id: ProducerId) -> bool {
        let mut copies = self.producers.iter().filter(|((producer, _), _)| *producer == id);
        let paused = copies.next().expect("a producer").1.paused;
        assert!(copies.all(|(_, copy)| copy.paused == paused), "muted here and not there");
        paused
    }

    /// Slots that may send.
    pub(super) fn running(&self) -> usize {
        self.consumers.values().filter(|consumer| consumer.running).count()
    }

    /// A track is on another worker exactly as long as a slot there shows it.
    pub(super) fn check_pipes(&self) {
        for (&(id, worker), producer) in &self.producers {
            let shown = self.consumers.values().any(|c| c.bound == Some(id) && c.worker == worker);
            if producer.transport.is_none() {
                assert!(shown, "{id:?} is piped to {worker:?} for nobody");
                assert!(self.pipes.contains(&(id, worker)), "nothing comes to {worker:?}");
            }
        }
        for pipe in &self.pipes {
            let there = self.producers.get(pipe).expect("the far end of a pipe");
            assert!(there.transport.is_none(), "a pipe to the publisher's own worker");
        }
        for consumer in self.consumers.values() {
            let there =
                consumer.bound.map(|id| self.producers.contains_key(&(id, consumer.worker)));
            assert_ne!(there, Some(false), "{consumer:?} is bound to something elsewhere");
        }
    }

    fn fresh(&mut self, id: u64) {
        assert!(self.ids.insert(id), "id {id} was used before");
        assert_eq!(id >> 32, 3, "the room's serial");
    }

    fn use_ssrc(&mut self, transport: TransportId, ssrc: Option<u32>) {
        if let Some(ssrc) = ssrc {
            assert!(self.ssrcs.insert((transport, ssrc)), "SSRC {ssrc} was used before");
        }
    }

    fn assert_here(&self, transport: TransportId, worker: WorkerId) {
        assert_eq!(self.transports.get(&transport), Some(&worker), "not on that worker");
    }

    fn consumer(&mut self, id: ConsumerId, worker: WorkerId) -> &mut Consumer {
        let consumer = self.consumers.get_mut(&id).expect("a consumer");
        assert_eq!(consumer.worker, worker, "not on that worker");
        consumer
    }

    pub(super) fn execute(&mut self, worker: WorkerId, command: Command) {
        match command {
            Command::CreateTransport { transport, router, .. } => {
                self.fresh(transport.0);
                assert_eq!(router.0, 3 << 32);
                self.transports.insert(transport, worker);
            }
            Command::RestartIce { transport, .. } => {
                self.assert_here(transport, worker);
                self.restarts += 1;
            }
            Command::ConfigureTransport { transport, .. } => self.assert_here(transport, worker),
            Command::ResumeConsumers { transport } => {
                self.assert_here(transport, worker);
                let own = self.consumers.values_mut().filter(|c| c.transport == transport);
                own.for_each(|consumer| consumer.running = true);
            }
            Command::CloseTransport { transport } => {
                self.assert_here(transport, worker);
                self.close(transport);
            }
            Command::CreateConsumer { transport, consumer, params } => {
                self.fresh(consumer.0);
                self.assert_here(transport, worker);
                assert!(params.paused);
                self.use_ssrc(transport, Some(params.ssrc));
                self.use_ssrc(transport, params.rtx_ssrc);
                let (bound, redundant, running) = (None, false, false);
                let demand = Demand::default();
                let value = Consumer { transport, worker, bound, redundant, running, demand };
                self.consumers.insert(consumer, value);
            }
            Command::CloseConsumer { consumer } => {
                self.consumer(consumer, worker);
                self.consumers.remove(&consumer);
            }
            Command::BindConsumer { consumer, binding } => {
                let redundant = binding.as_ref().is_some_and(|binding| {
                    self.check_mappings((binding.producer, worker), &binding.payload_types);
                    binding.payload_types.iter().any(|mapping| mapping.red.is_some())
                });
                let bound = binding.map(|binding| binding.producer);
                let consumer = self.consumer(consumer, worker);
                consumer.redundant = redundant;
                (consumer.bound, consumer.demand) = (bound, Demand::default());
                self.binds += 1;
            }
            Command::SetPreferredLayer { consumer, .. } => {
                self.consumer(consumer, worker);
            }
            Command::SetDemand { consumer, demand } => {
                let consumer = self.consumer(consumer, worker);
                assert_ne!(consumer.demand, demand, "that is no news");
                consumer.demand = demand;
            }
            Command::RequestStats { transport, request } => {
                self.assert_here(transport, worker);
                self.requests.push((transport, request));
            }
            Command::ConfigureData { transport, params } => {
                self.assert_here(transport, worker);
                self.data.insert(transport, *params);
            }
            Command::LinkRouter { workers, tapped, .. } => {
                assert!(!workers.contains(&worker), "to itself");
                self.links.insert(worker, (workers, tapped));
            }
            Command::SendData { message, .. } => self.said.push((worker, *message)),
            track => self.execute_on_track(worker, track),
        }
    }

    fn execute_on_track(&mut self, worker: WorkerId, command: Command) {
        match command {
            Command::CreateProducer { transport, producer, params } => {
                self.fresh(producer.0);
                self.assert_here(transport, worker);
                assert!(!params.encodings.is_empty());
                self.create_producer((producer, worker), Some(transport), &params);
            }
            Command::CreatePipedProducer { producer, from, params } => {
                assert_ne!(from, worker);
                assert!(self.producers.contains_key(&(producer, from)), "piped from nowhere");
                self.create_producer((producer, worker), None, &params);
            }
            Command::OpenPipe { producer, to } => {
                assert!(self.producers[&(producer, worker)].transport.is_some());
                assert!(self.pipes.insert((producer, to)), "opened twice");
            }
            Command::ClosePipe { producer, to } => {
                assert!(self.producers.contains_key(&(producer, worker)));
                assert!(self.pipes.remove(&(producer, to)), "closed twice, or never opened");
            }
            Command::PauseProducer { producer, paused } => {
                let producer = self.producers.get_mut(&(producer, worker));
                producer.expect("a producer").paused = paused;
            }
            Command::CloseProducer { producer } => self.close_producer(producer, worker),
            other => panic!("not about a track: {other:?}"),
        }
    }

    fn create_producer(
        &mut self,
        key: (ProducerId, WorkerId),
        transport: Option<TransportId>,
        params: &sfu::params::ProducerParams,
    ) {
        let payload_types = params.codecs.iter().map(|c| c.payload_type).collect();
        let paused = params.paused;
        let before = self.producers.insert(key, Producer { transport, payload_types, paused });
        assert!(before.is_none(), "there already");
    }

    fn check_mappings(&self, key: (ProducerId, WorkerId), mappings: &[PayloadMapping]) {
        let producer = self.producers.get(&key).expect("a producer to bind");
        assert!(!mappings.is_empty());
        assert!(mappings.iter().all(|mapping| producer.payload_types.contains(&mapping.from)));
    }

    /// The transport ended by itself.
    pub(super) fn close(&mut self, transport: TransportId) {
        let worker = self.transports.remove(&transport).expect("closed twice, or never there");
        self.data.remove(&transport);
        let own = self.producers.iter().filter(|(_, p)| p.transport == Some(transport));
        for (producer, _) in own.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.close_producer(producer, worker);
        }
        self.consumers.retain(|_, consumer| consumer.transport != transport);
    }

    fn close_producer(&mut self, id: ProducerId, worker: WorkerId) {
        let producer = self.producers.remove(&(id, worker)).expect("a producer");
        if producer.transport.is_some() {
            self.pipes.retain(|(piped, _)| *piped != id);
        }
        let here = self.consumers.values_mut().filter(|c| c.worker == worker);
        here.filter(|c| c.bound == Some(id)).for_each(|consumer| consumer.bound = None);
    }
}
