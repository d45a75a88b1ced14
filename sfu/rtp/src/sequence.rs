//! Wrapping counters: 16-bit sequence numbers and 32-bit timestamps, compared and extended to 64 bits (RFC 1982 idea,
//! RFC 3550 appendix A.1).
//!
//! An extended number is for ordering and arithmetic inside this process; it is not the SRTP packet index.

/// `a` comes after `b`: less than half the number space ahead of it.
#[inline]
#[must_use]
pub fn is_newer(a: u16, b: u16) -> bool {
    distance(a, b) > 0
}

/// Signed steps from `b` to `a`, -32768..=32767.
#[inline]
#[must_use]
pub fn distance(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b).cast_signed()
}

/// Timestamp `a` comes after `b`.
#[inline]
#[must_use]
pub fn is_newer_timestamp(a: u32, b: u32) -> bool {
    timestamp_distance(a, b) > 0
}

/// Signed ticks from `b` to `a`.
#[inline]
#[must_use]
pub fn timestamp_distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// The extended sequence number nearest to `last` whose low 16 bits are `sequence`. Where that would be negative, the
/// one above it.
#[inline]
#[must_use]
pub fn extend(last: u64, sequence: u16) -> u64 {
    #[allow(clippy::cast_possible_truncation)] // the low 16 bits are meant
    let step = distance(sequence, last as u16);
    last.checked_add_signed(step.into()).unwrap_or_else(|| u64::from(sequence))
}

/// The extended timestamp nearest to `last` whose low 32 bits are `timestamp`. Where that would be negative, the one
/// above it.
#[inline]
#[must_use]
pub fn extend_timestamp(last: u64, timestamp: u32) -> u64 {
    #[allow(clippy::cast_possible_truncation)] // the low 32 bits are meant
    let step = timestamp_distance(timestamp, last as u32);
    last.checked_add_signed(step.into()).unwrap_or_else(|| u64::from(timestamp))
}

/// Extends sequence numbers around the highest one seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceExtender {
    highest: Option<u64>,
}

impl SequenceExtender {
    /// The extended number. The first one lies one cycle up, so that an earlier packet that arrives late stays below
    /// it instead of below zero.
    #[inline]
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let extended = match self.highest {
            Some(highest) => extend(highest, sequence),
            None => (1 << 16) + u64::from(sequence),
        };
        self.highest = self.highest.max(Some(extended));
        extended
    }

    /// The highest number so far.
    #[inline]
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Extends timestamps around the highest one seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampExtender {
    highest: Option<u64>,
}

impl TimestampExtender {
    /// The extended timestamp. The first one lies one cycle up, as in [`SequenceExtender::extend`].
    #[inline]
    pub fn extend(&mut self, timestamp: u32) -> u64 {
        let extended = match self.highest {
            Some(highest) => extend_timestamp(highest, timestamp),
            None => (1 << 32) + u64::from(timestamp),
        };
        self.highest = self.highest.max(Some(extended));
        extended
    }

    /// The highest timestamp so far.
    #[inline]
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn comparison_wraps() {
        assert!(is_newer(0, 0xFFFF));
        assert!(!is_newer(0xFFFF, 0));
        assert!(!is_newer(5, 5));
        assert!(is_newer(0x7FFF, 0));
        assert!(!is_newer(0x8000, 0));
        assert!(is_newer_timestamp(3, u32::MAX));
        assert!(!is_newer_timestamp(u32::MAX, 3));
        assert_eq!(distance(2, 0xFFFE), 4);
        assert_eq!(timestamp_distance(0xFFFF_FFFE, 2), -4);
    }

    #[test]
    fn numbers_below_zero_become_the_ones_above() {
        assert_eq!(extend(3, 0xFFFF), 0xFFFF);
        assert_eq!(extend_timestamp(3, u32::MAX), u64::from(u32::MAX));
    }

    #[test]
    fn late_first_packets_stay_below() {
        let mut extender = SequenceExtender::default();
        let first = extender.extend(2);
        assert_eq!(extender.extend(0xFFFE), first - 4);
        assert_eq!(extender.highest(), Some(first));
        assert_eq!(extender.extend(4), first + 2);
        let mut extender = TimestampExtender::default();
        let first = extender.extend(100);
        assert_eq!(extender.extend(u32::MAX), first - 101);
        assert_eq!(extender.highest(), Some(first));
    }

    proptest! {
        #[test]
        fn extension_is_the_nearest(last in 1_u64 << 16..u64::MAX / 2, step in -0x8000_i64..0x8000) {
            let expected = last.wrapping_add_signed(step);
            #[allow(clippy::cast_possible_truncation)]
            let sequence = expected as u16;
            prop_assert_eq!(extend(last, sequence), expected);
        }

        #[test]
        fn timestamp_extension_is_the_nearest(last in 1_u64 << 32..u64::MAX / 2, step in any::<i32>()) {
            let expected = last.wrapping_add_signed(step.into());
            #[allow(clippy::cast_possible_truncation)]
            let timestamp = expected as u32;
            prop_assert_eq!(extend_timestamp(last, timestamp), expected);
        }

        #[test]
        fn extender_follows_a_long_reordered_run(start in any::<u16>(), steps in prop::collection::vec(-50_i64..2000, 1..200)) {
            let mut extender = SequenceExtender::default();
            let mut truth = i64::from(start);
            let base = extender.extend(start);
            for step in steps {
                truth += step;
                let Ok(offset) = u64::try_from(truth - i64::from(start)) else { break };
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let got = extender.extend(truth as u16);
                prop_assert_eq!(got, base + offset);
            }
        }
    }
}
