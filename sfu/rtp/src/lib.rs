//! Bytes to values and back: RTP headers (RFC 3550), header extensions (RFC 8285), RTCP framing,
//! transport-wide feedback and codec payload descriptors.
//!
//! Everything here is a pure function of its arguments: no clock, no randomness, no logging, and no state beyond what
//! the caller holds. Nothing panics on bytes from the network; nothing allocates. What a value *means* for forwarding
//! (which layer to send, when to ask for a keyframe) is decided in `sfu-core`.

#![forbid(unsafe_code)]

pub mod codec;
pub mod dependency_descriptor;
mod error;
pub mod extension;
pub mod packet;
pub mod rtcp;
pub mod sequence;
pub mod transport_feedback;

pub use codec::{Codec, PayloadInfo, inspect};
pub use dependency_descriptor::{DependencyDescriptor, TemplateStructure};
pub use error::ParseError;
pub use extension::{ExtensionIter, ExtensionWriter};
pub use packet::{HeaderFields, RtpHeader, write_header};
pub use rtcp::{PacketKind, RtcpPacket, classify, compound};
pub use sequence::{SequenceExtender, TimestampExtender};
pub use transport_feedback::{TransportFeedback, TransportFeedbackBuilder};
