//! libFuzzer's way into [`switchyard_tests::fuzz`]: `FUZZ_TARGET` names the reader. Started by `tests/fuzz/run`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use switchyard_tests::fuzz::{TARGETS, Target};

/// What one input may take.
const PATIENCE: Duration = Duration::from_millis(100);

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name}: no such target"))
});

fuzz_target!(
    init: {
        // libFuzzer's own hook ends the process at every panic. One inside a library that the server catches is no finding; one that gets out is.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    },
    |data: &[u8]| {
        let start = Instant::now();
        (TARGET.run)(data);
        if start.elapsed() > PATIENCE {
            // Only what is slow every time: the machine has other things to do.
            let again = (0..3).map(|_| {
                let start = Instant::now();
                (TARGET.run)(data);
                start.elapsed()
            });
            let fastest = again.min().unwrap_or_default();
            assert!(fastest <= PATIENCE, "{fastest:?} for one input");
        }
    }
);
