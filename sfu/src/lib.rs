//! Worker threads and sockets around the media engine: the only crate that reads the clock for media.
//!
//! Control talks to the workers through a [`Handle`] (commands, never blocking) and an [`Events`] receiver. One worker is one thread, one
//! engine and one UDP port; a worker never waits for control.
#![deny(unsafe_code)]

mod discovery;
mod handle;
pub mod metrics;
mod outbox;
mod pipe;
mod placement;
#[allow(unsafe_code)]
pub mod socket;
mod start;
mod tcp;
mod worker;

pub use handle::Handle;
pub use placement::Spread;
pub use start::{Config, Error, Sfu};

pub use sfu_core::framing;
pub use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile};
pub use sfu_core::transport::stun::ufrag_of;
pub use sfu_core::{
    Acked, Bandwidth, ByKind, CloseReason, Command, ConsumerId, ConsumerStats, ConsumerStatus,
    DataCounters, DataFault, DataMessage, DataParams, DataSender, DropReason, Drops, Event,
    LayerStatus, Limit, MediaCounters, PAYLOAD_LEN_MAX, ProducerId, ProducerStats, RECIPIENTS_MAX,
    RouterId, Speaker, TOPIC_LEN_MAX, Traffic, TransportId, TransportStats, Watched, WorkerId,
    params,
};

/// What the workers tell control, in order per worker. Receive without pause: a control plane that falls more than 65 536 events of one worker
/// behind ends the process.
pub type Events = tokio::sync::mpsc::Receiver<(WorkerId, Event)>;
