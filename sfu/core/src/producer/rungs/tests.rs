use super::*;

fn offered(rungs: &mut Rungs, index: usize) -> Vec<(u8, u64)> {
    rungs.list.clear();
    rungs.rest(index, (150_000, None), true);
    rungs.list.iter().map(|rung| (rung.layer.temporal, rung.bits_per_second)).collect()
}

#[test]
fn a_resting_picture_takes_as_much_for_a_pixel_as_a_larger_one() {
    let rung = |spatial, bits_per_second, width: u16, rests| Rung {
        layer: Layer { spatial, temporal: 0 },
        bits_per_second,
        size: Some((width, width / 16 * 9)),
        rests,
        fps: if rests { 0.0 } else { 15.0 },
        ..Rung::default()
    };
    let after = |now_us, settled, list: [Rung; 3]| {
        let mut rungs = Rungs { list: list.into(), ..Rungs::default() };
        (rungs.known[1].ended_us, rungs.known[1].settled) = (Some(0), settled);
        rungs.raise_resting(now_us);
        rungs.list.iter().map(|rung| rung.bits_per_second).collect::<Vec<_>>()
    };
    let costs = |list| after(0, 0, list);
    let (low, top) = (rung(0, 80_000, 240, false), rung(2, 1_200_000, 960, false));
    let rests = rung(1, 150_000, 480, true);
    assert_eq!(costs([low, rests, top]), [80_000, 300_000, 1_200_000]);
    assert_eq!(costs([low, Rung { rests: false, ..rests }, top])[1], 150_000, "is measured");
    assert_eq!(costs([low, rests, Rung { rests: true, ..top }])[1], 150_000, "nor is that");
    let enough = Rung { bits_per_second: 400_000, ..rests };
    assert_eq!(costs([low, enough, top])[1], 400_000);
    assert_eq!(costs([low, Rung { size: None, ..rests }, top])[1], 150_000);
    assert_eq!(after(0, 200_000, [low, rests, top])[1], 200_000, "was measured for long");
    assert_eq!(after(DOUBTED_US, 0, [low, rests, top])[1], 150_000);
    let elsewhere = Rung { fps: 0.0, ..top };
    assert_eq!(costs([low, rests, elsewhere])[1], 150_000, "is watched at another worker only");
}

#[test]
fn of_the_lowest_encoding_some_frames_can_be_had_while_it_rests() {
    let mut rungs = Rungs { flowing: 0b10, ..Rungs::default() };
    assert_eq!(offered(&mut rungs, 0), [(0, 150_000)], "nothing is known");
    let rung = |temporal, bits_per_second| Rung {
        layer: Layer { spatial: 1, temporal },
        bits_per_second,
        ..Rung::default()
    };
    rungs.known[1].learn_shares(500_000, &[rung(0, 200_000), rung(1, 500_000)]);
    assert_eq!(offered(&mut rungs, 0), [(0, 60_000), (1, 150_000)]);
    assert_eq!(offered(&mut rungs, 2), [(0, 150_000)], "who climbs has room for all");
    // At a few frames a second some looks see no frame of the lowest temporal layer.
    rungs.known[1].learn_shares(500_000, &[rung(0, 0), rung(1, 500_000)]);
    rungs.known[1].learn_shares(500_000, &[rung(1, 500_000)]);
    assert_eq!(offered(&mut rungs, 0), [(0, 60_000), (1, 150_000)]);
    rungs.flowing = 0;
    assert_eq!(offered(&mut rungs, 0), [(0, 150_000)]);
}
