//! `insert_with`: replace the value with a lock, load and publish; on any failure restore the
//! value. `change`: the same up to the load, which commits a change elsewhere; then remove the key.
//!
//! | state         | input                             | effect       | next          |
//! |---------------|-----------------------------------|--------------|---------------|
//! | `AwaitUnlock` | attempt                           | write lock   | `AwaitLock`   |
//! | `AwaitUnlock` | over                              |              | done          |
//! | `AwaitLock`   | granted                           |              | `Loading`     |
//! | `AwaitLock`   | another's lock                    | a deadline   | `AwaitUnlock` |
//! | `AwaitLock`   | an unused lock of this process    | undo it      | `AwaitUnlock` |
//! | `AwaitLock`   | granted, but sent twice           | restore      | `AwaitUnlock` |
//! | `AwaitLock`   | refused, or no reply              |              | done          |
//! | `Loading`     | another key of the call is locked | restore      | `AwaitUnlock` |
//! | `Loading`     | half of the lock's TTL is over    | renew        | `Loading`     |
//! | `Loading`     | a value                           | publish      | `Publishing`  |
//! | `Loading`     | over                              | restore      | done          |
//! | `Publishing`  | stored                            |              | done          |
//! | `Publishing`  | lock lost                         |              | done          |
//! | `Publishing`  | refused, or no reply              | restore      | done          |
//! | `Loading`     | the commit has ended              | remove       | `Removing`    |
//! | `Loading`     | the commit was cut off            |              | done          |
//! | `Removing`    | removed                           |              | done          |
//! | `Removing`    | refused, or no reply              | release      | done          |
//!
//! A write is `over` when the loader fails, exceeds `load_timeout` or stores nothing, when the wait
//! for the locks of others reaches its limit, or when the caller leaves. A command in flight is
//! answered first. A restore puts back the exact bytes with the rest of their TTL, or deletes the
//! lock if it replaced nothing. It compares with the lock, so it never undoes a later write of
//! another caller.
//!
//! A commit that has begun may have changed the data, even if it fails. So its key is removed, and
//! its old value is never restored. A commit that was cut off may still take effect, so its lock
//! stays until it expires.
//!
//! A value is written only under the lock, and a write that was not stored never reports success.

use std::time::Instant;

use crate::api::error::{Error, ErrorKind};
use crate::flow::held::Held;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::WriteLockReply;

mod context;

pub(crate) use context::{Context, Effects, End, Input};

/// The state of one key's write, named for what it awaits.
#[derive(Debug)]
pub(crate) enum Set {
    /// The end of another's lock, or the next attempt.
    AwaitUnlock,
    /// The reply to a write lock.
    AwaitLock { lock: LockId },
    /// The locks of the call's other keys, then the loader's result.
    Loading { held: Held },
    /// The reply to a publish.
    Publishing { held: Held },
    /// The reply to the removal of a changed key.
    Removing { lock: LockId, end: End },
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Set),
    Done(End),
}

impl Set {
    /// Return the lock that the write holds or has requested.
    pub(crate) fn lock(&self) -> Option<LockId> {
        match self {
            Self::AwaitUnlock => None,
            Self::AwaitLock { lock } | Self::Removing { lock, .. } => Some(*lock),
            Self::Loading { held } | Self::Publishing { held } => Some(held.lock),
        }
    }

    /// Return the end of a change whose commit has ended.
    pub(crate) fn committed(&self) -> Option<&End> {
        match self {
            Self::Removing { end, .. } => Some(end),
            Self::AwaitUnlock
            | Self::AwaitLock { .. }
            | Self::Loading { .. }
            | Self::Publishing { .. } => None,
        }
    }

    pub(crate) fn handle(
        self,
        input: Input,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Step {
        match (self, input) {
            (Self::AwaitUnlock, Input::Attempt) => {
                let lock = context.locks.issue();
                effects.send = Some(Command::WriteLock { key: context.key.clone(), lock });
                Step::Next(Self::AwaitLock { lock })
            }
            (Self::AwaitUnlock, Input::Over(end)) => Step::Done(end),
            (
                Self::AwaitLock { lock },
                Input::Locked { reply, asked_at, interrupted, fetching },
            ) => match on_locked(reply, (lock, asked_at, fetching), context, effects) {
                Self::Loading { held } if interrupted && !mutant!(RepeatedLockTrusted) => {
                    give_back(held, context, effects);
                    Step::Next(Self::AwaitUnlock)
                }
                next => Step::Next(next),
            },
            (Self::AwaitLock { .. }, Input::Refused(refusal)) => Step::Done(refused(refusal)),
            (Self::AwaitLock { .. }, Input::Failed(error)) => Step::Done(End::Failed(error)),
            (Self::Loading { held }, Input::GiveBack | Input::Attempt)
                if mutant!(WritersHoldAndWait) =>
            {
                Step::Next(Self::Loading { held })
            }
            (Self::Loading { held }, Input::GiveBack) => {
                give_back(held, context, effects);
                Step::Next(Self::AwaitUnlock)
            }
            (Self::Loading { held }, Input::Renew) => {
                let (key, lock) = (context.key.clone(), held.lock);
                effects.send_detached = Some(Command::Renew { key, lock });
                Step::Next(Self::Loading { held })
            }
            (Self::Loading { held }, Input::Loaded(publication)) => {
                effects.send = Some(publication.publish(context.key.clone(), held.lock));
                Step::Next(Self::Publishing { held })
            }
            (Self::Loading { held }, Input::Committed(end)) => {
                on_committed(held.lock, end, context, effects)
            }
            (Self::Loading { .. }, Input::CutOff(end)) => Step::Done(end),
            (Self::Removing { lock, end }, input) => {
                on_removing((lock, end), input, context, effects)
            }
            (Self::Loading { .. }, Input::Over(End::Abandoned))
                if mutant!(DroppedWriteKeepsLock) =>
            {
                Step::Done(End::Abandoned)
            }
            (Self::Loading { held }, Input::Over(end)) => {
                give_back(held, context, effects);
                Step::Done(end)
            }
            (Self::Publishing { .. }, Input::Published { done, interrupted }) => {
                Step::Done(published(done, interrupted))
            }
            (Self::Publishing { held }, Input::Refused(refusal)) => {
                give_back(held, context, effects);
                Step::Done(refused(refusal))
            }
            // Without a reply the value may be stored; the restore then finds no lock to replace.
            (Self::Publishing { held }, Input::Failed(error)) => {
                give_back(held, context, effects);
                Step::Done(End::Failed(error))
            }
            (state @ (Self::AwaitLock { .. } | Self::Publishing { .. }), Input::Over(_)) => {
                Step::Next(state)
            }
            (state, input) => unreachable!("{state:?} has no transition for {input:?}"),
        }
    }
}

/// Remove a changed key together with its lock.
fn on_committed(lock: LockId, end: End, context: &Context<'_>, effects: &mut Effects) -> Step {
    if mutant!(ChangedKeyKept) {
        return Step::Done(end);
    }
    effects.send = Some(Command::Remove { key: context.key.clone() });
    Step::Next(Set::Removing { lock, end })
}

fn on_removing(
    (lock, end): (LockId, End),
    input: Input,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Step {
    match input {
        Input::Published { .. } => Step::Done(end),
        // The old value is never restored, so no reader sees it. The lock is released, because
        // readers would wait for it.
        Input::Refused(_) | Input::Failed(_) => {
            effects.send_detached = Some(Command::Release { key: context.key.clone(), lock });
            Step::Done(end)
        }
        Input::Over(_) => Step::Next(Set::Removing { lock, end }),
        input => unreachable!("a removal has no transition for {input:?}"),
    }
}

fn on_locked(
    reply: WriteLockReply,
    (lock, asked_at, fetching): (LockId, Instant, Option<LockId>),
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Set {
    let (raw, ttl) = match reply {
        WriteLockReply::Granted(replaced) => {
            return Set::Loading { held: Held { lock, replaced, since: asked_at } };
        }
        WriteLockReply::Taken { lock, ttl } => (lock, ttl),
    };
    match context.locks.recognise(&raw) {
        // The first reply to this attempt, which contained the old value, was lost with the
        // connection.
        Some(own) if own == lock => {
            effects.send_detached = Some(Command::Release { key: context.key.clone(), lock });
        }
        Some(own) if fetching != Some(own) && !context.locks.is_live(own, context.now) => {
            let undo = context.superseded.undo(own, context.key, context.now);
            effects.send_detached = Some(undo);
        }
        Some(_) | None => effects.blocked = Some(ttl),
    }
    Set::AwaitUnlock
}

fn give_back(held: Held, context: &Context<'_>, effects: &mut Effects) {
    effects.send_detached = Some(held.undo(context.key.clone(), context.now));
}

fn published(done: bool, interrupted: bool) -> End {
    match (done || mutant!(LostWriteSaysStored), interrupted) {
        (true, _) => End::Stored,
        // The earlier copy of the command may have replaced the lock with this same value.
        (false, true) => End::Failed(Error::new(ErrorKind::OutcomeUnknown, "")),
        (false, false) => End::Lost,
    }
}

fn refused(refusal: Refusal) -> End {
    End::Failed(refusal.into_error())
}

#[cfg(test)]
mod tests;
