//! What the server says, and what of it the near cache keeps. This is the only place that fills it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ops::Op;
use super::{Engine, Sender};
use crate::api::key::Key;
use crate::flow::get::Get;
use crate::near::Entry;
use crate::protocol::command::{Command, Token};
use crate::protocol::envelope::{Stored, Value};
use crate::protocol::reply::{LockReply, ReadReply, Reply, Ttl};
use crate::protocol::slot::Slot;

/// A value that may enter the near cache.
#[derive(Debug)]
struct Learned<'a> {
    payload: &'a Bytes,
    compute_time: Duration,
    /// By this process, so that its whole life is known.
    is_published: bool,
}

impl Engine {
    /// Brings the near cache to where the stream stands.
    pub(super) fn keep_coherent(
        &self,
        now: Instant,
        slot: Slot,
        command: &Command,
        reply: &Reply,
        sent_at: Instant,
    ) {
        let key = command.key();
        match (command, reply) {
            (_, Reply::Read(read)) if read.lock == LockReply::Granted => {
                self.near.on_absent(key.as_bytes(), now);
            }
            (_, Reply::Read(read)) => self.keep_read(slot, key, read, sent_at),
            (
                Command::Publish { payload, compute_time, ttl, .. }
                | Command::Replace { payload, compute_time, ttl, .. },
                Reply::Effect(true),
            ) => {
                // The script read the key again, so its next change will be reported.
                let kept = Learned { payload, compute_time: *compute_time, is_published: true };
                self.keep((slot, key), kept, Ttl::Left(*ttl), sent_at);
            }
            // A script that found nothing to do has not written.
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
            // Our own lock was there, and no value.
            (Command::Lock { .. } | Command::Release { .. } | Command::Renew { .. }, _) => {
                self.near.on_absent(key.as_bytes(), now);
            }
            // What may be known of the key is as good as it was.
            (Command::Read { .. } | Command::ReadRaw { .. } | Command::ReadOrLock { .. }, _) => {}
            (Command::Insert { .. } | Command::Remove { .. }, _) if mutant!(OwnWriteKeepsNear) => {}
            // The server reports a write of ours too, but after its reply, when its caller may read already.
            _ => self.near.remove(key.as_bytes()),
        }
    }

    fn keep_read(&self, slot: Slot, key: &Key, read: &ReadReply, sent_at: Instant) {
        let invalidated = read.invalidated && !mutant!(InvalidatedReadKept);
        let Stored::Value(value) = &read.stored else { return };
        if invalidated {
            self.near.remove(key.as_bytes());
        } else {
            let Value { payload, compute_time } = value;
            let kept = Learned { payload, compute_time: *compute_time, is_published: false };
            self.keep((slot, key), kept, read.ttl, sent_at);
        }
    }

    fn keep(&self, (slot, key): (Slot, &Key), learned: Learned<'_>, ttl: Ttl, learned_at: Instant) {
        let deadline = ttl.deadline(learned_at, self.config.near_ttl_max);
        if let (true, Some(deadline)) = (self.is_reported, deadline) {
            let Learned { payload, compute_time, is_published } = learned;
            let value = self.unmark(payload.clone());
            let entry = Entry { value, deadline, learned_at, compute_time, is_published };
            self.near.insert(slot, key, entry);
        } else {
            self.near.remove(key.as_bytes());
        }
    }

    /// The server says that a key has changed. While we hold its lock, that was no expiry of its value.
    pub(super) fn on_reported(&self, now: Instant, key: &Key) {
        let flight = self.flights.find(key.as_bytes()).and_then(|id| self.flights.get(id));
        let is_ours = flight.is_some_and(|flight| match &flight.course.state {
            Get::Load { lock, .. } => lock.is_some(),
            Get::Publish { .. } => true,
            Get::Read { .. } | Get::Lock { .. } | Get::Unlock => false,
        });
        if is_ours {
            self.near.remove(key.as_bytes());
        } else {
            self.near.on_reported(key.as_bytes(), now);
        }
    }

    /// The command of a token cannot have changed a value for good, only its lock or what is published under it.
    pub(super) fn only_reads(&mut self, token: Token) -> bool {
        match Sender::of(token) {
            Sender::Flight(_) => true,
            Sender::Call(op, _) => {
                matches!(self.ops.get_mut(op), Some(Op::Read | Op::ReadMany(_)))
            }
            Sender::Nobody => false,
        }
    }
}

/// A command that got no answer, and may have changed the value of its key all the same.
pub(super) fn may_change_value(command: &Command) -> bool {
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
