//! The near cache's updates from the server's replies. No other file fills it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::env::{Cx, Env};
use super::exchange::Exchange;
use crate::api::key::Key;
use crate::near::Entry;
use crate::protocol::command::Command;
use crate::protocol::envelope::{Stored, Value};
use crate::protocol::reply::{LockReply, ReadReply, Reply, Ttl};
use crate::protocol::slot::{Slot, SlotSet};

/// A value that may enter the near cache.
#[derive(Debug)]
struct Learned<'a> {
    payload: &'a Bytes,
    compute_time: Duration,
    /// This process published the value, so it knows the whole TTL.
    is_published: bool,
}

impl Env {
    /// Bring the near cache to the reply's position in the server's stream.
    pub(crate) fn keep_coherent(&self, cx: Cx, exchange: &Exchange) {
        let Exchange { issued, reply } = exchange;
        let (command, slot, sent_at) = (&issued.command, issued.slot, issued.sent_at);
        let key = command.key();
        match (command, reply) {
            (_, Reply::Read(read)) if read.lock == LockReply::Granted => {
                self.near.on_absent(key.as_bytes(), cx.now);
            }
            (_, Reply::Read(read)) => self.keep_read(cx, (slot, key), read, sent_at),
            (Command::Publish { .. } | Command::Replace { .. }, Reply::Effect(true))
                if command.has_ended() =>
            {
                self.near.on_absent(key.as_bytes(), cx.now);
            }
            (
                Command::Publish { payload, compute_time, ttl, .. }
                | Command::Replace { payload, compute_time, ttl, .. },
                Reply::Effect(true),
            ) => {
                // The script has read the key again, so the server reports the key's next change.
                let learned = Learned { payload, compute_time: *compute_time, is_published: true };
                self.keep(cx, (slot, key), learned, (Ttl::Left(*ttl), sent_at));
            }
            // The script has not written.
            (
                Command::Publish { .. }
                | Command::Replace { .. }
                | Command::Release { .. }
                | Command::Renew { .. }
                | Command::Restore { .. }
                | Command::Touch { .. },
                Reply::Effect(false),
            )
            | (Command::Lock { .. }, Reply::Effect(false)) => {}
            // The key held a lock of this process, and no value.
            (Command::Lock { .. } | Command::Release { .. } | Command::Renew { .. }, _) => {
                self.near.on_absent(key.as_bytes(), cx.now);
            }
            // The reply contains no news about the key.
            (Command::Read { .. } | Command::ReadRaw { .. } | Command::ReadOrLock { .. }, _) => {}
            (Command::Insert { .. } | Command::Remove { .. }, _) if mutant!(OwnWriteKeepsNear) => {}
            // The server's invalidation follows the reply, after which the caller may already read.
            _ => self.near.remove(key.as_bytes()),
        }
    }

    /// Set the instant at which the entries of each connection were known to be current.
    pub(crate) fn note_freshness(&self) {
        for (node, at) in self.router.bounds() {
            self.near.set_bound(node, at);
        }
    }

    /// Trust the entries until a connection counts as dead.
    pub(crate) fn note_signs_of_life(&self) {
        if let Some(at) = self.router.dead_at(&self.config) {
            self.near.trust_until(at);
        }
    }

    /// Return the number of hits, if probes depend on it.
    pub(crate) fn near_hits(&self) -> u64 {
        if self.config.near_staleness_max.is_zero() { 0 } else { self.near.hits() }
    }

    /// Set the owners of moved slots in the near cache.
    pub(crate) fn note_owners(&self, slots: &SlotSet) {
        for slot in Slot::all().filter(|slot| slots.contains(*slot)) {
            self.near.set_node(slot, self.router.owner_index(slot));
        }
    }

    fn keep_read(&self, cx: Cx, (slot, key): (Slot, &Key), read: &ReadReply, sent_at: Instant) {
        let invalidated = read.invalidated && !mutant!(InvalidatedReadKept);
        let Stored::Value(value) = &read.stored else { return };
        if invalidated {
            self.near.remove(key.as_bytes());
        } else if read.ttl != Ttl::Unknown || !cx.tracked || mutant!(UnknownTtlKept) {
            // Without the TTL, an entry of the key is still current, and keeps its deadline.
            let Value { payload, compute_time } = value;
            let learned = Learned { payload, compute_time: *compute_time, is_published: false };
            self.keep(cx, (slot, key), learned, (read.ttl, sent_at));
        }
    }

    fn keep(
        &self,
        cx: Cx,
        (slot, key): (Slot, &Key),
        learned: Learned<'_>,
        (ttl, learned_at): (Ttl, Instant),
    ) {
        let deadline = ttl.deadline(learned_at, self.config.near_ttl_max);
        if let (true, Some(deadline)) = (cx.tracked, deadline) {
            let Learned { payload, compute_time, is_published } = learned;
            // A payload of the application may be a small part of a large buffer, which the near
            // cache must not keep alive.
            let value = self.unmark(payload.clone()).map(|payload| {
                if is_published { Bytes::copy_from_slice(&payload) } else { payload }
            });
            let expires_at = ttl.deadline(learned_at, Duration::MAX);
            let entry =
                Entry { value, deadline, expires_at, learned_at, compute_time, is_published };
            self.near.insert(slot, key, entry);
        } else {
            self.near.remove(key.as_bytes());
        }
    }
}

/// Return whether a command without a reply may have changed the value of its key.
pub(crate) fn may_change_value(command: &Command) -> bool {
    match command {
        Command::Publish { .. }
        | Command::Replace { .. }
        | Command::WriteLock { .. }
        | Command::Restore { .. }
        | Command::Insert { .. }
        | Command::Remove { .. }
        | Command::Touch { .. } => true,
        Command::Read { .. }
        | Command::ReadRaw { .. }
        | Command::ReadOrLock { .. }
        | Command::Lock { .. }
        | Command::Release { .. }
        | Command::Renew { .. } => false,
    }
}
