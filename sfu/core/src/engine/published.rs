//! From what viewers are shown to what publishers need to send: which layers are watched, and how much of an only one their links carry.

use super::Engine;
use crate::Event;
use crate::allocate::{Budget, Given, climbs_with};
use crate::consumer::Consumer;
use crate::consumer::selector::Aim;
use crate::event::{Limit, Watched};
use crate::producer::ceiling::{Headroom, WORTH};
use crate::producer::{self, Origin, Producer};
use std::time::Instant;

impl Engine {
    /// Notes what the link has for each slot, as if the others fell for it as far as they can.
    pub(super) fn set_headrooms(
        &mut self,
        slots: &[(usize, usize)],
        given: &[Given],
        left: u64,
        budget: Option<Budget>,
    ) {
        let all = slots.iter().map(|&(_, p)| self.producers[p].rungs.costs().0).sum::<u64>();
        for (&(consumer, producer), given) in slots.iter().zip(given) {
            let from = &self.producers[producer];
            let others = all.saturating_sub(from.rungs.costs().0);
            let most = budget.map(|b| (b, b.bits_per_second.saturating_sub(others)));
            let headroom = headroom(from, given, left, most);
            let Some(consumer) = self.consumers.get_mut(consumer) else { continue };
            let before = consumer.footing.headroom();
            consumer.footing.set_headroom(headroom);
            if let Origin::Pipe(pipe) = &from.origin {
                let told = pipe.headroom;
                let better = headroom > told || !before.differs(told);
                if better && headroom.differs(told) {
                    self.tell_pipes(producer);
                }
            }
        }
    }

    /// Encodings of a track that somebody is to be shown, a bit each; of an only one its spatial layers.
    pub(super) fn watched(&self, producer: &Producer) -> u8 {
        let all = producer::all(producer.encodings.len());
        let mut wanted = producer.pipes.iter().fold(0, |wanted, pipe| wanted | pipe.watched);
        for consumer in producer.consumers.iter().filter_map(|&key| self.consumers.get(key)) {
            let told = consumer.footing.told();
            wanted |= match consumer.selector.aimed() {
                // Whoever waits for a publisher that stalled would wait for ever if that was told to rest.
                Aim::Nothing if told.is_some_and(|t| t.limit == Limit::PublisherNotSending) => {
                    asked_for(producer).unwrap_or(all)
                }
                Aim::Nothing if waits_for_less(consumer, producer) => producer::up_to(1),
                Aim::Nothing => 0,
                Aim::Best if producer.flowing != 0 && self.is_undecided(consumer, producer) => 0,
                Aim::Best => all,
                Aim::Layer(layer) if producer.encodings.len() == 1 => {
                    // What the publisher cannot send now it sends by itself when it can.
                    match producer.rungs.is_top(layer.spatial) {
                        true => all,
                        false => producer::up_to(usize::from(layer.spatial) + 1),
                    }
                }
                Aim::Layer(layer) => {
                    1 << usize::from(layer.spatial).min(producer.encodings.len() - 1)
                }
            };
        }
        wanted & all
    }

    /// Will the allocator decide in a moment? For who is not connected yet everything is made ready, but not where that is a keyframe for all others.
    fn is_undecided(&self, consumer: &Consumer, producer: &Producer) -> bool {
        let transport = self.transports.get(consumer.transport);
        match transport.filter(|transport| transport.is_connected() && !consumer.paused) {
            Some(transport) => transport.allocation_due,
            None => producer.encodings.len() == 1,
        }
    }

    /// What the best of the links has on which a track is shown.
    pub(super) fn best_headroom(&self, producer: &Producer) -> Headroom {
        self.headrooms(producer).max().unwrap_or_default()
    }

    fn headrooms(&self, producer: &Producer) -> impl Iterator<Item = Headroom> {
        let viewers = producer.consumers.iter().filter_map(|&key| self.consumers.get(key));
        let here = viewers.filter(|consumer| !consumer.paused).map(|c| c.footing.headroom());
        here.chain(producer.pipes.iter().map(|pipe| pipe.headroom))
    }

    /// Tells control when other layers of a track have viewers than it knows.
    pub(super) fn update_published(&mut self, now: Instant, key: usize) {
        let Some(producer) = self.producers.get(key) else { return };
        if !producer.is_video() {
            return;
        }
        if producer.transport().is_none() {
            self.tell_pipes(key);
            return;
        }
        let (wanted, only) = (self.watched(producer), producer.encodings.len() == 1);
        let now_us = self.clock.micros(now);
        // While it is muted its costs say nothing.
        let counts = only && !producer.paused;
        let sends = counts && producer.flowing != 0;
        if counts && !producer.pipes.is_empty() && producer.rungs.are_due(now_us) {
            // Nobody may watch it here, where its costs would be looked at.
            self.producers[key].update_rungs(now_us, wanted);
        }
        let mut ceiling = std::mem::take(&mut self.producers[key].ceiling);
        let most_changed = sends && {
            let producer = &self.producers[key];
            ceiling.update(now_us, self.headrooms(producer), producer.rungs.costs())
        };
        let producer = &mut self.producers[key];
        producer.ceiling = ceiling;
        let layers = producer.published.update(now_us, wanted).is_some();
        if layers || most_changed {
            let told = producer.published.told();
            let count = told.count_ones() as u8;
            let part = only && told != 0 && count < producer.rungs.spatial_layers();
            let watched = Watched {
                encodings: if only { u8::from(told != 0) } else { told },
                spatial_layers: part.then_some(count),
                max_bitrate: producer.ceiling.told(),
            };
            let producer = producer.id;
            self.events.push_back(Event::PublishedLayers { producer, watched });
        }
        if most_changed {
            self.tell_pipes(key);
        }
    }
}

/// The spatial layers of an only encoding that its publisher was asked for, if it was for any.
fn asked_for(producer: &Producer) -> Option<u8> {
    let asked = match &producer.origin {
        Origin::Transport(_) => producer.published.told(),
        Origin::Pipe(pipe) => pipe.watched,
    };
    Some(asked).filter(|asked| producer.encodings.len() == 1 && *asked != 0)
}

/// Will the one encoding that there is be shown when the publisher sends less, for which the link has enough?
pub(super) fn waits_for_less(consumer: &Consumer, producer: &Producer) -> bool {
    let enough = matches!(consumer.footing.headroom(), Headroom::Short(there) if there >= WORTH);
    enough && !producer.ceiling.is_ignored()
}

/// What the link has for a track, if nobody was given `left`; `most`: the budget, and how much of it the slot could have. `None`: nothing limits it.
fn headroom(
    producer: &Producer,
    given: &Given,
    left: u64,
    most: Option<(Budget, u64)>,
) -> Headroom {
    if producer.encodings.len() != 1 || given.wanted.is_none() {
        return Headroom::Unknown;
    }
    let Some((budget, most)) = most else { return Headroom::Enough };
    let needed = climbs_with(producer.ceiling.enough(producer.rungs.costs().0));
    let less = given.lacks > 0 || given.layer.is_none() && given.limit == Limit::Bandwidth;
    let told = producer.ceiling.told().is_some();
    match budget.starting || budget.keeps_lowest {
        // An estimate that does not hold it back yet, or is too vague to.
        true if most < needed => Headroom::Unknown,
        false if less || told && most < needed => Headroom::Short(given.available(left)),
        _ => Headroom::Enough,
    }
}
