//! The clock by which entries of the near cache expire.

use std::time::Instant;

/// Return an instant at or after the current one, by at most two ticks of the kernel: 8 ms at 250
/// ticks per second.
///
/// On Linux it is several times cheaper to read than [`Instant::now`]. Elsewhere both are the same.
#[inline]
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

    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    use crate::coarse_clock::CoarseClock;

    static CLOCK: LazyLock<CoarseClock> = LazyLock::new(|| {
        let resolution = duration(clock_getres(ClockId::MonotonicCoarse));
        CoarseClock::new(reading(), Instant::now(), resolution)
    });

    #[inline]
    pub(super) fn coarse_now() -> Instant {
        CLOCK.at(reading())
    }

    fn reading() -> Duration {
        duration(clock_gettime(ClockId::MonotonicCoarse))
    }

    /// Convert the time since the machine started, which the kernel never reports as negative.
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
        let coarse = coarse_now();
        for _ in 0..100_000 {
            let before = Instant::now();
            assert!(coarse_now() >= before);
        }
        while Instant::now() < coarse {}
    }
}
