//! One peer connection's part in the data of its room.

use super::frame::Parcel;
use super::queue::{LossyQueue, ReliableQueue, Waiting};
use super::{DataMessage, DataParams};
use crate::transport::sctp::{Channel, LOSSY, RELIABLE, Sctp};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Decrypted packets that wait for their turn; more are dropped, as a network would.
const INBOX_MAX: usize = 256;
/// Bytes handed to the association ahead of their acknowledgement: what it has cannot be taken back.
const AHEAD_MAX: usize = 256 * 1024;
/// The same for messages that may be lost.
const LOSSY_AHEAD_MAX: usize = 64 * 1024;
/// What one peer may say to all that must arrive: bytes a second, and at once. It is what it may send through the room, and less at once than
/// may wait for a subscriber.
const SPOKEN_PER_SECOND: usize = 256 * 1024;
const SPOKEN_AT_ONCE: usize = 1024 * 1024;
/// A message counts at least as so many.
const SPOKEN_MIN: usize = 256;
/// A peer is told what is wrong with what it sends this often at most.
const FAULT_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct DataPort {
    /// `None`: it has no part in any data.
    pub(crate) params: Option<DataParams>,
    pub(crate) reliable: ReliableQueue,
    pub(crate) lossy: LossyQueue,
    /// A message whose recipients cannot take it yet; nothing is read meanwhile.
    pub(crate) held: Option<DataMessage>,
    /// Stands in the list of those that have something to do.
    pub(crate) due: bool,
    /// Other workers were told that too much waits.
    pub(crate) told_pressed: bool,
    /// Its channel for reliable messages was closed because it was slow.
    pub(crate) slow: bool,
    inbox: VecDeque<Vec<u8>>,
    fault_told: Option<Instant>,
    /// What it has said to all is forgotten then.
    quiet_at: Option<Instant>,
}

/// How a message reaches somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On this stream; raw: the payload alone.
    Channel { stream: u16, raw: bool, reliable: bool },
    /// By the signaling, because there is no channel for it, or it is longer than the peer takes there.
    Signaling,
    /// It is not to have it.
    Nowhere,
}

impl DataPort {
    /// Keeps a packet for its turn.
    pub(crate) fn receive(&mut self, packet: Vec<u8>) {
        if self.inbox.len() < INBOX_MAX {
            self.inbox.push_back(packet);
        }
    }

    /// Whose it is.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.params.as_ref().map(|params| &*params.sender.identity)
    }

    pub(crate) fn next_packet(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }

    pub(crate) fn has_packets(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether the peer is to be told of a fault of it now.
    pub(crate) fn tells_fault(&mut self, now: Instant) -> bool {
        let again = |at: Instant| now.saturating_duration_since(at) >= FAULT_INTERVAL;
        let tells = self.fault_told.is_none_or(again);
        if tells {
            self.fault_told = Some(now);
        }
        tells
    }

    /// Counts so many bytes that it says to all. `Err`: they are too many before then.
    pub(crate) fn pay(&mut self, now: Instant, bytes: usize) -> Result<(), Instant> {
        let cost = |bytes: usize| Duration::from_secs_f64(bytes as f64 / SPOKEN_PER_SECOND as f64);
        let quiet_at = self.quiet_at.unwrap_or(now).max(now) + cost(bytes.max(SPOKEN_MIN));
        let ahead = quiet_at.saturating_duration_since(now);
        match ahead.checked_sub(cost(SPOKEN_AT_ONCE)) {
            Some(beyond) if !beyond.is_zero() => Err(now + beyond),
            _ => {
                self.quiet_at = Some(quiet_at);
                Ok(())
            }
        }
    }

    /// How a message reaches this peer.
    pub(crate) fn way(&self, sctp: Option<&Sctp>, parcel: &Parcel) -> Way {
        let channels = sctp.map(Sctp::channels).unwrap_or_default();
        let fits = |len: usize| sctp.is_some_and(|sctp| len <= sctp.send_len_max());
        // The newest one, where there are several.
        let find = |label: &str| channels.iter().rev().find(|channel| channel.label == label);
        let topic = parcel.topic();
        let plain = find(topic).filter(|channel| !channel.is_framed());
        if let Some(&Channel { stream, reliable, .. }) = plain {
            return match fits(parcel.payload_len()) {
                true => Way::Channel { stream, raw: true, reliable },
                false => Way::Signaling,
            };
        }
        let framed = match parcel.reliable {
            true => find(RELIABLE),
            false => find(LOSSY).or_else(|| find(RELIABLE)),
        };
        match framed {
            Some(&Channel { stream, reliable, .. }) if fits(parcel.len()) => {
                Way::Channel { stream, raw: false, reliable }
            }
            Some(_) => Way::Signaling,
            None if parcel.reliable && self.slow => Way::Nowhere,
            None => Way::Signaling,
        }
    }

    /// Hands to the association what it may have now. Returns how many messages left, and how many are gone.
    pub(crate) fn write(&mut self, now: Instant, sctp: &mut Sctp) -> (u64, u64) {
        let (mut sent, mut dropped) = (0, 0);
        if self.lossy.is_empty() && self.reliable.is_empty() {
            return (0, 0);
        }
        let mut ahead = sctp.buffered();
        let mut leave = |waiting: Waiting, ahead: &mut usize| {
            let Waiting { stream, raw, parcel, .. } = waiting;
            let done = match raw {
                true => sctp.send(stream, parcel.text, &parcel.payload()),
                false => sctp.send(stream, false, parcel.frame()),
            };
            *ahead += parcel.len();
            match done {
                true => sent += 1,
                false => dropped += 1,
            }
        };
        let mut late = 0;
        while ahead < LOSSY_AHEAD_MAX {
            let (waiting, old) = self.lossy.pop(now);
            late += old;
            let Some(waiting) = waiting else { break };
            leave(waiting, &mut ahead);
        }
        while ahead < AHEAD_MAX
            && let Some(waiting) = self.reliable.pop(now)
        {
            leave(waiting, &mut ahead);
        }
        (sent, dropped + late)
    }

    /// Queues a message for a channel; lossy ones make older ones go, which are counted in the result. `Err`: it is too slow, and this channel has to be closed.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        (stream, raw, reliable): (u16, bool, bool),
        parcel: &Arc<Parcel>,
    ) -> Result<u64, u16> {
        let waiting = Waiting::new(now, stream, raw, Arc::clone(parcel));
        if !reliable {
            return Ok(self.lossy.push(waiting));
        }
        // On a channel where all arrives, what may be lost must not cost what may not.
        if !parcel.reliable && self.reliable.is_pressed() {
            return Ok(1);
        }
        match self.reliable.push(waiting) {
            true => Ok(0),
            false => Err(self.reliable.first().unwrap_or(stream)),
        }
    }
}
