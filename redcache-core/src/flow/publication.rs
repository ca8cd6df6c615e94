//! The form of a loader's result that is published to Redis.

use std::time::Duration;

use bytes::Bytes;

use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;

/// A loaded value in the form that Redis stores.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The value, or the marker for "not found".
    pub(crate) payload: Bytes,
    /// The run time of the loader.
    pub(crate) compute_time: Duration,
    pub(crate) ttl: Duration,
}

impl Publication {
    /// Return the command that replaces the lock with the value.
    pub(crate) fn publish(self, key: Key, lock: LockId) -> Command {
        let Self { payload, compute_time, ttl } = self;
        Command::Publish { key, lock, payload, compute_time, ttl }
    }
}

/// A loader's result for one key of a fetch.
#[derive(Debug)]
pub(crate) struct LoadedValue {
    /// The callers' answer; `None` means "not found".
    pub(crate) value: Option<Bytes>,
    /// `None` keeps the value out of Redis.
    pub(crate) publication: Option<Publication>,
}
