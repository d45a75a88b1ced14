//! Peers that mean harm. Each test is named after its row of the table in `tests/README.md`.

mod bytes;
mod handshakes;
mod headers;
mod identity;
mod requests;
mod viewers;

use crate::call::{TRACKS, call};
use crate::net::{Micros, Path};
use crate::world::World;
use rand::Rng;
use rand::rngs::SmallRng;
use std::net::SocketAddr;

/// Those who must not notice.
fn room(seed: u64) -> World {
    call(seed, Path::CLEAN)
}

fn stranger() -> SocketAddr {
    ([198, 51, 100, 77], 7777).into()
}

/// Frames of a slot that became whole in this time.
fn whole_frames(world: &World, subscriber: usize, slot: usize, since: Micros) -> usize {
    let frames = world.subscribers[subscriber].slots[slot].frames.values();
    frames.filter(|frame| frame.complete.is_some_and(|at| at >= since)).count()
}

/// The victims saw and heard everything of these seconds.
fn assert_unharmed(world: &World, since: Micros) {
    let seconds = ((world.now - since) / crate::net::SECOND) as usize;
    let (pictures, sounds) = (whole_frames(world, 0, 0, since), whole_frames(world, 0, 1, since));
    assert!(pictures >= 30 * seconds - 2, "{pictures} whole frames in {seconds} s");
    assert!(sounds >= 50 * seconds - 2, "{sounds} packets of sound in {seconds} s");
    world.taps[0].assert_continuous(world.ssrc(0, 0));
    world.taps[0].assert_continuous(world.ssrc(0, 1));
}

fn noise(rng: &mut SmallRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes[..]);
    bytes
}
