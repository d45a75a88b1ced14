//! What each received SSRC is. Learned from signalled SSRCs, from the MID and RID extensions, or from the payload type;
//! what was learned is remembered, because senders stop sending MID and RID once feedback came (libwebrtc), and a reused
//! m-line goes on with the same SSRC.

use sfu_rtp::extension::{read_mid, read_rid};

/// Where packets of an SSRC go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Not known, or its track is gone.
    Unknown,
    /// An encoding's media.
    Media {
        /// Producer key.
        producer: usize,
        /// Index of the encoding.
        encoding: u8,
    },
    /// Retransmissions of an encoding.
    Repair {
        /// Producer key.
        producer: usize,
        /// Index of the encoding.
        encoding: u8,
    },
}

impl Route {
    pub(crate) fn producer(self) -> Option<usize> {
        match self {
            Self::Unknown => None,
            Self::Media { producer, .. } | Self::Repair { producer, .. } => Some(producer),
        }
    }
}

/// One received SSRC.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) ssrc: u32,
    pub(crate) route: Route,
    pub(crate) labels: Labels,
}

impl Stream {
    pub(crate) fn new(ssrc: u32) -> Self {
        Self { ssrc, route: Route::Unknown, labels: Labels::default() }
    }
}

/// MID, RID and repaired RID as far as they were seen on an SSRC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) mid: Option<Box<str>>,
    pub(crate) rid: Option<Box<str>>,
    pub(crate) repaired_rid: Option<Box<str>>,
}

impl Labels {
    /// Takes over what a packet says; values that are no valid MID or RID are ignored.
    pub(crate) fn learn(
        &mut self,
        mid: Option<&[u8]>,
        rid: Option<&[u8]>,
        repaired: Option<&[u8]>,
    ) {
        fn set(slot: &mut Option<Box<str>>, value: Option<&str>) {
            if let Some(value) = value
                && slot.as_deref() != Some(value)
            {
                *slot = Some(value.into());
            }
        }
        set(&mut self.mid, mid.and_then(read_mid));
        set(&mut self.rid, rid.and_then(read_rid));
        set(&mut self.repaired_rid, repaired.and_then(read_rid));
    }
}
