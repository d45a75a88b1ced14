//! The whole server on real sockets and as a process, one file for each side of it. One target, because each links the whole server.
#![allow(clippy::unwrap_used)]

mod api;
mod bot;
mod channel;
mod data;
mod explain;
mod files;
mod harness;
mod hostile;
mod http2;
mod metrics;
mod resume;
mod server;
mod stop;
mod tcp;
mod webhook;
mod whep;
mod whip;
