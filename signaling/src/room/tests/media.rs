//! The media plane as far as control can get it wrong: what exists, what is bound to what, which SSRCs were used.

use sfu::params::PayloadMapping;
use sfu::{Command, ConsumerId, ProducerId, TransportId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

#[derive(Debug, Default)]
pub(super) struct MediaModel {
    transports: BTreeSet<TransportId>,
    producers: BTreeMap<ProducerId, Producer>,
    consumers: BTreeMap<ConsumerId, Consumer>,
    ids: HashSet<u64>,
    ssrcs: HashSet<(TransportId, u32)>,
    pub(super) restarts: usize,
}

#[derive(Debug)]
struct Producer {
    transport: TransportId,
    payload_types: Vec<u8>,
    paused: bool,
}

#[derive(Debug)]
struct Consumer {
    transport: TransportId,
    bound: Option<ProducerId>,
    pub(super) running: bool,
}

impl MediaModel {
    pub(super) fn bound(&self, consumer: ConsumerId) -> Option<ProducerId> {
        self.consumers[&consumer].bound
    }

    pub(super) fn producers(&self) -> usize {
        self.producers.len()
    }

    pub(super) fn consumers(&self) -> usize {
        self.consumers.len()
    }

    pub(super) fn paused(&self, producer: ProducerId) -> bool {
        self.producers[&producer].paused
    }

    /// Slots that may send.
    pub(super) fn running(&self) -> usize {
        self.consumers.values().filter(|consumer| consumer.running).count()
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

    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::CreateTransport { transport, router, .. } => {
                self.fresh(transport.0);
                assert_eq!(router.0, 3 << 32);
                self.transports.insert(transport);
            }
            Command::RestartIce { transport, .. } => {
                assert!(self.transports.contains(&transport));
                self.restarts += 1;
            }
            Command::ConfigureTransport { transport, .. } => {
                assert!(self.transports.contains(&transport));
            }
            Command::ResumeConsumers { transport } => {
                assert!(self.transports.contains(&transport));
                let own = self.consumers.values_mut().filter(|c| c.transport == transport);
                own.for_each(|consumer| consumer.running = true);
            }
            Command::CloseTransport { transport } => self.close(transport),
            Command::CreateProducer { transport, producer, params } => {
                self.fresh(producer.0);
                assert!(self.transports.contains(&transport));
                assert!(!params.encodings.is_empty());
                let payload_types = params.codecs.iter().map(|c| c.payload_type).collect();
                let paused = params.paused;
                self.producers.insert(producer, Producer { transport, payload_types, paused });
            }
            Command::PauseProducer { producer, paused } => {
                self.producers.get_mut(&producer).expect("a producer").paused = paused;
            }
            Command::CloseProducer { producer } => self.close_producer(producer),
            Command::CreateConsumer { transport, consumer, params } => {
                self.fresh(consumer.0);
                assert!(self.transports.contains(&transport));
                assert!(params.paused);
                self.use_ssrc(transport, Some(params.ssrc));
                self.use_ssrc(transport, params.rtx_ssrc);
                let value = Consumer { transport, bound: None, running: false };
                self.consumers.insert(consumer, value);
            }
            Command::CloseConsumer { consumer } => {
                self.consumers.remove(&consumer).expect("a consumer");
            }
            Command::BindConsumer { consumer, binding } => {
                let bound = binding.map(|binding| {
                    self.check_mappings(binding.producer, &binding.payload_types);
                    binding.producer
                });
                self.consumers.get_mut(&consumer).expect("a consumer").bound = bound;
            }
            Command::SetPreferredLayer { consumer, .. } => {
                assert!(self.consumers.contains_key(&consumer));
            }
            Command::RequestStats { .. } => {}
        }
    }

    fn check_mappings(&self, producer: ProducerId, mappings: &[PayloadMapping]) {
        let producer = self.producers.get(&producer).expect("a producer to bind");
        assert!(!mappings.is_empty());
        assert!(mappings.iter().all(|mapping| producer.payload_types.contains(&mapping.from)));
    }

    /// The transport ended by itself.
    pub(super) fn close(&mut self, transport: TransportId) {
        assert!(self.transports.remove(&transport), "closed twice, or never there");
        let own = self.producers.iter().filter(|(_, p)| p.transport == transport);
        for producer in own.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close_producer(producer);
        }
        self.consumers.retain(|_, consumer| consumer.transport != transport);
    }

    fn close_producer(&mut self, producer: ProducerId) {
        self.producers.remove(&producer).expect("a producer");
        let bound = self.consumers.values_mut().filter(|c| c.bound == Some(producer));
        bound.for_each(|consumer| consumer.bound = None);
    }
}
