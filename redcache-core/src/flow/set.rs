//! `insert_with`: put a lock in the place of the value, load and publish; whatever goes wrong, put the value back.
//!
//! | waiting for | told                              | asks for   | then      |
//! |-------------|-----------------------------------|------------|-----------|
//! | `Unlock`    | to try                            | write lock | `Lock`    |
//! | `Unlock`    | that it is over                   |            | done      |
//! | `Lock`      | granted                           |            | `Load`    |
//! | `Lock`      | another's lock is there           | a deadline | `Unlock`  |
//! | `Lock`      | a lock that we left behind is     | release    | `Unlock`  |
//! | `Lock`      | granted, but asked for twice      | restore    | `Unlock`  |
//! | `Lock`      | refused, or no answer             |            | done      |
//! | `Load`      | another key of the call is locked | restore    | `Unlock`  |
//! | `Load`      | half of the lock's life over      | renew      | `Load`    |
//! | `Load`      | a value                           | publish    | `Publish` |
//! | `Load`      | that it is over                   | restore    | done      |
//! | `Publish`   | stored                            |            | done      |
//! | `Publish`   | lock lost                         |            | done      |
//! | `Publish`   | refused, or no answer             | restore    | done      |
//!
//! It is over when the loader has failed, takes too long or has nothing to store, when patience with the locks of
//! others is at its end, or when the caller is gone. What is under way then is answered first. To restore is to put
//! back the exact bytes with what is left of their time, or to delete the lock if there were none; it compares with
//! our lock, so it never undoes what somebody else has done since.
//!
//! A value is never written without the lock, and a write that was not stored never passes for one that was.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::flow::get::Failure;
use crate::flow::held::{Held, Overruled};
use crate::protocol::command::Command;
use crate::protocol::lock::{LockId, Locks};
use crate::protocol::reply::{Refusal, Ttl, WriteLockReply};

/// Where one key's write stands, named for what it waits for.
#[derive(Debug)]
pub(crate) enum Set {
    /// The end of another's lock, or just the next attempt.
    Unlock,
    /// The answer to a write lock.
    Lock { lock: LockId },
    /// The locks of the call's other keys, then the loader.
    Load { held: Held },
    /// The answer to a publish.
    Publish { held: Held },
}

/// What a write is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// It is its turn to try for the lock.
    Attempt,
    Locked {
        reply: WriteLockReply,
        asked_at: Instant,
        /// The connection was lost on the way, so the lock may be asked for once more from what was left of it.
        interrupted: bool,
    },
    /// A publish was answered.
    Published {
        done: bool,
        /// The connection was lost on the way, so an earlier one may have done it.
        interrupted: bool,
    },
    Refused(Refusal),
    /// No answer: the step failed before Redis could give one.
    Failed(Error),
    /// Another key of the call is locked by somebody else. Nobody waits with a lock in hand.
    GiveBack,
    /// The load goes on; its lock is to live on, too.
    Renew,
    Loaded(Load),
    /// Nothing will be published.
    Over(End),
}

/// A load's result as it is to be stored.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) payload: Bytes,
    pub(crate) compute_time: Duration,
    pub(crate) ttl: Duration,
}

/// How the write of a key ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Stored,
    /// The loader had nothing to store, so everything is as it was.
    Kept,
    /// Somebody else has changed the key in the meantime, or the lock has expired. Nothing was stored.
    Lost,
    LoadFailed(Failure),
    Failed(Error),
    Abandoned,
}

/// What comes after an input.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Set),
    Done(End),
}

/// What a write wants done; the engine decides where.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// A command whose answer it waits for.
    pub(crate) send: Option<Command>,
    /// A command whose answer says nothing.
    pub(crate) send_aside: Option<Command>,
    /// It waits for another's lock, which has this long to live.
    pub(crate) blocked: Option<Ttl>,
}

/// What a step may look at besides its state and input.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) now: Instant,
    pub(crate) key: &'a Key,
    pub(crate) locks: &'a mut Locks,
    /// The lock under which this process loads the key.
    pub(crate) loading: Option<LockId>,
    /// Locks of this process that are no longer in the way of later loads.
    pub(crate) overruled: &'a mut Overruled,
}

impl Set {
    /// The lock that it holds or has asked for.
    pub(crate) fn lock(&self) -> Option<LockId> {
        match self {
            Self::Unlock => None,
            Self::Lock { lock } => Some(*lock),
            Self::Load { held } | Self::Publish { held } => Some(held.lock),
        }
    }

    pub(crate) fn handle(self, input: Input, scene: &mut Scene<'_>, out: &mut Outbox) -> Step {
        match (self, input) {
            (Self::Unlock, Input::Attempt) => {
                let lock = scene.locks.issue();
                out.send = Some(Command::WriteLock { key: scene.key.clone(), lock });
                Step::Next(Self::Lock { lock })
            }
            (Self::Unlock, Input::Over(end)) => Step::Done(end),
            (Self::Lock { lock }, Input::Locked { reply, asked_at, interrupted }) => {
                match on_locked(lock, reply, asked_at, scene, out) {
                    Step::Next(Self::Load { held })
                        if interrupted && !mutant!(RepeatedLockTrusted) =>
                    {
                        give_back(held, scene, out);
                        Step::Next(Self::Unlock)
                    }
                    step => step,
                }
            }
            (Self::Lock { .. }, Input::Refused(refusal)) => Step::Done(failed(refusal)),
            (Self::Lock { .. }, Input::Failed(error)) => Step::Done(End::Failed(error)),
            (Self::Load { held }, Input::GiveBack | Input::Attempt)
                if mutant!(WritersHoldAndWait) =>
            {
                Step::Next(Self::Load { held })
            }
            (Self::Load { held }, Input::GiveBack) => {
                give_back(held, scene, out);
                Step::Next(Self::Unlock)
            }
            (Self::Load { held }, Input::Renew) => {
                out.send_aside = Some(Command::Renew { key: scene.key.clone(), lock: held.lock });
                Step::Next(Self::Load { held })
            }
            (Self::Load { held }, Input::Loaded(load)) => {
                let Load { payload, compute_time, ttl } = load;
                let (key, lock) = (scene.key.clone(), held.lock);
                out.send = Some(Command::Publish { key, lock, payload, compute_time, ttl });
                Step::Next(Self::Publish { held })
            }
            (Self::Load { .. }, Input::Over(End::Abandoned)) if mutant!(DroppedWriteKeepsLock) => {
                Step::Done(End::Abandoned)
            }
            (Self::Load { held }, Input::Over(end)) => {
                give_back(held, scene, out);
                Step::Done(end)
            }
            (Self::Publish { .. }, Input::Published { done, interrupted }) => {
                Step::Done(published(done, interrupted))
            }
            (Self::Publish { held }, Input::Refused(refusal)) => {
                give_back(held, scene, out);
                Step::Done(failed(refusal))
            }
            // Without an answer it may have been stored all the same; then there is no lock left to replace.
            (Self::Publish { held }, Input::Failed(error)) => {
                give_back(held, scene, out);
                Step::Done(End::Failed(error))
            }
            (state @ (Self::Lock { .. } | Self::Publish { .. }), Input::Over(_)) => {
                Step::Next(state)
            }
            (state, input) => unreachable!("{state:?} cannot be told {input:?}"),
        }
    }
}

fn on_locked(
    lock: LockId,
    reply: WriteLockReply,
    asked_at: Instant,
    scene: &mut Scene<'_>,
    out: &mut Outbox,
) -> Step {
    let granted =
        |replaced| Step::Next(Set::Load { held: Held { lock, replaced, since: asked_at } });
    let (raw, ttl) = match reply {
        WriteLockReply::Granted(replaced) => return granted(replaced),
        WriteLockReply::Taken { lock, ttl } => (lock, ttl),
    };
    match scene.locks.recognise(&raw) {
        // The first answer to this very attempt was lost with its connection, and the old value with it.
        Some(own) if own == lock => {
            out.send_aside = Some(Command::Release { key: scene.key.clone(), lock });
        }
        Some(own) if scene.loading != Some(own) && !scene.locks.is_live(own, scene.now) => {
            out.send_aside = Some(scene.overruled.undo(own, scene.key, scene.now));
        }
        Some(_) | None => out.blocked = Some(ttl),
    }
    Step::Next(Set::Unlock)
}

fn give_back(held: Held, scene: &Scene<'_>, out: &mut Outbox) {
    out.send_aside = Some(held.undo(scene.key.clone(), scene.now));
}

fn published(done: bool, interrupted: bool) -> End {
    match (done || mutant!(LostWriteSaysStored), interrupted) {
        (true, _) => End::Stored,
        // What took the lock away may have been our own value.
        (false, true) => End::Failed(Error::new(ErrorKind::OutcomeUnknown, "")),
        (false, false) => End::Lost,
    }
}

fn failed(refusal: Refusal) -> End {
    End::Failed(Error::new(ErrorKind::Server, String::from(refusal.0)))
}

#[cfg(test)]
mod tests;
