//! One direction's session keys behind one type, whatever the profile.

use super::cm::Cm;
use super::gcm::Gcm;
use super::{SrtpError, SrtpProfile};

/// Bytes of an RTCP packet that stay in the clear: the first header word and the sender's SSRC.
pub(super) const RTCP_CLEAR: usize = 8;
/// Bytes of the E flag and the SRTCP index.
pub(super) const INDEX_LEN: usize = 4;
/// "This SRTCP packet is encrypted", the top bit of the index word.
pub(super) const E_FLAG: u32 = 0x8000_0000;

/// Transforms of the negotiated profile. Holds no packet state; the caller supplies SSRC and index.
///
/// Sealing functions take a buffer whose first bytes are the packet and return the protected length, or `None`
/// (with the packet possibly half encrypted) when the lengths do not fit.
pub(super) enum Cipher {
    Gcm(Gcm),
    Cm(Box<Cm>),
}

impl Cipher {
    /// # Panics
    /// If the key or salt length does not fit the profile.
    pub(super) fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Self {
        assert_eq!(key.len(), profile.key_len(), "SRTP master key length");
        assert_eq!(salt.len(), profile.salt_len(), "SRTP master salt length");
        match profile {
            SrtpProfile::AeadAes128Gcm => Self::Gcm(Gcm::aes128(key, salt)),
            SrtpProfile::AeadAes256Gcm => Self::Gcm(Gcm::aes256(key, salt)),
            SrtpProfile::Aes128CmSha1_80 => Self::Cm(Box::new(Cm::derive(key, salt))),
        }
    }

    /// Seals `buf[..len]`, of which `header_len` bytes stay in the clear.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buf: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        match self {
            Self::Gcm(gcm) => gcm.seal_rtp(buf, header_len, len, ssrc, index),
            Self::Cm(cm) => cm.seal_rtp(buf, header_len, len, ssrc, index),
        }
    }

    /// Opens a whole packet in place and returns its length without the tag.
    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtp(packet, header_len, ssrc, index),
            Self::Cm(cm) => cm.open_rtp(packet, header_len, ssrc, index),
        }
    }

    /// Seals the compound packet `buf[..len]`.
    pub(super) fn seal_rtcp(
        &self,
        buf: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Option<usize> {
        match self {
            Self::Gcm(gcm) => gcm.seal_rtcp(buf, len, ssrc, index),
            Self::Cm(cm) => cm.seal_rtcp(buf, len, ssrc, index),
        }
    }

    /// Opens an encrypted compound packet in place and returns its plain length.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: u32,
        index: u32,
    ) -> Result<usize, SrtpError> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtcp(packet, ssrc, index),
            Self::Cm(cm) => cm.open_rtcp(packet, ssrc, index),
        }
    }

    /// The E flag with the index, where this profile puts it. `None`: too short for header, tag and index.
    pub(super) fn rtcp_index_word(&self, packet: &[u8]) -> Option<u32> {
        let (tag, after) = match self {
            Self::Gcm(_) => (super::gcm::TAG_LEN, 0),
            Self::Cm(_) => (super::cm::TAG_LEN, super::cm::TAG_LEN),
        };
        if packet.len() < RTCP_CLEAR + tag + INDEX_LEN {
            return None;
        }
        let end = packet.len().checked_sub(after)?;
        packet.get(..end)?.last_chunk().map(|word| u32::from_be_bytes(*word))
    }
}

/// The SSRC in bytes 8..12 of an RTP packet or 4..8 of an RTCP packet.
#[inline]
pub(super) fn ssrc_at(packet: &[u8], offset: usize) -> Option<u32> {
    packet.get(offset..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
