//! The application's source of credentials, for logins that change.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::api::credentials::{Credentials, LoginRequest};
use crate::api::error::BoxError;

/// Provides the credentials of each login, for the async adapters.
///
/// The cache calls the provider before each login: once for each new connection, and again on a
/// live connection before the credentials expire. A failure is followed by another attempt after a
/// pause; a live connection stays open meanwhile. The call runs in its own task, under no lock, and
/// is dropped after `connect_timeout`. In a cluster, the provider is called once for each node, so
/// a provider whose tokens are expensive should cache the current token.
///
/// The text of the error appears in errors and notices of the cache: leave secrets out of it.
///
/// Closures from [`LoginRequest`] to a future implement the trait.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::{BoxError, Config, Credentials, LoginRequest};
///
/// async fn fetch_token() -> Result<String, BoxError> {
///     Ok("eyJ0eXAiOiJKV1Qi".to_owned())
/// }
///
/// let config = Config::builder()
///     .server("cache.internal", 6379)
///     .credentials_provider(|_: LoginRequest| async {
///         let token = fetch_token().await?;
///         Ok(Credentials::new("app", token).expires_in(Duration::from_secs(900)))
///     })
///     .build()?;
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// Return the credentials for one login.
    ///
    /// # Errors
    ///
    /// Fails if there are no credentials now. The cache calls the provider again after a pause.
    fn credentials(
        &self,
        login: LoginRequest,
    ) -> impl Future<Output = Result<Credentials, BoxError>> + Send;
}

impl<F, R> CredentialsProvider for F
where
    F: Fn(LoginRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Credentials, BoxError>> + Send,
{
    fn credentials(
        &self,
        login: LoginRequest,
    ) -> impl Future<Output = Result<Credentials, BoxError>> + Send {
        self(login)
    }
}

/// Provides the credentials of each login, for the blocking adapter.
///
/// The cache calls it at the same times as a [`CredentialsProvider`], in its own thread and under
/// no lock. It waits for `connect_timeout` and ignores a later answer. Closures from
/// [`LoginRequest`] implement the trait.
///
/// # Examples
///
/// ```
/// use redcache_core::{Config, Credentials, LoginRequest};
///
/// let config = Config::builder()
///     .server("cache.internal", 6379)
///     .blocking_credentials_provider(|_: LoginRequest| {
///         let password = std::fs::read_to_string("/run/secrets/redis")?;
///         Ok(Credentials::password(password.trim()))
///     })
///     .build()?;
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
pub trait BlockingCredentialsProvider: Send + Sync + 'static {
    /// Return the credentials for one login.
    ///
    /// # Errors
    ///
    /// Fails if there are no credentials now. The cache calls the provider again after a pause.
    fn credentials(&self, login: LoginRequest) -> Result<Credentials, BoxError>;
}

impl<F> BlockingCredentialsProvider for F
where
    F: Fn(LoginRequest) -> Result<Credentials, BoxError> + Send + Sync + 'static,
{
    fn credentials(&self, login: LoginRequest) -> Result<Credentials, BoxError> {
        self(login)
    }
}

/// The future of a provider.
pub type CredentialsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send + 'a>>;

/// An async provider as an object.
trait AnyProvider: Send + Sync {
    fn ask(&self, login: LoginRequest) -> CredentialsFuture<'_>;
}

impl<P: CredentialsProvider> AnyProvider for P {
    fn ask(&self, login: LoginRequest) -> CredentialsFuture<'_> {
        Box::pin(self.credentials(login))
    }
}

/// The provider in the settings. Two are equal if one is a clone of the other.
#[derive(Clone)]
pub struct SharedProvider(Kind);

#[derive(Clone)]
enum Kind {
    Async(Arc<dyn AnyProvider>),
    Blocking(Arc<dyn BlockingCredentialsProvider>),
}

impl SharedProvider {
    pub(crate) fn new(provider: impl CredentialsProvider) -> Self {
        Self(Kind::Async(Arc::new(provider)))
    }

    pub(crate) fn blocking(provider: impl BlockingCredentialsProvider) -> Self {
        Self(Kind::Blocking(Arc::new(provider)))
    }

    /// Return `true` for a [`BlockingCredentialsProvider`].
    pub fn is_blocking(&self) -> bool {
        matches!(self.0, Kind::Blocking(_))
    }

    /// Call an async provider and return its future; `None` if it is blocking. Hold no lock.
    pub fn ask(&self, login: LoginRequest) -> Option<CredentialsFuture<'_>> {
        match &self.0 {
            Kind::Async(provider) => Some(provider.ask(login)),
            Kind::Blocking(_) => None,
        }
    }

    /// Call a blocking provider; `None` if it is async. Hold no lock.
    pub fn ask_blocking(&self, login: LoginRequest) -> Option<Result<Credentials, BoxError>> {
        match &self.0 {
            Kind::Async(_) => None,
            Kind::Blocking(provider) => Some(provider.credentials(login)),
        }
    }
}

impl PartialEq for SharedProvider {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Async(one), Kind::Async(other)) => Arc::ptr_eq(one, other),
            (Kind::Blocking(one), Kind::Blocking(other)) => Arc::ptr_eq(one, other),
            (Kind::Async(_), Kind::Blocking(_)) | (Kind::Blocking(_), Kind::Async(_)) => false,
        }
    }
}

impl Eq for SharedProvider {}

impl fmt::Debug for SharedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsProvider")
    }
}
