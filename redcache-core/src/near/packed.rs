//! The stored form of an entry. There may be millions of them, so their times are short numbers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::compute_time::ComputeTime;
use super::content::Content;
use super::entry::{Entry, NearHit};
use crate::protocol::slot::Slot;

/// The nanoseconds since the near cache was created; 64 bits last for centuries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub(super) u64);

impl Time {
    /// Return the time some nanoseconds later.
    #[inline]
    #[must_use]
    pub fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    #[inline]
    pub(super) fn of(instant: Instant, base: Instant) -> Self {
        let since = instant.saturating_duration_since(base);
        // The instant is less than centuries away, so the number fits.
        let nanos = since.as_secs().wrapping_mul(1_000_000_000);
        Self(nanos.wrapping_add(u64::from(since.subsec_nanos())))
    }

    #[inline]
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    #[inline]
    pub(super) fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(super) fn before(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

/// A hit clones the entry, so entries must not share a reference counter: threads that read
/// different keys would contend for it.
#[derive(Debug, Clone)]
pub(super) struct PackedEntry {
    pub(super) content: Content,
    pub(super) deadline: Time,
    /// The milliseconds from learning the value to the deadline, rounded up.
    life_ms: u32,
    /// The milliseconds from the deadline to the end of the TTL in Redis, rounded up; the maximum
    /// for a key without a TTL.
    outlived_ms: u32,
    pub(super) epoch: u32,
    compute_time: ComputeTime,
    slot: SlotAndFlags,
}

/// The key's slot, so that a hit need not compute it, and two flags above its fourteen bits.
#[derive(Debug, Clone, Copy)]
struct SlotAndFlags(u16);

impl SlotAndFlags {
    /// Set if the server has invalidated the key since the deadline.
    const INVALIDATED: u16 = 1 << 14;
    const PUBLISHED: u16 = 1 << 15;

    fn slot(self) -> Slot {
        // Each number below the flags is the number of a slot.
        Slot::new(self.0 & (Self::INVALIDATED - 1)).unwrap_or(Slot::FIRST)
    }

    fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }
}

/// The longest life of an entry with any TTL: the largest `life_ms`, 49 days.
const LIFE_MAX: Duration = Duration::from_millis(u32::MAX as u64);

impl PackedEntry {
    pub(super) fn new(entry: Entry, base: Instant, slot: Slot, epoch: u32) -> Self {
        let Entry { value, deadline, expires_at, learned_at, .. } = entry;
        let life = deadline.saturating_duration_since(learned_at).min(LIFE_MAX);
        let ends_at = learned_at + life;
        let outlived = expires_at.map(|at| millis(at.saturating_duration_since(ends_at)));
        let flags = if entry.is_published { SlotAndFlags::PUBLISHED } else { 0 };
        Self {
            content: value.into(),
            deadline: Time::of(ends_at, base),
            life_ms: millis(life),
            outlived_ms: outlived.unwrap_or(u32::MAX),
            epoch,
            compute_time: ComputeTime::of(entry.compute_time),
            // A slot is below 2^14.
            slot: SlotAndFlags(slot.index() as u16 | flags),
        }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot.slot()
    }

    pub(super) fn is_invalidated(&self) -> bool {
        self.slot.has(SlotAndFlags::INVALIDATED)
    }

    pub(super) fn invalidated(mut self) -> Self {
        self.slot.0 |= SlotAndFlags::INVALIDATED;
        self.content = self.content.into_value().into();
        self
    }

    /// Return whether Redis cannot have expired the key yet.
    pub(super) fn is_within_ttl(&self, now: Time) -> bool {
        let outlived = u64::from(self.outlived_ms) * 1_000_000;
        self.outlived_ms == u32::MAX || now.0 < self.deadline.0.saturating_add(outlived)
    }

    /// Return the entry as an expired one. Only a mutant uses this.
    pub(super) fn expired(mut self, now: Time) -> Self {
        self.deadline = now;
        self
    }

    #[inline]
    pub(super) fn is_fresh(&self, now: Time) -> bool {
        now < self.deadline
    }

    pub(super) fn value_len(&self) -> usize {
        self.content.value().map_or(0, Bytes::len)
    }

    /// Return the instant at which the value was requested or published, or up to a millisecond
    /// earlier.
    #[inline]
    pub(super) fn learned_at(&self) -> Time {
        Time(self.deadline.0.saturating_sub(u64::from(self.life_ms) * 1_000_000))
    }

    pub(super) fn age(&self, now: Time) -> Duration {
        now.since(self.learned_at())
    }

    /// Return the instant at which the key expires in Redis, or up to a millisecond earlier.
    pub(super) fn expires_at(&self) -> Time {
        if self.outlived_ms == u32::MAX {
            return Time(u64::MAX);
        }
        let outlived = u64::from(self.outlived_ms.saturating_sub(1)) * 1_000_000;
        Time(self.deadline.0.saturating_add(outlived))
    }

    /// Return the hit of a value that was learned at `learned_at` and known to be current at
    /// `fresh_at`.
    #[inline]
    pub(super) fn hit(self, now: Time, learned_at: Time, fresh_at: Time) -> NearHit {
        let (ttl, age, fresh_as_of) =
            (self.deadline.since(now), now.since(learned_at), now.since(fresh_at));
        let compute_time = self.compute_time;
        let is_published = self.slot.has(SlotAndFlags::PUBLISHED);
        let content = self.content;
        NearHit { content, ttl, age, fresh_as_of, compute_time, is_published }
    }
}

/// Return a span in milliseconds, rounded up.
fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
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
        let base = base();
        let year = Duration::from_secs(365 * 24 * 3600);
        let compute_time = Duration::from_micros(1500);
        let entry = Entry {
            value: Some(Bytes::from_static(b"v")),
            deadline: base + year,
            expires_at: Some(base + year),
            learned_at: base,
            compute_time,
            is_published: true,
        };
        let packed = PackedEntry::new(entry, base, Slot::FIRST, 0);
        assert!(packed.is_fresh(Time::of(base + LIFE_MAX / 2, base)));
        assert!(!packed.is_fresh(Time::of(base + LIFE_MAX, base)));
        let learned_at = packed.learned_at();
        let hit = packed.hit(Time::of(base + year / 365, base), learned_at, Time(0));
        assert_eq!((hit.age, hit.ttl + hit.age), (year / 365, LIFE_MAX));
        assert_eq!((hit.compute_time.span(), hit.is_published), (compute_time, true));
    }

    #[test]
    fn a_slot_and_its_flags_share_a_number() {
        let last = Slot::new(Slot::COUNT - 1).unwrap();
        let (base, compute_time) = (base(), Duration::ZERO);
        let entry = Entry {
            value: None,
            deadline: base,
            expires_at: None,
            learned_at: base,
            compute_time,
            is_published: false,
        };
        let packed = PackedEntry::new(entry, base, last, 0);
        assert_eq!((packed.slot(), packed.is_invalidated()), (last, false));
        let packed = packed.invalidated();
        assert_eq!((packed.slot(), packed.is_invalidated()), (last, true));
        assert!(!packed.hit(Time(0), Time(0), Time(0)).is_published);
    }

    fn base() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }
}
