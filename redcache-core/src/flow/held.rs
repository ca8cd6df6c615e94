//! A lock in the place of a value: what is put back should nothing come of it.

use std::time::{Duration, Instant};

use crate::command::Command;
use crate::key::Key;
use crate::lock::LockId;
use crate::reply::{Replaced, Ttl};

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
