//! Namespaces that can be cleared, while Redis cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redcache::blocking::{self, Cache, TypedCache};
use redcache::{CallOptions, ErrorKind, Json, RefreshOptions, Typed};
use redcache_tests::{Proxy, RedisServer};

use crate::conformance::scene::wait_until;

fn users(cache: &Cache) -> TypedCache<u64, String> {
    cache.typed("user", Json).ttl(Duration::from_secs(60)).clearable().build().unwrap()
}

/// Return what Redis holds for a key.
fn stored(users: &TypedCache<u64, String>, key: u64) -> Option<String> {
    let users = users.with_options(CallOptions::new().skip_near());
    users.get(&key).unwrap().value.map(|value| (*value).clone())
}

fn load(users: &TypedCache<u64, String>, key: u64, value: &str) {
    users.get_with(&key, || Ok::<_, String>(value.to_owned())).unwrap();
}

/// Refuse connections, and wait until the cache knows.
fn refuse(proxy: &Proxy, cache: &Cache) {
    proxy.refuse(true);
    proxy.cut();
    wait_until("an attempt to connect has failed", || {
        let health = cache.health();
        !health.is_connected && health.last_error.is_some()
    });
}

#[test]
fn a_failed_removal_is_repeated_under_the_generation_of_a_clear_in_between() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    let (cache, other) = (connect(&proxy), blocking::connect(server.url()).unwrap());
    let (users, others) = (users(&cache), users(&other));
    (0..4).for_each(|key| load(&users, key, "old"));
    refuse(&proxy, &cache);
    others.clear().unwrap();
    (0..4).for_each(|key| load(&others, key, "old"));
    users.remove(&0).unwrap_err();
    users.remove_many([1]).unwrap_err();
    users.insert(&2, &"new".to_owned()).unwrap_err();
    users.insert_many([(3, "new".to_owned())]).unwrap_err();
    assert_eq!(cache.stats().removals_kept, 4);
    proxy.refuse(false);
    wait_until("the removals are repeated", || cache.stats().removals_repeated == 4);
    for key in 0..4 {
        assert_eq!(stored(&others, key), None, "key {key}");
    }
}

#[test]
fn a_removal_before_the_first_connection_is_repeated() {
    let server = RedisServer::start();
    let others = users(&blocking::connect(server.url()).unwrap());
    load(&others, 1, "old");
    let proxy = Proxy::start(server.address());
    proxy.refuse(true);
    let cache = blocking::connect_lazy(proxy.url()).unwrap();
    let users = users(&cache);
    assert_eq!(users.remove(&1).unwrap_err().kind(), ErrorKind::Unavailable);
    // Nothing was changed, so there is nothing to remove.
    users.change([1], || Ok::<_, String>(())).unwrap_err();
    users.insert_with(&1, || Ok::<_, String>("new".to_owned())).unwrap_err();
    assert_eq!(cache.stats().removals_kept, 1);
    proxy.refuse(false);
    wait_until("the removal is repeated", || cache.stats().removals_repeated == 1);
    assert_eq!(stored(&others, 1), None);
}

#[test]
fn without_redis_one_caller_of_a_clearable_namespace_loads_for_all() {
    const CALLERS: u64 = 100;
    let server = RedisServer::start();
    let (proxy, cache) = loading_directly(&server);
    let users = users(&cache);
    load(&users, 0, "known");
    refuse(&proxy, &cache);
    let loads = AtomicU32::new(0);
    let load = |keys: Vec<u64>| {
        loads.fetch_add(1, Ordering::Relaxed);
        wait_until("all callers wait for one load", || cache.stats().calls == CALLERS);
        Ok::<_, String>(keys.into_iter().map(|key| (key, "loaded".to_owned())).collect::<Vec<_>>())
    };
    let load_one = || Ok::<_, String>(load(vec![1])?.remove(0).1);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let users = &users;
            scope.spawn(move || {
                let answer = match caller % 2 {
                    0 => users.get_with(&1, load_one).unwrap(),
                    _ => users.get_many_with([1], load).unwrap().remove(0).unwrap(),
                };
                assert_eq!(*answer.value.unwrap(), "loaded");
            });
        }
    });
    assert_eq!(loads.into_inner(), 1);
    assert_eq!(users.get(&1).unwrap_err().kind(), ErrorKind::Unavailable);
    proxy.refuse(false);
    wait_until("the cache is connected", || cache.health().is_connected);
    assert_eq!(stored(&users, 1), None);
}

#[test]
fn without_redis_one_caller_of_a_refreshing_view_loads_for_all() {
    const CALLERS: u64 = 100;
    let server = RedisServer::start();
    let (proxy, cache) = loading_directly(&server);
    let users = users(&cache);
    let loads = Arc::new(AtomicU32::new(0));
    let load = {
        let (loads, cache) = (Arc::clone(&loads), cache.clone());
        move |keys: Vec<u64>| {
            loads.fetch_add(1, Ordering::Relaxed);
            if keys == [1] {
                let all_wait = || cache.stats().calls == CALLERS;
                wait_until("all callers wait for one load", all_wait);
            }
            Ok::<_, String>(keys.into_iter().map(|key| (key, "loaded".to_owned())))
        }
    };
    let refreshing = users.refreshing(RefreshOptions::new(Duration::from_secs(60)), load).unwrap();
    assert_eq!(*refreshing.get(&0).unwrap().value.unwrap(), "loaded");
    refuse(&proxy, &cache);
    loads.store(0, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let refreshing = &refreshing;
            scope.spawn(move || {
                let answer = match caller % 2 {
                    0 => refreshing.get(&1).unwrap(),
                    _ => refreshing.get_many([1]).unwrap().remove(0).unwrap(),
                };
                assert_eq!(*answer.value.unwrap(), "loaded");
            });
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}

/// Return a cache that loads while it cannot reach the server, and the proxy between them.
fn loading_directly(server: &RedisServer) -> (Proxy, Cache) {
    let proxy = Proxy::start(server.address());
    let url = format!("{}?on_redis_down=load_direct&load_timeout=1h", proxy.url());
    let cache = blocking::connect(url).unwrap();
    (proxy, cache)
}

fn connect(proxy: &Proxy) -> Cache {
    blocking::connect(format!("{}?reconnect_delay_max=20ms", proxy.url())).unwrap()
}
