//! In which order the packets of one flush leave to one subscriber: UDP GSO wants runs of one size, of which only the last may be shorter.
//! Packets of one SSRC keep their order; different SSRCs may overtake each other inside one flush. Sound leaves soon: it ends the first run, which is short then. Before that it
//! would be a message of its own, which costs as much as some packets do.

/// Packets that sound may have to wait for: about 10 ms of a link of 8 Mbit/s.
const BEFORE_SOUND_MAX: usize = 8;

/// One packet's place: which slot it is of, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) lane: usize,
    pub(super) size: usize,
}

/// A slot's packets that are not placed yet: `items[next..end]`.
#[derive(Clone, Copy, Debug)]
struct Lane {
    next: usize,
    end: usize,
    sound: bool,
}

impl Lane {
    fn is_left(&self) -> bool {
        self.next < self.end
    }
}

/// Working memory, kept between flushes.
#[derive(Debug, Default)]
pub(super) struct Order {
    lanes: Vec<Lane>,
    placed: Vec<usize>,
}

impl Order {
    /// Indices below `count` in the order in which these items leave. Items of one lane stand together, in order. `sound`: of a lane.
    pub(super) fn of(
        &mut self,
        count: usize,
        item: impl Fn(usize) -> Item,
        sound: impl Fn(usize) -> bool,
    ) -> &[usize] {
        self.placed.clear();
        self.lanes.clear();
        let mut last = None;
        for index in 0..count {
            let lane = item(index).lane;
            if last.replace(lane) != Some(lane) {
                self.lanes.push(Lane { next: index, end: index, sound: false });
            }
            if let Some(lane) = self.lanes.last_mut() {
                lane.end = index + 1;
            }
        }
        if self.lanes.len() < 2 {
            self.placed.extend(0..count);
            return &self.placed;
        }
        for lane in &mut self.lanes {
            lane.sound = sound(item(lane.next).lane);
        }
        let size = |index: usize| item(index).size;
        while self.placed.len() < count {
            let heads = || self.lanes.iter().filter(|lane| lane.is_left());
            let Some(segment) = heads().map(|lane| size(lane.next)).max() else { break };
            let waits = heads().any(|lane| lane.sound && size(lane.next) < segment);
            let until = if waits { self.placed.len() + BEFORE_SOUND_MAX } else { count };
            for lane in &mut self.lanes {
                let full = |placed: &[usize]| placed.len() == until;
                while lane.is_left() && size(lane.next) == segment && !full(&self.placed) {
                    self.placed.push(lane.next);
                    lane.next += 1;
                }
            }
            // Whatever is shorter may end the run; the shortest would begin the shortest run of its own.
            let heads = self.lanes.iter_mut().filter(|lane| lane.is_left());
            if let Some(lane) = heads
                .filter(|lane| size(lane.next) < segment)
                .min_by_key(|lane| (!lane.sound, size(lane.next)))
            {
                self.placed.push(lane.next);
                lane.next += 1;
            }
        }
        &self.placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes from here on.
    const SOUND: usize = 20;

    fn placed(items: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let item = |index: usize| Item { lane: items[index].0, size: items[index].1 };
        let mut order = Order::default();
        order
            .of(items.len(), item, |lane| lane >= SOUND)
            .iter()
            .map(|&index| items[index])
            .collect()
    }

    /// Messages that GSO makes of these sizes.
    fn runs(items: &[(usize, usize)]) -> usize {
        let (mut runs, mut segment, mut closed) = (0, 0, true);
        for &(_, size) in items {
            let begins = closed || size > segment;
            runs += usize::from(begins);
            closed = !begins && size < segment;
            segment = if begins { size } else { segment };
        }
        runs
    }

    #[test]
    fn one_slot_keeps_its_order() {
        let items = [(7, 1100), (7, 900), (7, 1200)];
        assert_eq!(placed(&items), items);
    }

    #[test]
    fn packets_of_a_slot_never_overtake_each_other() {
        let items = [(1, 5), (1, 9), (1, 5), (2, 9), (2, 1), (3, 7), (3, 9), (3, 9)];
        let placed = placed(&items);
        for lane in 1..=3 {
            let of = |list: &[(usize, usize)]| {
                list.iter().filter(|(l, _)| *l == lane).copied().collect::<Vec<_>>()
            };
            assert_eq!(of(&placed), of(&items));
        }
        assert_eq!(placed.len(), items.len());
    }

    /// A keyframe in full packets, its shorter end, and two voices.
    #[test]
    fn sound_waits_for_a_few_packets_only() {
        let mut items = vec![(0, 1200); 30];
        items.extend([(0, 60), (SOUND, 97), (SOUND + 1, 96)]);
        let order = placed(&items);
        let at = |lane: usize| order.iter().position(|(l, _)| *l == lane).unwrap();
        assert_eq!((at(SOUND + 1), at(SOUND)), (BEFORE_SOUND_MAX, 2 * BEFORE_SOUND_MAX + 1));
        assert_eq!(runs(&order), 3);
        // With fewer packets it costs no run.
        let (_, few) = items.split_at(30 - BEFORE_SOUND_MAX);
        assert_eq!((runs(few), runs(&placed(few))), (2, 2));
        assert_eq!(placed(few)[BEFORE_SOUND_MAX], (SOUND + 1, 96));
    }

    /// A meeting: frames as libwebrtc cuts them (packets differ by a byte, the larger ones last), and audio.
    #[test]
    fn a_flush_makes_fewer_runs() {
        let mut items = Vec::new();
        for lane in 0..4 {
            let size = 1090 + 3 * lane;
            items.extend([size, size, size + 1, size + 1, size + 1].map(|size| (lane, size)));
        }
        items.extend((4..8).map(|lane| (lane, 90 + lane)));
        assert_eq!((runs(&items), runs(&placed(&items))), (11, 7));
        // The same camera twice, or two that send full packets.
        let full = [(0, 1200), (0, 1200), (0, 700), (1, 1200), (1, 1200), (1, 600), (2, 80)];
        assert_eq!((runs(&full), runs(&placed(&full))), (3, 2));
    }
}
