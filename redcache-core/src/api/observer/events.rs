//! The events of an observer.

use std::sync::Arc;
use std::time::Duration;

use crate::api::address::Address;
use crate::api::answer::Source;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;

/// Define an event with a constructor, so that its fields may grow.
macro_rules! event {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl $name {
            /// Create the event, for the test of an observer.
            pub fn new($($field: $ty),*) -> Self {
                Self { $($field),* }
            }
        }
    };
}

event! {
    /// A key was answered. Each key of each call has one event.
    AnswerEvent {
        /// The source of the answer. For a key that was not found, it is the place that reported
        /// the absence.
        source: Source,
    }
}

event! {
    /// A key was not answered, or not written, because of an error. Each failed key of each call
    /// has one event. A stale answer in place of an error has none.
    FailureEvent {
        /// The kind of the error; `LoadFailed` if the loader failed.
        kind: ErrorKind,
        /// The key, if the error concerns a single key.
        key: Option<Key>,
    }
}

event! {
    /// The codec of a typed view cannot decode a stored value: another program, or another version
    /// of this one, has written it. A call with a loader loads the value again.
    UndecodableEvent {
        /// The namespace of the view.
        namespace: Arc<str>,
        /// The name of the codec.
        codec: Arc<str>,
        /// The key.
        key: Key,
        /// Whether this is the first such event of the namespace in this process. Log only the
        /// first.
        is_first: bool,
    }
}

event! {
    /// A near hit that was checked by `near_audit_every` differs from Redis: an invalidation was
    /// lost.
    AuditDifferenceEvent {
        /// The key.
        key: Key,
        /// The time since this process learned the value of the entry.
        age: Duration,
    }
}

event! {
    /// A loader has ended.
    LoadEvent {
        /// The number of keys that the loader was called for.
        keys: usize,
        /// The run time of the loader.
        took: Duration,
        /// The loader returned no error.
        is_ok: bool,
    }
}

event! {
    /// The round trip to Redis is so long that locks live longer than `lock_ttl`: a lock would
    /// expire before its value is stored. The event is sent once. Later locks follow the measured
    /// round trip.
    LockExtendedEvent {
        /// The TTL of a lock.
        lock_ttl: Duration,
        /// The measured round trip.
        round_trip: Duration,
    }
}

event! {
    /// A wait for a lock of another caller has ended.
    LockWaitEvent {
        /// The duration of the wait.
        took: Duration,
    }
}

event! {
    /// Redis has replied to a command.
    RoundTripEvent {
        /// The name of the command, such as `read` or `publish`.
        command: &'static str,
        /// The time from sending the command to its reply.
        took: Duration,
    }
}

event! {
    /// A loaded value was not stored, because its lock was lost.
    LockLostEvent {
        /// The key of the value.
        key: Key,
    }
}

event! {
    /// The background refresh of a key has reached a stage.
    RefreshEvent {
        /// The key.
        key: Key,
        /// The stage.
        stage: RefreshStage,
    }
}

/// A stage of a background refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshStage {
    /// The key was queued.
    Triggered,
    /// The value was refreshed.
    Refreshed,
    /// Another process refreshes or has changed the key, or the loader pauses after a failure.
    Skipped,
    /// The queue was full.
    Dropped,
    /// The loader or Redis failed.
    Failed,
    /// The loader panicked.
    Panicked,
}

impl RefreshStage {
    /// Return the stage as one lower-case word, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Refreshed => "refreshed",
            Self::Skipped => "skipped",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

event! {
    /// A removal that failed because Redis could not be reached has reached a stage.
    RemovalEvent {
        /// The key.
        key: Key,
        /// The stage.
        stage: RemovalStage,
    }
}

/// A stage of a failed removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalStage {
    /// The removal failed and will be repeated.
    Kept,
    /// Redis has executed the repeated removal.
    Repeated,
    /// The removal was abandoned: more than `kept_removals_max` were kept, or Redis refused it.
    Dropped,
}

impl RemovalStage {
    /// Return the stage as one lower-case word, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Repeated => "repeated",
            Self::Dropped => "dropped",
        }
    }
}

event! {
    /// Redis has invalidated keys.
    InvalidationEvent {
        /// The number of keys.
        keys: usize,
    }
}

/// Redis has invalidated all keys, because a database was flushed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FlushEvent {}

event! {
    /// A connection is ready.
    ConnectedEvent {
        /// The address of the server.
        address: Address,
    }
}

event! {
    /// The server does not report changes. The near cache is off for its keys, and waiting callers
    /// poll.
    UntrackedEvent {
        /// The address of the server.
        address: Address,
        /// The reason, as an English sentence without a full stop.
        reason: String,
    }
}

event! {
    /// A connection was lost.
    DisconnectedEvent {
        /// The address of the server.
        address: Address,
        /// The reason.
        reason: Error,
    }
}

event! {
    /// A connection attempt failed. More attempts follow.
    ConnectFailedEvent {
        /// The address of the server; `None` if no server of a cluster, or no sentinel, could be
        /// reached.
        address: Option<Address>,
        /// The reason.
        reason: Error,
    }
}

event! {
    /// A loaded value cannot be stored. It was returned to its callers.
    NotStoredEvent {
        /// The key of the value.
        key: Key,
        /// The reason, as an English sentence without a full stop.
        reason: String,
    }
}
