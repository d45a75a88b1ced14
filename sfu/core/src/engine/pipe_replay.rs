//! The last keyframe for another worker: where the publisher makes keyframes when it likes, the first viewer over there would wait for the next one.
//!
//! As soon as an encoding is wanted there, the cache's packets from its last keyframe on go through the pipe, some in each turn, and live packets
//! in their place. The far end puts what is replayed into its cache only; its viewers begin from there as all late viewers do.

use super::Engine;
use crate::pipe::{Head, PipeMessage, PipeReplay, PipeTransmit};
use crate::producer::Producer;
use std::time::Instant;

/// Packets in one turn: the ring is there for live media, too.
const PACKETS: usize = 16;

impl Engine {
    /// Begins with the best of these encodings (a bit each) that `to` wants from now on. Returns the bit of the one that begins.
    pub(super) fn begin_pipe_replay(
        &mut self,
        now: Instant,
        key: usize,
        pipe: usize,
        wanted: u8,
    ) -> u8 {
        let now_us = self.clock.micros(now);
        let Producer { encodings, pipes, paused, .. } = &mut self.producers[key];
        if *paused || pipes[pipe].replay.is_some() {
            return 0;
        }
        for (index, source) in encodings.iter().enumerate().rev() {
            if wanted & (1 << index) == 0 || !source.keyframes.are_ignored() {
                continue;
            }
            let Some(gop) = source.gop(now_us) else { continue };
            let (encoding, epoch) = (index as u8, source.epoch);
            pipes[pipe].replay = Some(PipeReplay { encoding, epoch, next: gop.first });
            if !self.pipes.replays.contains(&key) {
                self.pipes.replays.push(key);
            }
            return 1 << index;
        }
        0
    }

    /// Sends the next part of all replays. `false`: there is more.
    pub(super) fn send_pipe_replays(&mut self, out: &mut impl PipeTransmit) -> bool {
        let mut replays = std::mem::take(&mut self.pipes.replays);
        replays.retain(|&key| {
            let Some(producer) = self.producers.get_mut(key) else { return false };
            send_part(producer, out)
        });
        self.pipes.replays = replays;
        self.pipes.replays.is_empty()
    }
}

/// Returns whether there is more.
fn send_part(producer: &mut Producer, out: &mut impl PipeTransmit) -> bool {
    let Producer { id, encodings, pipes, .. } = producer;
    let mut more = false;
    for pipe in pipes {
        let Some(replay) = &mut pipe.replay else { continue };
        let source = encodings.get(usize::from(replay.encoding));
        let Some((source, highest)) = source
            .filter(|source| source.epoch == replay.epoch)
            .and_then(|source| Some((source, source.highest()?)))
        else {
            pipe.replay = None;
            continue;
        };
        let mut sent = 0;
        while replay.next <= highest && sent < PACKETS {
            if let Some((packet, bytes)) = source.cache.get(replay.next) {
                let (encoding, epoch, packet) = (replay.encoding, replay.epoch, *packet);
                let message = PipeMessage::Media { encoding, epoch, replayed: true, packet, bytes };
                if !out.transmit(pipe.to, Head::new(*id, &message).as_bytes(), bytes) {
                    break;
                }
                sent += 1;
            } else if !source.nack.asks(replay.next) {
                // Lost for good: what follows is of no use before the next keyframe.
                replay.next = highest;
            }
            replay.next += 1;
        }
        if replay.next > highest {
            pipe.waiting &= !(1 << replay.encoding);
            pipe.replay = None;
        } else {
            more = true;
        }
    }
    more
}
