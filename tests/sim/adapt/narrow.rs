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

/// When an encoding begins again, browsers begin all of that camera anew, and everybody sees that. So who comes back from the lowest layer passes by the middle
/// one, if it is not sent and the largest is about to fit.
#[test]
fn who_comes_back_wakes_no_layer_for_a_moment() {
    for rtt in [40 * MS, 100 * MS, 300 * MS] {
        for seed in 1..=3 {
            let setup = Setup { company: true, ..Setup::new(seed, rtt) };
            let mut meeting = Meeting::new(setup);
            let viewer = meeting.join(Link::new(8_000_000));
            meeting.run_seconds(8);
            meeting.link(viewer).rate = 250_000;
            meeting.run_seconds(15);
            let (wide, seen) = (meeting.world.now, meeting.sending.len());
            assert_eq!(
                meeting.sending[seen - 1].1,
                0b101,
                "the lowest for one, the largest for all others"
            );
            meeting.link(viewer).rate = 8_000_000;
            meeting.run_seconds(10);
            let sent = &meeting.sending[seen..];
            let after = |&(at, sent): &(u64, u8)| ((at - wide) / MS, sent);
            println!(
                "seed {seed}, {} ms: {:?}",
                rtt / MS,
                sent.iter().map(after).collect::<Vec<_>>()
            );
            let back = |&(at, sent): &(u64, u8)| sent == 0b100 && at - wide < 8 * SECOND;
            assert!(sent.len() == 1 && sent.iter().all(back), "seed {seed}, {} ms", rtt / MS);
        }
    }
}
