//! The context of a fetch: its inputs, its effects, and everything else that a step may use.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::flow::pace::{LoadTimes, Patience};
use crate::flow::publication::LoadedValue;
use crate::flow::superseded::SupersededLocks;
use crate::protocol::command::Command;
use crate::protocol::envelope::Value;
use crate::protocol::lock::{LockId, Locks};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{ReadReply, Ttl, WriteLockReply};
use crate::rng::Rng;

/// An input of a fetch.
#[derive(Debug)]
pub(crate) enum Input {
    Read(ReadReply),
    /// The reply to a write lock.
    WriteLocked {
        reply: WriteLockReply,
        asked_at: Instant,
        /// The connection was lost after the command was sent, so the server may still execute the
        /// first copy of the command.
        interrupted: bool,
    },
    Effect(bool),
    Refused(Refusal),
    /// The step failed without a reply.
    Failed(Error),
    Loaded(LoadedValue),
    /// The loader failed. All callers share its error.
    LoadFailed(LoadFailure),
    /// The last caller has left.
    Abandoned,
    /// The key has changed, or the connection that would have reported a change is lost.
    Woken,
    /// A wait has reached its deadline.
    WaitOver,
    /// The load needs its lock renewed, or has reached its timeout.
    LoadDue,
}

/// The value that a fetch ends with.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) value: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) age: Option<Duration>,
}

/// The relation of a loaded value to the key's value in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Redis holds the value, so no write came between the start of the load and its end.
    Stored,
    /// The value was not stored, so a write may have come in between. It answers only calls that
    /// began before the load.
    Unstored,
    /// Redis gave no reply, so it is unknown whether a write came in between.
    CutOff,
}

/// The end of a fetch.
#[derive(Debug)]
pub(crate) enum End {
    /// Redis had the value.
    Hit {
        value: Value,
        ttl: Ttl,
    },
    Loaded {
        found: Found,
        standing: Standing,
    },
    /// The load lost its lock, so its value is older than a later change of the key. It answers
    /// only calls that began before the load.
    Outdated {
        found: Found,
    },
    LoadFailed(LoadFailure),
    Failed(Error),
    Abandoned,
}

/// The additions to the first read of a fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstRead {
    /// Take the lock if the key is absent.
    pub(crate) takes_lock: bool,
    pub(crate) asks_ttl: bool,
}

impl FirstRead {
    /// Return the command that reads a key, and the lock that it attempts.
    pub(super) fn command(self, key: Key, locks: &mut Locks) -> (Command, Option<LockId>) {
        let Self { takes_lock, asks_ttl } = self;
        if !takes_lock {
            return (Command::Read { key, asks_ttl }, None);
        }
        let lock = locks.issue();
        (Command::ReadOrLock { key, lock, asks_ttl }, Some(lock))
    }
}

/// The effects of one step, which the engine carries out.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// A command whose reply the fetch awaits.
    pub(crate) send: Option<Command>,
    /// A command that goes first. Its reply is discarded.
    pub(crate) send_detached: Option<Command>,
    /// The leader is to run its loader.
    pub(crate) start_load: bool,
    pub(crate) wait_until: Option<Instant>,
    pub(crate) load_due_at: Option<Instant>,
}

impl Effects {
    /// Return whether the fetch is about to read, to lock, or to wait for the lock of another
    /// caller.
    pub(crate) fn goes_on_before_loading(&self) -> bool {
        let asks = match &self.send {
            Some(Command::Read { .. } | Command::Lock { .. } | Command::WriteLock { .. }) => true,
            Some(_) | None => false,
        };
        asks || self.wait_until.is_some()
    }
}

/// Everything that a step may use besides its state and input.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) key: &'a Key,
    pub(crate) patience: &'a mut Patience,
    pub(crate) locks: &'a mut Locks,
    pub(crate) rng: &'a mut Rng,
    pub(crate) load_times: LoadTimes,
    /// Load even if the key has a value.
    pub(crate) reload: bool,
    /// Locks of this process that no longer block later loads.
    pub(crate) superseded: &'a mut SupersededLocks,
    /// A later flight of the key has replaced this one.
    pub(crate) is_superseded: bool,
    /// The server will report the next change of the key that was read.
    pub(crate) tracked: bool,
    /// If Redis cannot be reached, the loader runs without a lock.
    pub(crate) loads_direct: bool,
    /// The server runs the scripts that publish over a lock and release it.
    pub(crate) allows_locks: bool,
}

impl Context<'_> {
    /// Return the rest of the time that the fetch may spend on the locks of others.
    pub(super) fn patience_left(&mut self) -> Duration {
        let LoadTimes { load_timeout, lock_ttl } = self.load_times;
        self.patience.left(self.now, load_timeout + lock_ttl)
    }
}
