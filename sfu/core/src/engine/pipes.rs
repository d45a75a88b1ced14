//! Tracks that come from, or go to, another worker.
//!
//! The publisher's worker sends each packet once to every worker that consumes its encoding; over there a whole producer with a cache of its
//! own serves them, answers their NACKs, and sends up what they need. What may be lost when the ring is full is told again, because it is
//! state; a packet is not, and its encoding then waits for a keyframe.

use super::published::waits_for_less;
use super::{Engine, data_pipes};
use crate::consumer::selector::Aim;
use crate::drop_reason::DropReason;
use crate::params::ProducerParams;
use crate::pipe::{
    Head, PipeIn, PipeMessage, PipeOut, PipeTransmit, Report, State, TrackState, Want,
};
use crate::producer::ceiling::Headroom;
use crate::producer::encoding::{Encoding, SenderReportTime};
use crate::producer::packet::CachedPacket;
use crate::producer::{Origin, Producer};
use crate::transport::Transport;
use crate::{ProducerId, WorkerId};
use std::time::Instant;

impl Engine {
    pub(super) fn create_piped_producer(
        &mut self,
        id: ProducerId,
        from: WorkerId,
        params: ProducerParams,
    ) {
        let key = self.producers.insert(Producer::new(id, Origin::Pipe(PipeIn::new(from)), params));
        self.producer_keys.insert(id, key);
        self.tell_pipes(key);
    }

    pub(super) fn open_pipe(&mut self, id: ProducerId, to: WorkerId) -> Result<(), DropReason> {
        let key = *self.producer_keys.get(&id).ok_or(DropReason::UnknownId)?;
        let producer = &mut self.producers[key];
        if producer.transport().is_none() {
            return Err(DropReason::UnknownPipe);
        }
        if producer.pipes.iter().all(|pipe| pipe.to != to) {
            producer.pipes.push(PipeOut::new(to));
        }
        self.tell_pipes(key);
        Ok(())
    }

    pub(super) fn close_pipe(&mut self, id: ProducerId, to: WorkerId) -> Result<(), DropReason> {
        let key = *self.producer_keys.get(&id).ok_or(DropReason::UnknownId)?;
        self.producers[key].pipes.retain(|pipe| pipe.to != to);
        Ok(())
    }

    /// Something about a producer may be news for the workers at the other ends of its pipes.
    pub(super) fn tell_pipes(&mut self, key: usize) {
        let Some(producer) = self.producers.get_mut(key) else { return };
        let piped = !producer.pipes.is_empty() || producer.transport().is_none();
        if piped && !std::mem::replace(&mut producer.pipe_due, true) {
            self.pipes.due.push(key);
        }
    }

    /// An encoding begins to flow: whoever consumes the track gets its first packets too, because they may be a keyframe.
    pub(super) fn announce_start(&mut self, key: usize, encoding: u8) {
        for pipe in &mut self.producers[key].pipes {
            pipe.fresh |= 1 << encoding;
            if pipe.wanted != 0 {
                pipe.wanted |= 1 << encoding;
            }
        }
        self.tell_pipes(key);
    }

    /// A sender report came: the transport's clock is that of all its producers.
    pub(super) fn note_sender_report(
        &mut self,
        transport: usize,
        producer: usize,
        encoding: u8,
        clock: Option<i64>,
    ) {
        for index in 0..self.transports[transport].producers.len() {
            let key = self.transports[transport].producers[index];
            self.producers[key].sender_clock = clock;
            self.tell_pipes(key);
        }
        for pipe in &mut self.producers[producer].pipes {
            pipe.reports |= 1 << encoding;
        }
    }

    /// Sends other workers what they need to know, and their packets of this batch. Call it before [`Engine::flush`], so that they start
    /// early, and after it, because the flush may have news. `false`: a ring was full, or there is more to replay; call again soon.
    pub fn flush_pipes(&mut self, now: Instant, out: &mut impl PipeTransmit) -> bool {
        let mut due = std::mem::take(&mut self.pipes.due);
        due.retain(|&key| {
            let told = self.send_news(key, out);
            if let Some(producer) = self.producers.get_mut(key) {
                producer.pipe_due = !told;
            }
            !told
        });
        let mut media = std::mem::take(&mut self.pipes.media);
        for (key, encoding, seq) in media.drain(..) {
            self.send_media(now, key, (encoding, seq), out);
        }
        self.pipes.media = media;
        let replayed = self.send_pipe_replays(out);
        let data = self.send_data_pipes(out);
        // Full rings made wishes for keyframes, and those only concern producers that stay in the list.
        due.append(&mut self.pipes.due);
        self.pipes.due = due;
        self.pipes.due.is_empty() && replayed && data
    }

    fn send_news(&mut self, key: usize, out: &mut impl PipeTransmit) -> bool {
        let Some(producer) = self.producers.get(key) else { return true };
        let wanted = match &producer.origin {
            Origin::Transport(_) => None,
            Origin::Pipe(pipe) => {
                let known = producer.is_video() && pipe.informed;
                let watched = match known {
                    true => (self.watched(producer), self.best_headroom(producer)),
                    false => Default::default(),
                };
                Some((self.wanted(producer), watched))
            }
        };
        let clock = &self.clock;
        let Some(producer) = self.producers.get_mut(key) else { return true };
        let id = producer.id;
        if let (Origin::Pipe(pipe), Some(((wanted, switching), watched))) =
            (&mut producer.origin, wanted)
        {
            pipe.switching = switching;
            // What waits for the flush may change what is wanted.
            return producer.ready.is_empty() && send_wants(id, pipe, (wanted, watched), out);
        }
        let track = state_of(producer);
        let mut told = true;
        for pipe in &mut producer.pipes {
            if pipe.told != Some(track) || pipe.fresh != 0 {
                let message = PipeMessage::State(State {
                    track,
                    fresh: pipe.fresh,
                    wanted: pipe.wanted,
                    watched: pipe.watched,
                    headroom: pipe.headroom,
                    open: pipe.told.is_none(),
                });
                if !out.transmit(pipe.to, Head::new(id, &message).as_bytes(), &[]) {
                    told = false;
                    continue;
                }
                pipe.told = Some(track);
                pipe.fresh = 0;
            }
            for (index, encoding) in producer.encodings.iter().enumerate() {
                let bit = 1 << index;
                let Some(report) = encoding.sender_report.filter(|_| pipe.reports & bit != 0)
                else {
                    continue;
                };
                let message = PipeMessage::Report(Report {
                    encoding: index as u8,
                    epoch: encoding.epoch,
                    ntp: report.ntp,
                    rtp: report.rtp,
                    arrival_us: clock.micros(report.arrival),
                });
                match out.transmit(pipe.to, Head::new(id, &message).as_bytes(), &[]) {
                    true => pipe.reports &= !bit,
                    false => told = false,
                }
            }
        }
        told
    }

    /// Bit per encoding that consumers on this worker show, or should; and whether one of them is about to show another one.
    fn wanted(&self, producer: &Producer) -> (u8, bool) {
        let (mut shown, mut targets) = (0_u8, 0_u8);
        for consumer in producer.consumers.iter().filter_map(|&key| self.consumers.get(key)) {
            let connected =
                self.transports.get(consumer.transport).is_some_and(Transport::is_connected);
            if consumer.paused || !connected {
                continue;
            }
            if consumer.selector.aimed() == Aim::Nothing {
                // What it waits for is seen by what comes.
                targets |= u8::from(waits_for_less(consumer, producer));
                continue;
            }
            // Nothing flows yet: whatever begins is welcome, for it may begin with a keyframe.
            let Some(target) = consumer.selector.target(producer) else { return (u8::MAX, false) };
            targets |= 1 << target;
            shown |= consumer.selector.current().map_or(0, |source| 1 << source.encoding);
        }
        (shown | targets, shown & !targets != 0)
    }

    fn send_media(
        &mut self,
        now: Instant,
        key: usize,
        (encoding, seq): (u8, u64),
        out: &mut impl PipeTransmit,
    ) {
        let Some(producer) = self.producers.get_mut(key) else { return };
        let Producer { id, encodings, pipes, .. } = producer;
        let Some(source) = encodings.get(usize::from(encoding)) else { return };
        let Some((packet, bytes)) = source.cache.get(seq) else {
            self.drops.count(DropReason::TooOld);
            return;
        };
        let (epoch, packet) = (source.epoch, *packet);
        let message = PipeMessage::Media { encoding, epoch, replayed: false, packet, bytes };
        let head = Head::new(*id, &message);
        let bit = 1 << encoding;
        let mut full = false;
        for pipe in pipes.iter_mut().filter(|pipe| pipe.wanted & bit != 0) {
            if pipe.replay_covers(encoding, seq) {
                continue;
            }
            // Audio can start anywhere, and says so.
            if pipe.waiting & bit != 0 && !packet.info.keyframe {
                self.drops.count(DropReason::PipeFull);
            } else if out.transmit(pipe.to, head.as_bytes(), bytes) {
                pipe.waiting &= !bit;
            } else {
                self.drops.count(DropReason::PipeFull);
                // Also when it was a keyframe: another one is needed then.
                full = true;
                pipe.waiting |= bit;
            }
        }
        if full && producer.is_video() {
            self.request_keyframes(now, key, bit);
        }
    }

    /// Takes one message of another worker's engine. All workers share one clock: what they measured holds here.
    pub fn handle_pipe(&mut self, now: Instant, from: WorkerId, message: &[u8]) {
        let taken = match data_pipes::is_data(message) {
            true => self.take_data(now, from, message),
            false => self.take_pipe_message(now, from, message),
        };
        if let Err(reason) = taken {
            self.drops.count(reason);
        }
    }

    fn take_pipe_message(
        &mut self,
        now: Instant,
        from: WorkerId,
        message: &[u8],
    ) -> Result<(), DropReason> {
        let (id, message) = PipeMessage::parse(message).ok_or(DropReason::Malformed)?;
        let key = *self.producer_keys.get(&id).ok_or(DropReason::UnknownPipe)?;
        let producer = &mut self.producers[key];
        if let PipeMessage::Want(want) = message {
            let index = producer.pipes.iter().position(|pipe| pipe.to == from);
            let index = index.ok_or(DropReason::UnknownPipe)?;
            let pipe = &mut producer.pipes[index];
            let begins = want.wanted & !std::mem::replace(&mut pipe.wanted, want.wanted);
            (pipe.watched, pipe.headroom) = (want.watched, want.headroom);
            if want.hello {
                pipe.told = None;
                pipe.reports = u8::MAX;
            }
            self.tell_pipes(key);
            let replayed = self.begin_pipe_replay(now, key, index, begins);
            self.update_published(now, key);
            self.request_keyframes(now, key, want.keyframes & !replayed);
            return Ok(());
        }
        if !matches!(&producer.origin, Origin::Pipe(pipe) if pipe.from == from) {
            return Err(DropReason::UnknownPipe);
        }
        match message {
            PipeMessage::Want(_) => {}
            PipeMessage::State(state) => self.take_state(now, key, state),
            PipeMessage::Report(report) => {
                let index = usize::from(report.encoding);
                let encoding = producer.encodings.get_mut(index).ok_or(DropReason::Malformed)?;
                encoding.follow(report.epoch);
                encoding.sender_report = Some(SenderReportTime {
                    ntp: report.ntp,
                    rtp: report.rtp,
                    arrival: self.clock.instant(report.arrival_us),
                });
            }
            PipeMessage::Media { encoding, epoch, replayed, packet, bytes } => {
                return self.take_media(now, key, (encoding, epoch, replayed), packet, bytes);
            }
        }
        Ok(())
    }

    fn take_state(&mut self, now: Instant, key: usize, state: State) {
        let producer = &mut self.producers[key];
        let TrackState { flowing, ignored, sender_clock, ceiling, resting } = state.track;
        let before = std::mem::replace(&mut producer.flowing, flowing);
        producer.rungs.follow(resting);
        if before != flowing {
            self.mark_allocations_of(key);
        }
        let producer = &mut self.producers[key];
        producer.sender_clock = sender_clock;
        producer.ceiling.follow(ceiling);
        for (index, encoding) in producer.encodings.iter_mut().enumerate() {
            encoding.keyframes.told(ignored & (1 << index) != 0);
        }
        if let Origin::Pipe(pipe) = &mut producer.origin {
            pipe.informed = true;
            (pipe.wanted, pipe.watched, pipe.headroom) =
                (state.wanted, state.watched, state.headroom);
            if state.open {
                // What was asked before was asked of nobody.
                (pipe.asked, pipe.hello) = (0, false);
            }
        }
        self.tell_pipes(key);
        // An encoding that begins may begin with a keyframe; then there is nothing to ask for.
        if state.open || (before ^ flowing) & !state.fresh != 0 {
            self.wish_keyframes(now, key);
        }
    }

    fn take_media(
        &mut self,
        now: Instant,
        key: usize,
        (index, epoch, replayed): (u8, u32, bool),
        packet: CachedPacket,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let producer = &mut self.producers[key];
        let codec = *producer.codec(packet.payload_type).ok_or(DropReason::UnknownPayloadType)?;
        let video = producer.is_video();
        let encoding =
            producer.encodings.get_mut(usize::from(index)).ok_or(DropReason::Malformed)?;
        encoding.follow(epoch);
        let (seq, first) = (packet.seq, encoding.highest().is_none());
        let arrival = self.clock.instant(packet.arrival_us);
        let keyframe = encoding.receive_piped((arrival, replayed), &codec, packet, bytes)?;
        let Origin::Pipe(pipe) = &mut producer.origin else { return Err(DropReason::UnknownPipe) };
        if keyframe {
            pipe.keyframe_arrived(index);
        }
        let switching = pipe.switching || keyframe;
        if replayed {
            // Viewers begin from the cache.
            if keyframe {
                self.begin_replays(now, key);
            }
            return Ok(());
        }
        if producer.paused {
            return Err(DropReason::Muted);
        }
        if producer.ready.is_empty() {
            self.ready.push(key);
        }
        producer.ready.push((index, seq));
        if first && !keyframe {
            self.wish_keyframes(now, key);
        } else if video && switching {
            // The flush may switch to this encoding, and away from one that nobody needs then.
            self.tell_pipes(key);
        }
        Ok(())
    }
}

/// `false`: there was no room.
fn send_wants(
    id: ProducerId,
    pipe: &mut PipeIn,
    (wanted, (watched, headroom)): (u8, (u8, Headroom)),
    out: &mut impl PipeTransmit,
) -> bool {
    let same = pipe.watched == watched && !headroom.differs(pipe.headroom);
    if pipe.wanted == wanted && same && pipe.keyframes == 0 && !pipe.hello {
        return true;
    }
    let want = Want { wanted, watched, headroom, keyframes: pipe.keyframes, hello: pipe.hello };
    if !out.transmit(pipe.from, Head::new(id, &PipeMessage::Want(want)).as_bytes(), &[]) {
        return false;
    }
    (pipe.wanted, pipe.keyframes, pipe.hello) = (wanted, 0, false);
    (pipe.watched, pipe.headroom) = (watched, headroom);
    true
}

/// What the workers that have only viewers of a track are told of it.
fn state_of(producer: &Producer) -> TrackState {
    let ignored =
        |(index, encoding): (usize, &Encoding)| u8::from(encoding.keyframes.are_ignored()) << index;
    let only = producer.is_video() && producer.encodings.len() == 1;
    TrackState {
        flowing: producer.flowing,
        ignored: producer.encodings.iter().enumerate().map(ignored).fold(0, |a, b| a | b),
        sender_clock: producer.sender_clock,
        ceiling: producer.ceiling.state(),
        resting: if only { producer.rungs.resting() } else { Default::default() },
    }
}
