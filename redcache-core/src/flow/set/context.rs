//! The context of a locked write: its inputs, its effects, and everything else that a step may use.

use std::time::Instant;

use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::flow::publication::Publication;
use crate::flow::superseded::SupersededLocks;
use crate::protocol::command::Command;
use crate::protocol::lock::{LockId, Locks};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{Ttl, WriteLockReply};

/// An input of a write.
#[derive(Debug)]
pub(crate) enum Input {
    /// Try for the lock.
    Attempt,
    Locked {
        reply: WriteLockReply,
        asked_at: Instant,
        /// The connection was lost after the command was sent, so the server may still execute the
        /// first copy of the command.
        interrupted: bool,
        /// The lock under which a flight of this process fetches the key.
        fetching: Option<LockId>,
    },
    /// The reply to a publish or to a removal.
    Published {
        done: bool,
        /// The connection was lost after the command was sent, so the earlier copy may have been
        /// executed.
        interrupted: bool,
    },
    Refused(Refusal),
    /// The step failed without a reply.
    Failed(Error),
    /// Another process locks another key of the call. No write waits while it holds a lock.
    GiveBack,
    /// The load is still running, so its lock needs a new TTL.
    Renew,
    Loaded(Publication),
    /// The commit of a change has ended, with this result.
    Committed(End),
    /// The caller has left while its commit was running.
    CutOff(End),
    /// Nothing will be published.
    Over(End),
}

/// The end of a key's write.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Stored,
    /// The commit of a change has succeeded, so its key is removed.
    Changed,
    /// The loader returned nothing to store, so the old value is restored.
    Kept,
    /// Another writer has changed the key, or the lock has expired. Nothing was stored.
    Lost,
    LoadFailed(LoadFailure),
    Failed(Error),
    Abandoned,
}

/// The effects of one step, which the engine carries out.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// A command whose reply the write awaits.
    pub(crate) send: Option<Command>,
    /// A command whose reply is discarded.
    pub(crate) send_detached: Option<Command>,
    /// The TTL of another caller's lock that blocks the write.
    pub(crate) blocked: Option<Ttl>,
}

/// Everything that a step may use besides its state and input.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) key: &'a Key,
    pub(crate) locks: &'a mut Locks,
    /// Locks of this process that no longer block later loads.
    pub(crate) superseded: &'a mut SupersededLocks,
}
