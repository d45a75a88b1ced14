//! Reads the SRTP profiles that a ClientHello offers (RFC 5246 section 7.4.1.2, RFC 5764 section 4.1.1).
//!
//! Owns nothing. The library answers in the client's order of preference, and browsers list SHA1_80 before GCM, so the
//! choice is made here and the library is given that one profile.

use crate::transport::srtp::SrtpProfile;

/// Ours, best first: AES-128-GCM costs a quarter of SHA1_80 per packet.
pub(super) const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80];

const EXTENSION_USE_SRTP: u16 = 14;

/// The best of our profiles that the ClientHello (without its handshake header) offers.
pub(super) fn choose_profile(client_hello: &[u8]) -> Option<SrtpProfile> {
    let offered = offered_profiles(client_hello)?;
    PROFILES
        .into_iter()
        .find(|profile| offered.chunks_exact(2).any(|id| id == profile.id().to_be_bytes()))
}

/// The list in `use_srtp`: two bytes each, in the client's order.
fn offered_profiles(client_hello: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(client_hello);
    reader.take(2 + 32)?; // version, random
    reader.vector_u8()?; // session id
    reader.vector_u8()?; // cookie
    reader.vector_u16()?; // cipher suites
    reader.vector_u8()?; // compression methods
    let mut extensions = Reader(reader.vector_u16()?);
    loop {
        let kind = extensions.u16()?;
        let data = extensions.vector_u16()?;
        if kind == EXTENSION_USE_SRTP {
            return Reader(data).vector_u16();
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        self.0 = rest;
        self.take(usize::from(*len))
    }

    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client_hello(profiles: &[u16]) -> Vec<u8> {
        let mut hello = vec![0xfe, 0xfd];
        hello.extend_from_slice(&[9; 32]);
        hello.extend_from_slice(&[0, 3, 1, 2, 3, 0, 2, 0xc0, 0x2b, 1, 0]);
        let mut extensions = vec![0, 23, 0, 0];
        if !profiles.is_empty() {
            let list: Vec<u8> = profiles.iter().flat_map(|id| id.to_be_bytes()).collect();
            extensions.extend_from_slice(&[0, 14, 0, list.len() as u8 + 3, 0, list.len() as u8]);
            extensions.extend_from_slice(&list);
            extensions.push(0);
        }
        hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
        hello.extend_from_slice(&extensions);
        hello
    }

    #[test]
    fn our_order_decides() {
        let chrome = client_hello(&[0x0001, 0x0008, 0x0007]);
        assert_eq!(choose_profile(&chrome), Some(SrtpProfile::AeadAes128Gcm));
        let chrome_older = client_hello(&[0x0001, 0x0008]);
        assert_eq!(choose_profile(&chrome_older), Some(SrtpProfile::AeadAes256Gcm));
        let gstreamer = client_hello(&[0x0002, 0x0001]);
        assert_eq!(choose_profile(&gstreamer), Some(SrtpProfile::Aes128CmSha1_80));
    }

    #[test]
    fn nothing_of_ours_is_nothing() {
        assert_eq!(choose_profile(&client_hello(&[0x0002])), None);
        assert_eq!(choose_profile(&client_hello(&[])), None);
    }

    #[test]
    fn every_cut_is_refused() {
        let hello = client_hello(&[0x0007]);
        for len in 0..hello.len() {
            assert_eq!(choose_profile(&hello[..len]), None, "cut at {len}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = choose_profile(&bytes);
        }
    }
}
