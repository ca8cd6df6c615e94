//! Locks of loads that a later reload of the same key has superseded.

use std::collections::VecDeque;
use std::time::Instant;

use crate::api::key::Key;
use crate::flow::held::Held;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;

/// Locks that no longer block later loads of this process, in the order of their expiry.
///
/// A later load that finds such a lock in Redis undoes it and restores the value that it replaced.
#[derive(Debug, Default)]
pub(crate) struct SupersededLocks {
    held: VecDeque<(Instant, Held)>,
}

/// Beyond this count the oldest lock is forgotten. Its old value is lost if the reload fails too.
const SUPERSEDED_MAX: usize = 256;

impl SupersededLocks {
    /// Remember a lock that expires at `until` unless it is renewed.
    pub(crate) fn add(&mut self, now: Instant, held: Held, until: Instant) {
        while self.held.front().is_some_and(|(until, _)| *until <= now) {
            self.held.pop_front();
        }
        if self.held.len() == SUPERSEDED_MAX {
            self.held.pop_front();
        }
        self.held.push_back((until, held));
    }

    /// Return the command that undoes an unused lock of this process, and forget the lock.
    pub(crate) fn undo(&mut self, lock: LockId, key: &Key, now: Instant) -> Command {
        let at = self.held.iter().position(|(_, held)| held.lock == lock);
        match at.and_then(|at| self.held.remove(at)) {
            Some((_, held)) if !mutant!(SupersededReleased) => held.undo(key.clone(), now),
            Some(_) | None => Command::Release { key: key.clone(), lock },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::lock::Locks;
    use crate::protocol::reply::{Replaced, Ttl};

    #[test]
    fn a_superseded_lock_is_undone_once_with_the_value_it_replaced() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut locks = Locks::new(b"lock:", 0, &[1; 10]);
        let (lock, other, key) = (locks.issue(), locks.issue(), Key::from("k"));
        let replaced = Some(Replaced { raw: "old".into(), ttl: Ttl::Endless });
        let mut superseded = SupersededLocks::default();
        superseded.add(now, Held { lock, replaced, since: now }, now + Duration::from_secs(1));
        assert!(matches!(superseded.undo(other, &key, now), Command::Release { .. }));
        assert!(matches!(superseded.undo(lock, &key, now), Command::Restore { .. }));
        assert!(matches!(superseded.undo(lock, &key, now), Command::Release { .. }));
    }

    #[test]
    fn the_number_of_superseded_locks_is_bounded() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut locks = Locks::new(b"lock:", 0, &[1; 10]);
        let mut superseded = SupersededLocks::default();
        for at in 0..2 * SUPERSEDED_MAX as u64 {
            let until = now + Duration::from_millis(at);
            superseded.add(now, Held { lock: locks.issue(), replaced: None, since: now }, until);
            assert!(superseded.held.len() <= SUPERSEDED_MAX);
        }
        let later = now + Duration::from_secs(9);
        superseded.add(later, Held { lock: locks.issue(), replaced: None, since: later }, later);
        assert_eq!(superseded.held.len(), 1);
    }
}
