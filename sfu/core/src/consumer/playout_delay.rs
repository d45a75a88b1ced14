//! How long a player keeps pictures before it shows them, as it is told by the playout-delay header extension
//! (webrtc.org/experiments/rtp-hdrext/playout-delay): long enough for repairs, where they are late as a rule.
//!
//! libwebrtc's receiver does the same by itself, once packets were sent again: it waits for most of a round trip longer, 200 ms at most. But who
//! only watches does not know the round trip, and shows each repaired picture late, and those after it at once.

use std::time::Duration;

/// In these the extension counts.
const UNIT_MS: u128 = 10;
/// A request leaves when the next packet comes, and its answer with the next slot.
const BEYOND_ROUND_TRIP_MS: u128 = 20;
const MOST: u8 = 20;
/// The round trip is never twice the same.
const STEP: u8 = 3;
/// "As long as you like": libwebrtc's own bound, 10 s.
const MAX: u32 = 1000;
/// That it may be shorter again is said by so many pictures.
const TAKEN_BACK: u8 = 30;

/// What a subscriber is to be told whose repairs take so long, in units of 10 ms; `before`: what it is told.
pub(crate) fn for_repairs(repairs: Duration, before: u8) -> u8 {
    let units = (repairs.as_millis() + BEYOND_ROUND_TRIP_MS).div_ceil(UNIT_MS);
    let units = u8::try_from(units).unwrap_or(MOST).min(MOST);
    if units.abs_diff(before) < STEP { before } else { units }
}

/// What one slot says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlayoutDelay {
    said: u8,
    /// Pictures that are still to take it back.
    left: u8,
}

impl PlayoutDelay {
    /// Is there anything to say? `least`: as of [`PlayoutDelay::say`].
    #[inline]
    pub(crate) fn speaks(self, least: u8) -> bool {
        least | self.said | self.left != 0
    }

    /// The extension's value for the first packet of a picture. `least`: in units of 10 ms.
    pub(crate) fn say(&mut self, least: u8) -> Option<[u8; 3]> {
        if least != self.said {
            *self = Self { said: least, left: TAKEN_BACK };
        }
        let value = self.said();
        if least == 0 {
            self.left = self.left.saturating_sub(1);
        }
        value
    }

    /// The same for one that is sent again.
    pub(crate) fn said(self) -> Option<[u8; 3]> {
        let [_, value @ ..] = (u32::from(self.said) << 12 | MAX).to_be_bytes();
        (self.said > 0 || self.left > 0).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_waits_for_a_round_trip_and_not_for_ever() {
        let told = |ms, before| for_repairs(Duration::from_millis(ms), before);
        assert_eq!((told(60, 0), told(101, 0), told(5000, 0)), (8, 13, 20));
        assert_eq!((told(75, 8), told(95, 8), told(40, 8)), (8, 12, 8), "only what matters");
    }

    #[test]
    fn what_was_said_is_taken_back() {
        let mut delay = PlayoutDelay::default();
        assert!(!delay.speaks(0) && delay.speaks(13));
        assert_eq!(delay.say(0), None);
        // 130 ms to 10 s.
        for _ in 0..100 {
            assert_eq!(delay.say(13), Some([0x00, 0xd3, 0xe8]));
        }
        for _ in 0..TAKEN_BACK {
            assert_eq!(delay.say(0), Some([0x00, 0x03, 0xe8]));
        }
        assert_eq!(delay.say(0), None);
        assert!(!delay.speaks(0));
    }
}
