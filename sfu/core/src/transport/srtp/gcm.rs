//! AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714), on aws-lc.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use super::SrtpError;
use super::cipher::{E_FLAG, INDEX_LEN, RTCP_CLEAR};
use super::kdf::{Label, derive};

/// Authentication tag, full length only.
pub(super) const TAG_LEN: usize = 16;

/// Session keys of one direction.
pub(super) struct Gcm {
    rtp: LessSafeKey,
    rtcp: LessSafeKey,
    rtp_salt: [u8; 12],
    rtcp_salt: [u8; 12],
}

impl Gcm {
    /// From a 16-byte master key and a 12-byte master salt.
    pub(super) fn aes128(key: &[u8], salt: &[u8]) -> Self {
        Self::new(
            &AES_128_GCM,
            &derive::<16>(key, salt, Label::RtpCipher),
            derive(key, salt, Label::RtpSalt),
            &derive::<16>(key, salt, Label::RtcpCipher),
            derive(key, salt, Label::RtcpSalt),
        )
    }

    /// From a 32-byte master key and a 12-byte master salt.
    pub(super) fn aes256(key: &[u8], salt: &[u8]) -> Self {
        Self::new(
            &AES_256_GCM,
            &derive::<32>(key, salt, Label::RtpCipher),
            derive(key, salt, Label::RtpSalt),
            &derive::<32>(key, salt, Label::RtcpCipher),
            derive(key, salt, Label::RtcpSalt),
        )
    }

    /// From session keys.
    pub(super) fn new(
        algorithm: &'static Algorithm,
        rtp_key: &[u8],
        rtp_salt: [u8; 12],
        rtcp_key: &[u8],
        rtcp_salt: [u8; 12],
    ) -> Self {
        Self {
            rtp: keyed(algorithm, rtp_key),
            rtcp: keyed(algorithm, rtcp_key),
            rtp_salt,
            rtcp_salt,
        }
    }

    /// See [`super::cipher::Cipher::seal_rtp`].
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buf: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        let end = len.checked_add(TAG_LEN)?;
        let (packet, tag) = buf.get_mut(..end)?.split_at_mut_checked(len)?;
        let (header, payload) = packet.split_at_mut_checked(header_len)?;
        let nonce = nonce(&self.rtp_salt, ssrc, index);
        self.rtp.seal_in_place_scatter(nonce, Aad::from(header), payload, &[], tag).ok()?;
        Some(end)
    }

    /// See [`super::cipher::Cipher::open_rtp`].
    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(TAG_LEN).ok_or(SrtpError::TooShort)?;
        let (packet, tag) = packet.split_at_mut_checked(len).ok_or(SrtpError::TooShort)?;
        let (header, payload) =
            packet.split_at_mut_checked(header_len).ok_or(SrtpError::TooShort)?;
        let nonce = nonce(&self.rtp_salt, ssrc, index);
        self.rtp
            .open_in_place_separate_tag(nonce, Aad::from(header), tag, payload)
            .map_err(|_| SrtpError::Auth)?;
        Ok(len)
    }

    /// See [`super::cipher::Cipher::seal_rtcp`].
    pub(super) fn seal_rtcp(
        &self,
        buf: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Option<usize> {
        let tag_end = len.checked_add(TAG_LEN)?;
        let end = tag_end.checked_add(INDEX_LEN)?;
        let (packet, word) = buf.get_mut(..end)?.split_at_mut_checked(tag_end)?;
        let (packet, tag) = packet.split_at_mut_checked(len)?;
        let (header, payload) = packet.split_at_mut_checked(RTCP_CLEAR)?;
        word.copy_from_slice(&(E_FLAG | index).to_be_bytes());
        let aad = rtcp_aad(header, word)?;
        let nonce = nonce(&self.rtcp_salt, ssrc, u64::from(index));
        self.rtcp.seal_in_place_scatter(nonce, Aad::from(aad), payload, &[], tag).ok()?;
        Some(end)
    }

    /// See [`super::cipher::Cipher::open_rtcp`].
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: u32,
        index: u32,
    ) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(TAG_LEN + INDEX_LEN).ok_or(SrtpError::TooShort)?;
        let (packet, trailer) = packet.split_at_mut_checked(len).ok_or(SrtpError::TooShort)?;
        let (tag, word) = trailer.split_at_checked(TAG_LEN).ok_or(SrtpError::TooShort)?;
        let (header, payload) =
            packet.split_at_mut_checked(RTCP_CLEAR).ok_or(SrtpError::TooShort)?;
        let aad = rtcp_aad(header, word).ok_or(SrtpError::TooShort)?;
        let nonce = nonce(&self.rtcp_salt, ssrc, u64::from(index));
        self.rtcp
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, payload)
            .map_err(|_| SrtpError::Auth)?;
        Ok(len)
    }
}

fn keyed(algorithm: &'static Algorithm, key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("derived to the algorithm's length"))
}

/// Two zero bytes, SSRC, 48-bit index, XORed with the salt (RFC 7714 sections 8.1 and 9.1; the SRTCP index is a
/// 31-bit number in the same place).
#[inline]
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let value = (u128::from(ssrc) << 48) | u128::from(index & 0xffff_ffff_ffff);
    let [_, _, _, _, iv @ ..] = value.to_be_bytes();
    Nonce::assume_unique_for_key(std::array::from_fn(|i| iv[i] ^ salt[i]))
}

/// Header and index word (RFC 7714 section 9.2).
fn rtcp_aad(header: &[u8], word: &[u8]) -> Option<[u8; RTCP_CLEAR + INDEX_LEN]> {
    let mut aad = [0; RTCP_CLEAR + INDEX_LEN];
    aad.first_chunk_mut::<RTCP_CLEAR>()?.copy_from_slice(header.get(..RTCP_CLEAR)?);
    aad.last_chunk_mut::<INDEX_LEN>()?.copy_from_slice(word.get(..INDEX_LEN)?);
    Some(aad)
}
