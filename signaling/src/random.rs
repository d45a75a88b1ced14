//! Unpredictable text.

use rand::rngs::OsRng;
use rand::{Rng, TryRngCore};

/// 64 letters, so that six random bits give one without bias. All of them may stand in an address.
const ADDRESS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// RFC 8839 `ice-char`.
const ICE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 22 characters, 132 bits from the operating system: an identity or an address that nobody guesses.
pub(crate) fn id() -> String {
    let mut bytes = [0_u8; 22];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system has randomness");
    bytes.iter().map(|byte| char::from(ADDRESS[usize::from(byte & 63)])).collect()
}

/// So many characters for ICE and CNAME, six bits each. Unpredictable where the generator is.
pub(crate) fn ice_word(rng: &mut impl Rng, length: usize) -> String {
    (0..length).map(|_| char::from(ICE[usize::from(rng.random::<u8>() & 63)])).collect()
}

/// One character that stands for a number below 64.
pub(crate) fn ice_digit(number: usize) -> char {
    char::from(ICE[number & 63])
}

/// The number that a character of [`ice_digit`] stands for.
pub(crate) fn ice_number(digit: u8) -> Option<usize> {
    ICE.iter().position(|known| *known == digit)
}

/// A seed for a cryptographic generator.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0_u8; 32];
    OsRng.try_fill_bytes(&mut seed).expect("the operating system has randomness");
    seed
}
