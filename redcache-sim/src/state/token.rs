//! Locks taken by processes.

use bytes::Bytes;

use crate::clock::Micros;
use crate::history::Stamp;

/// One acquisition of a lock.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) key: usize,
    /// The time at which the lock was last granted.
    pub(crate) granted: Stamp,
    pub(crate) granted_at: Micros,
    /// Whether another client has changed the TTL of the lock.
    pub(crate) was_changed: bool,
    /// Whether a failover has restored the lock.
    pub(crate) came_back: bool,
    /// The value that the lock replaced, if it is the lock of a write.
    pub(crate) write: Option<Replaced>,
    /// The commit that runs or has run under it.
    pub(crate) fence: Fence,
}

/// The state of the commit under a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// None has begun.
    Down,
    Committing,
    /// Its process has left it at this time, and it may still take effect.
    CutOff(Micros),
    Ended,
}

/// The value that the lock of a write replaced.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    /// `None` if the key was missing.
    pub(crate) raw: Option<Bytes>,
    /// The time at which the value would have expired.
    pub(crate) expires_at: Option<Micros>,
    /// The link on which the process received it.
    pub(crate) link: usize,
}
