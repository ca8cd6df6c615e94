//! The error of a call with a loader, and the form in which a loader's error passes through the
//! engine.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::api::error::{ArcError, BoxError, Error, ErrorKind};
use crate::api::key::Key;

/// The error of a call with a loader. `E` is the loader's error type.
///
/// `?` converts an [`Error`] into a `LoadError<E>` and a `LoadError<E>` into an [`Error`] of kind
/// [`LoadFailed`](ErrorKind::LoadFailed). [`source`](std::error::Error::source) returns the
/// loader's error, and the text includes the loader's text.
///
/// Cloning is cheap: all callers of one failed load share its error.
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader failed, in this call or in a call whose load this call joined.
    Loader(SharedError<E>),
    /// The cache failed.
    Cache(Error),
}

impl<E> LoadError<E> {
    /// Return the loader's error, if the loader failed.
    pub fn loader_error(&self) -> Option<&SharedError<E>> {
        match self {
            Self::Loader(error) => Some(error),
            Self::Cache(_) => None,
        }
    }

    /// Return the cache's error, if the cache failed.
    pub fn cache_error(&self) -> Option<&Error> {
        match self {
            Self::Loader(_) => None,
            Self::Cache(error) => Some(error),
        }
    }

    /// Return the kind of the error: [`ErrorKind::LoadFailed`] if the loader failed.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Loader(_) => ErrorKind::LoadFailed,
            Self::Cache(error) => error.kind(),
        }
    }

    /// Return `true` if the same call may succeed later, with the same program and configuration.
    ///
    /// A failed loader is not retryable: the cache cannot judge the loader's error.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Loader(_) => false,
            Self::Cache(error) => error.is_retryable(),
        }
    }
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Loader(error) => Self::Loader(error.clone()),
            Self::Cache(error) => Self::Cache(error.clone()),
        }
    }
}

impl<E> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader(error) => write!(f, "the loader failed: {error}"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl<E> fmt::Debug for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader(error) => f.debug_tuple("Loader").field(error).finish(),
            Self::Cache(error) => f.debug_tuple("Cache").field(error).finish(),
        }
    }
}

impl<E> std::error::Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Loader(error) => Some(&*error.error),
            Self::Cache(error) => error.source(),
        }
    }
}

impl<E> From<Error> for LoadError<E> {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl<E> From<LoadError<E>> for Error {
    fn from(error: LoadError<E>) -> Self {
        match error {
            LoadError::Loader(error) => Self::caused_by(ErrorKind::LoadFailed, error.error),
            LoadError::Cache(error) => error,
        }
    }
}

/// A loader's error of type `E`, shared by all callers of the load. Cloning is cheap.
///
/// It dereferences to `E` if `E` implements [`std::error::Error`]; any other `E` is reached through
/// its text or [`as_error`](Self::as_error).
///
/// ```
/// use std::io;
/// use redcache_core::LoadError;
///
/// fn is_missing(error: &LoadError<io::Error>) -> bool {
///     error.loader_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
/// }
/// ```
pub struct SharedError<E> {
    error: ArcError,
    of: PhantomData<fn() -> E>,
}

impl<E> SharedError<E> {
    /// Return the error as an object of unknown type.
    pub fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl<E: std::error::Error + Send + Sync + 'static> Deref for SharedError<E> {
    type Target = E;

    fn deref(&self) -> &E {
        // A `SharedError<E>` is created only from an `E`, and the box of an `E` that is an error
        // holds that `E` itself.
        self.error.downcast_ref().expect("the box of an error holds that error")
    }
}

impl<E> Clone for SharedError<E> {
    fn clone(&self) -> Self {
        Self { error: Arc::clone(&self.error), of: PhantomData }
    }
}

impl<E> fmt::Display for SharedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<E> fmt::Debug for SharedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

/// A loader's error as the engine carries it to the callers of the load.
#[derive(Clone)]
pub struct LoadFailure {
    error: ArcError,
    /// The type that the loader returned.
    of: TypeId,
    /// Another owner of the error, which decides when the error is dropped.
    owner: Option<Arc<dyn Any + Send + Sync>>,
}

impl LoadFailure {
    /// Return the failure of a loader that returned `error`.
    pub fn new<E: Into<BoxError> + 'static>(error: E) -> Self {
        Self { error: Arc::from(error.into()), of: TypeId::of::<E>(), owner: None }
    }

    /// Add another owner of the error. The engine drops it after the error itself, and so never
    /// runs the error's `Drop`.
    #[must_use]
    pub fn owned_by<O: Any + Send + Sync>(mut self, owner: impl FnOnce(ArcError) -> O) -> Self {
        self.owner = Some(Arc::new(owner(Arc::clone(&self.error))));
        self
    }
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl fmt::Debug for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFailure")
    }
}

/// The error of a call as the engine returns it, before the caller's error type is known.
#[derive(Clone)]
pub enum CallError {
    /// The loader failed.
    Load(LoadFailure),
    /// The cache failed.
    Cache(Error),
}

impl CallError {
    /// Return the kind of the error, as its caller with a loader of the same type sees it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Load(_) => ErrorKind::LoadFailed,
            Self::Cache(error) => error.kind(),
        }
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Load(_) => None,
            Self::Cache(error) => error.key(),
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("Load"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

/// A call without a loader can only have joined the load of another caller.
impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Cache(error) => error,
            CallError::Load(failure) => match failure.error.downcast_ref::<Self>() {
                // The loaded value could not be encoded.
                Some(error) => error.clone(),
                None => Self::caused_by(ErrorKind::LoadFailedElsewhere, failure.error),
            },
        }
    }
}

impl<E: 'static> From<CallError> for LoadError<E> {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Load(LoadFailure { error, of, .. }) if of == TypeId::of::<E>() => {
                Self::Loader(SharedError { error, of: PhantomData })
            }
            CallError::Load(_) | CallError::Cache(_) => Self::Cache(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
