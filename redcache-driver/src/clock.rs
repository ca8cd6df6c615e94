//! The time for copies in this process.

use std::time::Instant;

/// Gives an instant that is never earlier than the current one and at most two ticks of the kernel later: 8 ms where the
/// kernel ticks 250 times a second. On Linux it takes a fraction of the time that [`Instant::now`] takes; elsewhere it is the
/// same.
pub fn coarse_now() -> Instant {
    #[cfg(target_os = "linux")]
    return linux::coarse_now();
    #[cfg(not(target_os = "linux"))]
    Instant::now()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    use redcache_core::CoarseClock;
    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    static CLOCK: LazyLock<CoarseClock> = LazyLock::new(|| {
        let resolution = duration(clock_getres(ClockId::MonotonicCoarse));
        CoarseClock::new(reading(), Instant::now(), resolution)
    });

    pub(super) fn coarse_now() -> Instant {
        CLOCK.at(reading())
    }

    fn reading() -> Duration {
        duration(clock_gettime(ClockId::MonotonicCoarse))
    }

    /// A time since the machine started, which no clock of it gives as negative.
    fn duration(time: Timespec) -> Duration {
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_behind_the_exact_clock_and_soon_reached_by_it() {
        let told = coarse_now();
        for _ in 0..100_000 {
            let before = Instant::now();
            assert!(coarse_now() >= before);
        }
        while Instant::now() < told {}
    }
}
