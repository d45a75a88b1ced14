//! The inbound context.

use super::cipher::{Cipher, E_FLAG, ssrc_at};
use super::replay::{ReplayWindow, StreamTable, estimate_index};
use super::{SrtpError, SrtpKeys};

/// Largest payload with tag for which the first packet of an SSRC is tried with two rollover counters.
const MAX_RETRY: usize = 2048;

/// A packet that authenticated and was not seen before; it is now plain text in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Length in bytes without the tag.
    pub len: usize,
    /// Slot of this SSRC, dense from 0 and at most 127: the index of a parallel array.
    pub stream: usize,
    /// 48-bit packet index, ROC << 16 | SEQ.
    pub index: u64,
    /// This is the first packet of an SSRC in a slot that belonged to another SSRC until now: forget what was kept for it.
    pub reused: bool,
}

/// Authenticates and decrypts what one transport receives.
///
/// Remembers 128 SSRCs of RTP and of RTCP. A peer that uses more loses the least recently used one with its replay
/// window and its rollover counter; only packets that authenticate can cause that.
pub struct SrtpReceiver {
    cipher: Cipher,
    rtp: StreamTable,
    rtcp: StreamTable,
}

impl SrtpReceiver {
    /// A context for `keys.remote_*`.
    ///
    /// # Panics
    /// If a key or salt length does not fit the profile.
    pub fn new(keys: &SrtpKeys) -> Self {
        Self {
            cipher: Cipher::new(keys.profile, &keys.remote_key, &keys.remote_salt),
            rtp: StreamTable::default(),
            rtcp: StreamTable::default(),
        }
    }

    /// Opens an RTP packet in place. `header_len` (with extensions), `ssrc` and `seq` are as parsed from it.
    ///
    /// # Errors
    /// State is unchanged on every error, and a new SSRC gets state only with its first authentic packet.
    #[inline]
    pub fn unprotect_rtp(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        seq: u16,
    ) -> Result<Unprotected, SrtpError> {
        let known = self.rtp.find(ssrc);
        let Some((stream, window)) =
            known.and_then(|stream| self.rtp.window(stream).map(|window| (stream, window)))
        else {
            return self.unprotect_first(packet, header_len, ssrc, seq);
        };
        let index = estimate_index(window.highest(), seq);
        if !window.is_fresh(index) {
            return Err(SrtpError::Replay);
        }
        let len = self.cipher.open_rtp(packet, header_len, ssrc, index)?;
        self.rtp.accept(stream, index);
        Ok(Unprotected { len, stream, index, reused: false })
    }

    /// The first packet of an SSRC. A stream that starts near 65535 and loses its first packets shows itself first
    /// with a rollover counter of 1, so a low `seq` is tried with both.
    #[cold]
    fn unprotect_first(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        seq: u16,
    ) -> Result<Unprotected, SrtpError> {
        let index = u64::from(seq);
        let after_wrap = (1 << 16) | index;
        let retry = seq < 0x8000;
        // A failed attempt may overwrite the payload.
        let mut spare = [0; MAX_RETRY];
        let sealed = packet.get(header_len..).ok_or(SrtpError::TooShort)?;
        let mut kept = spare.get_mut(..sealed.len()).filter(|_| retry);
        if let Some(kept) = &mut kept {
            kept.copy_from_slice(sealed);
        }
        let (len, index) = match (self.cipher.open_rtp(packet, header_len, ssrc, index), kept) {
            (Err(SrtpError::Auth), Some(kept)) => {
                packet.get_mut(header_len..).ok_or(SrtpError::TooShort)?.copy_from_slice(kept);
                (self.cipher.open_rtp(packet, header_len, ssrc, after_wrap)?, after_wrap)
            }
            (first, _) => (first?, index),
        };
        let (stream, reused) = self.rtp.insert(ssrc, index);
        Ok(Unprotected { len, stream, index, reused })
    }

    /// Opens a compound SRTCP packet in place; returns its plain length.
    ///
    /// # Errors
    /// State is unchanged on every error. SRTCP without encryption is refused.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let word = self.cipher.rtcp_index_word(packet).ok_or(SrtpError::TooShort)?;
        let ssrc = ssrc_at(packet, 4).ok_or(SrtpError::TooShort)?;
        if word & E_FLAG == 0 {
            return Err(SrtpError::Unencrypted);
        }
        let index = word & !E_FLAG;
        let known = self.rtcp.find(ssrc);
        let window: Option<&ReplayWindow> = known.and_then(|stream| self.rtcp.window(stream));
        if window.is_some_and(|window| !window.is_fresh(u64::from(index))) {
            return Err(SrtpError::Replay);
        }
        let len = self.cipher.open_rtcp(packet, ssrc, index)?;
        match known {
            Some(stream) => self.rtcp.accept(stream, u64::from(index)),
            None => {
                self.rtcp.insert(ssrc, u64::from(index));
            }
        }
        Ok(len)
    }

    /// Would this RTP packet of a known SSRC open now? Changes nothing but the bytes, which are a copy.
    pub fn recognizes_rtp(&self, copy: &mut [u8], header_len: usize, ssrc: u32, seq: u16) -> bool {
        let window = self.rtp.find(ssrc).and_then(|stream| self.rtp.window(stream));
        window.is_some_and(|window| {
            let index = estimate_index(window.highest(), seq);
            window.is_fresh(index) && self.cipher.open_rtp(copy, header_len, ssrc, index).is_ok()
        })
    }

    /// Would this SRTCP packet of a known SSRC open now? Changes nothing but the bytes, which are a copy.
    pub fn recognizes_rtcp(&self, copy: &mut [u8]) -> bool {
        let words = self.cipher.rtcp_index_word(copy).zip(ssrc_at(copy, 4));
        words.is_some_and(|(word, ssrc)| {
            let window = self.rtcp.find(ssrc).and_then(|stream| self.rtcp.window(stream));
            let index = word & !E_FLAG;
            word & E_FLAG != 0
                && window.is_some_and(|window| window.is_fresh(u64::from(index)))
                && self.cipher.open_rtcp(copy, ssrc, index).is_ok()
        })
    }

    #[cfg(test)]
    pub(super) fn streams(&self) -> (usize, usize) {
        (self.rtp.len(), self.rtcp.len())
    }
}

impl std::fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpReceiver").finish_non_exhaustive()
    }
}
