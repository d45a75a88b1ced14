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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f \
        6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
    const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a \
        0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";

    /// The vectors give session keys, not master keys.
    fn gcm(algorithm: &'static Algorithm) -> Gcm {
        let key = &hex(KEY)[..algorithm.key_len()];
        let salt = hex("517569642070726f2071756f").try_into().unwrap();
        Gcm::new(algorithm, key, salt, key, salt)
    }

    /// RFC 7714 section 16: ROC 0, SEQ 0xf17b.
    #[test]
    fn rtp_matches_rfc_7714() {
        let aes128 = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 \
            0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce";
        let aes256 = "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 \
            9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
        for (algorithm, sealed) in [(&AES_128_GCM, aes128), (&AES_256_GCM, aes256)] {
            let (gcm, plain, sealed) = (gcm(algorithm), hex(RTP), hex(sealed));
            let mut buf = [plain.as_slice(), &[0; 16]].concat();
            let len = gcm.seal_rtp(&mut buf, 12, plain.len(), 0x5501_a0b2, 0xf17b);
            assert_eq!(len, Some(sealed.len()));
            assert_eq!(buf, sealed);
            assert_eq!(gcm.open_rtp(&mut buf, 12, 0x5501_a0b2, 0xf17b), Ok(plain.len()));
            assert_eq!(buf[..plain.len()], plain);
        }
    }

    /// RFC 7714 section 17: index 0x5d4, encrypted.
    #[test]
    fn rtcp_matches_rfc_7714() {
        let aes128 = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d \
            c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade \
            800005d4";
        let aes256 = "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 \
            a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be \
            800005d4";
        for (algorithm, sealed) in [(&AES_128_GCM, aes128), (&AES_256_GCM, aes256)] {
            let (gcm, plain, sealed) = (gcm(algorithm), hex(RTCP), hex(sealed));
            let mut buf = [plain.as_slice(), &[0; 20]].concat();
            let len = gcm.seal_rtcp(&mut buf, plain.len(), 0x4d61_7273, 0x5d4);
            assert_eq!(len, Some(sealed.len()));
            assert_eq!(buf, sealed);
            assert_eq!(gcm.open_rtcp(&mut buf, 0x4d61_7273, 0x5d4), Ok(plain.len()));
            assert_eq!(buf[..plain.len()], plain);
        }
    }
}
