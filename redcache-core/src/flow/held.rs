//! A lock in the place of a value: what is put back should nothing come of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;
use crate::protocol::reply::{Replaced, Ttl};

/// A lock that we hold, and what it has replaced.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) lock: LockId,
    pub(crate) replaced: Option<Replaced>,
    /// When the lock was asked for.
    pub(crate) since: Instant,
}

impl Held {
    /// What makes the key be as it was before the lock, given the time.
    pub(crate) fn undo(self, key: Key, now: Instant) -> Command {
        let Self { lock, replaced, since } = self;
        let Some(Replaced { raw, ttl }) = replaced.filter(|_| !mutant!(OldValueDropped)) else {
            return Command::Release { key, lock };
        };
        let left = match ttl {
            Ttl::Endless => None,
            Ttl::Left(_) if mutant!(OldValueForEver) => None,
            Ttl::Left(left) if mutant!(OldValueRejuvenated) => Some(left),
            Ttl::Left(left) => Some(left.saturating_sub(now.saturating_duration_since(since))),
            Ttl::Absent => Some(Duration::ZERO),
        };
        match left {
            // Its time would be over by now.
            Some(left) if left < Duration::from_millis(1) => Command::Release { key, lock },
            ttl => Command::Restore { key, lock, raw, ttl },
        }
    }
}

/// Loads whose locks a later reload finds in its way. Whoever finds one gives it back as its holder would, with what it
/// has replaced.
#[derive(Debug, Default)]
pub(crate) struct Overruled {
    /// With when each lock has expired unless it was renewed, in that order.
    held: VecDeque<(Instant, Held)>,
}

/// Of more than that the oldest are forgotten: their old values are lost should the reload fail as well.
const OVERRULED_MAX: usize = 256;

impl Overruled {
    pub(crate) fn add(&mut self, now: Instant, held: Held, until: Instant) {
        while self.held.front().is_some_and(|(until, _)| *until <= now) {
            self.held.pop_front();
        }
        if self.held.len() == OVERRULED_MAX {
            self.held.pop_front();
        }
        self.held.push_back((until, held));
    }

    /// What gives back a lock of this process that nobody stands up for.
    pub(crate) fn undo(&mut self, lock: LockId, key: &Key, now: Instant) -> Command {
        let at = self.held.iter().position(|(_, held)| held.lock == lock);
        match at.and_then(|at| self.held.remove(at)) {
            Some((_, held)) if !mutant!(OverruledReleased) => held.undo(key.clone(), now),
            Some(_) | None => Command::Release { key: key.clone(), lock },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::lock::Locks;

    #[test]
    fn an_overruled_lock_is_given_back_with_what_it_had_replaced_and_once() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut locks = Locks::new(b"lock:", 0, &[1; 10]);
        let (lock, other, key) = (locks.issue(), locks.issue(), Key::from("k"));
        let replaced = Some(Replaced { raw: "old".into(), ttl: Ttl::Endless });
        let mut overruled = Overruled::default();
        overruled.add(now, Held { lock, replaced, since: now }, now + Duration::from_secs(1));
        assert!(matches!(overruled.undo(other, &key, now), Command::Release { .. }));
        assert!(matches!(overruled.undo(lock, &key, now), Command::Restore { .. }));
        assert!(matches!(overruled.undo(lock, &key, now), Command::Release { .. }));
    }

    #[test]
    fn no_more_overruled_locks_are_kept_than_may_be() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut locks = Locks::new(b"lock:", 0, &[1; 10]);
        let mut overruled = Overruled::default();
        for at in 0..2 * OVERRULED_MAX as u64 {
            let until = now + Duration::from_millis(at);
            overruled.add(now, Held { lock: locks.issue(), replaced: None, since: now }, until);
            assert!(overruled.held.len() <= OVERRULED_MAX);
        }
        let later = now + Duration::from_secs(9);
        overruled.add(later, Held { lock: locks.issue(), replaced: None, since: later }, later);
        assert_eq!(overruled.held.len(), 1);
    }
}
