//! What a datagram is (RFC 7983) and whose it is.
//!
//! The 5-tuple table is filled by verified STUN only: nothing else from the network can add to it.

use crate::egress::Tuple;
use rustc_hash::FxHashMap;
use std::collections::HashMap;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
}

/// Classifies by the first byte (RFC 7983 section 7), RTP and RTCP by the second (RFC 5761 section 4).
pub(crate) fn classify(datagram: &[u8]) -> Option<Class> {
    match *datagram.first()? {
        0..=3 => Some(Class::Stun),
        20..=63 => Some(Class::Dtls),
        128..=191 => sfu_rtp::classify(datagram).map(|kind| match kind {
            sfu_rtp::PacketKind::Rtp => Class::Rtp,
            sfu_rtp::PacketKind::Rtcp => Class::Rtcp,
        }),
        _ => None,
    }
}

/// Keys of transports by 5-tuple and by our user fragment.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    tuples: FxHashMap<Tuple, usize>,
    ufrags: HashMap<String, usize>,
}

impl Demux {
    pub(crate) fn transport_of(&self, tuple: &Tuple) -> Option<usize> {
        self.tuples.get(tuple).copied()
    }

    pub(crate) fn transport_of_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.ufrags.get(ufrag).copied()
    }

    /// After a verified check. A tuple belongs to whoever proved it last.
    pub(crate) fn add_tuple(&mut self, tuple: Tuple, transport: usize) {
        self.tuples.insert(tuple, transport);
    }

    pub(crate) fn remove_tuple(&mut self, tuple: &Tuple, transport: usize) {
        if self.tuples.get(tuple) == Some(&transport) {
            self.tuples.remove(tuple);
        }
    }

    /// How many tuples and user fragments.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.tuples.len(), self.ufrags.len())
    }

    pub(crate) fn add_ufrag(&mut self, ufrag: &str, transport: usize) {
        self.ufrags.insert(ufrag.to_owned(), transport);
    }

    pub(crate) fn remove_ufrag(&mut self, ufrag: &str) {
        self.ufrags.remove(ufrag);
    }
}
