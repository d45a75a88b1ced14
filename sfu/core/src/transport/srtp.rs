//! SRTP and SRTCP, in place (RFC 3711, RFC 7714).

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

impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}
