//! The one error of this crate.

/// Why bytes from the network were not understood. Callers count it and drop the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end before the value does.
    #[error("truncated")]
    Truncated,
    /// Longer than a UDP datagram can be; offsets are kept in 16 bits.
    #[error("too long")]
    TooLong,
    /// Version is not 2 (RFC 3550 section 5.1).
    #[error("wrong version")]
    Version,
    /// The padding count is zero or larger than what it pads.
    #[error("bad padding")]
    Padding,
    /// A field has a value that its specification forbids, or the packet is of another type.
    #[error("malformed")]
    Malformed,
    /// A RED block carries a payload type that the receiver did not negotiate.
    #[error("payload type without mapping")]
    UnmappedPayloadType,
}
