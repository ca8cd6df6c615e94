//! An entry as the near cache keeps it. There may be millions, so its times are short numbers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Entry, NearHit};
use crate::protocol::slot::Slot;

/// Nanoseconds since the near cache was made; 64 bits of them last for centuries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(u64);

impl Time {
    pub(super) fn of(instant: Instant, base: Instant) -> Self {
        let since = instant.saturating_duration_since(base);
        let nanos = since.as_secs().saturating_mul(1_000_000_000);
        Self(nanos.saturating_add(u64::from(since.subsec_nanos())))
    }

    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn before(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

/// A hit clones it, so nothing in it may be shared between entries: threads that read different keys would meet on its
/// counter.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) value: Option<Bytes>,
    pub(super) deadline: Time,
    /// From when it was learned to its deadline, rounded up.
    life_ms: u32,
    /// How long it took to load, if it took less than an hour.
    compute_us: u32,
    pub(super) epoch: u32,
    /// Kept with the entry, so that a hit need not compute it.
    pub(super) slot: Slot,
    /// The server has reported the key since the deadline.
    pub(super) reported: bool,
    is_published: bool,
}

/// No copy lives longer, whatever its ttl: the longest life that can be told, 49 days.
const LIFE_MAX: Duration = Duration::from_millis(u32::MAX as u64);

impl Kept {
    pub(super) fn new(entry: Entry, base: Instant, slot: Slot, epoch: u32) -> Self {
        let Entry { value, deadline, learned_at, compute_time, is_published } = entry;
        let life = deadline.saturating_duration_since(learned_at).min(LIFE_MAX);
        let deadline = Time::of(learned_at + life, base);
        let life_ms = u32::try_from(life.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        let compute_us = u32::try_from(compute_time.as_micros()).unwrap_or(u32::MAX);
        Self { value, deadline, life_ms, compute_us, epoch, slot, reported: false, is_published }
    }

    pub(super) fn reported(mut self) -> Self {
        self.reported = true;
        self
    }

    /// The same copy with its time over. Nothing but a bug on purpose wants that.
    pub(super) fn outdated(mut self, now: Time) -> Self {
        self.deadline = now;
        self
    }

    pub(super) fn is_good(&self, now: Time) -> bool {
        now < self.deadline
    }

    pub(super) fn value_len(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }

    pub(super) fn age(&self, now: Time) -> Duration {
        let learned_at = Time(self.deadline.0.saturating_sub(u64::from(self.life_ms) * 1_000_000));
        now.since(learned_at)
    }

    pub(super) fn hit(self, now: Time) -> NearHit {
        let (ttl, age) = (self.deadline.since(now), self.age(now));
        let compute_time = Duration::from_micros(self.compute_us.into());
        NearHit { value: self.value, ttl, age, compute_time, is_published: self.is_published }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_no_more_than_seven_words() {
        assert!(size_of::<Kept>() <= 56, "{}", size_of::<Kept>());
    }

    #[test]
    fn a_life_that_cannot_be_told_is_cut_short() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let base = Instant::now();
        let year = Duration::from_secs(365 * 24 * 3600);
        let compute_time = Duration::from_micros(1500);
        let (value, is_published) = (Some(Bytes::from_static(b"v")), true);
        let entry =
            Entry { value, deadline: base + year, learned_at: base, compute_time, is_published };
        let packed = Kept::new(entry, base, Slot::FIRST, 0);
        assert!(packed.is_good(Time::of(base + LIFE_MAX / 2, base)));
        assert!(!packed.is_good(Time::of(base + LIFE_MAX, base)));
        let hit = packed.hit(Time::of(base + year / 365, base));
        assert_eq!((hit.age, hit.ttl + hit.age), (year / 365, LIFE_MAX));
        assert_eq!((hit.compute_time, hit.is_published), (compute_time, true));
    }
}
