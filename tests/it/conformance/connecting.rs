//! Connecting: the negotiated protocol, the login, and the error of a caller after a failure.

use std::thread;
use std::time::Duration;

use redcache_core::{ConfigBuilder, ErrorKind};
use redcache_sim::listen::EmbeddedServer;
use redcache_sim::server::{Config, HelloSupport};
use redcache_tests::{Proxy, RedisServer};

use super::cache::Cache;
use super::port::{self, Port};
use super::scene::{
    AT_ONCE, Kind, LONG_LOCK, Notices, TTL, all_seen, cache_error, connected, found, gate,
    must_not_load, observed, seen, timed, wait_until,
};

with_a_server_of_its_own![
    a_wrong_password_is_an_error_at_once,
    a_missing_password_is_an_error_at_once,
    a_password_is_accepted,
    an_acl_user_connects_and_is_held_to_its_rules,
    permissions_that_change_are_an_error_until_they_are_granted_again,
    a_user_without_tracking_works_without_the_near_cache,
    a_resp2_server_is_polled_with_one_notice,
    a_refused_connection_is_an_error_and_never_a_hang,
    a_host_that_is_unreachable_costs_no_more_than_the_connect_timeout,
    a_port_that_never_answers_costs_no_more_than_the_connect_timeout,
    a_port_that_speaks_something_else_is_an_error_at_once,
    a_cache_may_be_opened_before_its_server_is_there,
    a_server_that_is_full_is_tried_again,
    a_unix_socket_is_as_good_as_a_port,
    a_database_of_its_own_is_selected,
    a_database_that_does_not_exist_is_an_error,
    the_server_lists_the_client_by_its_name,
    no_secret_is_ever_shown,
];

const SECRET: &str = "hunter2";

fn with_login(server: &RedisServer, login: &str) -> String {
    format!("redis://{login}@{}", server.address())
}

/// Check that `connect` and the calls of a lazy cache fail at once, with an error of this kind.
#[track_caller]
fn check_no_way_in<C: Cache>(url: &str, kind: ErrorKind, text: &str) {
    let (connect, elapsed) = timed(|| cache_error(C::connect(url)));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    let opened = C::open(url);
    assert_eq!(cache_error(opened.ready()).kind(), kind);
    let (get, elapsed) = timed(|| cache_error(opened.get("k")));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    let get_with = cache_error(opened.get_with("k", TTL, must_not_load));
    let insert = cache_error(opened.insert("k", "v", TTL));
    for error in [connect, get, get_with, insert] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    opened.close();
}

fn a_wrong_password_is_an_error_at_once<C: Cache>() {
    let server = RedisServer::start_with(&["--requirepass", SECRET]);
    check_no_way_in::<C>(&with_login(&server, ":wrong"), ErrorKind::Authentication, "WRONGPASS");
    check_no_way_in::<C>(
        &with_login(&server, "nobody:wrong"),
        ErrorKind::Authentication,
        "WRONGPASS",
    );
}

fn a_missing_password_is_an_error_at_once<C: Cache>() {
    let server = RedisServer::start_with(&["--requirepass", SECRET]);
    check_no_way_in::<C>(&server.url(), ErrorKind::Authentication, "NOAUTH");
}

fn a_password_is_accepted<C: Cache>() {
    let server = RedisServer::start_with(&["--requirepass", SECRET]);
    let cache = connected::<C>(with_login(&server, ":hunter2"));
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert!(cache.is_tracked());
    let cache = connected::<C>(with_login(&server, "default:hunter2"));
    assert_eq!(seen(cache.get("k")), "v from redis");
}

fn an_acl_user_connects_and_is_held_to_its_rules<C: Cache>() {
    let server = RedisServer::start();
    server.connect().ok(&["ACL", "SETUSER", "app", "on", ">hunter2", "~app:*", "+@all"]);
    let cache = connected::<C>(with_login(&server, "app:hunter2"));
    assert_eq!(seen(cache.get_with("app:k", TTL, || found("v"))), "v from loaded");
    let mut answers = cache.get_many(&["app:k", "other"]).unwrap();
    let in_batch = cache_error(answers.pop().unwrap());
    assert_eq!(all_seen(Ok(answers)), ["v from near"]);
    for error in [
        in_batch,
        cache_error(cache.get("other")),
        cache_error(cache.get_with("other", TTL, must_not_load)),
        cache_error(cache.insert("other", "v", TTL)),
        cache_error(cache.touch("other", TTL)),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Server, Some(&"other".into())));
        assert!(error.to_string().contains("NOPERM"), "{error}");
    }
}

fn permissions_that_change_are_an_error_until_they_are_granted_again<C: Cache>() {
    let server = RedisServer::start();
    let mut admin = server.connect();
    let grant = ["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "+@all"];
    admin.ok(&grant);
    let cache = connected::<C>(with_login(&server, "app:hunter2"));
    admin.ok(&["ACL", "SETUSER", "app", "resetkeys", "~app:*"]);
    let error = cache_error(cache.get("k"));
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(error.to_string().contains("NOPERM"), "{error}");
    assert_eq!(seen(cache.get("app:k")), "nothing from redis");
    admin.ok(&grant);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(admin.integer(&["ACL", "DELUSER", "app"]), 1);
    wait_until("the login is refused", || {
        cache.get("k").is_err_and(|error| error.kind() == ErrorKind::Authentication)
    });
    admin.ok(&grant);
    wait_until("the login is accepted", || cache.get("k").is_ok());
}

fn a_user_without_tracking_works_without_the_near_cache<C: Cache>() {
    let server = RedisServer::start();
    let rules = ["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "+@all", "-client|tracking"];
    server.connect().ok(&rules);
    check_untracked::<C>(&with_login(&server, "app:hunter2"), "NOPERM");
}

fn a_resp2_server_is_polled_with_one_notice<C: Cache>() {
    for hello in [HelloSupport::NoProto, HelloSupport::Unknown] {
        let config = Config { hello, ..Config::default() };
        let server = EmbeddedServer::start_with(config).unwrap();
        check_untracked::<C>(&server.url(), "RESP3");
    }
}

/// Check that calls work without tracking, with no near hit and with waits that poll.
#[track_caller]
fn check_untracked<C: Cache>(url: &str, why: &str) {
    let url = format!("{url}{LONG_LOCK}");
    let notices = Notices::default();
    let (cache, other) = (observed::<C>(&url, notices.clone()), connected::<C>(&url));
    assert!(!cache.is_tracked());
    let (gate, door) = gate();
    thread::scope(|scope| {
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("v"))));
        gate.reached();
        let waiter = scope.spawn(|| other.get_with("k", TTL, must_not_load));
        wait_until("it has polled", || other.stats().lock_waits >= 3);
        gate.open();
        let (answer, elapsed) = timed(|| waiter.join().unwrap());
        assert_eq!(seen(answer), "v from redis");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        assert_eq!(seen(leader.join().unwrap()), "v from loaded");
    });
    for _ in 0..2 {
        assert_eq!(seen(cache.get("k")), "v from redis");
    }
    assert!(cache.remove("k").unwrap());
    assert_eq!(seen(other.get("k")), "nothing from redis");
    notices.wait_for(1, Kind::Untracked);
    assert!(notices.text().contains(why), "{}", notices.text());
    assert_eq!(cache.stats().near_hits, 0);
}

fn a_refused_connection_is_an_error_and_never_a_hang<C: Cache>() {
    let (_port, url) = port::refusing();
    let (connect, elapsed) = timed(|| cache_error(C::connect(&url)));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    let notices = Notices::default();
    let config: ConfigBuilder = url.parse().unwrap();
    let config = config.command_timeout(Duration::from_secs(60));
    let cache = C::open(config.observer(notices.clone()));
    let (get, elapsed) = timed(|| cache_error(cache.get("k")));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    let get_with = cache_error(cache.get_with("k", TTL, must_not_load));
    let insert = cache_error(cache.insert("k", "v", TTL));
    for error in [connect, get, get_with, insert] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable());
        assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    }
    // The cache keeps trying, with pauses.
    let tries = || notices.count(Kind::ConnectFailed);
    wait_until("another try", || tries() >= 3);
    assert!(tries() < 100);
}

#[track_caller]
fn check_connect_timeout<C: Cache>(url: &str) {
    let url = format!("{url}?connect_timeout=300ms&command_timeout=60s");
    let (error, elapsed) = timed(|| cache_error(C::connect(&url)));
    assert!(elapsed > Duration::from_millis(250) && elapsed < AT_ONCE, "{elapsed:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("`connect_timeout`"), "{error}");
    let cache = C::open(&url);
    let (error, elapsed) = timed(|| cache_error(cache.get("k")));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let ((), elapsed) = timed(|| cache.close());
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

fn a_host_that_is_unreachable_costs_no_more_than_the_connect_timeout<C: Cache>() {
    let (_listener, _queue, url) = port::unreachable();
    check_connect_timeout::<C>(&url);
}

fn a_port_that_never_answers_costs_no_more_than_the_connect_timeout<C: Cache>() {
    check_connect_timeout::<C>(&Port::that_is_silent().url());
}

fn a_port_that_speaks_something_else_is_an_error_at_once<C: Cache>() {
    for words in [
        // A TLS alert: unexpected message.
        &b"\x15\x03\x03\x00\x02\x02\x0a"[..],
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\0\0\0\0\0\0\0",
        // The server speaks the protocol of Redis but is not Redis.
        b"+OK\r\n",
        b":1\r\n",
        b"$99999999999\r\n",
        b"*2147483647\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n\
          *1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n\
          *1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    ] {
        let port = Port::that_says(words);
        check_no_way_in::<C>(&port.url(), ErrorKind::Protocol, "");
    }
    let port = Port::that_says(b"\x15\x03\x03\x00\x02\x02\x0a");
    check_no_way_in::<C>(&port.url(), ErrorKind::Protocol, "connect with `rediss://`");
}

fn a_cache_may_be_opened_before_its_server_is_there<C: Cache>() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    proxy.refuse(true);
    let cache = C::open(&(proxy.url() + "?command_timeout=10s&reconnect_delay_max=20ms"));
    assert_eq!(cache_error(cache.ready()).kind(), ErrorKind::Unavailable);
    let error = cache_error(cache.get_with("k", TTL, must_not_load));
    assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable(), "{error}");
    proxy.refuse(false);
    wait_until("it has connected", || cache.ready().is_ok());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from near");
}

fn a_server_that_is_full_is_tried_again<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    server.with(|server| server.configure(|config| config.clients_max = 0));
    let url = server.url() + "?reconnect_delay_max=20ms";
    let error = cache_error(C::connect(&url));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable() && error.to_string().contains("max number of clients"));
    let cache = C::open(&url);
    assert_eq!(cache_error(cache.ready()).kind(), ErrorKind::Unavailable);
    server.with(|server| server.configure(|config| config.clients_max = 1));
    wait_until("it has connected", || cache.ready().is_ok());
    assert_eq!(seen(cache.get("k")), "nothing from redis");
}

fn a_unix_socket_is_as_good_as_a_port<C: Cache>() {
    let mut server = RedisServer::start();
    let url = format!("redis+unix://{}", server.socket_path().display());
    let cache = connected::<C>(format!("{url}?db=3&reconnect_delay_max=20ms"));
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from near");
    let mut raw = server.connect();
    raw.ok(&["SELECT", "3"]);
    raw.ok(&["SET", "k", "new"]);
    wait_until("the change is known", || seen(cache.get("k")).starts_with("new"));
    let error = cache_error(C::connect(format!("{url}.not")));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("redis.sock.not"), "{error}");
    server.restart();
    wait_until("it has connected again", || cache.get("k").is_ok());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn a_database_of_its_own_is_selected<C: Cache>() {
    let server = RedisServer::start();
    let (cache, other) = (connected::<C>(server.url() + "/3"), connected::<C>(server.url()));
    cache.insert("k", "three", TTL).unwrap();
    assert_eq!(seen(other.get("k")), "nothing from redis");
    assert_eq!(seen(cache.get("k")), "three from redis");
    let mut raw = server.connect();
    raw.ok(&["SELECT", "3"]);
    assert!(raw.get("k").is_some());
    raw.ok(&["SET", "k", "new"]);
    wait_until("the change is known", || seen(cache.get("k")).starts_with("new"));
}

fn a_database_that_does_not_exist_is_an_error<C: Cache>() {
    let server = RedisServer::start();
    let error = cache_error(C::connect(&(server.url() + "/99")));
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("refuses `db` 99"), "{error}");
}

fn the_server_lists_the_client_by_its_name<C: Cache>() {
    let server = RedisServer::start();
    let _cache = connected::<C>(server.url() + "?client_name=my-service");
    let clients = String::from_utf8(server.connect().call(&["CLIENT", "LIST"])).unwrap();
    assert!(clients.contains(" name=my-service "), "{clients}");
}

fn no_secret_is_ever_shown<C: Cache>() {
    let server = RedisServer::start_with(&["--requirepass", "the right one"]);
    let url = with_login(&server, "app:hunter2");
    let config = redcache_core::Config::from_url(&url).unwrap();
    let error = cache_error(C::connect(&url));
    let notices = Notices::default();
    let cache = C::open(config.clone().into_builder().observer(notices.clone()));
    let get = cache.get("k").unwrap_err();
    notices.wait_for(1, Kind::ConnectFailed);
    let config_error = C::connect(&(url + "?lock_ttl=x")).unwrap_err();
    let shown = [
        format!("{config:?} {cache:?} {error:?} {error} {get:?} {get}"),
        format!("{config_error:?} {config_error} {}", notices.text()),
    ];
    for text in shown {
        assert!(!text.contains(SECRET), "{text}");
    }
}
