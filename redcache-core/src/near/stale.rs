//! Expired entries as answers instead of an error or a wait.
//!
//! An entry ends with its TTL, or earlier by `near_ttl_max`. By our clock its TTL ends no later
//! than in Redis, because it counts from the request of the TTL; only the millisecond to which
//! Redis rounds may differ. An invalidation before the end of the TTL is therefore a change, and
//! the entry is removed, as it is by an own write and by a flush. A later invalidation has two
//! possible reasons that look alike: Redis expired the key, or a client locked or wrote it. The
//! entry is then returned only to a call that has confirmed that Redis holds no value, because
//! Redis would have returned a newer value.
//!
//! While the connection is lost, no change is reported. Every entry, expired or not, may then be
//! returned until the next connection, unless it was invalidated before. Its staleness counts from
//! the loss or from its deadline, whichever came first.
//!
//! Two changes cannot be detected: the removal of a key after its TTL, when there is nothing to
//! remove, and a change within one network trip of the deadline, whose invalidation arrives after
//! the deadline.

use std::time::{Duration, Instant};

use super::packed::Time;
use super::store::Near;
use crate::api::answer::{Answer, Source};

/// The limit of staleness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staleness {
    pub(crate) max: Duration,
    /// The loss of the connection, if it is still missing. If several connections are missing, it
    /// is the first loss.
    pub(crate) lost_at: Option<Instant>,
}

/// The knowledge of a call about the absence of its key in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Redis has replied that it holds no value.
    Confirmed,
    /// Redis has not replied.
    Unknown,
}

impl Near {
    /// Return an expired entry that `staleness` allows.
    pub(crate) fn stale(
        &self,
        key: &[u8],
        now: Instant,
        staleness: Staleness,
        absence: Absence,
    ) -> Option<Answer> {
        if staleness.max.is_zero() {
            return None;
        }
        let packed = self.store.as_ref()?.peek(key)?;
        let current = self.epochs.current(packed.slot())?;
        // While the connection is lost, the epoch is one more than that of its entries.
        let is_lost = current % 2 == 1;
        let is_doubtful = packed.is_invalidated() && absence == Absence::Unknown;
        if packed.epoch | u32::from(is_lost) != current || is_doubtful {
            return None;
        }
        let now = Time::of(now, self.base);
        let lost_at = staleness.lost_at.filter(|_| is_lost).map(|at| Time::of(at, self.base));
        let stale_from = lost_at.map_or(packed.deadline, |at| at.min(packed.deadline));
        let is_within_limit = now.since(stale_from) <= staleness.max;
        let fresh_at = if packed.is_invalidated() {
            // The change may have preceded the current bound.
            packed.learned_at()
        } else {
            let bound = self.freshness.current(packed.slot());
            packed.learned_at().max(bound).min(packed.expires_at())
        };
        let (age, fresh_as_of) = (Some(packed.age(now)), Some(now.since(fresh_at)));
        let (value, source) = (packed.content.into_value(), Source::Stale);
        is_within_limit.then_some(Answer { value, source, ttl: None, age, fresh_as_of })
    }

    /// Handle an invalidation of the key by the server.
    pub(crate) fn on_invalidated(&self, key: &[u8], now: Instant) {
        self.remove_fresh(key, now, true);
    }

    /// Handle the absence of a value in Redis under the key, for an unknown reason.
    pub(crate) fn on_absent(&self, key: &[u8], now: Instant) {
        self.remove_fresh(key, now, false);
    }

    /// Remove an entry whose key cannot have expired in Redis, because the key has changed.
    fn remove_fresh(&self, key: &[u8], now: Instant, is_invalidated: bool) {
        let Some(store) = &self.store else { return };
        if !self.keeps_stale {
            store.remove(key);
            return;
        }
        let now = Time::of(now, self.base);
        if mutant!(StaleAfterInvalidation)
            && let Some(packed) = store.peek(key)
            && packed.is_fresh(now)
        {
            store.insert(key.into(), packed.expired(now));
            return;
        }
        let ends_with_deadline = mutant!(StaleAfterNearLimit);
        drop(store.remove_if(key, |packed| {
            packed.is_fresh(now) || packed.is_within_ttl(now) && !ends_with_deadline
        }));
        if is_invalidated
            && let Some(packed) = store.peek(key)
            && !packed.is_invalidated()
        {
            store.insert(key.into(), packed.invalidated());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::entry::Entry;
    use super::*;
    use crate::api::key::Key;
    use crate::protocol::slot::{Slot, SlotSet};

    const SECOND: Duration = Duration::from_secs(1);

    /// Return a near cache with one entry, fresh for a second from the returned instant on.
    fn one_entry() -> (Near, Instant) {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let start = Instant::now();
        let near = Near::new(start, 1 << 20, true, 1, 1);
        let value = Some(Bytes::from_static(b"v"));
        near.insert(Slot::FIRST, &Key::from("k"), entry(value, start, Some(start + SECOND)));
        (near, start)
    }

    /// Return an entry that is fresh for a second.
    fn entry(value: Option<Bytes>, learned_at: Instant, expires_at: Option<Instant>) -> Entry {
        let (deadline, compute_time) = (learned_at + SECOND, Duration::ZERO);
        Entry { value, deadline, expires_at, learned_at, compute_time, is_published: true }
    }

    fn is_returned(near: &Near, at: Instant, lost_at: Option<Instant>, absence: Absence) -> bool {
        near.stale(b"k", at, Staleness { max: 10 * SECOND, lost_at }, absence).is_some()
    }

    #[test]
    fn an_expired_entry_is_returned_within_the_limit() {
        let (near, start) = one_entry();
        let returned = |at| is_returned(&near, at, None, Absence::Unknown);
        assert!(returned(start + SECOND) && returned(start + 11 * SECOND));
        assert!(!returned(start + 11 * SECOND + Duration::from_nanos(1)));
        let none = Staleness { max: Duration::ZERO, lost_at: None };
        assert_eq!(near.stale(b"k", start + SECOND, none, Absence::Confirmed), None);
    }

    #[test]
    fn an_invalidation_removes_a_fresh_entry_and_makes_an_expired_one_need_confirmed_absence() {
        let (near, start) = one_entry();
        near.on_invalidated(b"k", start + SECOND);
        assert!(!is_returned(&near, start + 2 * SECOND, None, Absence::Unknown));
        assert!(is_returned(&near, start + 2 * SECOND, None, Absence::Confirmed));
        let (near, start) = one_entry();
        near.on_invalidated(b"k", start);
        assert!(!is_returned(&near, start + SECOND, None, Absence::Confirmed));
    }

    #[test]
    fn an_invalidation_removes_an_entry_that_only_the_near_limit_has_ended() {
        for expires_after in [Some(3 * SECOND), None] {
            let (near, start) = one_entry();
            let insert = || {
                let expires_at = expires_after.map(|after| start + after);
                near.insert(Slot::FIRST, &Key::from("k"), entry(None, start, expires_at));
            };
            let returned = |at| is_returned(&near, at, None, Absence::Confirmed);
            let within_ttl = start + 2 * SECOND;
            insert();
            assert!(returned(within_ttl));
            near.on_invalidated(b"k", within_ttl);
            assert!(!returned(within_ttl));
            insert();
            near.on_absent(b"k", within_ttl);
            assert!(!returned(within_ttl));
            insert();
            near.on_invalidated(b"k", start + 3 * SECOND);
            assert_eq!(returned(start + 3 * SECOND), expires_after.is_some());
        }
    }

    #[test]
    fn an_own_write_and_a_flush_remove_an_entry() {
        let (near, start) = one_entry();
        near.remove(b"k");
        assert!(!is_returned(&near, start + SECOND, None, Absence::Confirmed));
        let (near, start) = one_entry();
        near.begin_epoch(&SlotSet::All);
        assert!(!is_returned(&near, start + SECOND, None, Absence::Confirmed));
    }

    #[test]
    fn without_a_connection_staleness_counts_from_the_loss_until_the_next_connection() {
        let (near, start) = one_entry();
        let lost_at = start + SECOND / 2;
        near.lose_epoch(&SlotSet::All);
        assert_eq!(near.get(b"k", || lost_at), None);
        let returned = |at| is_returned(&near, at, Some(lost_at), Absence::Unknown);
        assert!(returned(lost_at) && returned(lost_at + 10 * SECOND));
        assert!(!returned(lost_at + 10 * SECOND + Duration::from_nanos(1)));
        near.begin_epoch(&SlotSet::All);
        assert!(!returned(lost_at));
    }
}
