//! Session key derivation: the AES-CM PRF with a key derivation rate of zero (RFC 3711 section 4.3, RFC 7714 section 11).

use aes::cipher::{KeyIvInit, StreamCipher};
use aes::{Aes128Enc, Aes256Enc};
use ctr::Ctr128BE;

/// What a session key is for; the values are the labels of RFC 3711 section 4.3.2.
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpCipher = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpCipher = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// One session secret of `N` bytes.
///
/// A 12-byte salt (GCM) is padded on the right to the 14 bytes of the PRF, so the label lands on byte 7 for both.
///
/// # Panics
/// If the key is neither 16 nor 32 bytes or the salt is longer than 14.
pub(super) fn derive<const N: usize>(
    master_key: &[u8],
    master_salt: &[u8],
    label: Label,
) -> [u8; N] {
    let mut iv = [0; 16];
    iv[..14][..master_salt.len()].copy_from_slice(master_salt);
    iv[7] ^= label as u8;
    let mut out = [0; N];
    match master_key.len() {
        16 => keystream::<Ctr128BE<Aes128Enc>>(master_key, iv, &mut out),
        _ => keystream::<Ctr128BE<Aes256Enc>>(master_key, iv, &mut out),
    }
    out
}

fn keystream<C: KeyIvInit + StreamCipher>(key: &[u8], iv: [u8; 16], out: &mut [u8]) {
    C::new_from_slices(key, &iv).expect("the caller checked the key length").apply_keystream(out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    /// RFC 3711 appendix B.3.
    #[test]
    fn session_keys_match_rfc_3711() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let cipher: [u8; 16] = derive(&key, &salt, Label::RtpCipher);
        assert_eq!(cipher.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let salting: [u8; 14] = derive(&key, &salt, Label::RtpSalt);
        assert_eq!(salting.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth: [u8; 94] = derive(&key, &salt, Label::RtpAuth);
        let expected = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE \
            E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25 \
            6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2";
        assert_eq!(auth.to_vec(), hex(expected));
    }

    #[test]
    fn labels_give_different_keys() {
        use Label::*;
        let labels = [RtpCipher, RtpAuth, RtpSalt, RtcpCipher, RtcpAuth, RtcpSalt];
        let keys: std::collections::HashSet<[u8; 16]> =
            labels.iter().map(|&label| derive(&[7; 32], &[9; 12], label)).collect();
        assert_eq!(keys.len(), labels.len());
    }
}
