//! The server's clock: whole milliseconds since 1970, made from the instants passed in.

use std::time::{Duration, Instant};

/// The time at the start; any date far from both ends of the range works.
const START_MS: i64 = 1_700_000_000_000;

/// The interval of the server's background work: ten times a second, as in Redis.
const TICK_MS: i64 = 100;

/// The last time passed to the server; never runs backwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started_at: Instant,
    now_ms: i64,
    next_tick_ms: i64,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { started_at: now, now_ms: START_MS, next_tick_ms: START_MS + TICK_MS }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started_at).as_millis();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        self.now_ms = self.now_ms.max(START_MS.saturating_add(elapsed));
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Take all due ticks as one and return the time of the last.
    pub(super) fn take_tick(&mut self) -> Option<i64> {
        if self.now_ms < self.next_tick_ms {
            return None;
        }
        self.next_tick_ms = tick_after(self.now_ms);
        Some(self.next_tick_ms - TICK_MS)
    }

    /// Return the instant of the first future tick after `at_ms`.
    pub(super) fn tick_past(&self, at_ms: i64) -> Instant {
        self.instant(tick_after(at_ms).max(self.next_tick_ms))
    }

    /// Return `at_ms` as an instant.
    pub(super) fn instant(&self, at_ms: i64) -> Instant {
        let elapsed = u64::try_from(at_ms.saturating_sub(START_MS)).unwrap_or(0);
        self.started_at + Duration::from_millis(elapsed)
    }
}

fn tick_after(at_ms: i64) -> i64 {
    (at_ms.saturating_sub(START_MS) / TICK_MS + 1).saturating_mul(TICK_MS).saturating_add(START_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_after_a_moment_is_the_next_tenth_of_a_second() {
        for (at, tick) in [(0, 100), (1, 100), (99, 100), (100, 200), (101, 200)] {
            assert_eq!(tick_after(START_MS + at), START_MS + tick);
        }
    }

    #[test]
    fn an_earlier_time_is_ignored() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        clock.advance(start + Duration::from_secs(2));
        clock.advance(start + Duration::from_secs(1));
        assert_eq!(clock.now_ms(), START_MS + 2000);
    }

    #[test]
    fn a_tick_is_taken_once() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        assert_eq!(clock.take_tick(), None);
        clock.advance(start + Duration::from_millis(250));
        assert_eq!(clock.take_tick(), Some(START_MS + 200));
        assert_eq!(clock.take_tick(), None);
        assert_eq!(clock.tick_past(START_MS), start + Duration::from_millis(300));
    }
}
