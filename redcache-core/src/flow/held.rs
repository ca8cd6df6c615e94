//! A lock of this process in Redis, and the value that it replaced.

use std::time::{Duration, Instant};

use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;
use crate::protocol::reply::{Replaced, Ttl};

/// A lock that this process holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) lock: LockId,
    /// The value that the lock replaced. An ordinary lock replaces nothing.
    pub(crate) replaced: Option<Replaced>,
    /// The time of the lock attempt.
    pub(crate) since: Instant,
}

impl Held {
    /// Return the command that restores the state of the key before the lock.
    ///
    /// The command restores the replaced value with the rest of its TTL, or deletes the lock.
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
            Ttl::Absent | Ttl::Unknown => Some(Duration::ZERO),
        };
        match left {
            // The value would have expired by now.
            Some(left) if left < Duration::from_millis(1) => Command::Release { key, lock },
            ttl => Command::Restore { key, lock, raw, ttl },
        }
    }
}
