//! Commands of control.

use super::Engine;
use crate::command::Command;
use crate::consumer::{Bound, Consumer};
use crate::drop_reason::DropReason;
use crate::egress::Egress;
use crate::params::{Binding, ConsumerParams, IceCredentials, MediaKind, ProducerParams};
use crate::producer::encoding::Encoding;
use crate::producer::{Origin, Producer};
use crate::transport::streams::Route;
use crate::{ConsumerId, Event, ProducerId, TransportId};
use std::time::Instant;

impl Engine {
    pub(super) fn execute(
        &mut self,
        now: Instant,
        command: Command,
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        match command {
            Command::CreateTransport { transport, router, params } => {
                self.create_transport(now, transport, router, *params);
                Ok(())
            }
            Command::RestartIce { transport, local_ice, remote_ice } => {
                self.restart_ice(transport, local_ice, remote_ice)
            }
            Command::ConfigureTransport { transport, header_extensions } => {
                let key = self.transport_key(transport)?;
                self.transports[key].configure(&header_extensions);
                Ok(())
            }
            Command::CloseTransport { transport } => {
                let key = self.transport_key(transport)?;
                self.close_transport(now, key, egress);
                Ok(())
            }
            Command::CreateProducer { transport, producer, params } => {
                self.create_producer(transport, producer, *params)
            }
            Command::CreatePipedProducer { producer, from, params } => {
                self.create_piped_producer(producer, from, *params);
                Ok(())
            }
            Command::OpenPipe { producer, to } => self.open_pipe(producer, to),
            Command::ClosePipe { producer, to } => self.close_pipe(producer, to),
            Command::PauseProducer { producer, paused } => self.pause_producer(producer, paused),
            Command::CloseProducer { producer } => {
                let key = *self.producer_keys.get(&producer).ok_or(DropReason::UnknownId)?;
                self.close_producer(key);
                Ok(())
            }
            Command::CreateConsumer { transport, consumer, params } => {
                self.create_consumer(transport, consumer, *params)
            }
            Command::CloseConsumer { consumer } => {
                let key = self.consumer_key(consumer)?;
                self.close_consumer(key);
                Ok(())
            }
            Command::BindConsumer { consumer, binding } => {
                self.bind_consumer(now, consumer, binding)
            }
            Command::ResumeConsumers { transport } => self.resume_consumers(now, transport),
            Command::SetPreferredLayer { consumer, layer } => {
                let key = self.consumer_key(consumer)?;
                self.consumers[key].selector.prefer(layer);
                self.mark_allocation(self.consumers[key].transport);
                self.wish_keyframe_for(now, key);
                Ok(())
            }
            Command::SetDemand { consumer, demand } => {
                let key = self.consumer_key(consumer)?;
                self.consumers[key].demand = demand;
                self.mark_allocation(self.consumers[key].transport);
                Ok(())
            }
            Command::ConfigureData { transport, params } => self.configure_data(transport, *params),
            Command::LinkRouter { router, workers, tapped } => {
                self.link_router(router, workers, tapped)
            }
            Command::SendData { router, message } => self.send_data(now, router, &message),
            Command::RequestStats { transport, request } => {
                let key = self.transport_key(transport)?;
                let stats = Box::new(self.stats(now, key));
                self.events.push_back(Event::Stats { request, stats });
                Ok(())
            }
        }
    }

    pub(super) fn transport_key(&self, id: TransportId) -> Result<usize, DropReason> {
        self.transport_keys.get(&id).copied().ok_or(DropReason::UnknownId)
    }

    fn consumer_key(&self, id: ConsumerId) -> Result<usize, DropReason> {
        self.consumer_keys.get(&id).copied().ok_or(DropReason::UnknownId)
    }

    fn restart_ice(
        &mut self,
        id: TransportId,
        local: IceCredentials,
        remote: IceCredentials,
    ) -> Result<(), DropReason> {
        let key = self.transport_key(id)?;
        let transport = &mut self.transports[key];
        let before: Vec<String> = transport.ice.local_ufrags().map(str::to_owned).collect();
        transport.ice.restart(local, remote);
        let after: Vec<String> = transport.ice.local_ufrags().map(str::to_owned).collect();
        for ufrag in before.iter().filter(|ufrag| !after.contains(ufrag)) {
            self.demux.remove_ufrag(ufrag);
        }
        for ufrag in &after {
            self.demux.add_ufrag(ufrag, key);
        }
        Ok(())
    }

    fn create_producer(
        &mut self,
        transport: TransportId,
        id: ProducerId,
        params: ProducerParams,
    ) -> Result<(), DropReason> {
        let owner = self.transport_key(transport)?;
        let audio = params.kind == MediaKind::Audio;
        let mut producer = Producer::new(id, Origin::Transport(owner), params);
        producer.sender_clock = self.transports[owner].ntp_offset;
        let key = self.producers.insert(producer);
        self.producer_keys.insert(id, key);
        let transport = &mut self.transports[owner];
        transport.producers.push(key);
        if audio && let Some(router) = self.routers.get_mut(&transport.router) {
            router.audio.push(key);
        }
        // SSRCs that were known under this MID find their way again, without MID on their packets.
        for index in 0..self.transports[owner].streams.len() {
            if self.transports[owner].streams[index].route == Route::Unknown {
                self.resolve(owner, index, None);
            }
        }
        Ok(())
    }

    fn pause_producer(&mut self, id: ProducerId, paused: bool) -> Result<(), DropReason> {
        let key = *self.producer_keys.get(&id).ok_or(DropReason::UnknownId)?;
        let producer = &mut self.producers[key];
        if producer.paused == paused {
            return Ok(());
        }
        producer.paused = paused;
        // What was captured before and during a mute is shown to nobody afterwards.
        producer.encodings.iter_mut().for_each(Encoding::forget_gop);
        producer.pipes.iter_mut().for_each(|pipe| pipe.replay = None);
        for &consumer in &producer.consumers {
            self.consumers[consumer].restart();
        }
        self.mark_allocations_of(key);
        Ok(())
    }

    pub(super) fn close_producer(&mut self, key: usize) {
        let producer = self.producers.remove(key);
        self.producer_keys.remove(&producer.id);
        for &consumer in &producer.consumers {
            if let Some(consumer) = self.consumers.get_mut(consumer) {
                consumer.bind(None);
            }
        }
        self.pipes.forget(key);
        if let Some(transport) = producer.transport().and_then(|t| self.transports.get_mut(t)) {
            transport.producers.retain(|&other| other != key);
            for stream in &mut transport.streams {
                if stream.route.producer() == Some(key) {
                    stream.route = Route::Unknown;
                }
            }
            if let Some(router) = self.routers.get_mut(&transport.router) {
                router.audio.retain(|&other| other != key);
            }
        }
        self.ready.retain(|&other| other != key);
    }

    fn create_consumer(
        &mut self,
        transport: TransportId,
        id: ConsumerId,
        params: ConsumerParams,
    ) -> Result<(), DropReason> {
        let owner = self.transport_key(transport)?;
        let seed = self.random() as u32;
        let key = self.consumers.insert(Consumer::new(id, owner, params, seed));
        self.consumer_keys.insert(id, key);
        self.transports[owner].consumers.push(key);
        Ok(())
    }

    pub(super) fn close_consumer(&mut self, key: usize) {
        let consumer = self.consumers.remove(key);
        self.consumer_keys.remove(&consumer.id);
        if let Some(transport) = self.transports.get_mut(consumer.transport) {
            transport.consumers.retain(|&other| other != key);
        }
        let bound = consumer.bound.map(|bound| bound.producer);
        if let Some(producer) = bound.and_then(|bound| self.producers.get_mut(bound)) {
            producer.consumers.retain(|&other| other != key);
        }
        if let Some(bound) = bound {
            self.tell_pipes(bound);
        }
        self.mark_allocation(consumer.transport);
    }

    fn bind_consumer(
        &mut self,
        now: Instant,
        id: ConsumerId,
        binding: Option<Binding>,
    ) -> Result<(), DropReason> {
        let key = self.consumer_key(id)?;
        let consumer = &mut self.consumers[key];
        if let Some(before) = consumer.bound.as_ref().map(|bound| bound.producer)
            && let Some(producer) = self.producers.get_mut(before)
        {
            producer.consumers.retain(|&other| other != key);
            self.tell_pipes(before);
            self.update_published(now, before);
        }
        let bound = binding.and_then(|binding| {
            let producer = *self.producer_keys.get(&binding.producer)?;
            let number = self.producers[producer].params.number;
            Some(Bound::new(producer, binding.payload_types, number))
        });
        if let Some(bound) = &bound {
            self.producers[bound.producer].consumers.push(key);
        }
        self.consumers[key].bind(bound);
        // It asks for nothing before it is given a layer, at the end of this turn: control says in the same turn what it is for.
        self.mark_allocation(self.consumers[key].transport);
        if let Some(producer) = self.consumers[key].bound.as_ref().map(|bound| bound.producer) {
            self.tell_pipes(producer);
        }
        Ok(())
    }

    fn resume_consumers(&mut self, now: Instant, id: TransportId) -> Result<(), DropReason> {
        let key = self.transport_key(id)?;
        for index in 0..self.transports[key].consumers.len() {
            let consumer = self.transports[key].consumers[index];
            if std::mem::take(&mut self.consumers[consumer].paused) {
                self.consumers[consumer].restart();
                self.wish_keyframe_for(now, consumer);
            }
        }
        self.mark_allocation(key);
        Ok(())
    }
}
