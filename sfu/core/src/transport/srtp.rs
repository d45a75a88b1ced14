//! SRTP and SRTCP, in place (RFC 3711, RFC 7714).
//!
//! Owns session keys, the outbound SRTCP index, and per inbound SSRC the rollover counter and the replay window.
//! Never parses RTP beyond the SSRC, never chooses an outbound packet index, never allocates per packet.

mod cipher;
mod cm;
mod gcm;
mod kdf;
mod receiver;
mod replay;
mod sender;
#[cfg(test)]
mod tests;

pub use receiver::{SrtpReceiver, Unprotected};
pub use sender::SrtpSender;

use crate::params::DtlsRole;

/// A protection profile (RFC 5764, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_128_GCM`, 0x0007: preferred.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`, 0x0008.
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, 0x0001: the fallback.
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// The value in the `use_srtp` extension (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 0x0001,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// The profile of a `use_srtp` value, if it is one of ours.
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Aes128CmSha1_80),
            0x0007 => Some(Self::AeadAes128Gcm),
            0x0008 => Some(Self::AeadAes256Gcm),
            _ => None,
        }
    }

    /// Master key length in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Master salt length in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes to export from DTLS under `EXTRACTOR-dtls_srtp` (RFC 5764 section 4.2).
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes that protection adds to an RTP packet.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }

    /// Bytes that protection adds to an RTCP packet: the tag, and the E flag with the index.
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + 4
    }

    /// The IANA name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }
}

/// Master keys and salts of both directions.
#[derive(Clone)]
pub struct SrtpKeys {
    /// Profile.
    pub profile: SrtpProfile,
    /// Master key for what we send: 16 or 32 bytes.
    pub local_key: Vec<u8>,
    /// Master salt for what we send: 12 (GCM) or 14 bytes.
    pub local_salt: Vec<u8>,
    /// Master key for what we receive.
    pub remote_key: Vec<u8>,
    /// Master salt for what we receive.
    pub remote_salt: Vec<u8>,
}

impl SrtpKeys {
    /// Splits exported keying material: client key, server key, client salt, server salt (RFC 5764 section 4.2).
    ///
    /// `role` is ours. `None` unless `material` is [`SrtpProfile::keying_material_len`] bytes long.
    pub fn from_keying_material(
        profile: SrtpProfile,
        material: &[u8],
        role: DtlsRole,
    ) -> Option<Self> {
        if material.len() != profile.keying_material_len() {
            return None;
        }
        let (keys, salts) = material.split_at_checked(2 * profile.key_len())?;
        let (client_key, server_key) = keys.split_at_checked(profile.key_len())?;
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len())?;
        let client = (client_key, client_salt);
        let server = (server_key, server_salt);
        let (local, remote) = match role {
            DtlsRole::Client => (client, server),
            DtlsRole::Server => (server, client),
        };
        Some(Self {
            profile,
            local_key: local.0.to_vec(),
            local_salt: local.1.to_vec(),
            remote_key: remote.0.to_vec(),
            remote_salt: remote.1.to_vec(),
        })
    }
}

impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Why an inbound packet was refused. State is as before the packet; its bytes may have been overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SrtpError {
    /// Shorter than its header, its tag and its index.
    #[error("too short")]
    TooShort,
    /// The authentication tag does not match.
    #[error("authentication failed")]
    Auth,
    /// Seen before, or older than the replay window.
    #[error("replayed or too old")]
    Replay,
    /// SRTCP with the E flag clear: no profile of ours sends it.
    #[error("not encrypted")]
    Unencrypted,
}
