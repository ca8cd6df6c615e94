//! What can go wrong, and whose fault it is.

use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use crate::api::config::ConfigError;
use crate::api::key::Key;

/// Why a call failed. `E` is the error of the caller's own loader; calls without a loader cannot fail that way.
///
/// Cloning is cheap: everybody who joined one failed load is given the same error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E = Infallible> {
    /// The loader failed. The error is the loader's own; callers that joined the load share it.
    #[error("the loader failed: {0}")]
    Load(Arc<E>),
    /// The cache itself failed.
    #[error(transparent)]
    Cache(CacheError),
}

impl<E> Clone for Error<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Load(error) => Self::Load(Arc::clone(error)),
            Self::Cache(error) => Self::Cache(error.clone()),
        }
    }
}

impl<E> Error<E> {
    /// Says whether the same call may succeed a little later without a change of the program or its configuration.
    /// What a loader's error means is not known here, so that is `false`.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Load(_) => false,
            Self::Cache(error) => error.is_retryable(),
        }
    }

    /// Gives the loader's error, if that is what happened.
    pub fn load_error(&self) -> Option<&E> {
        match self {
            Self::Load(error) => Some(error),
            Self::Cache(_) => None,
        }
    }

    /// Gives the cache's error, if that is what happened.
    pub fn cache_error(&self) -> Option<&CacheError> {
        match self {
            Self::Load(_) => None,
            Self::Cache(error) => Some(error),
        }
    }
}

impl<E: Send + Sync + 'static> Error<E> {
    /// Gives a failed call its caller's own error type back.
    pub fn from_call(error: CallError) -> Self {
        match error {
            CallError::Cache(error) => Self::Cache(error),
            CallError::Load(failure) => {
                let message = failure.to_string();
                let any: Arc<dyn Any + Send + Sync> = failure;
                match any.downcast::<E>() {
                    Ok(error) => Self::Load(error),
                    Err(_) => Self::Cache(CacheError::new(ErrorKind::LoadFailedElsewhere, message)),
                }
            }
        }
    }
}

impl<E> From<CacheError> for Error<E> {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

/// What kind of trouble the cache had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call itself is wrong, for example its ttl; nothing was sent.
    InvalidInput,
    /// A setting is wrong; no cache was opened.
    Config,
    /// The cache is closed.
    Closed,
    /// There is no connection to Redis.
    Unavailable,
    /// Redis refused the user name or the password, or wants one.
    Authentication,
    /// Redis did not answer in time.
    Timeout,
    /// The loader took longer than `load_timeout`; its lock was released.
    LoadTimeout,
    /// Others held a lock on the key for longer than a write waits, `load_timeout` and `lock_ttl` together. Nothing was
    /// written.
    LockTimeout,
    /// Somebody has changed the key while its new value was being loaded, or its lock has expired: the value was not
    /// stored.
    LockLost,
    /// The connection was lost after the command had been sent: it may or may not have been executed.
    OutcomeUnknown,
    /// The call did not end within the deadline that its options gave it. A write may or may not have been executed.
    DeadlineExceeded,
    /// Too many commands wait already.
    Overloaded,
    /// Redis refused the command.
    Server,
    /// The other side does not speak Redis's protocol as it should.
    Protocol,
    /// The call had joined another caller's load, which failed with an error of another type.
    LoadFailedElsewhere,
}

impl ErrorKind {
    fn says(self) -> &'static str {
        match self {
            Self::InvalidInput => "this call cannot be made",
            Self::Config => "the cache cannot be set up",
            Self::Closed => "the cache is closed",
            Self::Unavailable => "redis is not available",
            Self::Authentication => "redis refused the login",
            Self::Timeout => "redis did not answer in time",
            Self::LoadTimeout => "the loader did not end in time",
            Self::LockTimeout => "others kept the key locked",
            Self::LockLost => "the lock was lost, so the value was not stored",
            Self::OutcomeUnknown => {
                "the connection was lost while the command was under way, so it may or may not have been executed"
            }
            Self::DeadlineExceeded => "the call did not end within its deadline",
            Self::Overloaded => "too many commands are waiting for redis",
            Self::Server => "redis refused the command",
            Self::Protocol => "the server broke the protocol",
            Self::LoadFailedElsewhere => "the load that this call had joined failed",
        }
    }
}

/// An error of the cache, as opposed to one of the loader. It names the key, never the value.
#[derive(Clone)]
pub struct CacheError(Arc<Detail>);

#[derive(Clone)]
struct Detail {
    kind: ErrorKind,
    key: Option<Key>,
    text: Cow<'static, str>,
}

impl CacheError {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Detail { kind, key: None, text: text.into() }))
    }

    /// What every call on a closed cache gets.
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "")
    }

    /// For adapters whose operating system has no randomness to seed the engine with.
    pub fn no_randomness(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, format!("no randomness for the locks: {error}"))
    }

    /// For adapters whose operating system has no thread to run the cache on.
    pub fn no_thread(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, format!("no thread for the cache: {error}"))
    }

    /// The same error, naming `key`.
    pub(crate) fn about(&self, key: &Key) -> Self {
        Self(Arc::new(Detail { key: Some(key.clone()), ..(*self.0).clone() }))
    }

    /// Gives the kind of trouble.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Gives the key that the call was about, where there is one.
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// Says whether the same call may succeed a little later without a change of the program or its configuration.
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
            // These name a state of the server that passes.
            ErrorKind::Server => Transient::of(self.0.text.as_bytes()).is_some(),
            ErrorKind::InvalidInput
            | ErrorKind::Config
            | ErrorKind::Closed
            | ErrorKind::Authentication
            | ErrorKind::Protocol
            | ErrorKind::LoadFailedElsewhere => false,
        }
    }
}

impl From<ConfigError> for CacheError {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

/// So that whatever becomes a [`Config`](crate::Config) will do, and one that is made too.
impl From<Infallible> for CacheError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.says())?;
        if let Some(key) = &self.0.key {
            write!(f, " (key `{key}`)")?;
        }
        if !self.0.text.is_empty() {
            write!(f, ": {}", self.0.text)?;
        }
        Ok(())
    }
}

impl fmt::Debug for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheError({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for CacheError {}

/// Refusals that say nothing was executed and that pass by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transient {
    Loading,
    Busy,
    MasterDown,
    TryAgain,
    ClusterDown,
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
            _ => None,
        }
    }
}

/// A loader's error on its way to everybody who joined the load; the core never looks inside.
pub trait LoadFailure: Any + fmt::Display + Send + Sync {}

impl<E: fmt::Display + Send + Sync + 'static> LoadFailure for E {}

/// Why a call failed, before the caller's error type is known again.
#[derive(Clone)]
pub enum CallError {
    /// The loader failed.
    Load(Arc<dyn LoadFailure>),
    /// The cache failed.
    Cache(CacheError),
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("Load"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl From<CacheError> for CallError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_load_gives_the_same_error_to_the_same_type_and_its_text_to_another() {
        let failure: Arc<dyn LoadFailure> = Arc::new(String::from("no such table"));
        let same = Error::<String>::from_call(CallError::Load(Arc::clone(&failure)));
        assert_eq!(same.load_error().unwrap(), "no such table");
        let other = Error::<u32>::from_call(CallError::Load(failure));
        let error = other.cache_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::LoadFailedElsewhere);
        assert!(error.to_string().ends_with("failed: no such table"));
    }

    #[test]
    fn an_error_names_its_key_and_says_what_happened() {
        let error = CacheError::new(ErrorKind::Server, "LOADING Redis is loading");
        assert!(error.is_retryable());
        assert_eq!(
            error.about(&Key::from("user:1")).to_string(),
            "redis refused the command (key `user:1`): LOADING Redis is loading"
        );
        assert!(!CacheError::new(ErrorKind::Server, "WRONGTYPE Operation").is_retryable());
    }
}
