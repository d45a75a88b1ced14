//! The control plane of Switchyard: WebSocket signaling, WHIP and WHEP, the channel relay, rooms, join tokens, SDP, and the web demo.
//!
//! A frame becomes a [`protocol::ClientMessage`], a room turns it into effects without waiting for anything, and `media` hands
//! those that concern packets to the `sfu` crate. SDP never goes below this crate. `native` holds the commands that publish and
//! record files, of this or any other server.

mod api;
mod assets;
pub mod auth;
mod channel;
pub mod cli;
pub mod config;
mod explain;
mod http;
pub mod ice;
mod media;
mod metrics;
mod native;
mod negotiation;
mod overload;
pub mod panics;
mod port;
pub mod protocol;
mod random;
mod room;
mod server;
#[cfg(test)]
mod testing;
mod tls;
mod trust;
#[cfg(test)]
mod wall;
mod webhook;
mod whip;
mod ws;

pub use native::{bot, play, publish};
pub use server::{Ending, run};
pub use signaling_sdp as sdp;
