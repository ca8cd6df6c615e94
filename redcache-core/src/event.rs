//! What the engine tells the outside.

use std::fmt;

use crate::api::answer::Answer;
use crate::api::config::Address;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::Observation;
use crate::api::options::LoaderId;
use crate::flow::flights::OpId;
use crate::wire::router::ConnId;

/// Something for the adapter to do or to pass on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Connect to `address`, then report `handle_connected` or `handle_disconnected`.
    Dial {
        /// How to name the connection.
        conn: ConnId,
        /// Where to.
        address: Address,
    },
    /// Drop the connection, or the attempt to make it. Nothing needs to be reported.
    HangUp {
        /// Which one.
        conn: ConnId,
    },
    /// Run the loader of this call and report `handle_loaded`.
    Load {
        /// Whose.
        op: OpId,
    },
    /// Run the batch loader of this call for these keys and report `handle_loaded_many`.
    LoadMany {
        /// Whose.
        op: OpId,
        /// For which of its keys.
        keys: Vec<Key>,
    },
    /// Run a registered loader in the background: call `begin_refresh`, do what the call asks for until it is over, and
    /// report `handle_refresh_over` in any case.
    Refresh {
        /// Which loader.
        loader: LoaderId,
    },
    /// The call is over; its id will name another call soon.
    Done {
        /// Which call.
        op: OpId,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something for the observer, if there is one.
    Observed(Observation),
    /// Something that whoever runs the service should know.
    Notice(Notice),
    /// After `close`: everything is told and released, and no connection is left.
    Closed,
}

/// What came of a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Of a call that asks for one key.
    Answer(Result<Answer, CallError>),
    /// Of a call that asks for several, in the order of its keys.
    Answers(Vec<Result<Answer, CallError>>),
    /// Of a call that writes one key: whether it changed anything.
    Written(Result<bool, Error>),
    /// Of a call that writes several, in the order of its keys.
    WrittenMany(Vec<Result<bool, Error>>),
    /// Of a call that loads and writes one key: whether there was something to store.
    Stored(Result<bool, CallError>),
    /// Of a call that loads and writes several, in the order of its keys.
    StoredMany(Vec<Result<bool, CallError>>),
    /// Of a refresh; nobody waits for it.
    Refreshed,
}

/// Something that whoever runs the service should know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// A connection is ready.
    Connected,
    /// The server will not report changes, so nothing is kept in the near cache and waiting polls.
    Untracked {
        /// Why.
        reason: String,
    },
    /// A connection was lost.
    Disconnected {
        /// Why.
        reason: Error,
    },
    /// An attempt to connect failed; others follow.
    ConnectFailed {
        /// Why.
        reason: Error,
    },
    /// A loaded value was given to its callers but cannot be stored.
    NotStored {
        /// Under which key.
        key: Key,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Untracked { reason } => {
                write!(f, "near cache off, waiting polls: {reason}")
            }
            Self::Disconnected { reason } => write!(f, "connection lost: {reason}"),
            Self::ConnectFailed { reason } => write!(f, "connecting failed: {reason}"),
            Self::NotStored { key, reason } => write!(f, "value of `{key}` not stored: {reason}"),
        }
    }
}
