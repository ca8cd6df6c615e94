//! Health: the state of the connections, before, in and after an outage.

use redcache_tests::RedisServer;

use super::cache::Cache;
use super::port::Port;
use super::scene::{AT_ONCE, connected, timed, wait_until};

with_a_server_of_its_own![
    health_tells_an_outage_and_its_end,
    health_is_known_while_an_attempt_to_connect_hangs,
    health_tells_a_server_that_does_not_answer,
    health_contains_no_password,
];

fn health_tells_an_outage_and_its_end<C: Cache>() {
    let mut server = RedisServer::start();
    let cache: C = connected(format!("{}?reconnect_delay_max=20ms", server.url()));
    let health = cache.health();
    assert!(health.is_connected && health.is_complete && health.is_tracked, "{health:?}");
    assert!(!health.is_breaker_open && !health.is_connecting && !health.is_closed, "{health:?}");
    assert!(health.disconnected_for.is_none() && health.last_error.is_none(), "{health:?}");
    server.stop();
    wait_until("the loss is known", || !cache.health().is_connected);
    let health = cache.health();
    let error = health.last_error.unwrap().to_string();
    assert!(error.contains(&server.address().to_string()), "{error}");
    assert!(health.disconnected_for.is_some() && !health.is_tracked && !health.is_complete);
    server.restart();
    wait_until("the cache is connected", || cache.health().is_tracked);
    let health = cache.health();
    assert!(health.disconnected_for.is_none() && health.last_error.is_none(), "{health:?}");
    cache.close();
    let health = cache.health();
    assert!(health.is_closed && !health.is_connected && !health.is_tracked, "{health:?}");
}

fn health_is_known_while_an_attempt_to_connect_hangs<C: Cache>() {
    let port = Port::that_is_silent();
    let cache = C::open(format!("{}?connect_timeout=60s", port.url()));
    wait_until("an attempt is under way", || cache.health().is_connecting);
    let (health, took) = timed(|| cache.health());
    assert!(took < AT_ONCE && !health.is_connected && health.last_error.is_none(), "{health:?}");
}

fn health_tells_a_server_that_does_not_answer<C: Cache>() {
    let server = RedisServer::start();
    let options = "?breaker_failures=1&command_timeout=50ms&breaker_pause=1ms";
    let cache: C = connected(format!("{}{options}", server.url()));
    server.pause();
    cache.get("k").unwrap_err();
    let health = cache.health();
    assert!(health.is_connected && health.is_breaker_open, "{health:?}");
    server.resume();
    wait_until("a reply closes the breaker", || {
        cache.get("k").is_ok() && !cache.health().is_breaker_open
    });
}

fn health_contains_no_password<C: Cache>() {
    let server = RedisServer::start_with(&["--requirepass", "swordfish"]);
    let cache = C::open(server.url().replacen("://", "://:hunter2@", 1));
    cache.ready().unwrap_err();
    let health = cache.health();
    assert!(!health.is_connected && health.last_error.is_some());
    assert!(!format!("{health:?}").contains("hunter2"), "{health:?}");
}
