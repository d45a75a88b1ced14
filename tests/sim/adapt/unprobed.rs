//! Viewers whose feedback tells of every packet and who negotiated no RTX, by which probes are sent: what native stacks do.

use super::measure::Playback;
use super::scenario::{Meeting, Setup};
use super::start::RTTS;
use crate::net::{Link, MS, SECOND};
use crate::world::{SlotSpec, World};

const NO_RTX: SlotSpec = SlotSpec { rtx: false, ..SlotSpec::VIDEO };

fn join(meeting: &mut Meeting, rate: u64) -> usize {
    meeting.world.net.links.push(Link::new(rate));
    let link = meeting.world.net.links.len() - 1;
    let viewer = meeting.join_with(link, &[NO_RTX, SlotSpec::AUDIO]);
    let subscriber = meeting.viewers[viewer].subscriber;
    meeting.world.bind(subscriber, 0, Some(World::video_of(0)));
    meeting.world.bind(subscriber, 1, Some(World::audio_of(0)));
    viewer
}

#[test]
fn one_congestion_keeps_nobody_low_for_ever() {
    let mut misses = Vec::new();
    for rtt in RTTS {
        let mut meeting = Meeting::new(Setup::new(1, rtt));
        let viewer = join(&mut meeting, 5_000_000);
        meeting.run_seconds(8);
        meeting.link(viewer).rate = 400_000;
        meeting.run_seconds(12);
        let wide = meeting.world.now;
        meeting.link(viewer).rate = 5_000_000;
        meeting.run_seconds(50);
        let playback = Playback::of(&meeting, viewer);
        let end = meeting.world.now;
        let after = playback.first(2, wide).map(|at| (at - wide) / MS);
        let (top, freeze) = (
            playback.share(2, wide + 40 * SECOND..end),
            playback.longest_freeze(wide + SECOND..end),
        );
        println!("{} ms: the top layer after {after:?} ms", rtt / MS);
        if top < 0.99 || freeze > SECOND {
            misses.push(format!(
                "{} ms: after {after:?} ms, {top:.2} of the time, a freeze of {} ms",
                rtt / MS,
                freeze / MS
            ));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// Each try costs pictures: they become rare, and the layer that fits stays meanwhile.
#[test]
fn a_link_that_stays_narrow_is_tried_more_and_more_rarely() {
    let mut misses = Vec::new();
    for rtt in [20 * MS, 100 * MS] {
        let mut meeting = Meeting::new(Setup::new(1, rtt));
        let viewer = join(&mut meeting, 1_000_000);
        meeting.run_seconds(120);
        let playback = Playback::of(&meeting, viewer);
        let end = meeting.world.now;
        let tries = |during: std::ops::Range<u64>| {
            playback.changes(during).iter().filter(|(_, layer)| *layer == 2).count()
        };
        let (early, late) = (tries(0..end - 60 * SECOND), tries(end - 60 * SECOND..end));
        let during = end - 60 * SECOND..end;
        let (frozen, fits) = (playback.frozen(during.clone()), playback.share(1, during));
        let line = format!(
            "{} ms: {early} tries, then {late}, frozen {frozen:.3}, {fits:.2} what fits",
            rtt / MS
        );
        println!("{line}");
        if late > 2 || frozen > 0.05 || fits < 0.8 {
            misses.push(line);
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}
