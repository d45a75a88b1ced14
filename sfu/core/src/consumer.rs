//! A slot: one outgoing stream of one subscriber, and the track that it shows.

pub(crate) mod footing;
pub(crate) mod history;
pub(crate) mod playout_delay;
pub(crate) mod redundancy;
pub(crate) mod replay;
pub(crate) mod rewriter;
pub(crate) mod selector;
pub(crate) mod template;

use crate::ConsumerId;
use crate::params::{ConsumerParams, Demand, ExtensionKind, PayloadMapping};
use crate::producer::packet::PLAYOUT_DELAY;
use footing::Footing;
use history::History;
use playout_delay::PlayoutDelay;
use redundancy::Redundancy;
use replay::Replay;
use rewriter::Rewriter;
use selector::Selector;
use std::time::{Duration, Instant};
use template::Template;

/// What a slot shows now.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Producer key.
    pub(crate) producer: usize,
    /// The preferred format again, here: most packets have it, and a list elsewhere is a cache miss for each subscriber.
    first: Option<PayloadMapping>,
    payload_types: Vec<PayloadMapping>,
    /// Sent as the only CSRC.
    pub(crate) number: u32,
}

impl Bound {
    pub(crate) fn new(producer: usize, payload_types: Vec<PayloadMapping>, number: u32) -> Self {
        Self { producer, first: payload_types.first().copied(), payload_types, number }
    }

    /// The RTX payload type of the preferred format.
    pub(crate) fn rtx(&self) -> Option<u8> {
        self.first?.rtx
    }

    pub(crate) fn mapping(&self, payload_type: u8) -> Option<PayloadMapping> {
        let is_it = |mapping: &PayloadMapping| mapping.from == payload_type;
        self.first.filter(is_it).or_else(|| self.payload_types.iter().copied().find(is_it))
    }
}

/// The subscriber's header extension ids; 0: not negotiated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExtensionIds {
    pub(crate) mid: u8,
    pub(crate) transport_wide_cc: u8,
    pub(crate) abs_send_time: u8,
    /// Parallel to [`crate::producer::packet::CARRIED`].
    pub(crate) carried: [u8; crate::producer::packet::CARRIED.len()],
}

impl ExtensionIds {
    fn new(params: &ConsumerParams) -> Self {
        let mut ids = Self::default();
        for mapping in &params.header_extensions {
            match mapping.kind {
                ExtensionKind::Mid => ids.mid = mapping.id,
                ExtensionKind::TransportWideCc => ids.transport_wide_cc = mapping.id,
                ExtensionKind::AbsSendTime => ids.abs_send_time = mapping.id,
                kind => {
                    if let Some(index) = crate::producer::packet::carried_index(kind) {
                        ids.carried[index] = mapping.id;
                    }
                }
            }
        }
        ids
    }
}

/// Counters, and what the subscriber reports.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) resent: u64,
    pub(crate) fraction_lost: u8,
    /// Of audio; every packet looks at it, and counts beside it.
    pub(crate) redundancy: Redundancy,
    pub(crate) rtt: Option<Duration>,
}

/// What every packet needs stands in it, the rest behind a pointer: with hundreds of subscribers each of them is cold when its turn comes.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    /// Key of its transport.
    pub(crate) transport: usize,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    pub(crate) params: Box<ConsumerParams>,
    pub(crate) ids: ExtensionIds,
    pub(crate) bound: Option<Bound>,
    /// Counts bindings: what waits for a slot is for one of them.
    pub(crate) binding: u32,
    /// The start of every packet while something is bound.
    pub(crate) template: Option<Template>,
    /// The client has not applied the answer yet.
    pub(crate) paused: bool,
    pub(crate) selector: Selector,
    pub(crate) demand: Demand,
    pub(crate) rewriter: Rewriter,
    pub(crate) history: History,
    /// Encoding and epoch of the last switch: the next one takes its timestamps from there. `None` after another track was bound.
    pub(crate) switched_from: Option<(u8, u32)>,
    /// Begins with the last keyframe from the cache.
    pub(crate) replay: Option<Box<Replay>>,
    /// When the last replay began.
    pub(crate) replayed_us: Option<u64>,
    /// How often one followed because the viewer asked.
    pub(crate) replayed_again: u8,
    /// Since when nothing is shown, in µs of the media clock.
    pub(crate) waiting_since_us: Option<u64>,
    /// Next extended sequence number of the RTX stream.
    pub(crate) rtx_seq: u64,
    /// Next outgoing number that a copy is sent of unasked.
    pub(crate) spared: u64,
    /// A sender report goes out with the next packet.
    pub(crate) report_due: bool,
    /// The source changed: control is told after this flush.
    pub(crate) layer_changed: bool,
    /// A packet was lost for good: nothing can be decoded before a keyframe.
    pub(crate) broken: bool,
    /// What is missing went out long ago: a keyframe is there sooner.
    pub(crate) stale: bool,
    /// When what waited for too long was given up last, and how often in a row.
    pub(crate) gave_up: Option<(u64, u8)>,
    /// Low half of the outgoing extended sequence number from which on packets are of use: a keyframe follows.
    pub(crate) restarted_at: u32,
    pub(crate) last_report: Option<Instant>,
    pub(crate) delivery: Delivery,
    pub(crate) footing: Footing,
    pub(crate) playout_delay: PlayoutDelay,
}

impl Consumer {
    /// `seed`: randomness for the first sequence numbers.
    pub(crate) fn new(id: ConsumerId, transport: usize, params: ConsumerParams, seed: u32) -> Self {
        Self {
            id,
            transport,
            ids: ExtensionIds::new(&params),
            paused: params.paused,
            ssrc: params.ssrc,
            rtx_ssrc: params.rtx_ssrc,
            params: Box::new(params),
            bound: None,
            binding: 0,
            template: None,
            selector: Selector::default(),
            demand: Demand::default(),
            rewriter: Rewriter::new(seed as u16),
            history: History::default(),
            switched_from: None,
            replay: None,
            replayed_us: None,
            replayed_again: 0,
            waiting_since_us: None,
            rtx_seq: u64::from((seed >> 16) as u16 & 0x7fff),
            spared: 0,
            report_due: false,
            layer_changed: false,
            broken: false,
            stale: false,
            gave_up: None,
            restarted_at: 0,
            last_report: None,
            delivery: Delivery::default(),
            footing: Footing::default(),
            playout_delay: PlayoutDelay::default(),
        }
    }

    /// Shows another track, or none. Sequence numbers go on; what was sent before cannot be resent any more.
    pub(crate) fn bind(&mut self, bound: Option<Bound>) {
        self.template = bound
            .as_ref()
            .and_then(|bound| Template::new(&self.ids, &self.params.mid, bound.number));
        self.bound = bound;
        self.binding = self.binding.wrapping_add(1);
        self.history.clear();
        self.switched_from = None;
        self.selector = Selector::default();
        self.demand = Demand::default();
        self.footing = Footing::default();
        self.replayed_again = 0;
        self.gave_up = None;
        self.restart();
    }

    /// What was sent so far is of no use any more, and not repaired.
    pub(crate) fn leave_behind(&mut self) {
        self.restarted_at = self.rewriter.next_seq() as u32;
        self.spared = self.rewriter.next_seq();
    }

    /// Are packets of what it is shown sent again by RTX? A section may have that for other formats only.
    pub(crate) fn has_rtx(&self) -> bool {
        self.rtx_ssrc.is_some() && self.bound.as_ref().is_some_and(|bound| bound.rtx().is_some())
    }

    /// Can its player be told how long to keep pictures, for repairs?
    pub(crate) fn can_be_told_to_wait(&self) -> bool {
        self.rtx_ssrc.is_some() && self.ids.carried[PLAYOUT_DELAY] != 0
    }

    /// Needs a keyframe and a sender report before it goes on: bound, resumed, unmuted.
    pub(crate) fn restart(&mut self) {
        self.selector.reset();
        self.replay = None;
        self.replayed_us = None;
        self.waiting_since_us = None;
        self.restarted_at = self.rewriter.next_seq() as u32;
        self.report_due = true;
    }
}
