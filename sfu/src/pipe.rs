//! What carries messages between the engines of two workers: one byte ring per ordered pair, made when it is first needed, and the
//! receiver's waker. No lock, no copy but into the ring and out of it. Never looks into a message.

use crate::WorkerId;
use crate::socket::Waker;
use rtrb::{Consumer, Producer, RingBuffer};
use sfu_core::PipeTransmit;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes that may wait from one worker to another: a second of 8 Mbit/s.
const RING_BYTES: usize = 1024 * 1024;
/// Before each message: its length.
const PREFIX: usize = 4;

/// A ring's far end on its way to the worker that reads it.
type Delivery = (WorkerId, Consumer<u8>);

/// The way to one other worker.
struct Outgoing {
    inbox: SyncSender<Delivery>,
    waker: Waker,
    ring: Option<Producer<u8>>,
    /// Something was put in since the last wake-up.
    wrote: bool,
}

/// One worker's ends of all pipes.
pub(crate) struct Pipes {
    id: WorkerId,
    /// By number of the other worker.
    outgoing: Vec<Outgoing>,
    inbox: Receiver<Delivery>,
    incoming: Vec<Delivery>,
    /// A message that lies around the end of its ring is put together here.
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let made = self.outgoing.iter().filter(|to| to.ring.is_some()).count();
        f.debug_struct("Pipes").field("id", &self.id).field("made", &made).finish_non_exhaustive()
    }
}

/// The pipes of workers with these wakers, in the same order.
pub(crate) fn connect(wakers: &[Waker]) -> Vec<Pipes> {
    // Each worker hears of each other one once.
    let (inboxes, ends): (Vec<_>, Vec<_>) =
        wakers.iter().map(|_| sync_channel(wakers.len())).unzip();
    let pipes = ends.into_iter().enumerate().map(|(index, inbox)| Pipes {
        id: WorkerId(index),
        outgoing: inboxes
            .iter()
            .zip(wakers)
            .map(|(inbox, waker)| Outgoing {
                inbox: inbox.clone(),
                waker: waker.clone(),
                ring: None,
                wrote: false,
            })
            .collect(),
        inbox,
        incoming: Vec::new(),
        scratch: Vec::new(),
    });
    pipes.collect()
}

impl Pipes {
    /// Wakes the workers for which something was queued since the last call.
    pub(crate) fn wake(&mut self) {
        for to in self.outgoing.iter_mut().filter(|to| to.wrote) {
            to.wrote = false;
            to.waker.wake();
        }
    }

    /// Hands out what the other workers have queued so far, in order per worker.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(WorkerId, &[u8])) {
        self.incoming.extend(self.inbox.try_iter());
        for (from, ring) in &mut self.incoming {
            // What comes meanwhile is for the next turn, and its sender wakes us.
            let mut left = ring.slots();
            while let Some(len) = message_len(ring).filter(|len| len + PREFIX <= left) {
                let Ok(chunk) = ring.read_chunk(len + PREFIX) else { break };
                match chunk.as_slices() {
                    (whole, []) => take(*from, &whole[PREFIX..]),
                    (first, second) => {
                        self.scratch.clear();
                        self.scratch.extend_from_slice(first);
                        self.scratch.extend_from_slice(second);
                        take(*from, &self.scratch[PREFIX..]);
                    }
                }
                chunk.commit_all();
                left -= len + PREFIX;
            }
        }
    }
}

/// Length of the next message, without its prefix.
fn message_len(ring: &mut Consumer<u8>) -> Option<usize> {
    let chunk = ring.read_chunk(PREFIX).ok()?;
    let (first, second) = chunk.as_slices();
    let mut bytes = first.iter().chain(second);
    let len = [*bytes.next()?, *bytes.next()?, *bytes.next()?, *bytes.next()?];
    usize::try_from(u32::from_be_bytes(len)).ok()
}

impl PipeTransmit for Pipes {
    fn transmit(&mut self, to: WorkerId, head: &[u8], body: &[u8]) -> bool {
        self.put(to, head, body, 0)
    }

    fn transmit_data(&mut self, to: WorkerId, message: &[u8]) -> bool {
        self.put(to, message, &[], RING_BYTES / 2)
    }
}

impl Pipes {
    /// Puts a message into a ring, unless less than `spare` bytes would stay free.
    fn put(&mut self, to: WorkerId, head: &[u8], body: &[u8], spare: usize) -> bool {
        let len = head.len() + body.len();
        let Ok(prefix) = u32::try_from(len).map(u32::to_be_bytes) else { return false };
        if to == self.id {
            return false;
        }
        let Some(to) = self.outgoing.get_mut(to.0) else { return false };
        let ring = match &mut to.ring {
            Some(ring) => ring,
            none => {
                let (ring, end) = RingBuffer::new(RING_BYTES);
                if to.inbox.try_send((self.id, end)).is_err() {
                    return false;
                }
                none.insert(ring)
            }
        };
        if ring.slots() < PREFIX + len + spare {
            return false;
        }
        // The reader waits for a whole message, so the parts may become visible one by one.
        let parts = [&prefix[..], head, body];
        to.wrote = true;
        parts.iter().all(|part| ring.push_entire_slice(part).is_ok())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::socket::Waiter;

    fn pair() -> (Pipes, Pipes) {
        let wakers: Vec<Waker> = (0..2).map(|_| Waiter::new().unwrap().waker()).collect();
        let mut pipes = connect(&wakers).into_iter();
        (pipes.next().unwrap(), pipes.next().unwrap())
    }

    fn body(number: u32) -> Vec<u8> {
        (0..number % 1400).map(|i| (i.wrapping_mul(number) >> 3) as u8).collect()
    }

    #[test]
    fn messages_arrive_whole_and_in_order_while_both_ends_are_at_work() {
        const COUNT: u32 = 20_000;
        let (mut near, mut far) = pair();
        let writer = std::thread::spawn(move || {
            for number in 0..COUNT {
                while !near.transmit(WorkerId(1), &number.to_be_bytes(), &body(number)) {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < COUNT {
            far.drain(|from, message| {
                assert_eq!(from, WorkerId(0));
                let (number, rest) = message.split_first_chunk::<4>().unwrap();
                assert_eq!(u32::from_be_bytes(*number), next);
                assert_eq!(rest, body(next), "message {next}");
                next += 1;
            });
            std::thread::yield_now();
        }
        writer.join().unwrap();
    }

    #[test]
    fn a_full_ring_refuses_whole_messages_and_has_room_again_later() {
        let (mut near, mut far) = pair();
        let mut sent = 0;
        while near.transmit(WorkerId(1), &[1; 10], &[2; 1190]) {
            sent += 1;
        }
        assert_eq!(sent, RING_BYTES / 1204);
        let mut received = 0;
        far.drain(|_, message| received += usize::from(message.len() == 1200));
        assert_eq!(received, sent);
        assert!(near.transmit(WorkerId(1), &[1; 10], &[2; 1190]));
    }

    #[test]
    fn data_leaves_room_for_packets() {
        let (mut near, mut far) = pair();
        let message = vec![3; 256 * 1024 + 400];
        assert!(near.transmit_data(WorkerId(1), &message));
        assert!(!near.transmit_data(WorkerId(1), &message));
        assert!(near.transmit(WorkerId(1), &[1; 10], &[2; 1190]));
        let mut lens = Vec::new();
        far.drain(|_, message| lens.push(message.len()));
        assert_eq!(lens, [message.len(), 1200]);
        assert!(near.transmit_data(WorkerId(1), &message));
    }

    #[test]
    fn there_is_no_pipe_to_oneself_or_to_nobody() {
        let (mut near, _far) = pair();
        assert!(!near.transmit(WorkerId(0), &[1], &[]));
        assert!(!near.transmit(WorkerId(2), &[1], &[]));
        assert!(near.outgoing.iter().all(|to| to.ring.is_none()), "rings are made on first use");
    }
}
