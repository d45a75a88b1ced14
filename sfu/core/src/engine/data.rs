//! Data channels: what comes from a peer goes to the other peers of its room, on this worker, on others, and to control for whoever has no channel.
//!
//! Nothing happens as packets come: they wait until media has left, and the shell gives them as much time as it has. A message that all get waits for
//! nobody; one that names its recipients waits until they can take it, and the sender's window closes meanwhile.

use super::Engine;
use crate::data::frame::{self, Parcel};
use crate::data::port::Way;
use crate::data::{DataFault, DataMessage, DataParams};
use crate::drop_reason::DropReason;
use crate::egress::Egress;
use crate::timers::TimerKind;
use crate::transport::sctp::{RELIABLE, Received, Sctp};
use crate::{Event, RouterId, TransportId, WorkerId};
use std::sync::Arc;
use std::time::Instant;

/// Packets and messages of one peer in one step of [`Engine::run_data`].
const PACKETS_PER_STEP: usize = 16;
const MESSAGES_PER_STEP: usize = 8;

impl Engine {
    pub(super) fn configure_data(
        &mut self,
        id: TransportId,
        params: DataParams,
    ) -> Result<(), DropReason> {
        let key = self.transport_key(id)?;
        let transport = &mut self.transports[key];
        let new = transport.data.params.replace(params).is_none();
        if new && let Some(router) = self.routers.get_mut(&transport.router) {
            router.members.push(key);
        }
        self.mark_data(key);
        Ok(())
    }

    pub(super) fn link_router(
        &mut self,
        id: RouterId,
        workers: Vec<WorkerId>,
        tapped: bool,
    ) -> Result<(), DropReason> {
        let router = self.routers.get_mut(&id).ok_or(DropReason::UnknownId)?;
        router.pressed.retain(|(worker, _), _| workers.contains(worker));
        (router.links, router.tapped) = (workers, tapped);
        // Workers that are new know of nobody.
        for key in router.members.clone() {
            self.transports[key].data.told_pressed = false;
            self.tell_pressure(key);
        }
        self.resume_holding(id);
        Ok(())
    }

    /// What a participant without channel says, to everybody on this worker.
    pub(super) fn send_data(
        &mut self,
        now: Instant,
        router: RouterId,
        message: &DataMessage,
    ) -> Result<(), DropReason> {
        let parcel = Arc::new(Parcel::new(message));
        let others = self.deliver(now, router, message, &parcel);
        if !others.is_empty() {
            self.tell_control(router, message, &parcel, others, false);
        }
        Ok(())
    }

    /// A transport is about to end.
    pub(super) fn leave_data(&mut self, key: usize) {
        self.data_due.retain(|&other| other != key);
        let id = self.transports[key].router;
        if let Some(router) = self.routers.get_mut(&id) {
            router.members.retain(|&other| other != key);
            router.holding.retain(|&other| other != key);
        }
        self.transports[key].data.reliable = Default::default();
        self.tell_pressure(key);
        self.resume_holding(id);
    }

    /// The transport has data to receive or to send.
    pub(super) fn mark_data(&mut self, key: usize) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        if transport.sctp.is_some() && !std::mem::replace(&mut transport.data.due, true) {
            self.data_due.push_back(key);
        }
    }

    /// Works on the data of one peer. Call it when media has left, for as long as there is time. `false`: there is nothing to do.
    pub fn run_data(&mut self, now: Instant, egress: &mut Egress<'_>) -> bool {
        let Some(key) = self.data_due.pop_front() else { return false };
        let Some(transport) = self.transports.get_mut(key) else { return true };
        transport.data.due = false;
        if let Some(sctp) = &mut transport.sctp {
            for _ in 0..PACKETS_PER_STEP {
                let Some(packet) = transport.data.next_packet() else { break };
                sctp.handle_data(now, &packet);
            }
        }
        let more = self.read_data(now, key);
        self.write_data(now, key);
        let id = self.transports[key].id;
        self.drain_dtls(now, key, egress);
        // The goodbye of the peer may have been in it.
        if let Some(transport) = self.transports.get(key).filter(|transport| transport.id == id)
            && (more || transport.data.has_packets())
        {
            self.mark_data(key);
        }
        true
    }

    /// Whether [`Engine::run_data`] has something to do.
    #[must_use]
    pub fn has_data(&self) -> bool {
        !self.data_due.is_empty()
    }

    /// The next message for control. Take it only when there is room: what waits here holds its senders back.
    pub fn poll_data_event(&mut self) -> Option<Event> {
        let was_full = self.data_events.is_full();
        let event = self.data_events.pop()?;
        if was_full && !self.data_events.is_full() {
            self.resume_all_holding();
        }
        Some(event)
    }

    /// Whether there are messages for control.
    #[must_use]
    pub fn has_data_events(&self) -> bool {
        !self.data_events.is_empty()
    }

    /// Reads what a peer sent. Returns whether there may be more.
    fn read_data(&mut self, now: Instant, key: usize) -> bool {
        if let Some(held) = self.transports[key].data.held.take()
            && !self.pass_on(now, key, held)
        {
            return false;
        }
        for _ in 0..MESSAGES_PER_STEP {
            let transport = &mut self.transports[key];
            let Some(sctp) = &mut transport.sctp else { return false };
            let received = sctp.read(now);
            for _ in 0..sctp.take_stray() {
                self.drops.count(DropReason::DataNoChannel);
            }
            let Some(received) = received else { return false };
            match self.understand(key, received) {
                Ok(None) => {}
                Ok(Some(message)) => {
                    self.counters.data.received += 1;
                    if !self.pass_on(now, key, message) {
                        return false;
                    }
                }
                Err(fault) => self.refuse_data(now, key, fault),
            }
        }
        true
    }

    /// `None`: it only says that the channel is there.
    fn understand(&self, key: usize, received: Received) -> Result<Option<DataMessage>, DataFault> {
        let transport = &self.transports[key];
        let params = transport.data.params.as_ref().ok_or(DataFault::NotAllowed)?;
        let channels = transport.sctp.as_ref().map(Sctp::channels).unwrap_or_default();
        let Received { stream, text, payload } = received;
        let Some(channel) = channels.iter().find(|channel| channel.stream == stream) else {
            return Ok(None);
        };
        if payload.is_empty() && channel.is_framed() {
            return Ok(None);
        }
        if !params.may_publish {
            return Err(DataFault::NotAllowed);
        }
        let (sender, reliable) = (&params.sender, channel.reliable);
        if channel.is_framed() {
            return frame::read_published(sender, reliable, &payload).map(Some);
        }
        let topic = channel.label.clone();
        let sender = sender.clone();
        frame::checked(DataMessage { sender, topic, reliable, text, to: Vec::new(), payload })
            .map(Some)
    }

    fn refuse_data(&mut self, now: Instant, key: usize, fault: DataFault) {
        self.drops.count(match fault {
            DataFault::NotAllowed => DropReason::DataNotAllowed,
            DataFault::Malformed | DataFault::TooLong => DropReason::Malformed,
        });
        let transport = &mut self.transports[key];
        if transport.data.tells_fault(now) {
            self.events.push_back(Event::DataRefused { transport: transport.id, fault });
        }
    }

    /// Sends a message to all that it is for, or holds it until they can take it: `false`.
    fn pass_on(&mut self, now: Instant, key: usize, message: DataMessage) -> bool {
        let transport = &mut self.transports[key];
        let id = transport.router;
        // What it may do can have changed while the message waited.
        if !transport.data.params.as_ref().is_some_and(|params| params.may_publish) {
            self.refuse_data(now, key, DataFault::NotAllowed);
            return true;
        }
        if message.reliable && self.must_wait(now, id, &message) {
            self.transports[key].data.held = Some(message);
            if let Some(router) = self.routers.get_mut(&id)
                && !router.holding.contains(&key)
            {
                router.holding.push(key);
            }
            return false;
        }
        if !self.may_speak(now, key, &message) {
            self.transports[key].data.held = Some(message);
            return false;
        }
        let Some(router) = self.routers.get(&id) else { return true };
        let (links, tapped) = (router.links.clone(), router.tapped);
        let parcel = Arc::new(Parcel::new(&message));
        let others = self.deliver(now, id, &message, &parcel);
        if tapped || !others.is_empty() {
            self.tell_control(id, &message, &parcel, others, tapped);
        }
        self.send_to_workers(id, &links, &message, &parcel);
        true
    }

    /// Whether somebody who has to get it cannot take it now; their time to do so runs from now on.
    fn must_wait(&mut self, now: Instant, id: RouterId, message: &DataMessage) -> bool {
        let Some(router) = self.routers.get_mut(&id) else { return false };
        let full = |worker| self.data_pipes.get(worker).is_some_and(|pipe| pipe.is_full());
        if self.data_events.is_full() || router.links.iter().any(full) {
            return true;
        }
        let named = |identity: &str| message.to.binary_search_by(|to| (**to).cmp(identity)).is_ok();
        if message.to.is_empty() {
            return false;
        }
        let mut waits = false;
        for &key in &router.members {
            if let Some(transport) = self.transports.get_mut(key)
                && transport.data.reliable.is_pressed()
                && transport.data.identity().is_some_and(named)
            {
                transport.data.reliable.hold_up(now);
                waits = true;
            }
        }
        let mut untold = Vec::new();
        for ((worker, identity), told) in &mut router.pressed {
            if named(identity) {
                waits = true;
                if !std::mem::replace(told, true) {
                    untold.push((*worker, Arc::clone(identity)));
                }
            }
        }
        for (worker, identity) in untold {
            self.tell_awaited(id, worker, &identity);
        }
        waits
    }

    /// Whether all may hear so much of a peer now; else it is looked at again when they may.
    fn may_speak(&mut self, now: Instant, key: usize, message: &DataMessage) -> bool {
        if !message.reliable || !message.to.is_empty() {
            return true;
        }
        let transport = &mut self.transports[key];
        match transport.data.pay(now, message.payload.len()) {
            Ok(()) => true,
            Err(at) => {
                transport.timers.set(TimerKind::Data, Some(at));
                let id = transport.id;
                self.timers.arm(key, id, &mut transport.timers);
                false
            }
        }
    }

    /// Queues a message for everybody on this worker whom it is for; returns those who have no channel for it.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        router: RouterId,
        message: &DataMessage,
        parcel: &Arc<Parcel>,
    ) -> Vec<TransportId> {
        let mut others = Vec::new();
        let count = self.routers.get(&router).map_or(0, |router| router.members.len());
        for index in 0..count {
            let member = self.routers.get(&router).and_then(|router| router.members.get(index));
            let Some(&key) = member else { break };
            let Some(transport) = self.transports.get_mut(key) else { continue };
            let Some(params) = &transport.data.params else { continue };
            if params.sender.number == message.sender.number || !params.wants(&message.topic) {
                continue;
            }
            let identity = &*params.sender.identity;
            if !message.to.is_empty()
                && message.to.binary_search_by(|to| (**to).cmp(identity)).is_err()
            {
                continue;
            }
            match transport.data.way(transport.sctp.as_ref(), parcel) {
                Way::Channel { stream, raw, reliable } => {
                    self.enqueue(now, key, (stream, raw, reliable), parcel);
                }
                Way::Signaling => others.push(transport.id),
                Way::Nowhere => self.drops.count(DropReason::DataSlowReader),
            }
        }
        others
    }

    fn enqueue(
        &mut self,
        now: Instant,
        key: usize,
        channel: (u16, bool, bool),
        parcel: &Arc<Parcel>,
    ) {
        loop {
            match self.transports[key].data.push(now, channel, parcel) {
                Ok(late) => {
                    for _ in 0..late {
                        self.drops.count(DropReason::DataLate);
                    }
                    break;
                }
                Err(slow) => {
                    self.drops.count(DropReason::DataSlowReader);
                    self.close_slow(now, key, slow);
                    // What waited for another channel has made room.
                    if slow == channel.0 {
                        break;
                    }
                }
            }
        }
        self.tell_pressure(key);
        self.mark_data(key);
    }

    /// Hands on what waits for a peer, as far as it takes it.
    fn write_data(&mut self, now: Instant, key: usize) {
        let transport = &mut self.transports[key];
        let Some(sctp) = &mut transport.sctp else { return };
        if transport.data.slow && sctp.channels().iter().any(|channel| channel.label == RELIABLE) {
            transport.data.slow = false;
        }
        let (sent, dropped) = transport.data.write(now, sctp);
        sctp.flush(now);
        self.counters.data.delivered += sent;
        for _ in 0..dropped {
            self.drops.count(DropReason::DataLate);
        }
        let eased = !transport.data.reliable.is_pressed();
        let router = transport.router;
        self.tell_pressure(key);
        if sent > 0 && eased {
            self.resume_holding(router);
        }
    }

    /// Nothing has left for too long.
    pub(super) fn close_stalled(&mut self, now: Instant, key: usize) {
        if let Some(stream) = self.transports[key].data.reliable.stalled(now) {
            self.close_slow(now, key, stream);
            self.tell_pressure(key);
            let router = self.transports[key].router;
            self.resume_holding(router);
        }
    }

    fn close_slow(&mut self, now: Instant, key: usize, stream: u16) {
        let transport = &mut self.transports[key];
        transport.data.reliable.forget(now, stream);
        let Some(sctp) = &mut transport.sctp else { return };
        let channel = sctp.channels().iter().find(|channel| channel.stream == stream);
        let Some(label) = channel.map(|channel| channel.label.clone()) else { return };
        sctp.close(stream);
        transport.data.slow |= label == RELIABLE;
        self.events.push_back(Event::DataSlowReader { transport: transport.id, label });
        self.mark_data(key);
    }

    /// Those who hold a message back may try again.
    pub(super) fn resume_holding(&mut self, router: RouterId) {
        let Some(router) = self.routers.get_mut(&router) else { return };
        for key in std::mem::take(&mut router.holding) {
            self.mark_data(key);
        }
    }

    pub(super) fn resume_all_holding(&mut self) {
        for router in self.routers.keys().copied().collect::<Vec<_>>() {
            self.resume_holding(router);
        }
    }

    fn tell_control(
        &mut self,
        router: RouterId,
        message: &DataMessage,
        parcel: &Parcel,
        recipients: Vec<TransportId>,
        others: bool,
    ) {
        let events = &self.data_events;
        if events.overflows() || (!message.reliable && events.is_full()) {
            self.drops.count(DropReason::DataLate);
            return;
        }
        let message = Box::new(message.clone());
        self.data_events.push(Event::Data { router, recipients, others, message }, parcel.len());
    }
}
