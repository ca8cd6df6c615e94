//! Calls that callers make, and what the world remembers of them.

use bytes::Bytes;
use redcache_core::OpId;

use crate::clock::Micros;
use crate::history::Stamp;
use crate::state::call_style::CallStyle;

/// What a caller asks for.
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
    /// No call of a caller, but a worker that runs the registered loader.
    Refresh,
}

impl Kind {
    pub(crate) fn loads(self) -> bool {
        matches!(self, Self::GetWith | Self::GetManyWith) || self.is_set()
    }

    /// It loads what it writes, under a lock in the place of the old value.
    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::SetWith | Self::SetManyWith)
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
                | Self::Refresh
        )
    }
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Done,
    /// Its future was dropped: nothing may be heard of it.
    Dropped,
    /// Its process crashed.
    Lost,
}

/// A loader that runs, or has run.
#[derive(Debug)]
pub(crate) struct Load {
    /// Counts the loads of one call.
    pub(crate) turn: u32,
    pub(crate) keys: Vec<usize>,
    pub(crate) begun: Stamp,
    pub(crate) begun_at: Micros,
    pub(crate) end: LoadEnd,
}

/// How a loader will end.
#[derive(Debug, Clone)]
pub(crate) enum LoadEnd {
    /// With these versions, one for each key, some left out, and with keys that nobody asked for.
    Values {
        versions: Vec<Option<usize>>,
        extra: Option<usize>,
        ttl: Option<u64>,
        store: bool,
    },
    Failure(u64),
    Panic,
    Never,
}

/// What a load gave for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Value(Option<Bytes>),
    Failure(u64),
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) caller: usize,
    pub(crate) kind: Kind,
    pub(crate) op: OpId,
    /// Its keys, without those that the near cache answered.
    pub(crate) keys: Vec<usize>,
    pub(crate) state: State,
    pub(crate) started: Stamp,
    pub(crate) started_at: Micros,
    /// For each key, the stamp that answers must reach for the process to read its own writes.
    pub(crate) own_floors: Vec<Stamp>,
    /// For each key, the same for the process not to go back in time.
    pub(crate) seen_floors: Vec<Stamp>,
    /// What it inserts, or has loaded to write.
    pub(crate) versions: Vec<usize>,
    /// Keys that it was to write and for which its loader had nothing to store.
    pub(crate) unstored: Vec<usize>,
    /// Keys for which it has loaded what cannot be stored.
    pub(crate) unstorable: Vec<usize>,
    /// The load under way.
    pub(crate) load: Option<Load>,
    pub(crate) loads: u32,
    /// What finished loads gave, by key.
    pub(crate) given: Vec<(usize, Given)>,
    pub(crate) style: CallStyle,
    /// A reload of one of its keys was asked for or ended while it waited, or it has joined somebody of whom that is
    /// true: its load may run beside another.
    pub(crate) is_superseded: bool,
}
