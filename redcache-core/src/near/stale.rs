//! Copies that are no hits any more, and may be given in place of an error or of a wait.
//!
//! A copy's deadline by our clock is not later than Redis's own, because it counts from when the ttl was asked for, but
//! for the millisecond that Redis rounds to: a key that Redis drops within it ends its copy. So
//! a change that Redis reports before the deadline is a change: the copy is gone for good, as it is with a write of our
//! own, and with a flush. A report after the deadline says that Redis has dropped the expired key, or that somebody
//! locks or writes it anew; the two look alike. From then on the copy is given only to a call which has asked Redis and
//! was told that there is no value, for then a newer one would have been the answer.
//!
//! When the connection is lost, nobody tells of changes any more. All copies, with the ttl over or not, may then be
//! given until the connection is back, counted from the loss at the latest, unless Redis had reported them before.
//!
//! What cannot be known: a key that is removed after its ttl has passed, because there is nothing to remove, and a
//! change within one network trip of the deadline, whose report comes after it.

use std::time::{Duration, Instant};

use super::Near;
use super::packed::Time;
use crate::api::answer::{Answer, Source};

/// How outdated a copy may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staleness {
    pub(crate) max: Duration,
    /// When the connection was lost, if there is none. Of several that are missing, the first counts.
    pub(crate) lost_at: Option<Instant>,
}

/// What a call knows of the key beside the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Redis has said that there is no value.
    NoValue,
    /// Redis has said nothing.
    Nothing,
}

impl Near {
    /// Looks for an outdated copy that may be given.
    pub(crate) fn stale(
        &self,
        key: &[u8],
        now: Instant,
        staleness: Staleness,
        evidence: Evidence,
    ) -> Option<Answer> {
        if staleness.max.is_zero() {
            return None;
        }
        let packed = self.store.as_ref()?.peek(key)?;
        let current = self.epochs.current(packed.slot)?;
        let is_lost = current % 2 == 1;
        // While there is no connection the epoch is one more than that of its entries.
        let is_doubtful = packed.reported && evidence == Evidence::Nothing;
        if packed.epoch | u32::from(is_lost) != current || is_doubtful {
            return None;
        }
        let now = Time::of(now, self.base);
        let lost_at = staleness.lost_at.filter(|_| is_lost).map(|at| Time::of(at, self.base));
        let outdated_at = lost_at.map_or(packed.deadline, |at| at.min(packed.deadline));
        let is_in_bound = now.since(outdated_at) <= staleness.max;
        let age = Some(packed.age(now));
        is_in_bound.then_some(Answer { value: packed.value, source: Source::Stale, ttl: None, age })
    }

    /// The server has reported the key.
    pub(crate) fn on_reported(&self, key: &[u8], now: Instant) {
        self.drop_good(key, now, true);
    }

    /// The key holds no value any more. Of the reason nothing is known.
    pub(crate) fn on_absent(&self, key: &[u8], now: Instant) {
        self.drop_good(key, now, false);
    }

    /// Drops a copy that is not outdated yet.
    fn drop_good(&self, key: &[u8], now: Instant, reported: bool) {
        let Some(store) = &self.store else { return };
        if !self.keeps_stale {
            store.remove(key);
            return;
        }
        let now = Time::of(now, self.base);
        if mutant!(StaleAfterInvalidation)
            && let Some(packed) = store.peek(key)
            && packed.is_good(now)
        {
            store.insert(key.into(), packed.outdated(now));
            return;
        }
        drop(store.remove_if(key, |packed| packed.is_good(now)));
        if reported
            && let Some(packed) = store.peek(key)
            && !packed.reported
        {
            store.insert(key.into(), packed.reported());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Entry;
    use super::*;
    use crate::api::key::Key;
    use crate::protocol::slot::{Slot, SlotSet};

    const SECOND: Duration = Duration::from_secs(1);

    /// A near cache with one copy, good for a second from `start` on.
    fn one_copy() -> (Near, Instant) {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let start = Instant::now();
        let near = Near::new(start, 1 << 20, true, 1, 1);
        let value = Some(Bytes::from_static(b"v"));
        let (deadline, learned_at, compute_time) = (start + SECOND, start, Duration::ZERO);
        let entry = Entry { value, deadline, learned_at, compute_time, is_published: true };
        near.insert(Slot::FIRST, &Key::from("k"), entry);
        (near, start)
    }

    fn is_given(near: &Near, at: Instant, lost_at: Option<Instant>, evidence: Evidence) -> bool {
        near.stale(b"k", at, Staleness { max: 10 * SECOND, lost_at }, evidence).is_some()
    }

    #[test]
    fn a_copy_is_given_within_the_bound_after_its_deadline() {
        let (near, start) = one_copy();
        let given = |at| is_given(&near, at, None, Evidence::Nothing);
        assert!(given(start + SECOND) && given(start + 11 * SECOND));
        assert!(!given(start + 11 * SECOND + Duration::from_nanos(1)));
        let none = Staleness { max: Duration::ZERO, lost_at: None };
        assert_eq!(near.stale(b"k", start + SECOND, none, Evidence::NoValue), None);
    }

    #[test]
    fn a_report_before_the_deadline_ends_a_copy_and_one_after_it_asks_for_evidence() {
        let (near, start) = one_copy();
        near.on_reported(b"k", start + SECOND);
        assert!(!is_given(&near, start + 2 * SECOND, None, Evidence::Nothing));
        assert!(is_given(&near, start + 2 * SECOND, None, Evidence::NoValue));
        let (near, start) = one_copy();
        near.on_reported(b"k", start);
        assert!(!is_given(&near, start + SECOND, None, Evidence::NoValue));
    }

    #[test]
    fn an_own_write_and_a_flush_end_a_copy_for_good() {
        let (near, start) = one_copy();
        near.remove(b"k");
        assert!(!is_given(&near, start + SECOND, None, Evidence::NoValue));
        let (near, start) = one_copy();
        near.begin_epoch(&SlotSet::All);
        assert!(!is_given(&near, start + SECOND, None, Evidence::NoValue));
    }

    #[test]
    fn without_a_connection_a_copy_counts_from_the_loss_and_ends_with_the_next_connection() {
        let (near, start) = one_copy();
        let lost_at = start + SECOND / 2;
        near.lose_epoch(&SlotSet::All);
        assert_eq!(near.get(b"k", || lost_at), None);
        let given = |at| is_given(&near, at, Some(lost_at), Evidence::Nothing);
        assert!(given(lost_at) && given(lost_at + 10 * SECOND));
        assert!(!given(lost_at + 10 * SECOND + Duration::from_nanos(1)));
        near.begin_epoch(&SlotSet::All);
        assert!(!given(lost_at));
    }
}
