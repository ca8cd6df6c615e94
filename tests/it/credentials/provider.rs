//! Credentials providers whose answers the test decides.

use std::future::pending;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use redcache_core::{BoxError, ConfigBuilder, Credentials, LoginRequest};

use crate::conformance::cache::{Async, AsyncCache, Cache, Host};

/// The lifetime of credentials that a test wants renewed soon.
const SHORT: Duration = Duration::from_millis(200);

/// The next answers of a provider.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// This password of the user `app`, soon to be renewed.
    Password(String),
    Fails,
    Hangs,
}

/// A provider, and the requests that it has received.
#[derive(Debug, Clone)]
pub(super) struct Provider(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    given: Given,
    asked: Vec<LoginRequest>,
}

impl Provider {
    pub(super) fn giving(password: &str) -> Self {
        let given = Given::Password(password.to_owned());
        Self(Arc::new(Mutex::new(State { given, asked: Vec::new() })))
    }

    /// Set the answers from now on.
    pub(super) fn set(&self, given: Given) {
        self.0.lock().unwrap().given = given;
    }

    pub(super) fn give(&self, password: &str) {
        self.set(Given::Password(password.to_owned()));
    }

    /// Return every request so far.
    pub(super) fn asked(&self) -> Vec<LoginRequest> {
        self.0.lock().unwrap().asked.clone()
    }

    fn ask(&self, login: LoginRequest) -> Given {
        let mut state = self.0.lock().unwrap();
        state.asked.push(login);
        state.given.clone()
    }
}

fn credentials(password: String) -> Credentials {
    Credentials::new("app", password).expires_in(SHORT)
}

fn no_network() -> BoxError {
    "no network".into()
}

/// The cache of an adapter with a provider of its face.
pub(super) trait Provided: Cache {
    /// Set the provider of the servers.
    fn provide(builder: ConfigBuilder, provider: &Provider) -> ConfigBuilder;
    /// Set the provider of the sentinels.
    fn provide_to_sentinels(builder: ConfigBuilder, provider: &Provider) -> ConfigBuilder;
    /// Set a provider that reads the password from the cache once there is one.
    fn provide_from_cache(
        builder: ConfigBuilder,
        provider: &Provider,
        cache: Arc<OnceLock<Self>>,
    ) -> ConfigBuilder;
}

impl<H: Host> Provided for Async<H> {
    fn provide(builder: ConfigBuilder, provider: &Provider) -> ConfigBuilder {
        builder.credentials_provider(as_async(provider))
    }

    fn provide_to_sentinels(builder: ConfigBuilder, provider: &Provider) -> ConfigBuilder {
        builder.sentinel_credentials_provider(as_async(provider))
    }

    fn provide_from_cache(
        builder: ConfigBuilder,
        provider: &Provider,
        cache: Arc<OnceLock<Self>>,
    ) -> ConfigBuilder {
        let provider = provider.clone();
        builder.credentials_provider(move |login: LoginRequest| {
            let (given, cache) = (provider.ask(login), Arc::clone(&cache));
            async move {
                if let Some(cache) = cache.get() {
                    cache.handle().get("token").await?;
                }
                answer(given).await
            }
        })
    }
}

/// Return an async provider. Its future owns its captured values.
fn as_async(
    provider: &Provider,
) -> impl Fn(LoginRequest) -> BoxFuture<Result<Credentials, BoxError>> + Send + Sync + 'static {
    let provider = provider.clone();
    move |login| Box::pin(answer(provider.ask(login)))
}

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

async fn answer(given: Given) -> Result<Credentials, BoxError> {
    match given {
        Given::Password(password) => Ok(credentials(password)),
        Given::Fails => Err(no_network()),
        Given::Hangs => pending().await,
    }
}

impl Provided for redcache_blocking::Cache {
    fn provide(builder: ConfigBuilder, provider: &Provider) -> ConfigBuilder {
        let provider = provider.clone();
        builder.blocking_credentials_provider(move |login| answer_blocking(provider.ask(login)))
    }

    fn provide_to_sentinels(builder: ConfigBuilder, provider: &Provider) -> ConfigBuilder {
        let provider = provider.clone();
        builder.blocking_sentinel_credentials_provider(move |login| {
            answer_blocking(provider.ask(login))
        })
    }

    fn provide_from_cache(
        builder: ConfigBuilder,
        provider: &Provider,
        cache: Arc<OnceLock<Self>>,
    ) -> ConfigBuilder {
        let provider = provider.clone();
        builder.blocking_credentials_provider(move |login| {
            let given = provider.ask(login);
            if let Some(cache) = cache.get() {
                cache.get("token")?;
            }
            answer_blocking(given)
        })
    }
}

fn answer_blocking(given: Given) -> Result<Credentials, BoxError> {
    match given {
        Given::Password(password) => Ok(credentials(password)),
        Given::Fails => Err(no_network()),
        // The thread ends with the process.
        Given::Hangs => loop {
            thread::park();
        },
    }
}
