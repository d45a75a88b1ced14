//! The committed corpora through every reader of strangers' bytes: whole, cut at every byte, and with flipped bits. What a fuzzing run finds becomes
//! a file there.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use switchyard_tests::fuzz::TARGETS;

/// What one input may take; the least of three attempts counts.
const PATIENCE: Duration = Duration::from_millis(100);
const FLIPS: usize = 20;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fuzz").join(name)
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(corpus(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn feed(run: fn(&[u8]), input: &[u8], what: &str) {
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        run(input);
        fastest = fastest.min(start.elapsed());
        if fastest <= PATIENCE {
            return;
        }
    }
    panic!("{what}: {fastest:?} for one input");
}

fn replay(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target");
    let mut rng = SmallRng::seed_from_u64(1);
    for (path, seed) in seeds(name) {
        let what = path.display().to_string();
        feed(target.run, &seed, &what);
        for len in 0..seed.len() {
            feed(target.run, &seed[..len], &format!("{what}, cut at {len}"));
        }
        for _ in 0..FLIPS.min(seed.len() * 8) {
            let mut flipped = seed.clone();
            let bit = rng.random_range(0..seed.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            feed(target.run, &flipped, &format!("{what}, bit {bit}"));
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_reader_has_its_test_and_a_corpus() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
            for name in tested {
                assert!(seeds(name).len() >= 3, "{name}");
            }
        }
    };
}

replays! {
    stun ice dtls client_hello srtp sctp framing rtp extensions dependency_descriptor rtcp transport_feedback
    vp8 vp9 av1 h264 h265 red sdp_offer sdp_fragment client_message token engine
}
