//! Calls of the cache from application code that the cache runs: an observer's events, the `Drop`
//! and `Clone` of values and errors, and the text of an error.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use redcache_core::observer::{
    AnswerEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, InvalidationEvent, LoadEvent,
    NotStoredEvent, Observer, RefreshEvent, RoundTripEvent,
};
use redcache_core::{CallOptions, ErrorKind, Key, Loaded};

use super::cache::Cache;
use super::scene::{TTL, cache_error, load_error, observed, seen, wait_until};
use super::server::Server;

on_every_adapter![
    an_observer_may_call_the_cache,
    a_formatter_may_call_the_cache,
    the_drop_of_a_value_may_call_the_cache,
    the_drop_of_an_error_may_call_the_cache,
    the_drop_of_an_error_that_comes_late_may_call_the_cache,
];

/// A value, an error and an observer that calls the cache whenever it is used, cloned or dropped.
struct Caller<C: Cache> {
    cache: Arc<OnceLock<C>>,
    calls: Arc<AtomicUsize>,
    /// The clones that exist.
    alive: Arc<AtomicUsize>,
}

impl<C: Cache> Caller<C> {
    fn new() -> Self {
        let alive = Arc::new(AtomicUsize::new(1));
        Self { cache: Arc::default(), calls: Arc::default(), alive }
    }

    /// Connect a cache with this observer.
    fn connect(&self, url: impl AsRef<str>) -> C {
        let cache = observed::<C>(url, self.clone());
        self.cache.set(cache.clone()).unwrap();
        cache
    }

    fn call(&self) {
        let Some(cache) = self.cache.get() else { return };
        let cache = cache.clone().with_options(CallOptions::new().skip_near());
        assert!(cache.stats().calls < 100);
        let _ = (cache.is_tracked(), format!("{cache:?}"));
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    fn loaded(&self) -> Result<Loaded, Self> {
        Ok(Loaded::value(self.value()))
    }

    fn all_loaded(&self, keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, Self> {
        Ok(keys.into_iter().map(|key| (key, self.value().into())).collect())
    }

    fn failed<T>(&self) -> Result<T, Self> {
        Err(self.clone())
    }

    /// Wait until all clones except this one and the observer are dropped.
    fn wait_until_alone(&self) {
        wait_until("all are dropped", || self.alive.load(Ordering::Relaxed) == 2);
        assert!(self.calls.load(Ordering::Relaxed) > 0);
    }
}

impl<C: Cache> Clone for Caller<C> {
    fn clone(&self) -> Self {
        self.call();
        self.alive.fetch_add(1, Ordering::Relaxed);
        let (cache, calls, alive) = (&self.cache, &self.calls, &self.alive);
        Self { cache: Arc::clone(cache), calls: Arc::clone(calls), alive: Arc::clone(alive) }
    }
}

impl<C: Cache> Drop for Caller<C> {
    fn drop(&mut self) {
        self.call();
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C: Cache> AsRef<[u8]> for Caller<C> {
    fn as_ref(&self) -> &[u8] {
        self.call();
        b"v"
    }
}

impl<C: Cache> fmt::Debug for Caller<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call();
        f.write_str("Caller")
    }
}

impl<C: Cache> fmt::Display for Caller<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call();
        f.write_str("boom")
    }
}

impl<C: Cache> std::error::Error for Caller<C> {}

macro_rules! calls_at {
    ($($method:ident: $event:ty,)*) => {
        impl<C: Cache> Observer for Caller<C> {
            $(fn $method(&self, _: &$event) {
                self.call();
            })*
        }
    };
}

calls_at! {
    on_answer: AnswerEvent,
    on_failure: FailureEvent,
    on_load: LoadEvent,
    on_round_trip: RoundTripEvent,
    on_not_stored: NotStoredEvent,
    on_invalidation: InvalidationEvent,
    on_refresh: RefreshEvent,
    on_connected: ConnectedEvent,
    on_disconnected: DisconnectedEvent,
}

fn an_observer_may_call_the_cache<C: Cache>() {
    let server = Server::start();
    let caller = Caller::<C>::new();
    let cache = caller.connect(server.url());
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(seen(cache.get_with("k", TTL, || caller.loaded())), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from near");
    server.connect().integer(&["DEL", "k"]);
    wait_until("the removal is heard", || cache.get("k").unwrap().value.is_none());
    cache.close();
    caller.wait_until_alone();
}

impl<C: Cache> fmt::Write for Caller<C> {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        self.call();
        Ok(())
    }
}

fn a_formatter_may_call_the_cache<C: Cache>() {
    let server = Server::start();
    let mut caller = Caller::<C>::new();
    let cache = caller.connect(server.url());
    fmt::write(&mut caller, format_args!("{cache:?}")).unwrap();
    assert!(caller.calls.load(Ordering::Relaxed) > 0);
    cache.close();
    caller.wait_until_alone();
}

fn the_drop_of_a_value_may_call_the_cache<C: Cache>() {
    let server = Server::start();
    let caller = Caller::<C>::new();
    let cache = caller.connect(server.url());
    cache.insert("a", caller.value(), TTL).unwrap();
    cache.insert_many(vec![("b", caller.value()), ("c", caller.value())], TTL).unwrap();
    cache.insert_many(vec![("b", caller.value()), ("b", caller.value())], TTL).unwrap();
    assert!(cache.insert_with("d", TTL, || caller.loaded()).unwrap());
    cache.insert_many_with(&["d", "e"], TTL, |keys| caller.all_loaded(keys)).unwrap();
    assert_eq!(seen(cache.get_with("f", TTL, || caller.loaded())), "v from loaded");
    cache.get_many_with(&["g", "h"], TTL, |keys| caller.all_loaded(keys)).unwrap();
    // No call has requested these keys.
    let others = |_| caller.all_loaded(vec!["x".into(), "y".into()]);
    cache.get_many_with(&["i"], TTL, others).unwrap();
    cache.close();
    // The cache rejects the value.
    assert_eq!(cache.insert("a", caller.value(), TTL).unwrap_err().kind(), ErrorKind::Closed);
    caller.wait_until_alone();
}

fn the_drop_of_an_error_may_call_the_cache<C: Cache>() {
    let server = Server::start();
    let caller = Caller::<C>::new();
    let cache = caller.connect(server.url());
    let error = load_error(cache.get_with("a", TTL, || caller.failed()));
    assert_eq!(error.to_string(), "boom");
    drop(error);
    for answer in cache.get_many_with(&["a", "b"], TTL, |_| caller.failed()).unwrap() {
        drop(load_error(answer));
    }
    drop(load_error(cache.insert_with("a", TTL, || caller.failed())));
    for result in cache.insert_many_with(&["a", "b"], TTL, |_| caller.failed()).unwrap() {
        drop(load_error(result));
    }
    cache.close();
    caller.wait_until_alone();
}

fn the_drop_of_an_error_that_comes_late_may_call_the_cache<C: Cache>() {
    let server = Server::start();
    let caller = Caller::<C>::new();
    let cache = caller.connect(server.url() + "?load_timeout=50ms&lock_ttl=1h");
    let over = || wait_until("the call is over", || cache.stats().calls == 0);
    let error = || {
        over();
        caller.failed()
    };
    assert_eq!(cache_error(cache.get_with("a", TTL, error)).kind(), ErrorKind::LoadTimeout);
    let value = || {
        over();
        caller.loaded()
    };
    assert_eq!(cache_error(cache.insert_with("b", TTL, value)).kind(), ErrorKind::LoadTimeout);
    let errors = |_| {
        over();
        caller.failed()
    };
    for result in cache.insert_many_with(&["c", "d"], TTL, errors).unwrap() {
        assert_eq!(cache_error(result).kind(), ErrorKind::LoadTimeout);
    }
    cache.close();
    caller.wait_until_alone();
}
