//! `get_with`: read the key; on a miss hold its lock, load and publish; if another holds the lock, wait.
//!
//! | waiting for | told                        | asks for        | then      |
//! |-------------|-----------------------------|-----------------|-----------|
//! | `Read`      | a value                     |                 | done      |
//! | `Read`      | missing, lock granted       | load            | `Load`    |
//! | `Read`      | missing, lock not tried     | lock            | `Lock`    |
//! | `Read`      | missing, lock just taken    | a deadline      | `Unlock`  |
//! | `Read`      | missing, lock refused       | load            | `Load` without a lock |
//! | `Read`      | another's lock, or that of a write of ours | a deadline | `Unlock` |
//! | `Read`      | a lock that we left behind  | release, read   | `Read`    |
//! | `Read`      | patience is at its end      | load            | `Load` without a lock |
//! | `Read`, `Lock` | Redis cannot be asked    | load, if that is wanted | `Load` without a lock |
//! | `Lock`      | granted                     | load            | `Load`    |
//! | `Lock`      | taken                       | read            | `Read`    |
//! | `Lock`      | refused                     | load            | `Load` without a lock |
//! | `Read`      | to reload, lock granted     | load            | `Load`    |
//! | `Read`      | to reload, lock refused     | load            | `Load` without a lock |
//! | `Load`      | a value                     | publish         | `Publish` |
//! | `Load`      | a value, no lock            |                 | done      |
//! | `Load`      | failure, or nobody is left  | release         | done      |
//! | `Load`      | half of the lock's life over | renew          | `Load`    |
//! | `Load`      | its time is over            | release         | done      |
//! | `Publish`   | stored                      |                 | done      |
//! | `Publish`   | lock lost                   |                 | done for the loader, others start over |
//! | `Publish`   | refused, or no answer       | release         | done      |
//! | `Unlock`    | changed, or deadline passed | read            | `Read`    |
//! | `Unlock`    | nobody is left              |                 | done      |
//!
//! To reload, the read is a write lock: whatever is there gives way to it. To release it is to put that back.
//!
//! What is loaded is always given to those who asked, stored or not.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::flow::held::{Held, Overruled};
use crate::flow::pace::{LoadTimes, Patience};
use crate::protocol::command::Command;
use crate::protocol::envelope::{Stored, Value};
use crate::protocol::lock::{LockId, Locks};
use crate::protocol::reply::{LockReply, ReadReply, Refusal, Replaced, Ttl, WriteLockReply};
use crate::rng::Rng;

/// Where one key's flight stands, named for what it waits for.
#[derive(Debug)]
pub(crate) enum Get {
    /// The answer to a read, with the lock that it tried for.
    Read { lock: Option<LockId> },
    /// The answer to a lock attempt.
    Lock { lock: LockId },
    /// The loader.
    Load { lock: Option<LockId>, since: Instant },
    /// The answer to a publish.
    Publish { lock: LockId, outcome: Found },
    /// The end of a lock that is not the flight's own.
    Unlock,
}

/// What a flight is told.
#[derive(Debug)]
pub(crate) enum Input {
    Read(ReadReply),
    /// The answer to a write lock.
    Locked {
        reply: WriteLockReply,
        asked_at: Instant,
        /// The connection was lost on the way, so the lock may be asked for once more from what was left of it.
        interrupted: bool,
    },
    Effect(bool),
    Refused(Refusal),
    /// No answer: the step failed before Redis could give one.
    Failed(Error),
    Loaded(Load),
    /// The loader failed; its error goes to everybody who joined.
    LoadFailed(Failure),
    /// The last caller is gone.
    Abandoned,
    /// The key has changed, or with the connection the promise to hear of a change is gone.
    Woken,
    /// The deadline of a wait has passed.
    WaitOver,
    /// It is time to look after a load: its lock needs to be renewed, or its own time is over.
    LoadDue,
}

/// A load's result as it is to be stored.
#[derive(Debug)]
pub(crate) struct Load {
    /// What the callers get; `None` when not found.
    pub(crate) value: Option<Bytes>,
    /// What goes into Redis: the value, or the marker of "not found".
    pub(crate) payload: Bytes,
    pub(crate) compute_time: Duration,
    pub(crate) ttl: Duration,
    pub(crate) store: bool,
}

/// A loader's error, opaque to the core.
#[derive(Clone)]
pub(crate) struct Failure(pub(crate) LoadFailure);

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failure")
    }
}

/// A value that a flight ends with.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) value: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) age: Option<Duration>,
}

/// How a flight ends.
#[derive(Debug)]
pub(crate) enum End {
    /// Redis had the value.
    Hit {
        value: Value,
        ttl: Ttl,
    },
    Loaded {
        found: Found,
        stored: bool,
    },
    /// The load's lock was lost, so its value is older than something that happened since. It answers the call that
    /// loaded it, whose question is older still; those who joined later start over.
    Outdated {
        found: Found,
    },
    LoadFailed(Failure),
    Failed(Error),
    Abandoned,
}

/// What comes after an input.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Get),
    Done(End),
}

/// What a flight wants done; the engine decides where.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Commands whose answer the flight waits for.
    pub(crate) send: Option<Command>,
    /// A command that goes before it; its answer says nothing.
    pub(crate) send_aside: Option<Command>,
    /// The next caller in line is to run its loader.
    pub(crate) load: bool,
    pub(crate) wait_until: Option<Instant>,
    pub(crate) load_due_at: Option<Instant>,
}

impl Outbox {
    /// The flight is about to wait for another's lock, to read, or to lock.
    pub(crate) fn goes_on_before_loading(&self) -> bool {
        let asks = match &self.send {
            Some(Command::Read { .. } | Command::Lock { .. } | Command::WriteLock { .. }) => true,
            Some(_) | None => false,
        };
        asks || self.wait_until.is_some()
    }
}

/// What a step may look at besides its state and input.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) now: Instant,
    pub(crate) key: &'a Key,
    pub(crate) patience: &'a mut Patience,
    pub(crate) locks: &'a mut Locks,
    pub(crate) rng: &'a mut Rng,
    pub(crate) lock_ttl: Duration,
    pub(crate) load_timeout: Duration,
    /// Load whatever is there.
    pub(crate) reload: bool,
    /// What the flight's lock has replaced, and when.
    pub(crate) replaced: &'a mut Option<(Replaced, Instant)>,
    /// Locks of this process that are no longer in the way of later loads.
    pub(crate) overruled: &'a mut Overruled,
    /// A later flight of the key is the one that counts.
    pub(crate) is_overruled: bool,
    /// The server reports changes of what was read.
    pub(crate) tracked: bool,
    /// Without an answer of Redis, the loader is to run all the same.
    pub(crate) loads_direct: bool,
}

impl Scene<'_> {
    fn load_times(&self) -> LoadTimes {
        LoadTimes { lock_ttl: self.lock_ttl, load_timeout: self.load_timeout }
    }
}

impl Get {
    /// The lock that it holds or has asked for.
    pub(crate) fn lock(&self) -> Option<LockId> {
        match self {
            Self::Read { lock } | Self::Load { lock, .. } => *lock,
            Self::Lock { lock } | Self::Publish { lock, .. } => Some(*lock),
            Self::Unlock => None,
        }
    }

    /// Reads the key, and tries for its lock in the same round trip if that is worth it.
    pub(crate) fn start(scene: &mut Scene<'_>, speculate: bool, out: &mut Outbox) -> Self {
        if scene.reload {
            return lock_over(scene, out);
        }
        let key = scene.key.clone();
        if !speculate {
            out.send = Some(Command::Read { key });
            return Self::Read { lock: None };
        }
        let lock = scene.locks.issue();
        out.send = Some(Command::ReadOrLock { key, lock });
        Self::Read { lock: Some(lock) }
    }

    pub(crate) fn handle(self, input: Input, scene: &mut Scene<'_>, out: &mut Outbox) -> Step {
        match (self, input) {
            (Self::Read { lock }, Input::Read(reply)) => on_read(lock, reply, scene, out),
            (Self::Read { lock: Some(lock) }, Input::Locked { reply, asked_at, interrupted }) => {
                on_locked(lock, reply, asked_at, interrupted, scene, out)
            }
            // What is loaded can be given all the same.
            (Self::Read { .. }, Input::Refused(_)) if scene.reload => load(None, scene, out),
            (Self::Read { .. }, Input::Refused(refusal)) => failed(refusal),
            (Self::Read { .. } | Self::Lock { .. }, Input::Failed(_)) if scene.loads_direct => {
                load(None, scene, out)
            }
            (Self::Read { .. } | Self::Lock { .. }, Input::Failed(error)) => {
                Step::Done(End::Failed(error))
            }
            (Self::Lock { lock }, Input::Effect(true)) => load(Some(lock), scene, out),
            // Only a read subscribes to the key, so read again before waiting for it.
            (Self::Lock { .. }, Input::Effect(false)) => reread(scene, out),
            (Self::Lock { .. }, Input::Refused(_)) => load(None, scene, out),
            (Self::Load { lock, .. }, Input::Loaded(loaded)) => on_loaded(lock, loaded, scene, out),
            (Self::Load { lock, .. }, Input::LoadFailed(failure)) => {
                release(lock, scene, out);
                Step::Done(End::LoadFailed(failure))
            }
            (Self::Load { lock, .. }, Input::Abandoned) => {
                release(lock, scene, out);
                Step::Done(End::Abandoned)
            }
            (Self::Load { lock, since }, Input::LoadDue) => on_load_due(lock, since, scene, out),
            (Self::Publish { outcome: found, .. }, Input::Effect(true)) => {
                Step::Done(End::Loaded { found, stored: true })
            }
            (Self::Publish { outcome: found, .. }, Input::Effect(false)) => {
                Step::Done(End::Outdated { found })
            }
            // Without an answer it may have been stored all the same; then the release does nothing.
            (Self::Publish { lock, outcome: found }, Input::Refused(_) | Input::Failed(_)) => {
                release(Some(lock), scene, out);
                Step::Done(End::Loaded { found, stored: false })
            }
            (Self::Unlock, Input::Woken) => on_woken(scene, out),
            (Self::Unlock, Input::WaitOver) => reread(scene, out),
            (Self::Unlock, Input::Abandoned) => Step::Done(End::Abandoned),
            // What is under way is answered first; nobody being left, or a change, makes no difference before that.
            (
                state @ (Self::Read { .. } | Self::Lock { .. } | Self::Publish { .. }),
                Input::Abandoned | Input::Woken,
            ) => Step::Next(state),
            (state @ Self::Load { .. }, Input::Woken) => Step::Next(state),
            (state, input) => unreachable!("{state:?} cannot be told {input:?}"),
        }
    }
}

fn on_read(
    lock: Option<LockId>,
    reply: ReadReply,
    scene: &mut Scene<'_>,
    out: &mut Outbox,
) -> Step {
    if reply.lock == LockReply::Granted {
        return load(lock, scene, out);
    }
    match reply.stored {
        Stored::Value(value) => Step::Done(End::Hit { value, ttl: reply.ttl }),
        Stored::Lock(raw) => on_taken(&raw, reply.ttl, reply.invalidated, scene, out),
        Stored::Missing => match reply.lock {
            LockReply::NotTried => {
                let lock = scene.locks.issue();
                out.send = Some(Command::Lock { key: scene.key.clone(), lock });
                Step::Next(Get::Lock { lock })
            }
            // What was read is older than the lock that got ahead, so its ttl is not known yet.
            LockReply::Taken => wait(Ttl::Absent, reply.invalidated, scene, out),
            // A server that is full or may not be written to still answers reads: the value is loaded and not stored.
            LockReply::Refused(_) => load(None, scene, out),
            LockReply::Granted => load(lock, scene, out),
        },
    }
}

/// A lock is there, perhaps the very one that was asked for.
fn on_taken(
    raw: &[u8],
    ttl: Ttl,
    invalidated: bool,
    scene: &mut Scene<'_>,
    out: &mut Outbox,
) -> Step {
    match scene.locks.recognise(raw) {
        // A call of this process writes the key.
        Some(own) if scene.locks.is_live(own, scene.now) && !mutant!(LiveLockReleased) => {
            wait(ttl, invalidated, scene, out)
        }
        // Or the later flight loads it.
        Some(_) if scene.is_overruled => wait(ttl, invalidated, scene, out),
        Some(orphan) => {
            out.send_aside = Some(scene.overruled.undo(orphan, scene.key, scene.now));
            // Counted as a wake-up, because a server that may not be written to keeps the lock.
            on_woken(scene, out)
        }
        None => wait(ttl, invalidated, scene, out),
    }
}

/// Asks for a lock in the place of whatever is there.
fn lock_over(scene: &mut Scene<'_>, out: &mut Outbox) -> Get {
    let lock = scene.locks.issue();
    out.send = Some(Command::WriteLock { key: scene.key.clone(), lock });
    Get::Read { lock: Some(lock) }
}

fn on_locked(
    lock: LockId,
    reply: WriteLockReply,
    asked_at: Instant,
    interrupted: bool,
    scene: &mut Scene<'_>,
    out: &mut Outbox,
) -> Step {
    match reply {
        WriteLockReply::Granted(replaced) => {
            *scene.replaced = replaced.map(|replaced| (replaced, asked_at));
            if interrupted && !mutant!(RepeatedLockTrusted) {
                release(Some(lock), scene, out);
                return Step::Next(lock_over(scene, out));
            }
            load(Some(lock), scene, out)
        }
        WriteLockReply::Taken { lock: raw, ttl } => on_taken(&raw, ttl, false, scene, out),
    }
}

fn load(lock: Option<LockId>, scene: &Scene<'_>, out: &mut Outbox) -> Step {
    out.load = true;
    out.load_due_at = Some(scene.load_times().due_at(scene.now, scene.now, lock.is_some()));
    Step::Next(Get::Load { lock, since: scene.now })
}

fn on_loaded(lock: Option<LockId>, loaded: Load, scene: &mut Scene<'_>, out: &mut Outbox) -> Step {
    let age = Some(Duration::ZERO);
    let Load { value, payload, compute_time, ttl, store } = loaded;
    let (Some(lock), true) = (lock, store) else {
        release(lock, scene, out);
        return Step::Done(End::Loaded { found: Found { value, ttl: None, age }, stored: false });
    };
    let key = scene.key.clone();
    if mutant!(PublishWithoutCompare) {
        out.send = Some(Command::Insert { key, payload, ttl });
        return Step::Next(Get::Publish { lock, outcome: Found { value, ttl: Some(ttl), age } });
    }
    out.send = Some(Command::Publish { key, lock, payload, compute_time, ttl });
    Step::Next(Get::Publish { lock, outcome: Found { value, ttl: Some(ttl), age } })
}

fn release(lock: Option<LockId>, scene: &mut Scene<'_>, out: &mut Outbox) {
    if mutant!(LockKeptOnFailure) {
        return;
    }
    if mutant!(ReleaseByDelete) {
        out.send_aside = Some(Command::Remove { key: scene.key.clone() });
        return;
    }
    if let Some(lock) = lock {
        let (replaced, since) = scene.replaced.take().unzip();
        let held = Held { lock, replaced, since: since.unwrap_or(scene.now) };
        out.send_aside = Some(held.undo(scene.key.clone(), scene.now));
    }
}

fn on_load_due(
    lock: Option<LockId>,
    since: Instant,
    scene: &mut Scene<'_>,
    out: &mut Outbox,
) -> Step {
    if scene.load_times().is_over(since, scene.now) {
        release(lock, scene, out);
        let text = format!("the limit is `load_timeout`, {:?}", scene.load_timeout);
        return Step::Done(End::Failed(Error::new(ErrorKind::LoadTimeout, text)));
    }
    if let Some(lock) = lock.filter(|_| !mutant!(LockNotRenewed)) {
        out.send_aside = Some(Command::Renew { key: scene.key.clone(), lock });
    }
    out.load_due_at = Some(scene.load_times().due_at(since, scene.now, lock.is_some()));
    Step::Next(Get::Load { lock, since })
}

/// Reads again, without another lock attempt: the key was locked a moment ago.
fn reread(scene: &mut Scene<'_>, out: &mut Outbox) -> Step {
    if scene.reload {
        return Step::Next(lock_over(scene, out));
    }
    out.send = Some(Command::Read { key: scene.key.clone() });
    Step::Next(Get::Read { lock: None })
}

fn wait(ttl: Ttl, invalidated: bool, scene: &mut Scene<'_>, out: &mut Outbox) -> Step {
    let patience_left = scene.patience.left(scene.now, scene.load_timeout + scene.lock_ttl);
    if scene.patience.is_endless_again(ttl) || patience_left.is_zero() {
        return load(None, scene, out);
    }
    if invalidated && !mutant!(WaiterAfterRead) {
        return on_woken(scene, out);
    }
    let bound = scene.patience.bound(ttl, scene.lock_ttl, scene.tracked, scene.rng);
    // The lock's life is whatever its holder chose; ours to give is no more than our patience.
    out.wait_until = Some(scene.now + bound.min(patience_left));
    Step::Next(Get::Unlock)
}

fn on_woken(scene: &mut Scene<'_>, out: &mut Outbox) -> Step {
    let Some(pause) = scene.patience.on_woken() else {
        return reread(scene, out);
    };
    out.wait_until = Some(scene.now + pause);
    Step::Next(Get::Unlock)
}

fn failed(refusal: Refusal) -> Step {
    Step::Done(End::Failed(Error::new(ErrorKind::Server, String::from(refusal.0))))
}

#[cfg(test)]
mod tests;
