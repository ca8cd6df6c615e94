//! Calls, and the data that the simulator records about them.

use bytes::Bytes;
use redcache_core::engine::OpId;

use crate::clock::Micros;
use crate::history::Stamp;
use crate::state::call_style::CallStyle;

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    GetMany,
    GetWith,
    GetManyWith,
    SetWith,
    SetManyWith,
    Insert,
    InsertMany,
    Remove,
    RemoveMany,
    Touch,
    TouchMany,
    Change,
    /// A refresh worker that runs the registered loader, instead of a call of a caller.
    Refresh,
}

impl Kind {
    pub(crate) fn loads(self) -> bool {
        matches!(self, Self::GetWith | Self::GetManyWith) || self.is_set()
    }

    /// Return whether the call runs its loader or its commit under a lock in place of the old
    /// value.
    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::SetWith | Self::SetManyWith | Self::Change)
    }

    pub(crate) fn is_batch(self) -> bool {
        matches!(
            self,
            Self::GetMany
                | Self::GetManyWith
                | Self::SetManyWith
                | Self::InsertMany
                | Self::RemoveMany
                | Self::TouchMany
                | Self::Change
                | Self::Refresh
        )
    }
}

/// The state of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Done,
    /// The future was dropped, so no later event may name the call.
    Dropped,
    /// The process crashed.
    Lost,
}

/// A loader that runs or has run.
#[derive(Debug)]
pub(crate) struct Load {
    /// The number of the load within its call.
    pub(crate) turn: u32,
    pub(crate) keys: Vec<usize>,
    pub(crate) begun: Stamp,
    pub(crate) begun_at: Micros,
    pub(crate) end: LoadEnd,
}

/// The way in which a loader will end.
#[derive(Debug, Clone)]
pub(crate) enum LoadEnd {
    /// With a version for each key, some omitted, and possibly with a key that was not requested.
    Values {
        versions: Vec<Option<usize>>,
        extra: Option<usize>,
        ttl: Option<u64>,
        store: bool,
    },
    Failure(u64),
    /// The commit of a change has succeeded.
    Committed,
    Panic,
    Never,
}

/// The result of a load for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Value(Option<Bytes>),
    Failure(u64),
}

/// The commit of a change.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its keys, each with the lock under which it began.
    pub(crate) locks: Vec<(usize, Bytes)>,
    /// The stamp of the change of the data.
    pub(crate) changed: Option<Stamp>,
    /// Its process knows that it has ended.
    pub(crate) has_ended: bool,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) caller: usize,
    pub(crate) kind: Kind,
    pub(crate) op: OpId,
    /// The keys of the call, without those answered by the near cache.
    pub(crate) keys: Vec<usize>,
    pub(crate) state: State,
    pub(crate) started: Stamp,
    pub(crate) started_at: Micros,
    /// For each key, the stamp that an answer must reach to include the process's own writes.
    pub(crate) own_floors: Vec<Stamp>,
    /// For each key, the stamp that a joined load must reach to be no older than a write that any
    /// process had learned of.
    pub(crate) join_floors: Vec<Stamp>,
    /// For each key, the stamp that an answer must reach to be no older than an earlier answer.
    pub(crate) seen_floors: Vec<Stamp>,
    /// The versions that the call inserts or has loaded to write.
    pub(crate) versions: Vec<usize>,
    /// Keys for which the loader of a write returned nothing to store.
    pub(crate) unstored: Vec<usize>,
    /// Keys for which the call loaded a value that cannot be stored.
    pub(crate) unstorable: Vec<usize>,
    /// For each key, the latest commit before the call.
    pub(crate) commit_floors: Vec<Stamp>,
    /// The commit of a change, once it has begun.
    pub(crate) commit: Option<Commit>,
    /// The running load.
    pub(crate) load: Option<Load>,
    pub(crate) loads: u32,
    /// The results of finished loads, by key.
    pub(crate) given: Vec<(usize, Given)>,
    pub(crate) style: CallStyle,
    /// Whether a reload of one of its keys began or ended while the call waited, or while a call
    /// that it joined waited. Its load may then run beside another.
    pub(crate) is_superseded: bool,
    /// Whether the call was not polled when it had to load.
    pub(crate) is_stalled: bool,
}
