//! Datagrams of the network: STUN and DTLS.

use super::Engine;
use crate::drop_reason::DropReason;
use crate::egress::{Egress, Tuple};
use crate::timers::TimerKind;
use crate::transport::dtls::{DtlsEvent, DtlsFailure};
use crate::transport::ice::Check;
use crate::transport::srtp::SrtpKeys;
use crate::transport::stun;
use crate::{CloseReason, Event};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The client may still be busy with the end of the handshake, and some lose what comes right behind it (webrtc-rs): a replay, which nobody would
/// ask for again, begins a little later.
const AFTER_HANDSHAKE: Duration = Duration::from_millis(20);

/// Content type of a DTLS record (RFC 6347).
const APPLICATION_DATA: u8 = 23;

impl Engine {
    pub(super) fn handle_stun(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let Some((local, _)) = stun::ufrag_of(datagram) else {
            return self.handle_stun_response(now, tuple, datagram);
        };
        let key = self.demux.transport_of_ufrag(local).ok_or(DropReason::UnknownUfrag)?;
        let in_use = self.is_in_use(now, tuple, key);
        let transport = &mut self.transports[key];
        let scratch = &mut self.scratch;
        scratch.clear();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            if in_use {
                transport.ice.answer(tuple, datagram, scratch).map(|_| None)
            } else {
                transport.ice.handle_request(now, tuple, datagram, scratch).map(Some)
            }
        }))
        .map_err(|_| DropReason::Panicked)?;
        if !self.scratch.is_empty() {
            egress.send(tuple, &self.scratch);
        }
        let Some(check) = checked.map_err(|_| DropReason::BadStun)? else {
            // Anybody can send a check in another's name.
            self.ask(now, key, tuple, egress);
            return Ok(());
        };
        if let Some(ufrag) = transport.ice.take_ended_ufrag() {
            self.demux.remove_ufrag(&ufrag);
        }
        self.proved(key, tuple, check);
        let transport = &mut self.transports[key];
        if let Some(dtls) = &mut transport.dtls {
            // Nothing before the first proof of address; later calls change nothing.
            dtls.start(now);
        }
        if transport.selected.is_some()
            && let Some(keys) = transport.keys.take()
        {
            self.connected(now, key, &keys);
        }
        self.drain_dtls(now, key, egress);
        Ok(())
    }

    /// A tuple is a peer's, by a check of its own or by its answer to one of ours.
    pub(super) fn proved(&mut self, key: usize, tuple: &Tuple, check: Check) {
        if let Some(dropped) = check.dropped {
            self.demux.remove_tuple(&dropped, key);
        }
        // Whoever had the address before is there no more: what is sealed for it is nothing to who is there now.
        if self.demux.transport_of(tuple).is_some_and(|before| before != key) {
            self.forget_tuple(tuple);
        }
        self.demux.add_tuple(*tuple, key);
        let transport = &mut self.transports[key];
        transport.selected = transport.ice.selected().copied();
        if std::mem::take(&mut transport.silent) {
            let transport = transport.id;
            self.events.push_back(Event::TransportSilent { transport, silent: false });
        }
    }

    pub(super) fn handle_dtls(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let key = self.demux.transport_of(tuple).ok_or(DropReason::UnknownTuple)?;
        let transport = &mut self.transports[key];
        match &mut transport.dtls {
            Some(dtls) => dtls.handle_datagram(now, datagram),
            // Keys were handed in: data is not encrypted.
            None => {
                transport.data.receive(datagram.get(1..).unwrap_or_default().to_vec());
                self.mark_data(key);
            }
        }
        self.drain_dtls(now, key, egress);
        Ok(())
    }

    /// Moves what DTLS and SCTP have to say: records to the network, keys into SRTP, the end to control.
    pub(super) fn drain_dtls(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        loop {
            let transport = &mut self.transports[key];
            let tuple = transport.control_tuple();
            let packets = transport.sctp.as_mut().into_iter();
            let packets = packets.flat_map(|sctp| std::iter::from_fn(|| sctp.poll_transmit()));
            let Some(dtls) = &mut transport.dtls else {
                send_clear(tuple.as_ref(), packets, egress);
                break;
            };
            packets.for_each(|packet| dtls.send(now, &packet));
            while let Some(record) = dtls.poll_transmit() {
                if let Some(tuple) = &tuple {
                    egress.send(tuple, &record);
                }
            }
            let reason = match dtls.poll_event() {
                None => break,
                Some(DtlsEvent::Connected(keys)) => {
                    self.connected(now, key, &keys);
                    continue;
                }
                Some(DtlsEvent::ApplicationData(data)) => {
                    if transport.sctp.is_some() {
                        transport.data.receive(data);
                        self.mark_data(key);
                    }
                    continue;
                }
                Some(DtlsEvent::Closed) => CloseReason::DtlsClosed,
                Some(DtlsEvent::Failed(failure)) => close_reason(&failure),
            };
            self.fail_transport(now, key, reason, egress);
            return;
        }
        let transport = &mut self.transports[key];
        let dtls_due = transport.dtls.as_ref().and_then(|dtls| dtls.poll_timeout());
        let sctp_due = transport.sctp.as_ref().and_then(|sctp| sctp.poll_timeout());
        transport.timers.set(TimerKind::Dtls, dtls_due);
        transport.timers.set(TimerKind::Sctp, sctp_due);
        self.timers.arm(key, transport.id, &mut transport.timers);
    }

    fn connected(&mut self, now: Instant, key: usize, keys: &SrtpKeys) {
        let transport = &mut self.transports[key];
        transport.install(keys);
        self.events.push_back(Event::TransportConnected {
            transport: transport.id,
            profile: keys.profile,
        });
        for index in 0..transport.consumers.len() {
            let consumer = self.transports[key].consumers[index];
            self.wish_keyframe_for(now, consumer);
        }
        self.mark_allocation(key);
        let timers = &mut self.transports[key].timers;
        if timers.take(TimerKind::Pace, now) {
            timers.set(TimerKind::Pace, Some(now + AFTER_HANDSHAKE));
        }
    }
}

/// Where keys were handed in: each packet behind the first byte of a DTLS record.
fn send_clear(
    tuple: Option<&Tuple>,
    packets: impl Iterator<Item = Vec<u8>>,
    egress: &mut Egress<'_>,
) {
    for packet in packets {
        if let Some(tuple) = tuple {
            egress.send(tuple, &[&[APPLICATION_DATA], &packet[..]].concat());
        }
    }
}

fn close_reason(failure: &DtlsFailure) -> CloseReason {
    match failure {
        DtlsFailure::FingerprintMismatch => CloseReason::FingerprintMismatch,
        DtlsFailure::Timeout => CloseReason::ConnectTimeout,
        DtlsFailure::Panicked => CloseReason::Internal,
        other => CloseReason::DtlsFailed(other.to_string()),
    }
}
