//! Locks on a line whose round trip is longer than their TTL.

use std::time::Duration;

use redcache_core::protocol::Script;

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::state::executed::{Executed, Part, Verb};
use crate::state::world::World;

/// After so many round trips a process must know their length.
const KNOWN_AFTER: u32 = 8;

impl World {
    /// Return the longest TTL of a lock.
    pub(super) fn lock_ttl_max(&self) -> Duration {
        let lock_ttl = self.plan.times.lock;
        if self.plan.is_slow {
            // Four round trips.
            lock_ttl.max(Duration::from_micros(8 * self.one_way()))
        } else if self.plan.faults.has(Fault::Unread) {
            // A server that does not read makes a near line a slow one.
            lock_ttl.max(Duration::from_micros(4 * self.slowest_trip))
        } else {
            lock_ttl
        }
    }

    /// Count the round trip of a command that the server answers now.
    pub(crate) fn note_round_trip(&mut self, executed: &Executed) {
        let over_at = self.now + self.one_way();
        self.slowest_trip = self.slowest_trip.max(over_at - executed.sent_at);
        let process = &mut self.processes[executed.process];
        let is_next = executed.sent_at >= process.round_trip_over_at;
        if process.life == executed.life && is_next && !executed.parts.is_empty() {
            process.round_trips += 1;
            process.round_trip_over_at = over_at;
        }
    }

    /// Check that the lock which a command has taken or renewed lives for two round trips at least.
    pub(super) fn check_slow_line(&mut self, executed: &Executed, part: &Part) -> Checked {
        let takes_lock = match executed.verb {
            Verb::Lock | Verb::Script(Script::WriteLock | Script::Renew) => true,
            Verb::Script(
                Script::Publish
                | Script::Replace
                | Script::Release
                | Script::Touch
                | Script::Restore,
            )
            | Verb::Read
            | Verb::Insert
            | Verb::Remove
            | Verb::Queued
            | Verb::Epoch
            | Verb::Owners
            | Verb::Other => false,
        };
        let process = &self.processes[executed.process];
        let is_known = process.life == executed.life && process.round_trips >= KNOWN_AFTER;
        let is_held = self.keys[part.key].raw.as_ref() == part.words.first();
        if !self.plan.is_slow || !takes_lock || !is_known || !is_held {
            return Ok(());
        }
        self.tally.cover(Invariant::LockOutlivesTrip);
        let (key, ttl) = (part.key, self.ttl_of(part.key));
        let least = Duration::from_micros(4 * self.plan.latency);
        Invariant::LockOutlivesTrip.holds(ttl.is_some_and(|ttl| ttl >= least), || {
            format!("the lock of key {key} lives {ttl:?}, and two round trips take {least:?}")
        })
    }
}
