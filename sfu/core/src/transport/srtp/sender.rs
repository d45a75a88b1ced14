//! The outbound context.

use super::SrtpKeys;
use super::cipher::{Cipher, RTCP_CLEAR, ssrc_at};

/// SRTCP indices have 31 bits (RFC 3711 section 3.4).
const MAX_RTCP_INDEX: u32 = 0x7fff_ffff;
/// RTP packet indices have 48 bits.
const MAX_RTP_INDEX: u64 = 0xffff_ffff_ffff;
/// The fixed RTP header; its last word is the SSRC.
const RTP_FIXED_HEADER: usize = 12;

/// Protects what we send on one transport.
pub struct SrtpSender {
    cipher: Cipher,
    next_rtcp_index: u32,
}

impl SrtpSender {
    /// A context for `keys.local_*`.
    ///
    /// # Panics
    /// If a key or salt length does not fit the profile.
    pub fn new(keys: &SrtpKeys) -> Self {
        Self {
            cipher: Cipher::new(keys.profile, &keys.local_key, &keys.local_salt),
            // Deployed stacks all start at 1; a gap before the first packet is legal.
            next_rtcp_index: 1,
        }
    }

    /// Seals the RTP packet `buf[..len]` (of which `header_len` bytes are header with extensions) and appends the tag.
    ///
    /// `index` is the 48-bit packet index, ROC << 16 | SEQ. One (SSRC, index) must never seal two different byte
    /// strings: it is the nonce. Returns the new length; 0, with the bytes unusable, when there is no room for
    /// [`super::SrtpProfile::rtp_overhead`] bytes or the lengths or the index are out of range.
    #[inline]
    pub fn protect_rtp(
        &mut self,
        buf: &mut [u8],
        header_len: usize,
        len: usize,
        index: u64,
    ) -> usize {
        if header_len < RTP_FIXED_HEADER || header_len > len || index > MAX_RTP_INDEX {
            return 0;
        }
        let Some(ssrc) = ssrc_at(buf, 8) else { return 0 };
        self.cipher.seal_rtp(buf, header_len, len, ssrc, index).unwrap_or(0)
    }

    /// Seals the compound RTCP packet `buf[..len]`; appends tag and index.
    ///
    /// Returns the new length; 0, with the bytes unusable, when there is no room for
    /// [`super::SrtpProfile::rtcp_overhead`] bytes, when the packet is shorter than 8 bytes, or after 2^31 packets.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> usize {
        let index = self.next_rtcp_index;
        if len < RTCP_CLEAR || index > MAX_RTCP_INDEX {
            return 0;
        }
        let Some(ssrc) = ssrc_at(buf, 4) else { return 0 };
        // Spent even when sealing fails: an index is used once. One counter serves all SSRCs.
        self.next_rtcp_index += 1;
        self.cipher.seal_rtcp(buf, len, ssrc, index).unwrap_or(0)
    }
}

impl std::fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpSender")
            .field("next_rtcp_index", &self.next_rtcp_index)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl SrtpSender {
    pub(super) fn set_next_rtcp_index(&mut self, index: u32) {
        self.next_rtcp_index = index;
    }
}
