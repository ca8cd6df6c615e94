//! The engine's events.

use std::fmt;

use crate::api::answer::Answer;
use crate::api::config::Address;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::Observation;
use crate::api::options::LoaderId;
use crate::flow::call::OpId;
use crate::wire::router::ConnId;

/// A request to the adapter, or a result for it to pass on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Connect to `address`, then call `handle_connected` or `handle_disconnected`.
    Dial {
        /// The connection's name.
        conn: ConnId,
        /// The server's address.
        address: Address,
    },
    /// Drop the connection, or the attempt to establish it. The engine expects no report.
    HangUp {
        /// The connection.
        conn: ConnId,
    },
    /// Run the call's loader, then call `handle_loaded`.
    Load {
        /// The call.
        op: OpId,
    },
    /// Run the call's batch loader for these keys, then call `handle_loaded_many`.
    LoadMany {
        /// The call.
        op: OpId,
        /// The keys to load.
        keys: Vec<Key>,
    },
    /// Run a registered loader in the background: call `begin_refresh`, serve the call until it is
    /// done, and call `handle_refresh_over` in any case.
    Refresh {
        /// The loader.
        loader: LoaderId,
    },
    /// The call is done. Another call may reuse its index.
    Done {
        /// The call.
        op: OpId,
        /// The call's outcome.
        outcome: Outcome,
    },
    /// An event for the observer, after [`Engine::observe`](crate::Engine::observe).
    Observed(Observation),
    /// A notice for the operator.
    Notice(Notice),
    /// The last event after `close`: all locks are released and all connections have ended.
    Closed,
}

/// The outcome of a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The answer of `get` or `get_with`.
    Answer(Result<Answer, CallError>),
    /// The answers of `get_many` or `get_many_with`, in the order of the keys.
    Answers(Vec<Result<Answer, CallError>>),
    /// Whether `insert`, `remove` or `touch` has changed the key.
    Written(Result<bool, Error>),
    /// The same for `insert_many`, `remove_many` or `touch_many`, in the order of the keys.
    WrittenMany(Vec<Result<bool, Error>>),
    /// Whether the loader of `insert_with` returned a value to store.
    Stored(Result<bool, CallError>),
    /// The same for `insert_many_with`, in the order of the keys.
    StoredMany(Vec<Result<bool, CallError>>),
    /// The end of a refresh. It has no caller.
    Refreshed,
}

/// A notice for the operator of the service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// A connection is ready.
    Connected,
    /// The server does not report changes, so the near cache is off and waiting calls poll.
    Untracked {
        /// The reason.
        reason: String,
    },
    /// A connection was lost.
    Disconnected {
        /// The reason.
        reason: Error,
    },
    /// An attempt to connect failed. More attempts follow.
    ConnectFailed {
        /// The reason.
        reason: Error,
    },
    /// A loaded value has answered its callers but cannot be stored.
    NotStored {
        /// The value's key.
        key: Key,
        /// The reason.
        reason: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Untracked { reason } => {
                write!(f, "near cache off, waiting calls poll: {reason}")
            }
            Self::Disconnected { reason } => write!(f, "connection lost: {reason}"),
            Self::ConnectFailed { reason } => write!(f, "connecting failed: {reason}"),
            Self::NotStored { key, reason } => write!(f, "value of `{key}` not stored: {reason}"),
        }
    }
}
