//! The rings between two workers: in order, never lost, and full when a test says so.

use crate::net::{MS, Micros};
use sfu_core::{PipeTransmit, WorkerId};
use std::collections::{BTreeMap, VecDeque};

/// From one worker's turn to the other's.
pub(crate) const PIPE_DELAY: Micros = 50;
/// How soon a worker tries a full ring again.
const RETRY: Micros = MS;
/// First byte of a packet's message; its encoding stands behind the producer's number.
const MEDIA: u8 = 4;
const ENCODING_AT: usize = 9;

#[derive(Debug, Default)]
pub(crate) struct Pipes {
    waiting: VecDeque<(Micros, WorkerId, WorkerId, Vec<u8>)>,
    retry: Option<Micros>,
    /// Nothing fits any more.
    pub(crate) full: bool,
    /// Packets taken, by encoding.
    pub(crate) packets: BTreeMap<u8, usize>,
    /// Other messages taken, by the worker that sent them.
    pub(crate) news: BTreeMap<WorkerId, usize>,
}

impl Pipes {
    pub(crate) fn end(&mut self, from: WorkerId, now: Micros) -> PipeEnd<'_> {
        PipeEnd { pipes: self, from, at: now + PIPE_DELAY }
    }

    pub(crate) fn retry(&mut self, told: bool, now: Micros) {
        if !told {
            self.retry = Some(now + RETRY);
        }
    }

    pub(crate) fn next(&self) -> Option<Micros> {
        self.waiting.front().map(|(at, ..)| *at).into_iter().chain(self.retry).min()
    }

    /// The next message that has arrived: from, to, bytes.
    pub(crate) fn pop(&mut self, now: Micros) -> Option<(WorkerId, WorkerId, Vec<u8>)> {
        self.retry.take_if(|at| *at <= now);
        self.waiting
            .pop_front_if(|(at, ..)| *at <= now)
            .map(|(_, from, to, bytes)| (from, to, bytes))
    }

    pub(crate) fn total(&self) -> usize {
        self.packets.values().sum()
    }
}

/// One worker's way out.
pub(crate) struct PipeEnd<'a> {
    pipes: &'a mut Pipes,
    from: WorkerId,
    at: Micros,
}

impl PipeTransmit for PipeEnd<'_> {
    fn transmit_data(&mut self, to: WorkerId, message: &[u8]) -> bool {
        self.transmit(to, message, &[])
    }

    fn transmit(&mut self, to: WorkerId, head: &[u8], body: &[u8]) -> bool {
        assert_ne!(to, self.from);
        if self.pipes.full {
            return false;
        }
        if head[0] == MEDIA {
            *self.pipes.packets.entry(head[ENCODING_AT]).or_default() += 1;
        } else {
            *self.pipes.news.entry(self.from).or_default() += 1;
        }
        self.pipes.waiting.push_back((self.at, self.from, to, [head, body].concat()));
        true
    }
}
