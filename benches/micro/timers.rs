//! What 10 000 connected transports cost while nothing flows: one virtual second of the engine's time.

use std::time::Duration;

use criterion::Criterion;
use sfu_core::transport::srtp::SrtpProfile;

use crate::cpu::{ThreadCpu, thread_cpu};
use crate::world::World;

const TRANSPORTS: u64 = 10_000;
/// Between two consent checks of one peer, as browsers send them.
const CHECK_INTERVAL: Duration = Duration::from_millis(2500);

/// Timers alone, and with the consent checks of all peers, evenly spread.
pub(crate) fn idle(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("10 000 idle transports, 1 s");
    let mut world = World::new(TRANSPORTS, SrtpProfile::AeadAes128Gcm);
    let second = Duration::from_secs(1);
    group.bench_function("timers", |bencher| {
        bencher.iter_custom(|seconds| {
            let mut spent = Duration::ZERO;
            for _ in 0..seconds {
                world.prepare(0);
                let start = thread_cpu();
                world.pass(world.now + second);
                spent += thread_cpu() - start;
            }
            spent
        });
    });
    let mut next = 0;
    group.bench_function("timers and consent checks", |bencher| {
        bencher.iter_custom(|seconds| {
            let mut spent = Duration::ZERO;
            for _ in 0..seconds {
                world.prepare(0);
                let checks = (TRANSPORTS as f64 / CHECK_INTERVAL.as_secs_f64()) as u32;
                let start = thread_cpu();
                for _ in 0..checks {
                    world.pass(world.now + second / checks);
                    next = (next + 1) % (TRANSPORTS as usize + 1);
                    world.check(next);
                }
                spent += thread_cpu() - start;
            }
            spent
        });
    });
    assert_eq!(world.engine.population().0, TRANSPORTS as usize + 1, "nobody was lost");
    group.finish();
}
