//! The stored form of the run time of a loader.

use std::time::Duration;

/// A run time in microseconds: a number of eleven bits, shifted by one of five bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ComputeTime(u16);

impl ComputeTime {
    pub(crate) fn of(span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).min(2047 << 31);
        let shift = (64 - micros.leading_zeros()).saturating_sub(11);
        // The shifted number has at most eleven bits, and the shift at most five.
        Self((shift << 11) as u16 | (micros >> shift) as u16)
    }

    pub(crate) fn span(self) -> Duration {
        Duration::from_micros(u64::from(self.0 & 0x7ff) << (self.0 >> 11))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compute_time_keeps_three_digits() {
        for micros in [0, 1, 999, 2047, 2049, 123_456, 987_654_321, 4_000_000_000_000] {
            let span = Duration::from_micros(micros);
            let kept = ComputeTime::of(span).span();
            assert!(kept <= span && kept >= span - span / 1000, "{span:?} became {kept:?}");
        }
        assert!(ComputeTime::of(Duration::MAX).span() > Duration::from_secs(48 * 3600));
    }
}
