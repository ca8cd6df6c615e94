//! Functions with the attribute `cached`.
#![cfg(all(feature = "macros", feature = "blocking"))]
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use redcache::{BoxError, Cache, CacheKey, ErrorKind, Json, LoadError, Typed, TypedCache, cached};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

fn user(name: impl fmt::Display) -> User {
    User { name: name.to_string() }
}

/// A source of users that counts its queries.
struct Users {
    cache: Cache,
    tenant: u8,
    queries: AtomicU32,
}

impl Users {
    fn new(cache: &Cache, tenant: u8) -> Self {
        Self { cache: cache.clone(), tenant, queries: AtomicU32::new(0) }
    }

    fn query(&self) -> u32 {
        self.queries.fetch_add(1, Ordering::Relaxed) + 1
    }

    #[cached(cache = self.cache, key = "user:{self.tenant}/{id}", ttl = "60s", not_found_ttl = "5s")]
    async fn find(&self, id: u64) -> Result<Option<User>, BoxError> {
        let query = self.query();
        if id == 0 {
            return Ok(None);
        }
        // The conversion needs to know the type of the error.
        "1".parse::<u8>()?;
        Ok(Some(user(query)))
    }

    /// Return a user that exists.
    #[cached(cache = self.cache, key = "user:{self.tenant}/{id}", ttl = "60s")]
    async fn get(&self, id: u64) -> Result<Arc<User>, BoxError> {
        Ok(user(self.query()).into())
    }

    #[cached(cache = self.cache, key = "shout:{text}/{keys.0}/{keys.1}", jitter = 0.1, skip(times))]
    async fn shout<K: CacheKey>(
        &self,
        text: &str,
        mut times: usize,
        keys: (K, bool),
    ) -> Result<String, BoxError> {
        self.query();
        let mut shout = String::new();
        while times > 0 {
            shout.push_str(text);
            times -= 1;
        }
        Ok(shout)
    }
}

async fn connect(server: &EmbeddedServer) -> Cache {
    redcache::connect(server.url()).await.unwrap()
}

#[tokio::test]
async fn a_function_runs_once_per_key_and_its_view_removes_the_key() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let users = Arc::new(Users::new(&cache, 7));
    // The future of the function can move to another thread.
    let task = tokio::spawn({
        let users = Arc::clone(&users);
        async move { users.find(1).await.unwrap() }
    });
    assert_eq!(task.await.unwrap(), Some(user(1)));
    assert_eq!(users.find(1).await.unwrap(), Some(user(1)));
    assert_eq!(users.find(2).await.unwrap(), Some(user(2)));
    let view: TypedCache<(u8, u64), User> = cache.typed("user", Json).build().unwrap();
    assert!(view.remove(&(7, 1)).await.unwrap());
    assert_eq!(users.find(1).await.unwrap(), Some(user(3)));
    // Another tenant has other keys.
    assert_eq!(Users::new(&cache, 8).find(1).await.unwrap(), Some(user(1)));
}

#[tokio::test]
async fn each_cache_has_a_view_of_its_own_and_none_is_kept_open() {
    let servers: Vec<_> = (0..3).map(|_| EmbeddedServer::start().unwrap()).collect();
    for server in &servers {
        for _ in 0..2 {
            let users = Users::new(&connect(server).await, 1);
            users.find(1).await.unwrap();
            assert!(users.find(1).await.unwrap().is_some());
            assert!(users.queries.into_inner() < 2);
        }
    }
}

#[tokio::test]
async fn not_found_is_cached_for_an_option_and_replaced_for_a_value() {
    let server = EmbeddedServer::start().unwrap();
    let users = Users::new(&connect(&server).await, 1);
    assert_eq!(users.find(0).await.unwrap(), None);
    assert_eq!(users.find(0).await.unwrap(), None);
    let view: TypedCache<(u8, u64), User> = users.cache.typed("user", Json).build().unwrap();
    let ttl = view.get(&(1, 0)).await.unwrap().ttl.unwrap();
    assert!(ttl <= Duration::from_secs(5));
    let got = users.get(0).await.unwrap();
    assert_eq!(*got, user(2));
    assert!(Arc::ptr_eq(&got, &users.get(0).await.unwrap()));
    assert_eq!(users.find(0).await.unwrap(), Some(user(2)));
}

#[tokio::test]
async fn arguments_are_parts_of_the_key_or_skipped() {
    let server = EmbeddedServer::start().unwrap();
    let users = Users::new(&connect(&server).await, 1);
    assert_eq!(users.shout("a/b", 2, (1_u8, true)).await.unwrap(), "a/ba/b");
    assert_eq!(users.shout("a/b", 3, (1_u8, true)).await.unwrap(), "a/ba/b");
    assert_eq!(users.shout("a/b", 1, ("1", false)).await.unwrap(), "a/b");
    assert_eq!(
        *users.cache.get("shout:a%2Fb/1/true").await.unwrap().value.unwrap(),
        *br#""a/ba/b""#
    );
    assert_eq!(users.queries.into_inner(), 2);
}

/// An error of a service, as its functions return it.
#[derive(Debug, Clone, PartialEq)]
enum ServiceError {
    Refused(u64),
    Cache(ErrorKind),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ServiceError {}

impl From<LoadError<Self>> for ServiceError {
    fn from(error: LoadError<Self>) -> Self {
        match error.loader_error() {
            Some(error) => (**error).clone(),
            None => Self::Cache(error.kind()),
        }
    }
}

static CACHE: OnceLock<Cache> = OnceLock::new();
static LAZY: LazyLock<Cache> =
    LazyLock::new(|| redcache::connect_lazy("redis://127.0.0.1:1?command_timeout=1s").unwrap());
const NO_TTL: Duration = Duration::ZERO;

#[cached(cache = CACHE.get().unwrap(), key = "refused:{id}", ttl = "1m")]
async fn refused(id: u64) -> Result<u8, ServiceError> {
    Err(ServiceError::Refused(id))
}

#[cached(cache = LAZY, key = "away:{id}", ttl = "1m")]
async fn away(id: u64) -> Result<u64, ServiceError> {
    Ok(id)
}

#[cached(cache = LAZY, key = "invalid:{id}", ttl = NO_TTL)]
async fn invalid(id: u64) -> Result<u64, ServiceError> {
    Ok(id)
}

#[tokio::test]
async fn errors_of_the_function_and_of_the_cache_have_the_type_of_the_function() {
    let server = EmbeddedServer::start().unwrap();
    CACHE.set(connect(&server).await).unwrap();
    assert_eq!(refused(3).await, Err(ServiceError::Refused(3)));
    assert_eq!(away(3).await, Err(ServiceError::Cache(ErrorKind::Unavailable)));
    assert_eq!(invalid(3).await, Err(ServiceError::Cache(ErrorKind::InvalidInput)));
}

#[cached(cache = cache, key = "double:{n}", ttl = "60s", skip(cache, runs))]
fn double(cache: &redcache::blocking::Cache, n: u32, runs: &AtomicU32) -> Result<u32, BoxError> {
    runs.fetch_add(1, Ordering::Relaxed);
    n.checked_mul(2).ok_or_else(|| "too large".into())
}

#[cached(cache = cache, key = "even:{n}", skip(cache))]
fn even(cache: &redcache::blocking::Cache, n: u32) -> Result<Option<Arc<u32>>, BoxError> {
    if n % 2 == 1 {
        return Ok(None);
    }
    Ok(Some(n.into()))
}

#[test]
fn a_plain_function_has_a_blocking_cache() {
    let server = EmbeddedServer::start().unwrap();
    let cache = redcache::blocking::connect(server.url()).unwrap();
    let runs = AtomicU32::new(0);
    assert_eq!(double(&cache, 4, &runs).unwrap(), 8);
    assert_eq!(double(&cache, 4, &runs).unwrap(), 8);
    assert_eq!(runs.into_inner(), 1);
    let error = double(&cache, u32::MAX, &AtomicU32::new(0)).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    assert_eq!(even(&cache, 4).unwrap().as_deref(), Some(&4));
    assert_eq!(even(&cache, 5).unwrap(), None);
}
