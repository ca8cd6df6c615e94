//! The clock by which entries of the near cache expire.

use std::time::Instant;

use redcache_core::engine::{Near, NearTime};

/// Return an instant at or after the current one, by at most two ticks of the kernel: 8 ms at 250
/// ticks per second. If the kernel's tick is late, the instant is as much earlier.
///
/// On Linux it is several times cheaper to read than [`Instant::now`]. Elsewhere both are the same.
#[inline]
pub fn coarse_now() -> Instant {
    system::coarse_now()
}

/// The clock for the lookups of one near cache: that of [`coarse_now`], or the exact one. It
/// computes with nanoseconds, which is cheaper than with instants.
#[derive(Debug)]
pub(crate) struct NearClock {
    clock: system::Clock,
    /// The time at `reading`.
    start: NearTime,
    /// A reading in nanoseconds.
    reading: u64,
}

impl NearClock {
    pub(crate) fn coarse(near: &Near) -> Self {
        let (instant, reading) = system::coarse_now_and_nanos();
        Self { clock: system::COARSE, start: near.time_of(instant), reading }
    }

    pub(crate) fn exact(near: &Near) -> Self {
        let reading = system::nanos(system::EXACT);
        Self { clock: system::EXACT, start: near.time_of(Instant::now()), reading }
    }

    #[cfg(test)]
    pub(crate) fn is_exact(&self) -> bool {
        self.clock == system::EXACT
    }

    #[inline]
    pub(crate) fn now(&self) -> NearTime {
        self.start.plus_nanos(system::nanos(self.clock).saturating_sub(self.reading))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    use crate::coarse_clock::CoarseClock;

    pub(super) type Clock = ClockId;
    pub(super) const COARSE: Clock = ClockId::MonotonicCoarse;
    pub(super) const EXACT: Clock = ClockId::Monotonic;

    static CLOCK: LazyLock<CoarseClock> = LazyLock::new(|| {
        let resolution = duration(clock_getres(COARSE));
        CoarseClock::new(duration(reading()), Instant::now(), resolution)
    });

    #[inline]
    pub(super) fn coarse_now() -> Instant {
        CLOCK.at(duration(reading()))
    }

    pub(super) fn coarse_now_and_nanos() -> (Instant, u64) {
        let clock = &*CLOCK;
        let reading = reading();
        (clock.at(duration(reading)), in_nanos(reading))
    }

    /// Return the reading of a clock in nanoseconds.
    #[inline]
    pub(super) fn nanos(clock: Clock) -> u64 {
        in_nanos(clock_gettime(clock))
    }

    #[inline]
    fn reading() -> Timespec {
        clock_gettime(COARSE)
    }

    /// Convert the time since the machine started, which is neither negative nor centuries long.
    #[inline]
    fn in_nanos(time: Timespec) -> u64 {
        (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
    }

    /// Convert the time since the machine started, which the kernel never reports as negative.
    fn duration(time: Timespec) -> Duration {
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::LazyLock;
    use std::time::Instant;

    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// Both clocks are the exact one.
    pub(super) type Clock = bool;
    pub(super) const COARSE: Clock = false;
    pub(super) const EXACT: Clock = true;

    pub(super) fn coarse_now() -> Instant {
        Instant::now()
    }

    pub(super) fn coarse_now_and_nanos() -> (Instant, u64) {
        let (origin, now) = (*ORIGIN, Instant::now());
        (now, now.duration_since(origin).as_nanos() as u64)
    }

    pub(super) fn nanos(_: Clock) -> u64 {
        coarse_now_and_nanos().1
    }
}

#[cfg(test)]
mod tests {
    use redcache_core::Config;
    use redcache_core::engine::{Engine, Seed};

    use super::*;

    #[test]
    fn the_time_of_a_lookup_is_that_of_the_coarse_clock() {
        let config = Config::builder().server("localhost", 6379).build().unwrap();
        let engine = Engine::new(Instant::now(), &Seed::new([7; 32], 0), config);
        let (near, clock) = (engine.near(), NearClock::coarse(engine.near()));
        for _ in 0..100_000 {
            let (before, time, after) = (coarse_now(), clock.now(), coarse_now());
            assert!(near.time_of(before) <= time && time <= near.time_of(after));
        }
    }

    #[test]
    fn the_exact_clock_of_a_lookup_is_never_behind() {
        let config = Config::builder().server("localhost", 6379).build().unwrap();
        let engine = Engine::new(Instant::now(), &Seed::new([7; 32], 0), config);
        let (near, clock) = (engine.near(), NearClock::exact(engine.near()));
        for _ in 0..100_000 {
            let before = Instant::now();
            assert!(near.time_of(before) <= clock.now());
        }
    }

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
