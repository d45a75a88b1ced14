//! Whether a track's encodings are listed the other way round. Here the lowest one comes first, as pages list them; OBS begins with the largest, which is the one
//! that it prefers (RFC 8853, section 5.2). What they take tells.

/// Each of them takes so much of the next one at least, in percent; a keyframe is no such difference for long …
const PERCENT: u64 = 120;
/// … and so long.
const AFTER_US: u64 = 3_000_000;
/// Nobody looked for so long: what was before says nothing.
const LOOKS_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Order {
    since_us: Option<u64>,
    looked_us: u64,
    told: bool,
}

impl Order {
    /// Bits per second of all encodings, in order, `None` where one does not flow or has not been measured. `true`, once: they are to be turned round.
    pub(crate) fn look(&mut self, now_us: u64, costs: &[Option<u64>]) -> bool {
        let pause_us = now_us.saturating_sub(std::mem::replace(&mut self.looked_us, now_us));
        if pause_us > LOOKS_US {
            self.since_us = None;
        }
        let falls = |pair: &[Option<u64>]| {
            pair[0].zip(pair[1]).is_some_and(|(a, b)| b > 0 && a * 100 >= b * PERCENT)
        };
        if costs.len() < 2 || !costs.windows(2).all(falls) {
            self.since_us = None;
            return false;
        }
        let since_us = *self.since_us.get_or_insert(now_us);
        let long = now_us.saturating_sub(since_us) >= AFTER_US;
        long && !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(costs: &[[Option<u64>; 3]]) -> Vec<usize> {
        let mut order = Order::default();
        let look = |(at, costs): (usize, &[Option<u64>; 3])| {
            order.look(at as u64 * 200_000, costs).then_some(at)
        };
        costs.iter().enumerate().filter_map(look).collect()
    }

    #[test]
    fn the_largest_first_for_three_seconds_is_the_other_way_round() {
        let falling = [Some(2_500_000), Some(1_700_000), Some(800_000)];
        let rising = [Some(150_000), Some(500_000), Some(1_700_000)];
        assert_eq!(looks(&[falling; 40]), [15], "once");
        assert!(looks(&[rising; 40]).is_empty());
        // A page that is shared: keyframes are most of it.
        let mut still = [[Some(20_000), Some(20_000), Some(20_000)]; 40];
        (4..10).for_each(|at| still[at] = [Some(90_000), Some(40_000), Some(20_000)]);
        assert!(looks(&still).is_empty());
        let mut order = Order::default();
        let now_and_then = [0, 10_000_000, 20_000_000].map(|at| order.look(at, &falling));
        assert_eq!(now_and_then, [false; 3], "nobody watched in between");
        let mut rests = [falling; 40];
        (0..40).step_by(10).for_each(|at| rests[at][1] = None);
        assert!(looks(&rests).is_empty(), "who comes and goes is told which to send");
    }
}
