//! Who is behind an address that nobody proved, or that two have proved.
//!
//! Nothing that comes from there is opened for anybody; it may only cause a check of ours, which is answered by who has the peer's password, from there.

use super::Engine;
use crate::demux::Class;
use crate::drop_reason::DropReason;
use crate::egress::{DATAGRAM_MAX, Egress, Protocol, Tuple};
use crate::transport::Transport;
use rand::Rng;
use sfu_rtp::RtpHeader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A flood of strangers is looked at no more often: who moved and is not seen for it is found by its own next check.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Who was heard at its address so shortly ago has not moved.
const LIVES: Duration = Duration::from_millis(30);
/// So many transports may a datagram be tried with.
const TRIALS_MAX: usize = 64;

impl Engine {
    /// Media or RTCP from a tuple that nobody proved: is it of a peer whose NAT gave it another port?
    #[cold]
    pub(super) fn look_at_stranger(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        bytes: &[u8],
        class: Class,
        egress: &mut Egress<'_>,
    ) {
        let early = self.stranger_at.is_some_and(|at| now < at);
        if early || tuple.protocol != Protocol::Udp || bytes.len() > DATAGRAM_MAX {
            return;
        }
        self.stranger_at = Some(now + LOOK_EVERY);
        let may_have_moved = |transport: &Transport| {
            transport.selected.is_some_and(|selected| {
                selected.local == tuple.local
                    && selected.protocol == tuple.protocol
                    && selected.remote.ip() == tuple.remote.ip()
            }) && transport.ice.is_silent_for(now, LIVES)
        };
        let mut trials = self
            .transports
            .iter()
            .filter(|(_, transport)| may_have_moved(transport))
            .take(TRIALS_MAX);
        if let Some((key, _)) = trials.find(|(_, transport)| made(transport, bytes, class)) {
            self.ask(now, key, tuple, egress);
        }
    }

    /// Does another transport use this tuple?
    pub(super) fn is_in_use(&self, now: Instant, tuple: &Tuple, key: usize) -> bool {
        let owner = self.demux.transport_of(tuple).filter(|&owner| owner != key);
        owner
            .and_then(|owner| self.transports.get(owner))
            .is_some_and(|owner| owner.ice.uses(now, tuple))
    }

    /// Sends a check of ours, if one is due.
    pub(super) fn ask(&mut self, now: Instant, key: usize, tuple: &Tuple, egress: &mut Egress<'_>) {
        let mut transaction = [0; _];
        self.rng.fill(&mut transaction);
        // Whose the answer is.
        transaction[..4].copy_from_slice(&(key as u32).to_be_bytes());
        self.transports[key].ice.ask(now, tuple, transaction, &mut self.scratch);
        if !self.scratch.is_empty() {
            egress.send(tuple, &self.scratch);
        }
    }

    /// The answer to a check of ours.
    pub(super) fn handle_stun_response(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let key = datagram.get(8..12).and_then(|key| key.try_into().ok());
        let key = key.map_or(usize::MAX, |key| u32::from_be_bytes(key) as usize);
        let transport = self.transports.get_mut(key).ok_or(DropReason::BadStun)?;
        let ice = &mut transport.ice;
        let checked = catch_unwind(AssertUnwindSafe(|| ice.handle_response(now, tuple, datagram)));
        let check = checked.map_err(|_| DropReason::Panicked)?.ok_or(DropReason::BadStun)?;
        self.proved(key, tuple, check);
        Ok(())
    }
}

/// Did this transport's peer make the datagram, and is it new?
fn made(transport: &Transport, datagram: &[u8], class: Class) -> bool {
    let Some(srtp) = &transport.srtp_in else { return false };
    let mut spare = [0; DATAGRAM_MAX];
    let copy = &mut spare[..datagram.len()];
    copy.copy_from_slice(datagram);
    match class {
        Class::Rtp => RtpHeader::parse_prefix(datagram).is_ok_and(|header| {
            let start = usize::from(header.payload_start);
            srtp.recognizes_rtp(copy, start, header.ssrc, header.sequence_number)
        }),
        Class::Rtcp => srtp.recognizes_rtcp(copy),
        Class::Stun | Class::Dtls => false,
    }
}
