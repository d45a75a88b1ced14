//! Which worker each media object of a room is on, and which tracks must be piped from one worker to another for that.
//!
//! Pure: a command as the room gives it in, the commands for the workers out. The room itself knows nothing of workers but where each
//! peer connection lives. A track goes to another worker with the first slot there that shows it, and ends there with the last.

use sfu::params::ProducerParams;
use sfu::{Command, ConsumerId, ProducerId, RouterId, Speaker, TransportId, WorkerId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A command with its worker.
pub(crate) type Routed = (WorkerId, Command);

/// A track at its publisher.
#[derive(Debug)]
struct Source {
    transport: TransportId,
    params: Box<ProducerParams>,
    /// Slots that show it, by worker other than its own.
    far: BTreeMap<WorkerId, usize>,
}

/// A slot.
#[derive(Debug)]
struct Sink {
    transport: TransportId,
    bound: Option<ProducerId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    transports: HashMap<TransportId, WorkerId>,
    sources: BTreeMap<ProducerId, Source>,
    sinks: BTreeMap<ConsumerId, Sink>,
    /// Who speaks, as each worker hears it.
    speakers: BTreeMap<WorkerId, Vec<Speaker>>,
    /// Where the room has peer connections, as its workers were told.
    linked: BTreeSet<WorkerId>,
    /// The room wants to be told all data.
    tapped: bool,
}

impl Routes {
    /// A peer connection will be created there.
    pub(crate) fn settle(&mut self, transport: TransportId, worker: WorkerId) {
        self.transports.insert(transport, worker);
    }

    /// The commands that carry out one command of the room. One for something that is gone already is left out.
    pub(crate) fn route(&mut self, command: Command) -> Vec<Routed> {
        let mut out = Vec::with_capacity(1);
        match command {
            Command::CreateTransport { transport, router, .. } => {
                if let Some(&worker) = self.transports.get(&transport) {
                    out.push((worker, command));
                    self.link(router, Some(worker), &mut out);
                }
            }
            Command::LinkRouter { router, tapped, .. } => {
                self.tapped = tapped;
                out.extend(self.links(router));
            }
            Command::SendData { .. } => {
                out.extend(self.linked.iter().map(|worker| (*worker, command.clone())));
            }
            Command::RestartIce { transport, .. }
            | Command::ConfigureTransport { transport, .. }
            | Command::ConfigureData { transport, .. }
            | Command::ResumeConsumers { transport }
            | Command::RequestStats { transport, .. } => {
                out.extend(self.transports.get(&transport).map(|worker| (*worker, command)));
            }
            Command::CloseTransport { transport } => {
                if let Some(worker) = self.forget_transport(transport, &mut out) {
                    out.insert(0, (worker, command));
                }
            }
            Command::CreateProducer { transport, producer, ref params } => {
                let params = params.clone();
                if let Some(worker) = self.transports.get(&transport) {
                    let source = Source { transport, params, far: BTreeMap::new() };
                    self.sources.insert(producer, source);
                    out.push((*worker, command));
                }
            }
            Command::PauseProducer { producer, paused } => {
                let Some(source) = self.sources.get_mut(&producer) else { return out };
                source.params.paused = paused;
                let home = self.transports.get(&source.transport);
                let workers = home.into_iter().chain(source.far.keys());
                out.extend(workers.map(|worker| (*worker, command.clone())));
            }
            Command::CloseProducer { producer } => {
                out.extend(self.home_of(producer).map(|worker| (worker, command)));
                self.end_copies(producer, &mut out);
            }
            Command::CreateConsumer { transport, consumer, .. } => {
                if let Some(worker) = self.transports.get(&transport) {
                    self.sinks.insert(consumer, Sink { transport, bound: None });
                    out.push((*worker, command));
                }
            }
            Command::CloseConsumer { consumer } => self.close_sink(consumer, command, &mut out),
            Command::BindConsumer { consumer, .. } => self.bind(consumer, command, &mut out),
            Command::SetPreferredLayer { consumer, .. } | Command::SetDemand { consumer, .. } => {
                out.extend(self.worker_of(consumer).map(|worker| (worker, command)));
            }
            // Made here and nowhere else.
            Command::CreatePipedProducer { .. }
            | Command::OpenPipe { .. }
            | Command::ClosePipe { .. } => {}
        }
        out
    }

    /// A peer connection ended by itself, and took its tracks and slots with it; returns what that means elsewhere.
    pub(crate) fn transport_closed(&mut self, transport: TransportId) -> Vec<Routed> {
        let mut out = Vec::new();
        self.forget_transport(transport, &mut out);
        out
    }

    /// One worker's speakers with those of the others, loudest first.
    pub(crate) fn merge_speakers(
        &mut self,
        worker: WorkerId,
        speakers: Vec<Speaker>,
    ) -> Vec<Speaker> {
        self.speakers.insert(worker, speakers);
        let known = |speaker: &&Speaker| self.sources.contains_key(&speaker.producer);
        let mut all: Vec<Speaker> =
            self.speakers.values().flatten().filter(known).copied().collect();
        all.sort_by_key(|speaker| (speaker.level, speaker.producer));
        all
    }

    /// Tells the workers of each other where they are others than before. `created`: one that may have forgotten the room with its last
    /// peer connection, of which we hear later.
    fn link(&mut self, router: RouterId, created: Option<WorkerId>, out: &mut Vec<Routed>) {
        let workers: BTreeSet<WorkerId> = self.transports.values().copied().collect();
        let changed = std::mem::replace(&mut self.linked, workers) != self.linked;
        let concerned = |(worker, _): &Routed| changed || created == Some(*worker);
        out.extend(self.links(router).filter(concerned));
    }

    /// What each worker of the room is to know of the others.
    fn links(&self, router: RouterId) -> impl Iterator<Item = Routed> {
        let tapped = self.tapped;
        self.linked.iter().map(move |&worker| {
            let workers = self.linked.iter().copied().filter(|other| *other != worker).collect();
            (worker, Command::LinkRouter { router, workers, tapped })
        })
    }

    fn worker_of(&self, consumer: ConsumerId) -> Option<WorkerId> {
        self.transports.get(&self.sinks.get(&consumer)?.transport).copied()
    }

    fn bind(&mut self, consumer: ConsumerId, command: Command, out: &mut Vec<Routed>) {
        let Some(worker) = self.worker_of(consumer) else { return };
        let Command::BindConsumer { binding, .. } = &command else { return };
        let bound = binding.as_ref().map(|binding| binding.producer);
        if let Some(producer) = bound {
            self.lend(producer, worker, out);
        }
        out.push((worker, command));
        let sink = self.sinks.get_mut(&consumer);
        if let Some(before) = sink.and_then(|sink| std::mem::replace(&mut sink.bound, bound)) {
            self.give_back(before, worker, out);
        }
    }

    fn close_sink(&mut self, consumer: ConsumerId, command: Command, out: &mut Vec<Routed>) {
        let worker = self.worker_of(consumer);
        let (Some(worker), Some(sink)) = (worker, self.sinks.remove(&consumer)) else { return };
        out.push((worker, command));
        if let Some(bound) = sink.bound {
            self.give_back(bound, worker, out);
        }
    }

    /// One more slot on `to` shows the track.
    fn lend(&mut self, producer: ProducerId, to: WorkerId, out: &mut Vec<Routed>) {
        let Some(source) = self.sources.get_mut(&producer) else { return };
        let Some(&from) = self.transports.get(&source.transport).filter(|from| **from != to) else {
            return;
        };
        let slots = source.far.entry(to).or_default();
        *slots += 1;
        if *slots == 1 {
            let params = source.params.clone();
            out.push((to, Command::CreatePipedProducer { producer, from, params }));
            out.push((from, Command::OpenPipe { producer, to }));
        }
    }

    /// One slot less on `to` shows the track.
    fn give_back(&mut self, producer: ProducerId, to: WorkerId, out: &mut Vec<Routed>) {
        let Some(source) = self.sources.get_mut(&producer) else { return };
        let Some(slots) = source.far.get_mut(&to) else { return };
        *slots -= 1;
        if *slots > 0 {
            return;
        }
        source.far.remove(&to);
        out.push((to, Command::CloseProducer { producer }));
        if let Some(from) = self.transports.get(&source.transport) {
            out.push((*from, Command::ClosePipe { producer, to }));
        }
    }

    /// The publisher's worker.
    fn home_of(&self, producer: ProducerId) -> Option<WorkerId> {
        self.transports.get(&self.sources.get(&producer)?.transport).copied()
    }

    /// Ends a track wherever else it is.
    fn end_copies(&mut self, producer: ProducerId, out: &mut Vec<Routed>) {
        let Some(source) = self.sources.remove(&producer) else { return };
        let workers = source.far.into_keys();
        out.extend(workers.map(|worker| (worker, Command::CloseProducer { producer })));
        for sink in self.sinks.values_mut().filter(|sink| sink.bound == Some(producer)) {
            sink.bound = None;
        }
    }

    fn forget_transport(
        &mut self,
        transport: TransportId,
        out: &mut Vec<Routed>,
    ) -> Option<WorkerId> {
        let worker = self.transports.get(&transport).copied()?;
        let sinks = self.sinks.iter().filter(|(_, sink)| sink.transport == transport);
        for consumer in sinks.map(|(id, _)| *id).collect::<Vec<_>>() {
            let bound = self.sinks.remove(&consumer).and_then(|sink| sink.bound);
            if let Some(producer) = bound {
                self.give_back(producer, worker, out);
            }
        }
        let sources = self.sources.iter().filter(|(_, source)| source.transport == transport);
        for producer in sources.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_copies(producer, out);
        }
        self.transports.remove(&transport);
        Some(worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu::RouterId;
    use sfu::params::{EncodingParams, IceCredentials, MediaKind, Security, TransportParams};

    /// A peer connection on a worker with one audio track of the same number.
    fn publish(routes: &mut Routes, number: u64, worker: WorkerId) {
        let transport = TransportId(number);
        routes.settle(transport, worker);
        let ice = || IceCredentials { ufrag: String::new(), password: String::new() };
        let params = Box::new(TransportParams {
            local_ice: ice(),
            remote_ice: ice(),
            security: Security::Dtls { role: sfu::params::DtlsRole::Server, fingerprints: vec![] },
            sctp: None,
        });
        let created =
            routes.route(Command::CreateTransport { transport, router: RouterId(1), params });
        assert_eq!(created[0].0, worker);
        let params = Box::new(ProducerParams {
            kind: MediaKind::Audio,
            mid: None,
            encodings: vec![EncodingParams::default()],
            codecs: Vec::new(),
            fec: None,
            number: 1,
            paused: false,
        });
        let producer = ProducerId(number);
        assert_eq!(routes.route(Command::CreateProducer { transport, producer, params }).len(), 1);
    }

    #[test]
    fn speakers_of_all_workers_make_one_list() {
        let mut routes = Routes::default();
        let speaker = |number, level| Speaker { producer: ProducerId(number), level };
        for (number, worker) in [(1, 0), (2, 0), (3, 1)] {
            publish(&mut routes, number, WorkerId(worker));
        }
        let near = vec![speaker(1, 20), speaker(2, 40)];
        assert_eq!(routes.merge_speakers(WorkerId(0), near.clone()), near);
        let all = [speaker(1, 20), speaker(3, 30), speaker(2, 40)];
        assert_eq!(routes.merge_speakers(WorkerId(1), vec![speaker(3, 30)]), all);
        assert_eq!(routes.merge_speakers(WorkerId(0), Vec::new()), [speaker(3, 30)]);
        routes.merge_speakers(WorkerId(0), near);
        assert!(routes.transport_closed(TransportId(1)).is_empty(), "nobody else had its track");
        let left = routes.merge_speakers(WorkerId(1), Vec::new());
        assert_eq!(left, [speaker(2, 40)], "who is gone does not speak");
    }

    #[test]
    fn what_is_gone_has_no_worker() {
        let mut routes = Routes::default();
        publish(&mut routes, 1, WorkerId(2));
        let transport = TransportId(1);
        let closed = routes.route(Command::CloseTransport { transport });
        assert!(matches!(closed[..], [(WorkerId(2), Command::CloseTransport { .. })]));
        assert!(routes.route(Command::CloseTransport { transport }).is_empty());
        assert!(routes.route(Command::CloseProducer { producer: ProducerId(1) }).is_empty());
    }
}
