//! The stored form of an entry. There may be millions of them, so their times are short numbers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::{Entry, NearHit};
use crate::protocol::slot::Slot;

/// The nanoseconds since the near cache was created; 64 bits last for centuries.
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

/// A hit clones it, so entries must not share a reference counter: threads that read different keys
/// would contend for it.
#[derive(Debug, Clone)]
pub(super) struct PackedEntry {
    pub(super) value: Option<Bytes>,
    pub(super) deadline: Time,
    /// The milliseconds from learning the value to the deadline, rounded up.
    life_ms: u32,
    /// The run time of the loader in microseconds, up to an hour.
    compute_us: u32,
    pub(super) epoch: u32,
    /// The key's slot, so that a hit need not compute it.
    pub(super) slot: Slot,
    /// The server has invalidated the key since the deadline.
    pub(super) is_invalidated: bool,
    is_published: bool,
}

/// The longest life of an entry, whatever its TTL: what `life_ms` can hold, 49 days.
const LIFE_MAX: Duration = Duration::from_millis(u32::MAX as u64);

impl PackedEntry {
    pub(super) fn new(entry: Entry, base: Instant, slot: Slot, epoch: u32) -> Self {
        let Entry { value, deadline, learned_at, compute_time, is_published } = entry;
        let life = deadline.saturating_duration_since(learned_at).min(LIFE_MAX);
        let deadline = Time::of(learned_at + life, base);
        let life_ms = u32::try_from(life.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        let compute_us = u32::try_from(compute_time.as_micros()).unwrap_or(u32::MAX);
        Self {
            value,
            deadline,
            life_ms,
            compute_us,
            epoch,
            slot,
            is_invalidated: false,
            is_published,
        }
    }

    pub(super) fn invalidated(mut self) -> Self {
        self.is_invalidated = true;
        self
    }

    /// Return the same entry, expired. Only a mutant uses it.
    pub(super) fn expired(mut self, now: Time) -> Self {
        self.deadline = now;
        self
    }

    pub(super) fn is_fresh(&self, now: Time) -> bool {
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
    fn an_entry_takes_no_more_than_seven_words() {
        assert!(size_of::<PackedEntry>() <= 56, "{}", size_of::<PackedEntry>());
    }

    #[test]
    fn a_life_beyond_the_longest_is_cut() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let base = Instant::now();
        let year = Duration::from_secs(365 * 24 * 3600);
        let compute_time = Duration::from_micros(1500);
        let (value, is_published) = (Some(Bytes::from_static(b"v")), true);
        let entry =
            Entry { value, deadline: base + year, learned_at: base, compute_time, is_published };
        let packed = PackedEntry::new(entry, base, Slot::FIRST, 0);
        assert!(packed.is_fresh(Time::of(base + LIFE_MAX / 2, base)));
        assert!(!packed.is_fresh(Time::of(base + LIFE_MAX, base)));
        let hit = packed.hit(Time::of(base + year / 365, base));
        assert_eq!((hit.age, hit.ttl + hit.age), (year / 365, LIFE_MAX));
        assert_eq!((hit.compute_time, hit.is_published), (compute_time, true));
    }
}
