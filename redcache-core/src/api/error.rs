//! The cache's own error.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::api::config_error::ConfigError;
use crate::api::key::Key;

/// Any error, boxed. A loader may return every error type that converts into it: types that
/// implement [`std::error::Error`], `String`, `&str`, `anyhow::Error`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of any type that several owners share.
pub(crate) type ArcError = Arc<dyn std::error::Error + Send + Sync>;

/// The result of a batch call: one result per key, in the order of the keys. The outer error means
/// that the call failed as a whole.
///
/// ```
/// use redcache_core::{Answer, BatchResult, LoadError};
///
/// fn hits(answers: BatchResult<Answer>) -> Result<usize, redcache_core::Error> {
///     Ok(answers?.into_iter().flatten().filter(|answer| answer.value.is_some()).count())
/// }
///
/// fn first(answers: BatchResult<Answer, LoadError<std::io::Error>>) -> Option<Answer> {
///     answers.ok()?.into_iter().next()?.ok()
/// }
/// # assert_eq!(hits(Ok(Vec::new())).unwrap(), 0);
/// # assert!(first(Ok(Vec::new())).is_none());
/// ```
pub type BatchResult<T, E = Error> = Result<Vec<Result<T, E>>, E>;

/// The kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid, for example the TTL. Nothing was sent.
    InvalidInput,
    /// A setting is invalid. No cache was created.
    Config,
    /// The cache is closed.
    Closed,
    /// There is no connection to Redis.
    Unavailable,
    /// Redis rejected the user name or the password, or requires one.
    Authentication,
    /// Redis did not reply in time.
    Timeout,
    /// The loader failed.
    LoadFailed,
    /// The call joined another caller's load, which failed with an error of another type.
    LoadFailedElsewhere,
    /// The loader took longer than `load_timeout`. Its lock was released.
    LoadTimeout,
    /// Other callers held the lock on the key for longer than `load_timeout + lock_ttl`. Nothing
    /// was written.
    LockTimeout,
    /// Another caller changed the key while its new value was being loaded, or the lock expired.
    /// The value was not stored.
    LockLost,
    /// The connection was lost after the command was sent. Redis may have executed it.
    OutcomeUnknown,
    /// The call took longer than [`CallOptions::timeout`](crate::CallOptions::timeout). Redis may
    /// have executed a write.
    DeadlineExceeded,
    /// Too many commands are waiting for Redis.
    Overloaded,
    /// Redis rejected the command.
    Server,
    /// The server violated the Redis protocol.
    Protocol,
    /// The codec of a typed view cannot decode the stored value: another program, or another
    /// version of this one, has written it.
    Undecodable,
    /// The codec of a typed view cannot encode the value. It was not stored.
    Unencodable,
}

impl ErrorKind {
    /// Return the kind as lower-case words joined by `_`, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::Config => "config",
            Self::Closed => "closed",
            Self::Unavailable => "unavailable",
            Self::Authentication => "authentication",
            Self::Timeout => "timeout",
            Self::LoadFailed => "load_failed",
            Self::LoadFailedElsewhere => "load_failed_elsewhere",
            Self::LoadTimeout => "load_timeout",
            Self::LockTimeout => "lock_timeout",
            Self::LockLost => "lock_lost",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Protocol => "protocol",
            Self::Undecodable => "undecodable",
            Self::Unencodable => "unencodable",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid input",
            Self::Config => "invalid setting",
            Self::Closed => "the cache is closed",
            Self::Unavailable => "redis is not available",
            Self::Authentication => "redis rejected the login",
            Self::Timeout => "redis did not reply in time",
            Self::LoadFailed => "the loader failed",
            Self::LoadFailedElsewhere => "the load that this call joined failed",
            Self::LoadTimeout => "the loader did not finish in time",
            Self::LockTimeout => "other callers kept the key locked",
            Self::LockLost => "the lock was lost, so the value was not stored",
            Self::OutcomeUnknown => {
                "the connection was lost after the command was sent, so redis may have executed it"
            }
            Self::DeadlineExceeded => "the call did not finish within its timeout",
            Self::Overloaded => "too many commands are waiting for redis",
            Self::Server => "redis rejected the command",
            Self::Protocol => "the server violated the protocol",
            Self::Undecodable => "the stored value cannot be decoded",
            Self::Unencodable => "the value cannot be encoded, so it was not stored",
        }
    }
}

/// An error of the cache. It may name the key; it never contains a value or a password.
///
/// Cloning is cheap. Calls with a loader return [`LoadError`](crate::LoadError) instead; `?`
/// converts in both directions.
#[derive(Clone)]
pub struct Error(Arc<Detail>);

#[derive(Clone)]
struct Detail {
    kind: ErrorKind,
    key: Option<Key>,
    text: Cow<'static, str>,
    source: Option<ArcError>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Detail { kind, key: None, text: text.into(), source: None }))
    }

    /// Return an error whose text and source are `source`.
    pub(crate) fn caused_by(kind: ErrorKind, source: ArcError) -> Self {
        let text = source.to_string().into();
        Self(Arc::new(Detail { kind, key: None, text, source: Some(source) }))
    }

    /// Return the error of every call on a closed cache.
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "")
    }

    /// Return the error of every call on a cache that closed for this reason.
    pub fn closed_because(reason: &'static str) -> Self {
        Self::new(ErrorKind::Closed, reason)
    }

    /// Return the error for an operating system that provides no randomness to seed the engine.
    pub fn no_randomness(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, format!("no randomness for the locks: {error}"))
    }

    /// Return the error for an operating system that refuses to start a thread.
    pub fn no_thread(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, format!("no thread for the cache: {error}"))
    }

    /// Return the error of a call on a thread of the cache that would wait for that thread.
    pub fn on_own_thread() -> Self {
        let text = "the call would wait for the thread of the cache that it runs on: in an \
            observer, hand it to another thread";
        Self::new(ErrorKind::InvalidInput, text)
    }

    /// Return the error for TLS settings that cannot be used.
    pub fn tls(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }

    /// Return the error for a credentials provider that cannot be used.
    pub fn credentials(text: &'static str) -> Self {
        Self::new(ErrorKind::Config, text)
    }

    /// Return the error for a stored value that `codec` cannot decode.
    pub fn undecodable(key: &Key, codec: impl fmt::Display) -> Self {
        let text = format!("it is no {codec} of this type; a call with a loader replaces it");
        Self::new(ErrorKind::Undecodable, text).about(key)
    }

    /// Return the error for a value that `codec` cannot encode.
    pub fn unencodable(key: &Key, codec: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unencodable, format!("{codec}: {reason}")).about(key)
    }

    /// Return the error for an invalid argument.
    pub fn invalid_input(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, text)
    }

    /// Return the same error with `key` named.
    pub(crate) fn about(&self, key: &Key) -> Self {
        Self(Arc::new(Detail { key: Some(key.clone()), ..(*self.0).clone() }))
    }

    /// Return the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Return the text without the kind and the key.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// Return the key of the call, if the error concerns a single key.
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// Return `true` if the same call may succeed later, with the same program and configuration.
    ///
    /// A failed loader is not retryable: the cache cannot judge the loader's error.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::LoadTimeout
            | ErrorKind::LockTimeout
            | ErrorKind::LockLost
            | ErrorKind::OutcomeUnknown
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Overloaded => true,
            ErrorKind::Server => is_passing(self.0.text.as_bytes()),
            ErrorKind::InvalidInput
            | ErrorKind::Config
            | ErrorKind::Closed
            | ErrorKind::Authentication
            | ErrorKind::Protocol
            | ErrorKind::Undecodable
            | ErrorKind::Unencodable
            | ErrorKind::LoadFailed
            | ErrorKind::LoadFailedElsewhere => false,
        }
    }
}

impl Error {
    /// Return whether Redis has refused the command for a permanent reason.
    pub(crate) fn is_final_refusal(&self) -> bool {
        let code = self.0.text.split(' ').next().unwrap_or_default();
        self.0.kind == ErrorKind::Server && matches!(code, "NOPERM" | "ERR" | "WRONGTYPE")
    }

    /// Return whether the call may succeed once Redis can be reached.
    pub(crate) fn is_for_want_of_redis(&self) -> bool {
        match self.kind() {
            ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Overloaded
            | ErrorKind::Authentication
            | ErrorKind::Protocol => true,
            ErrorKind::Server => !self.is_final_refusal(),
            ErrorKind::InvalidInput
            | ErrorKind::Config
            | ErrorKind::Closed
            | ErrorKind::LoadTimeout
            | ErrorKind::LockTimeout
            | ErrorKind::LockLost
            | ErrorKind::DeadlineExceeded
            | ErrorKind::LoadFailed
            | ErrorKind::LoadFailedElsewhere
            | ErrorKind::Undecodable
            | ErrorKind::Unencodable => false,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.description())?;
        if let Some(key) = &self.0.key {
            write!(f, " (key `{key}`)")?;
        }
        if !self.0.text.is_empty() {
            write!(f, ": {}", self.0.text)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// Return whether a server may accept the same command later.
fn is_passing(refusal: &[u8]) -> bool {
    let code = refusal.split(|&byte| byte == b' ').next().unwrap_or_default();
    Transient::of(refusal).is_some() || matches!(code, b"OOM" | b"MISCONF" | b"NOREPLICAS")
}

/// A temporary rejection: Redis has executed nothing, and the same command may succeed later or on
/// another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transient {
    Loading,
    Busy,
    MasterDown,
    TryAgain,
    ClusterDown,
    /// The server is a replica. The address may lead to its primary later.
    ReadOnly,
}

impl Transient {
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        match code {
            b"LOADING" => Some(Self::Loading),
            b"BUSY" => Some(Self::Busy),
            b"MASTERDOWN" => Some(Self::MasterDown),
            b"TRYAGAIN" => Some(Self::TryAgain),
            b"CLUSTERDOWN" => Some(Self::ClusterDown),
            b"READONLY" => Some(Self::ReadOnly),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_key_and_describes_what_happened() {
        let error = Error::new(ErrorKind::Server, "LOADING Redis is loading");
        assert!(error.is_retryable());
        assert_eq!(
            error.about(&Key::from("user:1")).to_string(),
            "redis rejected the command (key `user:1`): LOADING Redis is loading"
        );
        assert!(!Error::new(ErrorKind::Server, "WRONGTYPE Operation").is_retryable());
        for text in ["READONLY You can't write", "OOM", "NOREPLICAS Not enough", "MISCONF x"] {
            assert!(Error::new(ErrorKind::Server, text).is_retryable(), "{text}");
        }
    }
}
