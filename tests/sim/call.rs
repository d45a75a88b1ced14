//! The smallest call: one who sends sound and picture, and one who watches.

use crate::net::Path;
use crate::world::{SlotSpec, Tracks, World};

pub(crate) const TRACKS: Tracks = Tracks { rids: &[], video: true, audio: true };

/// It has gone on for three seconds.
pub(crate) fn call(seed: u64, path: Path) -> World {
    let mut world = World::new(seed, path, path);
    world.add_publisher(TRACKS);
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    world.bind(0, 0, Some(World::video_of(0)));
    world.bind(0, 1, Some(World::audio_of(0)));
    world.run_seconds(3);
    world
}
