//! One participant's peer connection: ICE-lite, DTLS, SRTP, SCTP.

pub mod dtls;
pub mod ice;
pub mod sctp;
pub mod srtp;
pub mod stun;
