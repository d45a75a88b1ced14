//! The sans-I/O media engine of Switchyard: datagrams and commands in, datagrams and events out.
//!
//! No clock, no sockets, no threads, no unseeded randomness, no SDP, no locks: time and seeds are arguments.
#![forbid(unsafe_code)]
// Tests start the time that they then pass in; production code is held to `.clippy.toml`.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod allocate;
mod bandwidth;
mod clock;
mod command;
mod consumer;
mod counters;
mod data;
mod demux;
mod drop_reason;
pub mod egress;
pub mod engine;
mod event;
mod feedback;
mod forward;
pub mod framing;
mod id;
pub mod params;
pub mod pipe;
mod producer;
mod router;
mod speaker;
mod timers;
pub mod transport;

pub use command::Command;
pub use counters::{ByKind, DataCounters, MediaCounters, Traffic};
pub use data::{
    DataFault, DataMessage, DataParams, DataSender, PAYLOAD_LEN_MAX, RECIPIENTS_MAX, TOPIC_LEN_MAX,
};
pub use drop_reason::{DropReason, Drops};
pub use engine::{Engine, EngineConfig};
pub use event::{
    Acked, Bandwidth, CloseReason, ConsumerStats, ConsumerStatus, Event, LayerStatus, Limit,
    ProducerStats, Speaker, TransportStats, Watched,
};
pub use id::{ConsumerId, ProducerId, RouterId, TransportId, WorkerId};
pub use pipe::PipeTransmit;
