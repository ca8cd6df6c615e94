//! Locks that processes have taken.

use bytes::Bytes;

use crate::clock::Micros;
use crate::history::Stamp;

/// One acquisition of a lock.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) key: usize,
    /// When it was granted, for the last time.
    pub(crate) granted: Stamp,
    pub(crate) granted_at: Micros,
    /// Somebody else has changed how long it lives.
    pub(crate) is_tampered: bool,
    /// A failover has undone what became of it.
    pub(crate) is_back: bool,
    /// It is the lock of a write, and this is what it replaced.
    pub(crate) write: Option<Replaced>,
}

/// What the lock of a write took the place of.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    /// `None` when there was nothing.
    pub(crate) raw: Option<Bytes>,
    /// When it would have expired.
    pub(crate) expires_at: Option<Micros>,
    /// The link by which the process was told of it.
    pub(crate) link: usize,
}
