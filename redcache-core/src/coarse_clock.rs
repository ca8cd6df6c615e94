//! A clock that is read faster than it is exact.
//!
//! Reading the time is a good part of what a near hit costs. Some systems keep a coarser clock that is read several times
//! faster; what it says lies up to its resolution in the past.

use std::time::{Duration, Instant};

/// Makes instants of the readings of a coarse clock, never earlier than the true one and less than twice the
/// clock's resolution later: by it a copy may expire a little early, but not late.
#[derive(Debug, Clone, Copy)]
pub struct CoarseClock {
    base: Instant,
    reading: Duration,
    resolution: Duration,
}

impl CoarseClock {
    /// Makes one of a `reading` of the coarse clock that was taken just before `base`.
    pub fn new(reading: Duration, base: Instant, resolution: Duration) -> Self {
        Self { base, reading, resolution }
    }

    /// Gives the instant for another reading.
    pub fn at(&self, reading: Duration) -> Instant {
        self.base + reading.saturating_sub(self.reading) + self.resolution
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_never_before_the_true_one_and_less_than_two_ticks_after() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let origin = Instant::now();
        let tick = Duration::from_millis(4);
        let coarse = |micros: u64| Duration::from_micros(micros - micros % 4_000);
        for made_at in [0, 1, 3_999, 4_000, 6_500] {
            let base = origin + Duration::from_micros(made_at);
            let clock = CoarseClock::new(coarse(made_at), base, tick);
            for later in [0, 1, 2_000, 3_999, 4_000, 1_000_000, 7_777_777] {
                let exact = base + Duration::from_micros(later);
                let told = clock.at(coarse(made_at + later));
                assert!(told >= exact && told < exact + 2 * tick, "{made_at} {later}");
            }
        }
    }
}
