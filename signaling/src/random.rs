//! Unpredictable text, from the operating system's generator.

use rand::TryRngCore;
use rand::rngs::OsRng;

/// 64 letters, so that every random byte gives one without bias.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 22 characters, 132 bits: an identity or an address that nobody guesses.
pub(crate) fn id() -> String {
    let mut bytes = [0_u8; 22];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system has randomness");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}
