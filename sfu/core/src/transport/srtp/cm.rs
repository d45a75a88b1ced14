//! AES128_CM_HMAC_SHA1_80 (RFC 3711 section 4): encrypt, then authenticate.

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipher};
use ctr::{Ctr32BE, CtrCore};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::SrtpError;
use super::cipher::{E_FLAG, INDEX_LEN, RTCP_CLEAR};
use super::kdf::{Label, derive};

/// HMAC-SHA1 cut to 80 bits.
pub(super) const TAG_LEN: usize = 10;

/// Key schedule, keyed HMAC state and salt of one packet kind.
struct Keys {
    aes: Aes128Enc,
    hmac: Hmac<Sha1>,
    salt: [u8; 14],
}

/// Session keys of one direction.
pub(super) struct Cm {
    rtp: Keys,
    rtcp: Keys,
}

impl Cm {
    /// From a 16-byte master key and a 14-byte master salt.
    pub(super) fn derive(key: &[u8], salt: &[u8]) -> Self {
        Self {
            rtp: Keys::derive(key, salt, Label::RtpCipher, Label::RtpAuth, Label::RtpSalt),
            rtcp: Keys::derive(key, salt, Label::RtcpCipher, Label::RtcpAuth, Label::RtcpSalt),
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
        self.rtp.crypt(packet.get_mut(header_len..)?, ssrc, index);
        self.rtp.sign(&[packet, &roc(index)], tag);
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
        if header_len > len {
            return Err(SrtpError::TooShort);
        }
        self.rtp.verify(&[packet, &roc(index)], tag)?;
        let payload = packet.get_mut(header_len..).ok_or(SrtpError::TooShort)?;
        self.rtp.crypt(payload, ssrc, index);
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
        let word_end = len.checked_add(INDEX_LEN)?;
        let end = word_end.checked_add(TAG_LEN)?;
        let (signed, tag) = buf.get_mut(..end)?.split_at_mut_checked(word_end)?;
        let (packet, word) = signed.split_at_mut_checked(len)?;
        self.rtcp.crypt(packet.get_mut(RTCP_CLEAR..)?, ssrc, u64::from(index));
        word.copy_from_slice(&(E_FLAG | index).to_be_bytes());
        self.rtcp.sign(&[signed], tag);
        Some(end)
    }

    /// See [`super::cipher::Cipher::open_rtcp`].
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: u32,
        index: u32,
    ) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(INDEX_LEN + TAG_LEN).ok_or(SrtpError::TooShort)?;
        if len < RTCP_CLEAR {
            return Err(SrtpError::TooShort);
        }
        let (signed, tag) =
            packet.split_at_mut_checked(len + INDEX_LEN).ok_or(SrtpError::TooShort)?;
        self.rtcp.verify(&[signed], tag)?;
        let payload = signed.get_mut(RTCP_CLEAR..len).ok_or(SrtpError::TooShort)?;
        self.rtcp.crypt(payload, ssrc, u64::from(index));
        Ok(len)
    }
}

impl Keys {
    fn derive(key: &[u8], salt: &[u8], cipher: Label, auth: Label, salting: Label) -> Self {
        let auth_key: [u8; 20] = derive(key, salt, auth);
        Self::new(derive(key, salt, cipher), &auth_key, derive(key, salt, salting))
    }

    fn new(cipher_key: [u8; 16], auth_key: &[u8; 20], salt: [u8; 14]) -> Self {
        Self {
            aes: Aes128Enc::new(&cipher_key.into()),
            hmac: Hmac::new_from_slice(auth_key).expect("HMAC takes keys of any length"),
            salt,
        }
    }

    /// XORs the keystream of (SSRC, index) over `data` (RFC 3711 section 4.1.1).
    #[inline]
    fn crypt(&self, data: &mut [u8], ssrc: u32, index: u64) {
        let value = (u128::from(ssrc) << 64) | (u128::from(index & 0xffff_ffff_ffff) << 16);
        let mut iv = value.to_be_bytes();
        for (byte, salt) in iv.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        // The low 16 bits of the IV are zero, so 32 bits of counter never carry within a packet.
        Ctr32BE::from_core(CtrCore::inner_iv_init(&self.aes, &iv.into())).apply_keystream(data);
    }

    #[inline]
    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha1> {
        let mut mac = self.hmac.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }

    #[inline]
    fn sign(&self, parts: &[&[u8]], tag: &mut [u8]) {
        let full = self.mac(parts).finalize().into_bytes();
        for (to, from) in tag.iter_mut().zip(full) {
            *to = from;
        }
    }

    /// Compares in constant time.
    #[inline]
    fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), SrtpError> {
        self.mac(parts).verify_truncated_left(tag).map_err(|_| SrtpError::Auth)
    }
}

/// The rollover counter, authenticated after the packet though not sent (RFC 3711 section 4.2).
#[inline]
fn roc(index: u64) -> [u8; 4] {
    let [_, _, roc @ .., _, _] = index.to_be_bytes();
    roc
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    /// RFC 3711 appendix B.2: the start of the keystream and the carry between counter bytes.
    #[test]
    fn keystream_matches_rfc_3711() {
        let key = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        Keys::new(key, &[0; 20], salt).crypt(&mut stream, 0, 0);
        let start = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB \
            41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream[..48], hex(start));
        let end = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE \
            6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[0xfeff * 16..], hex(end));
    }

    /// The index must reach the keystream as 48 bits above the block counter, the SSRC above it.
    #[test]
    fn ssrc_and_index_select_the_keystream() {
        let keys = Keys::new([1; 16], &[0; 20], [2; 14]);
        let streams: std::collections::HashSet<[u8; 32]> =
            [(0, 0), (1, 0), (0, 1), (0, 1 << 16), (0, 1 << 47), (1 << 31, 0)]
                .into_iter()
                .map(|(ssrc, index)| {
                    let mut stream = [0; 32];
                    keys.crypt(&mut stream, ssrc, index);
                    stream
                })
                .collect();
        assert_eq!(streams.len(), 6);
    }

    /// The packet that libsrtp validates itself with (`srtp_validate` in srtp_driver.c).
    #[test]
    fn packet_matches_libsrtp() {
        let cm = Cm::derive(
            &hex("e1f97a0d3e018be0d64fa32c06de4139"),
            &hex("0ec675ad498afeebb6960b3aabe6"),
        );
        let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
        let sealed = hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 \
            b78d6acc99ea179b8dbb");
        let mut buf = [plain.as_slice(), &[0; 10]].concat();
        assert_eq!(cm.seal_rtp(&mut buf, 12, 28, 0xcafe_babe, 0x1234), Some(38));
        assert_eq!(buf, sealed);
        assert_eq!(cm.open_rtp(&mut buf, 12, 0xcafe_babe, 0x1234), Ok(28));
        assert_eq!(buf[..28], plain);
    }
}
