//! `get_with`: read the key; on a miss lock it, load and publish; wait for another's lock.
//!
//! | state            | input                           | effect           | next                |
//! |------------------|---------------------------------|------------------|---------------------|
//! | `AwaitRead`      | a value                         |                  | done                |
//! | `AwaitRead`      | missing, lock granted           | load             | `Loading`           |
//! | `AwaitRead`      | missing, lock not tried         | lock             | `AwaitLock`         |
//! | `AwaitRead`      | missing, lock just taken        | a deadline       | `AwaitUnlock`       |
//! | `AwaitRead`      | missing, lock refused           | load             | `Loading`, no lock  |
//! | `AwaitRead`      | a lock in use                   | a deadline       | `AwaitUnlock`       |
//! | `AwaitRead`      | a lock of unknown ttl           | read             | `AwaitRead`         |
//! | `AwaitRead`      | an unused lock of this process  | undo it, read    | `AwaitRead`         |
//! | `AwaitRead`      | a lock, and patience is over    | load             | `Loading`, no lock  |
//! | `AwaitLock`      | granted                         | load             | `Loading`           |
//! | `AwaitLock`      | taken                           | read             | `AwaitRead`         |
//! | any of these     | again, and patience is over     | load             | `Loading`, no lock  |
//! | `AwaitLock`      | refused                         | load             | `Loading`, no lock  |
//! | `AwaitWriteLock` | granted                         | load             | `Loading`           |
//! | `AwaitWriteLock` | refused                         | load             | `Loading`, no lock  |
//! | `AwaitWriteLock` | a lock                          | as `AwaitRead`   |                     |
//! | any of these     | no reply, direct loads allowed  | load             | `Loading`, no lock  |
//! | `Loading`        | a value                         | publish          | `Publishing`        |
//! | `Loading`        | a value, no lock                |                  | done                |
//! | `Loading`        | failure, or no caller is left   | undo the lock    | done                |
//! | `Loading`        | half of the lock's ttl is over  | renew            | `Loading`           |
//! | `Loading`        | the load timeout                | undo the lock    | done                |
//! | `Publishing`     | stored                          |                  | done                |
//! | `Publishing`     | lock lost                       |                  | done                |
//! | `Publishing`     | refused, or no reply            | undo the lock    | done                |
//! | `AwaitUnlock`    | change, or deadline             | read             | `AwaitRead`         |
//! | `AwaitUnlock`    | no caller is left               |                  | done                |
//!
//! A reload starts with a write lock instead of a read: the lock replaces any value, and undoing
//! it restores the value.
//!
//! A loaded value always reaches the callers that were there when the load began. Later callers get
//! it only if it was stored.

use std::time::{Duration, Instant};

use crate::flow::held::Held;
use crate::flow::publication::LoadedValue;
use crate::protocol::command::Command;
use crate::protocol::envelope::Stored;
use crate::protocol::lock::LockId;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{LockReply, ReadReply, Ttl, WriteLockReply};

mod context;

pub(crate) use context::{Context, Effects, End, FirstRead, Found, Input, Standing};

/// The state of one key's fetch, named for what it awaits.
#[derive(Debug)]
pub(crate) enum Get {
    /// The reply to a read, and to the lock attempt that went with it.
    AwaitRead { lock: Option<LockId> },
    /// The reply to a lock attempt.
    AwaitLock { lock: LockId },
    /// The reply to a reload's write lock.
    AwaitWriteLock { lock: LockId },
    /// The loader's result. A load without a lock is `cut_off` if Redis gave no reply.
    Loading { held: Option<Held>, since: Instant, cut_off: bool },
    /// The reply to a publish.
    Publishing { held: Held, found: Found },
    /// The end of a lock that the fetch does not own.
    AwaitUnlock,
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Get),
    Done(End),
}

impl Get {
    /// Return the lock that the fetch holds or has requested.
    pub(crate) fn lock(&self) -> Option<LockId> {
        match self {
            Self::AwaitRead { lock } => *lock,
            Self::AwaitLock { lock } | Self::AwaitWriteLock { lock } => Some(*lock),
            Self::Loading { held, .. } => held.as_ref().map(|held| held.lock),
            Self::Publishing { held, .. } => Some(held.lock),
            Self::AwaitUnlock => None,
        }
    }

    /// Return the lock that the fetch holds.
    pub(crate) fn held(&self) -> Option<&Held> {
        match self {
            Self::Loading { held, .. } => held.as_ref(),
            Self::Publishing { held, .. } => Some(held),
            Self::AwaitRead { .. }
            | Self::AwaitLock { .. }
            | Self::AwaitWriteLock { .. }
            | Self::AwaitUnlock => None,
        }
    }

    /// Return whether the fetch loads without a lock in Redis.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Loading { held: None, .. })
    }

    /// Return whether the fetch awaits only a reply of Redis before it loads or ends.
    pub(crate) fn is_reading(&self) -> bool {
        match self {
            Self::AwaitRead { .. } | Self::AwaitLock { .. } | Self::AwaitWriteLock { .. } => true,
            Self::Loading { .. } | Self::Publishing { .. } | Self::AwaitUnlock => false,
        }
    }

    /// Read the key, or take its write lock for a reload.
    pub(crate) fn start(context: &mut Context<'_>, read: FirstRead, effects: &mut Effects) -> Self {
        if context.reload {
            return write_lock(context, effects);
        }
        let (command, lock) = read.command(context.key.clone(), context.locks);
        effects.send = Some(command);
        Self::AwaitRead { lock }
    }

    pub(crate) fn handle(
        self,
        input: Input,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Step {
        match (self, input) {
            (Self::AwaitRead { lock }, Input::Read(reply)) => {
                on_read(lock, reply, context, effects)
            }
            (
                Self::AwaitWriteLock { lock },
                Input::WriteLocked { reply, asked_at, interrupted },
            ) => on_write_locked(reply, (lock, asked_at, interrupted), context, effects),
            // A reload can answer its callers without a lock.
            (Self::AwaitWriteLock { .. }, Input::Refused(_)) => load_unlocked(context, effects),
            (Self::AwaitRead { .. }, Input::Refused(refusal)) => refused(refusal),
            (
                Self::AwaitRead { .. } | Self::AwaitLock { .. } | Self::AwaitWriteLock { .. },
                Input::Failed(error),
            ) => {
                if context.loads_direct {
                    load(None, true, context, effects)
                } else {
                    Step::Done(End::Failed(error))
                }
            }
            (Self::AwaitLock { lock }, Input::Effect(true)) => load_locked(lock, context, effects),
            // Only a read tracks the key, so a wait needs another read first.
            (Self::AwaitLock { .. }, Input::Effect(false)) => on_woken(context, effects),
            (Self::AwaitLock { .. }, Input::Refused(_)) => load_unlocked(context, effects),
            (Self::Loading { held, cut_off, .. }, Input::Loaded(loaded)) => {
                on_loaded((held, cut_off), loaded, context, effects)
            }
            (Self::Loading { held, .. }, Input::LoadFailed(failure)) => {
                undo(held, context, effects);
                Step::Done(End::LoadFailed(failure))
            }
            (Self::Loading { held, .. }, Input::Abandoned) => {
                undo(held, context, effects);
                Step::Done(End::Abandoned)
            }
            (Self::Loading { held, since, cut_off }, Input::LoadDue) => {
                on_load_due((held, cut_off), since, context, effects)
            }
            (Self::Publishing { found, .. }, Input::Effect(true)) => {
                Step::Done(End::Loaded { found, standing: Standing::Stored })
            }
            (Self::Publishing { found, .. }, Input::Effect(false)) => {
                Step::Done(End::Outdated { found })
            }
            (Self::Publishing { held, found }, Input::Refused(_)) => {
                undo(Some(held), context, effects);
                Step::Done(End::Loaded { found, standing: Standing::Unstored })
            }
            // The value may be stored; undoing the lock then does nothing.
            (Self::Publishing { held, found }, Input::Failed(_)) => {
                undo(Some(held), context, effects);
                Step::Done(End::Loaded { found, standing: Standing::CutOff })
            }
            (Self::AwaitUnlock, Input::Woken) => on_woken(context, effects),
            (Self::AwaitUnlock, Input::WaitOver) => reread(context, effects),
            (Self::AwaitUnlock, Input::Abandoned) => Step::Done(End::Abandoned),
            // A command in flight is answered first.
            (
                state @ (Self::AwaitRead { .. }
                | Self::AwaitLock { .. }
                | Self::AwaitWriteLock { .. }
                | Self::Publishing { .. }),
                Input::Abandoned | Input::Woken,
            ) => Step::Next(state),
            (state @ Self::Loading { .. }, Input::Woken) => Step::Next(state),
            (state, input) => unreachable!("{state:?} has no transition for {input:?}"),
        }
    }
}

fn on_read(
    lock: Option<LockId>,
    reply: ReadReply,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Step {
    if let (LockReply::Granted, Some(lock)) = (&reply.lock, lock) {
        return load_locked(lock, context, effects);
    }
    match reply.stored {
        Stored::Value(value) => Step::Done(End::Hit { value, ttl: reply.ttl }),
        // The server may not track a read without the TTL.
        Stored::Lock(_) if reply.ttl == Ttl::Unknown && !mutant!(LockSeenUntracked) => {
            reread(context, effects)
        }
        Stored::Lock(raw) => on_taken(&raw, reply.ttl, reply.invalidated, context, effects),
        Stored::Missing => match reply.lock {
            LockReply::NotTried if !context.allows_locks => load_unlocked(context, effects),
            LockReply::NotTried => {
                let lock = context.locks.issue();
                effects.send = Some(Command::Lock { key: context.key.clone(), lock });
                Step::Next(Get::AwaitLock { lock })
            }
            // The other's lock came after the read, so its ttl is unknown.
            LockReply::Taken => wait(Ttl::Absent, reply.invalidated, context, effects),
            // A server that is full or read-only still answers reads.
            LockReply::Refused(_) | LockReply::Granted => load_unlocked(context, effects),
        },
    }
}

/// Handle a lock that the key holds, which may be the one that this fetch has requested.
fn on_taken(
    raw: &[u8],
    ttl: Ttl,
    invalidated: bool,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Step {
    match context.locks.recognise(raw) {
        // A call of this process writes the key.
        Some(own) if context.locks.is_live(own, context.now) && !mutant!(LiveLockReleased) => {
            wait(ttl, invalidated, context, effects)
        }
        // The later flight may be loading it.
        Some(_) if context.is_superseded => wait(ttl, invalidated, context, effects),
        Some(unused) => {
            let undo = context.superseded.undo(unused, context.key, context.now);
            effects.send_detached = Some(undo);
            // It counts as a wake-up, because a read-only server keeps the lock.
            on_woken(context, effects)
        }
        None => wait(ttl, invalidated, context, effects),
    }
}

fn write_lock(context: &mut Context<'_>, effects: &mut Effects) -> Get {
    let lock = context.locks.issue();
    effects.send = Some(Command::WriteLock { key: context.key.clone(), lock });
    Get::AwaitWriteLock { lock }
}

fn on_write_locked(
    reply: WriteLockReply,
    (lock, asked_at, interrupted): (LockId, Instant, bool),
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Step {
    match reply {
        WriteLockReply::Granted(replaced) => {
            let held = Some(Held { lock, replaced, since: asked_at });
            if interrupted && !mutant!(RepeatedLockTrusted) {
                undo(held, context, effects);
                return Step::Next(write_lock(context, effects));
            }
            load(held, false, context, effects)
        }
        WriteLockReply::Taken { lock: raw, ttl } => on_taken(&raw, ttl, false, context, effects),
    }
}

fn load_locked(lock: LockId, context: &Context<'_>, effects: &mut Effects) -> Step {
    load(Some(Held { lock, replaced: None, since: context.now }), false, context, effects)
}

/// Load although Redis refused the lock, or another holds it for too long.
fn load_unlocked(context: &Context<'_>, effects: &mut Effects) -> Step {
    load(None, false, context, effects)
}

fn load(held: Option<Held>, cut_off: bool, context: &Context<'_>, effects: &mut Effects) -> Step {
    effects.start_load = true;
    let now = context.now;
    effects.load_due_at = Some(context.load_times.due_at(now, now));
    Step::Next(Get::Loading { held, since: now, cut_off })
}

fn on_loaded(
    (held, cut_off): (Option<Held>, bool),
    loaded: LoadedValue,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Step {
    let age = Some(Duration::ZERO);
    let LoadedValue { value, publication } = loaded;
    let (held, publication) = match (held, publication) {
        (Some(held), Some(publication)) => (held, publication),
        (held, _) => {
            undo(held, context, effects);
            let found = Found { value, ttl: None, age };
            let standing = if cut_off { Standing::CutOff } else { Standing::Unstored };
            return Step::Done(End::Loaded { found, standing });
        }
    };
    let (key, ttl) = (context.key.clone(), publication.ttl);
    effects.send = Some(if mutant!(PublishWithoutCompare) {
        let stamp = publication.compute_time;
        Command::Insert { key, payload: publication.payload, stamp, ttl }
    } else {
        publication.publish(key, held.lock)
    });
    Step::Next(Get::Publishing { held, found: Found { value, ttl: Some(ttl), age } })
}

fn undo(held: Option<Held>, context: &Context<'_>, effects: &mut Effects) {
    if mutant!(LockKeptOnFailure) {
        return;
    }
    if mutant!(ReleaseByDelete) {
        effects.send_detached = Some(Command::Remove { key: context.key.clone() });
        return;
    }
    if let Some(held) = held {
        effects.send_detached = Some(held.undo(context.key.clone(), context.now));
    }
}

fn on_load_due(
    (held, cut_off): (Option<Held>, bool),
    since: Instant,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Step {
    let times = context.load_times;
    if times.is_over(since, context.now) {
        undo(held, context, effects);
        return Step::Done(End::Failed(times.timed_out()));
    }
    if let Some(held) = held.as_ref().filter(|_| !mutant!(LockNotRenewed)) {
        let (key, lock) = (context.key.clone(), held.lock);
        effects.send_detached = Some(Command::Renew { key, lock });
    }
    effects.load_due_at = Some(times.due_at(since, context.now));
    Step::Next(Get::Loading { held, since, cut_off })
}

/// Read again without a lock attempt, because the key was locked a moment ago.
fn reread(context: &mut Context<'_>, effects: &mut Effects) -> Step {
    if context.reload {
        return Step::Next(write_lock(context, effects));
    }
    effects.send = Some(Command::Read { key: context.key.clone(), asks_ttl: true });
    Step::Next(Get::AwaitRead { lock: None })
}

fn wait(ttl: Ttl, invalidated: bool, context: &mut Context<'_>, effects: &mut Effects) -> Step {
    let patience_left = context.patience_left();
    if context.patience.is_endless_again(ttl) || patience_left.is_zero() {
        return load_unlocked(context, effects);
    }
    if invalidated && !mutant!(WaiterAfterRead) {
        return on_woken(context, effects);
    }
    let (now, lock_ttl) = (context.now, context.load_times.lock_ttl);
    let bound = context.patience.bound(ttl, lock_ttl, context.tracked, context.rng);
    // The ttl is the holder's choice, so the fetch's own patience limits it.
    effects.wait_until = Some(now + bound.min(patience_left));
    Step::Next(Get::AwaitUnlock)
}

/// Read again, after a pause if there were many wake-ups, and only as long as patience lasts.
fn on_woken(context: &mut Context<'_>, effects: &mut Effects) -> Step {
    if context.patience_left().is_zero() {
        return load_unlocked(context, effects);
    }
    let Some(pause) = context.patience.on_woken() else {
        return reread(context, effects);
    };
    effects.wait_until = Some(context.now + pause);
    Step::Next(Get::AwaitUnlock)
}

fn refused(refusal: Refusal) -> Step {
    Step::Done(End::Failed(refusal.into_error()))
}

#[cfg(test)]
mod tests;
