//! One call, and its state.

use bytes::Bytes;
use redcache_core::engine::{Generation, NamespaceCall, OpId};

use crate::clock::Micros;

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    /// Raise the version of the key in the database, then remove the key.
    Commit,
    /// Raise all versions, then write another generation.
    Clear,
}

/// The state of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    LookingUp,
    Running(Generation),
    Removing,
    /// The removal of a failed commit is being kept.
    Keeping,
    Over,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) process: usize,
    pub(super) kind: Kind,
    pub(super) key: usize,
    pub(super) state: State,
    pub(super) machine: NamespaceCall,
    /// The answer must be no older than the call.
    pub(super) is_fresh: bool,
    pub(super) is_probe: bool,
    pub(super) started_at: Micros,
    /// The versions that later answers must reach once the call has succeeded.
    pub(super) raises: Vec<(usize, u64)>,
    /// The running loader, and the value that it will return.
    pub(super) load: Option<(OpId, Bytes)>,
}
