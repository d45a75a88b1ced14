//! Which worker gets a new peer connection. Pure: numbers in, a worker out.

use crate::WorkerId;

/// A worker that is this busy, in thousandths, gets nobody more of a room while another one is less busy.
const BUSY_PERMILLE: u32 = 600;
/// Peer connections of one room on one worker before others are used: a joining audience is placed before anybody sees what it costs.
const ROOM_SHARE: usize = 50;
/// Loads that differ by less than this count as equal, in thousandths.
const LOAD_STEP: u32 = 200;

/// When a room is spread over several workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// When its worker has enough to do.
    #[default]
    Auto,
    /// From the second peer connection on: tests and benchmarks.
    Always,
}

/// What one worker carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Burden {
    /// How busy its thread was over the last second, in thousandths.
    pub(crate) busy_permille: u32,
    /// Rooms that began on it.
    pub(crate) rooms: usize,
}

/// The worker for a new room: the least busy one and, among those about equally busy, the one with the fewest rooms.
pub(crate) fn place_room(burdens: &[Burden]) -> WorkerId {
    let burden = |burden: &Burden| (burden.busy_permille / LOAD_STEP, burden.rooms);
    let least = burdens.iter().enumerate().min_by_key(|(_, it)| burden(it));
    WorkerId(least.map_or(0, |(index, _)| index))
}

/// The worker for one more peer connection of a room that began on `home`. `share`: how many of the room's each worker has.
pub(crate) fn place_peer(
    burdens: &[Burden],
    share: &[usize],
    home: WorkerId,
    spread: Spread,
) -> WorkerId {
    let here = |index: usize| share.get(index).copied().unwrap_or_default();
    let full = |index: usize, burden: &Burden| {
        burden.busy_permille >= BUSY_PERMILLE || here(index) >= ROOM_SHARE
    };
    let fits = burdens.get(home.0).is_some_and(|burden| !full(home.0, burden));
    if fits && spread == Spread::Auto {
        return home;
    }
    let order = |(index, burden): &(usize, &Burden)| {
        // Fewest workers for a small room: first those where it is, and the home before all.
        let new = here(*index) == 0 && spread == Spread::Auto;
        let load = match spread {
            Spread::Auto => burden.busy_permille / LOAD_STEP,
            Spread::Always => 0,
        };
        let crowded = full(*index, burden) && spread == Spread::Auto;
        let fewest = if crowded || spread == Spread::Always { here(*index) } else { 0 };
        (crowded, load, fewest, new, *index != home.0, here(*index))
    };
    let best = burdens.iter().enumerate().min_by_key(order);
    best.map_or(home, |(index, _)| WorkerId(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(permilles: &[u32]) -> Vec<Burden> {
        permilles.iter().map(|&busy_permille| Burden { busy_permille, rooms: 0 }).collect()
    }

    /// How many of `peers` joins end where.
    fn fill(burdens: &[Burden], peers: usize, home: usize, spread: Spread) -> Vec<usize> {
        let mut share = vec![0; burdens.len()];
        for _ in 0..peers {
            let worker = place_peer(burdens, &share, WorkerId(home), spread);
            share[worker.0] += 1;
        }
        share
    }

    #[test]
    fn rooms_begin_where_least_is_going_on() {
        let mut burdens = busy(&[0, 0, 0]);
        for expected in [0, 1, 2, 0] {
            let worker = place_room(&burdens);
            assert_eq!(worker, WorkerId(expected));
            burdens[worker.0].rooms += 1;
        }
        burdens[1].busy_permille = 450;
        burdens[1].rooms = 0;
        assert_eq!(place_room(&burdens), WorkerId(2), "1 has no rooms, but is busy");
    }

    #[test]
    fn a_room_stays_on_its_worker_until_that_has_enough_to_do() {
        assert_eq!(fill(&busy(&[100, 0]), 12, 0, Spread::Auto), [12, 0]);
        assert_eq!(fill(&busy(&[599, 0]), 12, 0, Spread::Auto), [12, 0]);
        assert_eq!(fill(&busy(&[600, 0, 0]), 12, 0, Spread::Auto), [0, 12, 0]);
        assert_eq!(fill(&busy(&[700, 500, 100]), 12, 0, Spread::Auto), [0, 0, 12]);
        assert_eq!(fill(&busy(&[900, 950]), 4, 1, Spread::Auto), [2, 2], "all are busy");
    }

    #[test]
    fn an_audience_uses_all_workers() {
        assert_eq!(fill(&busy(&[0, 0]), 501, 1, Spread::Auto), [250, 251]);
        assert_eq!(fill(&busy(&[0; 4]), 120, 2, Spread::Auto), [50, 20, 50, 0]);
        assert_eq!(fill(&busy(&[0; 4]), 2000, 2, Spread::Auto), [500; 4]);
        assert_eq!(fill(&busy(&[0, 650]), 100, 0, Spread::Auto), [100, 0]);
    }

    #[test]
    fn spread_always_takes_turns() {
        assert_eq!(fill(&busy(&[0, 900]), 2, 0, Spread::Always), [1, 1]);
        assert_eq!(fill(&busy(&[300, 0, 0]), 7, 1, Spread::Always), [2, 3, 2]);
        assert_eq!(fill(&busy(&[0]), 3, 0, Spread::Always), [3]);
    }
}
