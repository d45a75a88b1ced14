//! Identifiers that control hands out. They are never reused within one process, so a late command or
//! event can only miss, never hit the wrong object.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}

id!(
    /// The media half of one room: producers and consumers that may see each other.
    RouterId
);
id!(
    /// One participant's peer connection: ICE, DTLS, SRTP.
    TransportId
);
id!(
    /// One incoming track.
    ProducerId
);
id!(
    /// One outgoing track of one subscriber (a slot of its peer connection).
    ConsumerId
);

/// One worker: the index of its thread and of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub usize);
