//! Clocks that run at different rates. The world counts microseconds; each process and the server
//! reads them on a clock of its own.

use std::time::{Duration, Instant};

/// Microseconds since the start of the world, on a clock that no process in it can read.
pub(crate) type Micros = u64;

/// A clock with a start and a rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkewedClock {
    start: Instant,
    /// Microseconds on this clock per million microseconds of the world.
    rate: u64,
}

const MILLION: u64 = 1_000_000;

impl SkewedClock {
    /// Return a clock that is `ppm` parts per million fast (or slow, if negative).
    pub(crate) fn new(start: Instant, ppm: i64) -> Self {
        Self { start, rate: MILLION.saturating_add_signed(ppm) }
    }

    pub(crate) fn at(&self, now: Micros) -> Instant {
        self.start + Duration::from_micros(now * self.rate / MILLION)
    }

    /// Return the first moment at which the clock shows `at` or later.
    pub(crate) fn when(&self, at: Instant) -> Micros {
        let shown = at.saturating_duration_since(self.start).as_nanos();
        let nanos = shown * u128::from(MILLION) / u128::from(self.rate);
        let mut now = u64::try_from(nanos / 1000).unwrap_or(u64::MAX / MILLION / 2);
        now = now.min(u64::MAX / MILLION / 2);
        while self.at(now) < at && now < u64::MAX / MILLION / 2 {
            now += 1;
        }
        now
    }

    /// Return the time that the world takes until `span` has passed on this clock, rounded up.
    pub(crate) fn stretch(&self, span: Duration) -> Micros {
        let nanos = span.as_nanos() * u128::from(MILLION) / u128::from(self.rate);
        u64::try_from(nanos / 1000).map_or(u64::MAX, |micros| micros + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_returns_the_first_moment_that_shows_an_instant() {
        let start = Instant::now();
        for ppm in [-20_000, -1, 0, 7, 20_000] {
            let clock = SkewedClock::new(start, ppm);
            for micros in [0, 1, 999, 123_456, 86_400_000_000] {
                let at = start + Duration::from_micros(micros) + Duration::from_nanos(1);
                let now = clock.when(at);
                assert!(clock.at(now) >= at);
                assert!(now == 0 || clock.at(now - 1) < at);
            }
        }
    }
}
