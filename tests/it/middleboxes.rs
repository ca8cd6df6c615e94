//! Third-party proxies in front of a server. Each scenario runs on every adapter against its own
//! real server, behind the stand-in of the proxy and behind the program where it is installed.

use std::time::Duration;

use redcache_core::Source;
use redcache_tests::{Middlebox, Raw, RedisServer};

use crate::conformance::cache::Cache;
use crate::conformance::scene::{
    Kind, Notices, TTL, all_found, connected, found, observed, wait_until,
};

with_a_server_of_its_own![
    behind_twemproxy_everything_but_the_near_cache_works,
    behind_twemproxy_further_attempts_with_hello_cost_no_call,
    behind_twemproxy_each_loaded_value_is_stored_on_its_own_server,
    behind_haproxy_everything_works,
    behind_haproxy_the_heartbeat_keeps_an_idle_connection,
    a_connection_that_haproxy_ends_is_made_again,
];

fn behind_twemproxy_everything_but_the_near_cache_works<C: Cache>() {
    let server = RedisServer::start();
    for proxy in Middlebox::twemproxies(server.address()) {
        let notices = Notices::default();
        let cache: C = observed(proxy.url(), notices.clone());
        assert!(!cache.is_tracked());
        notices.wait_for(1, Kind::Untracked);
        assert_eq!(notices.count(Kind::ConnectFailed), 0, "{}", notices.text());
        check_calls(&cache, &mut server.connect());
        assert_eq!(cache.get("loaded").unwrap().source, Source::Redis);
    }
}

/// Make a call of each kind.
fn check_calls<C: Cache>(cache: &C, server: &mut Raw) {
    server.ok(&["FLUSHALL"]);
    assert_eq!(cache.get_with("loaded", TTL, || found("v")).unwrap().source, Source::Loaded);
    cache.insert("k", "v", TTL).unwrap();
    assert_eq!(cache.get("k").unwrap().value.as_deref(), Some(&b"v"[..]));
    server.ok(&["SET", "k", "w"]);
    wait_until("the change is seen", || cache.get("k").unwrap().value.as_deref() == Some(b"w"));
    assert!(cache.touch("k", 2 * TTL).unwrap());
    assert!(cache.insert_with("k", TTL, || found("x")).unwrap());
    assert!(server.get("k").unwrap().ends_with(b":x"));
    assert!(cache.remove("k").unwrap());
    let keys: Vec<_> = (0..100).map(|number| format!("key:{number}")).collect();
    let entries = keys.iter().map(|key| (key, key.clone().into())).collect();
    assert!(cache.insert_many(entries, TTL).unwrap().into_iter().all(|inserted| inserted.is_ok()));
    for (key, answer) in keys.iter().zip(cache.get_many(&keys).unwrap()) {
        assert_eq!(answer.unwrap().value.as_deref(), Some(key.as_bytes()));
    }
    for removed in cache.remove_many(&keys).unwrap() {
        assert!(removed.unwrap());
    }
    assert_eq!(server.get("loaded").map(|value| value.ends_with(b":v")), Some(true));
}

fn behind_twemproxy_further_attempts_with_hello_cost_no_call<C: Cache>() {
    let server = RedisServer::start();
    for proxy in Middlebox::twemproxies(server.address()) {
        let (url, notices) = (proxy.url(), Notices::default());
        let cache: C = observed(format!("{url}?reconnect_delay_max=50ms"), notices.clone());
        cache.insert("k", "v", TTL).unwrap();
        // After longer and longer pauses, the connection without `HELLO` is closed for another
        // attempt with `HELLO`, which fails.
        wait_until("the connection is replaced several times", || {
            assert_eq!(cache.get("k").unwrap().source, Source::Redis);
            cache.insert("other", "v", TTL).unwrap();
            notices.count(Kind::Untracked) >= 4
        });
        assert_eq!(notices.count(Kind::ConnectFailed), 0, "{}", notices.text());
    }
}

fn behind_twemproxy_each_loaded_value_is_stored_on_its_own_server<C: Cache>() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let addresses = servers.each_ref().map(RedisServer::address);
    let Some(proxy) = Middlebox::twemproxy(&addresses) else { return };
    let cache: C = connected(proxy.url());
    let keys: Vec<_> = (0..100).map(|number| format!("key:{number}")).collect();
    for answer in cache.get_many_with(&keys, TTL, |keys| all_found(keys, "v")).unwrap() {
        assert_eq!(answer.unwrap().source, Source::Loaded);
    }
    for answer in cache.get_many(&keys).unwrap() {
        assert_eq!(answer.unwrap().value.as_deref(), Some(&b"v"[..]));
    }
    assert_eq!(cache.stats().locks_lost, 0);
    for server in &servers {
        assert!(server.connect().integer(&["DBSIZE"]) > 0, "all keys are on the other server");
    }
}

fn behind_haproxy_everything_works<C: Cache>() {
    let server = RedisServer::start();
    for proxy in Middlebox::haproxies(server.address(), Duration::from_secs(60)) {
        let cache: C = connected(proxy.url());
        assert!(cache.is_tracked());
        check_calls(&cache, &mut server.connect());
        cache.get("loaded").unwrap();
        assert_eq!(cache.get("loaded").unwrap().source, Source::Near);
    }
}

fn behind_haproxy_the_heartbeat_keeps_an_idle_connection<C: Cache>() {
    /// An idle time-out that is longer than a starved machine delays a heartbeat.
    const IDLE: Duration = Duration::from_secs(3);
    let server = RedisServer::start();
    let mut client = server.connect();
    for proxy in Middlebox::haproxies(server.address(), IDLE) {
        let (url, notices) = (proxy.url(), Notices::default());
        let cache: C = observed(format!("{url}?heartbeat_interval=200ms"), notices.clone());
        cache.insert("k", "v", TTL).unwrap();
        let before = pings(&mut client);
        wait_until("heartbeats for longer than the time-out", || {
            pings(&mut client) > before + IDLE.as_millis() as u64 / 200 + 2
        });
        assert_eq!(cache.get("k").unwrap().value.as_deref(), Some(&b"v"[..]));
        assert_eq!(notices.count(Kind::Disconnected), 0, "{}", notices.text());
    }
}

/// Return the number of probes that a server has received.
fn pings(server: &mut Raw) -> u64 {
    let stats = String::from_utf8(server.call(&["INFO", "commandstats"])).unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_ping:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

fn a_connection_that_haproxy_ends_is_made_again<C: Cache>() {
    let server = RedisServer::start();
    server.connect().ok(&["SET", "k", "v"]);
    for proxy in Middlebox::haproxies(server.address(), Duration::from_millis(500)) {
        let notices = Notices::default();
        let cache: C = observed(proxy.url(), notices.clone());
        wait_until("the proxy ends the idle connection", || notices.count(Kind::Disconnected) > 0);
        wait_until("a read succeeds again", || cache.get("k").is_ok());
        wait_until("the cache is connected again", || notices.count(Kind::Connected) > 1);
    }
}
