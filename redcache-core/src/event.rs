//! The engine's events.

use std::time::Duration;

use bytes::Bytes;

use crate::api::answer::{Answer, Source};
use crate::api::config::Address;
use crate::api::credentials::LoginRequest;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::{FailureEvent, Observation};
use crate::api::options::LoaderId;
use crate::flow::call::OpId;
use crate::wire::router::{ConnId, LoginId};

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
    /// Drop the connection, or the attempt to connect. The engine expects no report.
    HangUp {
        /// The connection.
        conn: ConnId,
    },
    /// Call the credentials provider, then call `handle_credentials`. Hold no lock, and wait for
    /// `connect_timeout` at most.
    Login {
        /// The request's name.
        login: LoginId,
        /// The login that the credentials are for.
        request: LoginRequest,
    },
    /// Call `begin_load`. If it returns `true`, run the call's loader, then call `handle_loaded`.
    Load {
        /// The call.
        op: OpId,
    },
    /// Call `begin_load`. If it returns `true`, run the call's batch loader for these keys, then
    /// call `handle_loaded_many`.
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
    /// A step of a call. Only calls that began after
    /// [`Engine::report_steps`](crate::engine::Engine::report_steps) have such events.
    Step {
        /// The call.
        op: OpId,
        /// The step.
        step: CallStep,
    },
    /// An event for the observer of the settings. Without an observer, there are none.
    Observed(Observation),
    /// The result of [`Engine::readiness`](crate::engine::Engine::readiness) has changed.
    ConnectionChanged,
    /// The last event after `close`: all locks are released and all connections have ended.
    Closed,
}

/// A step of a call, for its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallStep {
    /// The call awaits the reply to a command. A call of several keys sends a command per key.
    Sent {
        /// The name of the command, such as `read` or `publish`.
        command: &'static str,
        /// The server that gets the command; `None` while it is unknown.
        server: Option<Address>,
    },
    /// Redis has replied to a command of the call, or the command has failed.
    Replied {
        /// The name of the command.
        command: &'static str,
        /// The kind of the error; `None` if Redis accepted the command.
        error: Option<ErrorKind>,
    },
    /// The call waits for another caller: for its lock, or for its load in this process.
    Waiting,
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
    /// The exact contents of the keys of `read_raw_many`, in their order; `None` for a key without
    /// a value.
    Raws(Vec<Result<Option<RawValue>, Error>>),
    /// The end of a refresh. It has no caller.
    Refreshed,
}

/// The exact content of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawValue {
    /// The bytes in Redis, envelope included. Two writes of one value differ in them.
    pub raw: Bytes,
    /// The value; `None` if the key is cached as not found.
    pub value: Option<Bytes>,
    /// The time for which the value stays in Redis; `None` without a TTL.
    pub ttl: Option<Duration>,
}

impl Outcome {
    /// Return the kind of the first error; `None` if every key succeeded.
    pub fn error_kind(&self) -> Option<ErrorKind> {
        let call = |error: &CallError| error.kind();
        match self {
            Self::Answer(result) => result.as_ref().err().map(call),
            Self::Answers(results) => results.iter().find_map(|it| it.as_ref().err()).map(call),
            Self::Written(result) => result.as_ref().err().map(Error::kind),
            Self::WrittenMany(results) => {
                results.iter().find_map(|it| it.as_ref().err()).map(Error::kind)
            }
            Self::Stored(result) => result.as_ref().err().map(call),
            Self::StoredMany(results) => results.iter().find_map(|it| it.as_ref().err()).map(call),
            Self::Raws(results) => results.iter().find_map(|it| it.as_ref().err()).map(Error::kind),
            Self::Refreshed => None,
        }
    }

    /// Return the source of the answer; `None` for an error, and for calls of another kind.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Answer(result) => result.as_ref().ok().map(|answer| answer.source),
            Self::Answers(_)
            | Self::Written(_)
            | Self::WrittenMany(_)
            | Self::Stored(_)
            | Self::StoredMany(_)
            | Self::Raws(_)
            | Self::Refreshed => None,
        }
    }

    /// Return an event for each failed key.
    pub(crate) fn failures(&self) -> Vec<FailureEvent> {
        let call = |error: &CallError| FailureEvent::new(error.kind(), error.key().cloned());
        let cache = |error: &Error| FailureEvent::new(error.kind(), error.key().cloned());
        match self {
            Self::Answer(result) => result.as_ref().err().map(call).into_iter().collect(),
            Self::Answers(results) => {
                results.iter().filter_map(|result| result.as_ref().err()).map(call).collect()
            }
            Self::Written(result) => result.as_ref().err().map(cache).into_iter().collect(),
            Self::WrittenMany(results) => {
                results.iter().filter_map(|result| result.as_ref().err()).map(cache).collect()
            }
            Self::Stored(result) => result.as_ref().err().map(call).into_iter().collect(),
            Self::StoredMany(results) => {
                results.iter().filter_map(|result| result.as_ref().err()).map(call).collect()
            }
            Self::Raws(results) => {
                results.iter().filter_map(|result| result.as_ref().err()).map(cache).collect()
            }
            Self::Refreshed => Vec::new(),
        }
    }
}
