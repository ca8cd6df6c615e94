//! Conversion of a coarse clock's readings into instants.
//!
//! Reading the time is a large part of the cost of a near hit. Linux keeps a coarse clock that is
//! several times cheaper to read; its reading lies up to one resolution in the past.

use std::time::{Duration, Instant};

/// A mapping from coarse readings to instants that are never earlier than the true time and less
/// than two resolutions later. By these instants, an entry may expire slightly early but never
/// late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoarseClock {
    /// The instant of `reading`, and one resolution more.
    after: Instant,
    reading: Duration,
}

impl CoarseClock {
    /// Create a mapping from a `reading` of the coarse clock that was taken just before `base`.
    pub(crate) fn new(reading: Duration, base: Instant, resolution: Duration) -> Self {
        Self { after: base + resolution, reading }
    }

    /// Return the instant for another reading.
    pub(crate) fn at(&self, reading: Duration) -> Instant {
        self.after + reading.saturating_sub(self.reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_never_before_the_true_one_and_less_than_two_ticks_after() {
        let origin = Instant::now();
        let tick = Duration::from_millis(4);
        let coarse = |micros: u64| Duration::from_micros(micros - micros % 4_000);
        for made_at in [0, 1, 3_999, 4_000, 6_500] {
            let base = origin + Duration::from_micros(made_at);
            let clock = CoarseClock::new(coarse(made_at), base, tick);
            for later in [0, 1, 2_000, 3_999, 4_000, 1_000_000, 7_777_777] {
                let exact = base + Duration::from_micros(later);
                let instant = clock.at(coarse(made_at + later));
                assert!(instant >= exact && instant < exact + 2 * tick, "{made_at} {later}");
            }
        }
    }
}
