//! The sans-I/O media engine of Switchyard: datagrams and commands in, datagrams and events out.
//!
//! No clock, no sockets, no threads, no unseeded randomness, no SDP, no locks: time and seeds are arguments.
#![forbid(unsafe_code)]

mod command;
pub mod egress;
mod event;
mod id;
pub mod params;
pub mod transport;

pub use command::Command;
pub use event::{CloseReason, ConsumerStats, Event, ProducerStats, Speaker, TransportStats};
pub use id::{ConsumerId, ProducerId, RouterId, TransportId};
