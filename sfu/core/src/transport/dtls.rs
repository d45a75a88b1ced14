//! DTLS.
