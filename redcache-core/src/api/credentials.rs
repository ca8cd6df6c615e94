//! The credentials of one login, and the login that they are for.

use std::time::Duration;

use crate::api::address::Address;
use crate::api::secret::Secret;

/// The user name and password of one login. A token may take the place of the password.
///
/// The `Debug` output does not contain the password.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::Credentials;
///
/// let token = "eyJ0eXAiOiJKV1Qi";
/// let credentials = Credentials::new("app", token).expires_in(Duration::from_secs(900));
/// assert!(!format!("{credentials:?}").contains(token));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: Secret,
    expires_in: Option<Duration>,
}

impl Credentials {
    /// Return credentials that do not expire.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), ..Self::password(password) }
    }

    /// Return the credentials of the default user, which do not expire.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: Secret::new(password), expires_in: None }
    }

    /// Set the time from now until the server stops accepting the credentials.
    ///
    /// The cache requests new credentials after seven to eight tenths of this time, and logs in
    /// again on the same connection.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expires_in = Some(lifetime);
        self
    }

    pub(crate) fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(crate) fn reveal_password(&self) -> &str {
        self.password.reveal()
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.expires_in
    }
}

/// The login that a provider returns credentials for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    address: Address,
    was_refused: bool,
}

impl LoginRequest {
    pub(crate) fn new(address: Address, was_refused: bool) -> Self {
        Self { address, was_refused }
    }

    /// Return the address of the server or sentinel to log in to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Return `true` if the server has just refused the previous credentials. A provider that
    /// caches a token then discards it.
    pub fn was_refused(&self) -> bool {
        self.was_refused
    }
}
