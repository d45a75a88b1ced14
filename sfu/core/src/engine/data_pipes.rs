//! Data on its way to other workers, and word of those who cannot take more there.

use super::Engine;
use crate::data::DataMessage;
use crate::data::frame::{self, Parcel};
use crate::drop_reason::DropReason;
use crate::pipe::PipeTransmit;
use crate::{RouterId, WorkerId};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use std::time::Instant;

/// First byte of a message; those of tracks have smaller ones. Behind it: the room's number.
const MESSAGE: u8 = 16;
/// An identity for whom too much waits …
const PRESSED: u8 = 17;
/// … or does not any more.
const EASED: u8 = 18;
/// An identity over there for whom somebody here waits.
const AWAITED: u8 = 19;

/// Whether a message between workers is one of these.
pub(super) fn is_data(message: &[u8]) -> bool {
    matches!(message.first(), Some(&(MESSAGE | PRESSED | EASED | AWAITED)))
}

fn encode(kind: u8, router: RouterId, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + body.len());
    out.put_u8(kind);
    out.put_u64(router.0);
    out.put_slice(body);
    out.freeze()
}

impl Engine {
    pub(super) fn send_to_workers(
        &mut self,
        router: RouterId,
        workers: &[WorkerId],
        message: &DataMessage,
        parcel: &Parcel,
    ) {
        if workers.is_empty() {
            return;
        }
        let bytes = encode(MESSAGE, router, &frame::write_for_worker(message, parcel));
        for worker in workers {
            let pipe = self.data_pipes.entry(*worker).or_default();
            if !message.reliable && pipe.is_full() {
                self.drops.count(DropReason::DataLate);
            } else {
                pipe.push(bytes.clone(), bytes.len());
            }
        }
    }

    /// Tells other workers whether too much waits for this peer, when that has changed.
    pub(super) fn tell_pressure(&mut self, key: usize) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let pressed = transport.data.reliable.is_pressed();
        if std::mem::replace(&mut transport.data.told_pressed, pressed) == pressed {
            return;
        }
        let (Some(params), Some(router)) =
            (&transport.data.params, self.routers.get(&transport.router))
        else {
            return;
        };
        let kind = if pressed { PRESSED } else { EASED };
        let bytes = encode(kind, transport.router, params.sender.identity.as_bytes());
        for worker in &router.links {
            let pipe = self.data_pipes.entry(*worker).or_default();
            pipe.push(bytes.clone(), bytes.len());
        }
    }

    /// Tells the worker of a peer for whom too much waits that a sender does, too.
    pub(super) fn tell_awaited(&mut self, router: RouterId, worker: WorkerId, identity: &str) {
        let bytes = encode(AWAITED, router, identity.as_bytes());
        let len = bytes.len();
        self.data_pipes.entry(worker).or_default().push(bytes, len);
    }

    /// `false`: a ring was full.
    pub(super) fn send_data_pipes(&mut self, out: &mut impl PipeTransmit) -> bool {
        let (mut done, mut eased) = (true, false);
        for (worker, pipe) in &mut self.data_pipes {
            let was_full = pipe.is_full();
            while let Some(message) = pipe.first() {
                if !out.transmit_data(*worker, message) {
                    done = false;
                    break;
                }
                pipe.pop();
            }
            eased |= was_full && !pipe.is_full();
        }
        self.data_pipes.retain(|_, pipe| !pipe.is_empty());
        if eased {
            self.resume_all_holding();
        }
        done
    }

    pub(super) fn take_data(
        &mut self,
        now: Instant,
        from: WorkerId,
        message: &[u8],
    ) -> Result<(), DropReason> {
        let (head, body) = message.split_first_chunk::<9>().ok_or(DropReason::Malformed)?;
        let [kind, id @ ..] = *head;
        let id = RouterId(u64::from_be_bytes(id));
        if kind == MESSAGE {
            let bytes = Bytes::copy_from_slice(body);
            let message = frame::read_from_worker(&bytes).ok_or(DropReason::Malformed)?;
            return self.send_data(now, id, &message);
        }
        let router = self.routers.get_mut(&id).ok_or(DropReason::UnknownId)?;
        let identity = std::str::from_utf8(body).map_err(|_| DropReason::Malformed)?;
        if kind == AWAITED {
            for &key in &router.members {
                if let Some(transport) = self.transports.get_mut(key)
                    && transport.data.identity() == Some(identity)
                {
                    transport.data.reliable.hold_up(now);
                }
            }
            return Ok(());
        }
        let entry = (from, Arc::from(identity));
        match kind == PRESSED && router.links.contains(&from) {
            true => drop(router.pressed.insert(entry, false)),
            false => drop(router.pressed.remove(&entry)),
        }
        self.resume_holding(id);
        Ok(())
    }
}
