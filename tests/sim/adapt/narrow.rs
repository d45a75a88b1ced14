//! Links that carry hardly more than the lowest layer, and lose packets beside.

use super::measure::Playback;
use super::scenario::{Meeting, Setup};
use crate::net::{Link, MS, SECOND};

/// The pacer is behind most of the time there. A repair still gets through while the player asks for it, or nothing would be shown until
/// the next keyframe.
#[test]
fn a_narrow_link_that_loses_packets_goes_on_to_show_a_picture() {
    let mut misses = Vec::new();
    for loss in [0.02, 0.05, 0.1] {
        for rtt in [40 * MS, 100 * MS] {
            for seed in 1..=6 {
                let setup = Setup { temporal: true, company: true, ..Setup::new(seed, rtt) };
                let mut meeting = Meeting::new(setup);
                let viewer = meeting.join(Link::new(8_000_000));
                let subscriber = meeting.viewers[viewer].subscriber;
                meeting.world.subscribers[subscriber].patient = true;
                for slot in &mut meeting.world.subscribers[subscriber].slots {
                    // libwebrtc, of whom only receives.
                    slot.nack_pause = 100 * MS;
                }
                meeting.run_seconds(8);
                let link = meeting.link(viewer);
                (link.rate, link.loss) = (250_000, loss);
                let settled = meeting.world.now + 10 * SECOND;
                meeting.run_seconds(30);
                let playback = Playback::of(&meeting, viewer);
                let longest = playback.longest_freeze(settled..meeting.world.now);
                let frozen = playback.frozen(settled..meeting.world.now);
                let line = format!(
                    "seed {seed}, {} ms, {} % lost: frozen {:.1} %, {} ms at most",
                    rtt / MS,
                    100.0 * loss,
                    100.0 * frozen,
                    longest / MS
                );
                println!("{line}");
                if longest > SECOND {
                    misses.push(line);
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}
