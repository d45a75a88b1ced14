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
