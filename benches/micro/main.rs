//! What the parts of the hot path cost: processor time of one thread, without a network unless it says so.
//!
//! Goes through public interfaces only: what has none (the packet cache, the rewriter, the timers) is measured through the engine.
#![allow(missing_docs, clippy::unwrap_used)]

mod cpu;
mod engine;
mod rtp;
mod send;
mod srtp;
mod timers;
mod world;

use criterion::{criterion_group, criterion_main};

criterion_group! {
    name = micro;
    config = cpu::criterion();
    targets = rtp::header, rtp::feedback, srtp::seal_and_open, engine::fan_out, engine::receive, engine::repair, engine::feedback,
        timers::idle, send::against_quinn_udp
}
criterion_main!(micro);
