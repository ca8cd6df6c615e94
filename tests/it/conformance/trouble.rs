//! A server that dies, stalls, loses its data, runs out of memory or rejects commands during calls.

use std::thread;

use redcache_core::{Error, ErrorKind};
use redcache_sim::listen::EmbeddedServer;
use redcache_tests::{Direction, Proxy, RedisServer};

use super::cache::Cache;
use super::scene::{
    AT_ONCE, Kind, LONG_LOCK, Notices, TTL, all_found, all_seen, cache_error, connected, found,
    gate, must_not_load, names_found, observed, seen, timed, wait_until, wait_until_blocked,
    wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    forgotten_scripts_are_sent_again,
    a_read_only_server_is_read_until_a_write_is_refused,
    a_replica_that_refuses_only_the_lock_of_a_read_is_left,
    a_server_that_is_loading_is_an_error_until_it_has_loaded,
    a_temporary_rejection_is_retried,
    a_late_reply_is_an_error_and_shifts_no_other_reply,
    a_lock_that_is_granted_too_late_is_released,
    a_publish_without_a_reply_in_time_returns_the_loaded_value,
    a_write_with_a_lost_connection_has_an_unknown_outcome,
    a_read_is_repeated_when_its_connection_is_lost,
    a_silent_connection_is_replaced,
    commands_beyond_the_limit_are_rejected_and_the_rest_is_answered,
];

with_a_server_of_its_own![
    a_restarted_server_is_used_again,
    a_server_restart_during_a_load_costs_only_the_storing,
    a_server_that_dies_for_good_is_an_error_within_bounds,
    a_server_without_memory_for_the_value_costs_only_the_storing,
    a_server_without_memory_for_the_lock_costs_only_the_storing,
];

fn a_restarted_server_is_used_again<C: Cache>() {
    let mut server = RedisServer::start();
    let url = server.url() + LONG_LOCK + "&reconnect_delay_max=20ms&command_timeout=10s";
    let notices = Notices::default();
    let cache = observed::<C>(url, notices.clone());
    for key in ["k", "l"] {
        // The second publish sends the hash of its script.
        assert_eq!(seen(cache.get_with(key, TTL, || found("old"))), "old from loaded");
    }
    assert_eq!(seen(cache.get("k")), "old from near");
    server.restart();
    notices.wait_for(1, Kind::Disconnected);
    wait_until("it has connected again", || cache.ready().is_ok());
    // The near cache and the scripts of the server are empty now.
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(seen(cache.get_with("k", TTL, || found("new"))), "new from loaded");
    assert_eq!(seen(cache.get("k")), "new from near");
    assert!(cache.touch("k", TTL).unwrap());
    assert_eq!(cache.stats().connections, 2);
    wait_until_idle(&cache);
}

fn a_server_restart_during_a_load_costs_only_the_storing<C: Cache>() {
    let mut server = RedisServer::start();
    let url = server.url() + LONG_LOCK + "&reconnect_delay_max=20ms&command_timeout=10s";
    let (cache, other) = (connected::<C>(&url), connected::<C>(&url));
    let (gate, door) = gate();
    thread::scope(|scope| {
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("a"))));
        gate.reached();
        let waiter = scope.spawn(|| timed(|| other.get_with("k", TTL, must_not_load)));
        wait_until_blocked(&other);
        server.stop();
        let (answer, elapsed) = waiter.join().unwrap();
        assert_eq!(cache_error(answer).kind(), ErrorKind::Unavailable);
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        server.restart();
        wait_until("it has connected again", || other.ready().is_ok());
        // The lock was lost with the server, so the next caller loads.
        assert_eq!(seen(other.get_with("k", TTL, || found("b"))), "b from loaded");
        gate.open();
        assert_eq!(seen(leader.join().unwrap()), "a from loaded");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":b"));
    wait_until("the first has connected again", || cache.ready().is_ok());
    assert_eq!(seen(cache.get("k")), "b from redis");
}

fn a_server_that_dies_for_good_is_an_error_within_bounds<C: Cache>() {
    let mut server = RedisServer::start();
    server.connect().ok(&["SET", "held", "__redcache:lock:somebody:1", "PX", "60000"]);
    let options = "&command_timeout=400ms&kept_removals_max=0";
    let cache = connected::<C>(server.url() + LONG_LOCK + options);
    assert_eq!(seen(cache.get_with("near", TTL, || found("v"))), "v from loaded");
    let (gate, door) = gate();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| cache.get_with("held", TTL, must_not_load));
        wait_until_blocked(&cache);
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("v"))));
        gate.reached();
        server.stop();
        let (error, elapsed) = timed(|| cache_error(waiter.join().unwrap()));
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some(&"held".into())));
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        // The loaded value is returned nevertheless.
        gate.open();
        let (answer, elapsed) = timed(|| leader.join().unwrap());
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        let (errors, elapsed) = timed(|| {
            [
                cache_error(cache.get("near")),
                cache_error(cache.get_with("k", TTL, must_not_load)),
                cache_error(cache.insert("k", "v", TTL)),
                cache_error(cache.get_many(&["a"]).unwrap().remove(0)),
                cache_error(cache.remove_many(&["a"]).unwrap().remove(0)),
            ]
        });
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.is_retryable());
        }
        assert!(elapsed < 2 * AT_ONCE, "{elapsed:?}");
    });
    wait_until_idle(&cache);
}

fn forgotten_scripts_are_sent_again<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let keys: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    let load = |keys| {
        // The locks are taken, and all publishes will send the hash of the script.
        server.connect().ok(&["SCRIPT", "FLUSH"]);
        names_found(keys)
    };
    for _ in 0..2 {
        for (key, answer) in keys.iter().zip(cache.get_many_with(&keys, TTL, load).unwrap()) {
            assert_eq!(seen(answer), format!("{key} from loaded"));
        }
        for key in &keys {
            assert_eq!(seen(cache.get(key)), format!("{key} from near"));
        }
        server.connect().ok(&["SCRIPT", "FLUSH"]);
        assert!(cache.touch_many(&keys, TTL).unwrap().into_iter().all(Result::unwrap));
        assert!(cache.remove_many(&keys).unwrap().into_iter().all(Result::unwrap));
    }
    assert_eq!(cache.stats().connections, 1);
}

fn a_server_without_memory_for_the_value_costs_only_the_storing<C: Cache>() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let url = server.url() + LONG_LOCK;
    let (cache, other) = (connected::<C>(&url), connected::<C>(&url));
    let mut raw = server.connect();
    let load = || {
        server.connect().ok(&["CONFIG", "SET", "maxmemory", "1"]);
        found("v")
    };
    let (answer, elapsed) = timed(|| cache.get_with("k", TTL, load));
    let answer = answer.unwrap();
    assert_eq!((answer.value.as_deref(), answer.ttl), (Some(&b"v"[..]), None));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    wait_until("the lock is back", || raw.integer(&["EXISTS", "k"]) == 0);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    raw.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(seen(other.get_with("k", TTL, || found("w"))), "w from loaded");
    assert_eq!(seen(cache.get("k")), "w from redis");
}

fn a_server_without_memory_for_the_lock_costs_only_the_storing<C: Cache>() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.ok(&["SET", "there", "1"]);
    raw.ok(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    let answers = cache.get_many_with(&["a", "there"], TTL, |keys| all_found(keys, "v"));
    assert_eq!(all_seen(answers), ["v from loaded", "1 from redis"]);
    let error = cache_error(cache.insert("k", "v", TTL));
    assert_eq!((error.kind(), error.key()), (ErrorKind::Server, Some(&"k".into())));
    assert!(error.to_string().contains("OOM"), "{error}");
    assert!(cache.remove("there").unwrap(), "what frees memory still works");
    assert_eq!(raw.integer(&["DBSIZE"]), 0);
}

fn a_read_only_server_is_read_until_a_write_is_refused<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connected::<C>(server.url() + "?reconnect_delay_max=20ms");
    let writes: [&dyn Fn() -> Error; 2] =
        [&|| cache_error(cache.insert("k", "w", TTL)), &|| cache_error(cache.remove("k"))];
    for write in writes {
        cache.insert("k", "v", TTL).unwrap();
        server.with(|server| server.set_read_only(true));
        assert_eq!(seen(cache.get("k")), "v from redis");
        let error = write();
        assert_eq!(error.key(), Some(&"k".into()));
        assert!(error.is_retryable() && error.to_string().contains("READONLY"), "{error}");
        // The address leads to a replica.
        wait_until("the replica is known", || {
            cache.get("absent").is_err_and(|error| error.to_string().contains("replica"))
        });
        server.with(|server| server.set_read_only(false));
        wait_until("it has connected again", || cache.get("absent").is_ok());
        // The key is removed, because its write has failed.
        wait_until("the key is removed", || seen(cache.get("k")).starts_with("nothing"));
    }
}

fn a_replica_that_refuses_only_the_lock_of_a_read_is_left<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connected::<C>(server.url() + "?reconnect_delay_max=20ms");
    server.with(|server| server.set_read_only(true));
    let error = cache_error(cache.get_with("k", TTL, must_not_load));
    assert!(error.is_retryable(), "{error}");
    wait_until("the replica is known", || {
        cache.get("k").is_err_and(|error| error.to_string().contains("replica"))
    });
    server.with(|server| server.set_read_only(false));
    wait_until("it has connected again", || cache.get("k").is_ok());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert!(seen(cache.get("k")).starts_with("v from"));
}

fn a_server_that_is_loading_is_an_error_until_it_has_loaded<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connected::<C>(server.url() + "?command_timeout=400ms");
    server.with(|server| server.set_loading(true));
    let (error, elapsed) = timed(|| cache_error(cache.get("k")));
    assert!(error.is_retryable() && error.to_string().contains("LOADING"), "{error}");
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    server.with(|server| server.set_loading(false));
    wait_until("it has connected again", || cache.get("k").is_ok());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn a_temporary_rejection_is_retried<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connected::<C>(server.url());
    for refusal in ["BUSY a script runs", "TRYAGAIN not now", "LOADING soon"] {
        server.with(|server| {
            server.reject_next("get", refusal);
            server.reject_next("set", refusal);
            server.reject_next("del", refusal);
        });
        assert_eq!(seen(cache.get("k")), "nothing from redis");
        cache.insert("k", "v", TTL).unwrap();
        assert!(cache.remove("k").unwrap());
    }
    server.with(|server| server.reject_next("get", "ERR syntax error"));
    assert!(cache_error(cache.get("k")).to_string().contains("ERR syntax error"));
    wait_until_idle(&cache);
}

fn a_late_reply_is_an_error_and_shifts_no_other_reply<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?command_timeout=300ms&heartbeat_interval=60s");
    let keys: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    for key in &keys {
        server.connect().ok(&["SET", key, key]);
    }
    proxy.hold(Direction::ToClient);
    for error in [
        cache_error(cache.get("0")),
        cache_error(cache.get_many(&keys[1..3]).unwrap().remove(1)),
        cache_error(cache.get_with("3", TTL, must_not_load)),
        cache_error(cache.insert("written", "v", TTL)),
    ] {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.is_retryable());
    }
    proxy.release(Direction::ToClient);
    for key in &keys {
        assert_eq!(cache.get(key).unwrap().value.unwrap(), key);
    }
    // The insert may have failed, so the key is removed.
    wait_until("the removal is repeated", || cache.stats().removals_repeated == 1);
    assert_eq!(seen(cache.get("written")), "nothing from redis");
    assert_eq!(cache.stats().connections, 1);
    wait_until_idle(&cache);
}

fn a_lock_that_is_granted_too_late_is_released<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let options = "&command_timeout=300ms&heartbeat_interval=60s";
    let cache = connected::<C>(proxy.url() + LONG_LOCK + options);
    proxy.hold(Direction::ToClient);
    let error = cache_error(cache.get_with("k", TTL, must_not_load));
    assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some(&"k".into())));
    assert!(server.connect().get("k").is_some(), "it was granted");
    proxy.release(Direction::ToClient);
    wait_until("the lock is back", || server.connect().get("k").is_none());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(cache.stats().connections, 1);
    wait_until_idle(&cache);
}

fn a_publish_without_a_reply_in_time_returns_the_loaded_value<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let options = "&command_timeout=300ms&heartbeat_interval=60s";
    let cache = connected::<C>(proxy.url() + LONG_LOCK + options);
    let hold = |direction| {
        proxy.hold(direction);
        found("v")
    };
    for direction in [Direction::ToClient, Direction::ToServer] {
        let (answer, elapsed) = timed(|| cache.get_with("k", TTL, || hold(direction)));
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        proxy.release(direction);
        // The value was published late.
        wait_until("it is answered", || cache.get_with("k", TTL, must_not_load).is_ok());
        assert!(cache.remove("k").unwrap());
    }
    wait_until_idle(&cache);
}

fn a_write_with_a_lost_connection_has_an_unknown_outcome<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?reconnect_delay_max=20ms");
    wait_until_idle(&cache);
    let check = |write: &(dyn Fn() -> ErrorKind + Sync)| {
        proxy.hold(Direction::ToClient);
        thread::scope(|scope| {
            let call = scope.spawn(write);
            wait_until("the reply is held", || proxy.queued(Direction::ToClient) > 0);
            proxy.cut();
            proxy.release(Direction::ToClient);
            assert_eq!(call.join().unwrap(), ErrorKind::OutcomeUnknown);
        });
        wait_until_idle(&cache);
    };
    check(&|| cache_error(cache.insert("k", "v", TTL)).kind());
    wait_until("the key is removed", || cache.stats().removals_repeated == 1);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    check(&|| cache_error(cache.remove("k")).kind());
    assert_eq!(seen(cache.get("k")), "nothing from redis");
}

fn a_read_is_repeated_when_its_connection_is_lost<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    server.connect().set_each(&["k", "v", "l", "w"]);
    let cache = connected::<C>(proxy.url() + "?reconnect_delay_max=20ms");
    wait_until_idle(&cache);
    proxy.hold(Direction::ToClient);
    thread::scope(|scope| {
        let one = scope.spawn(|| seen(cache.get("k")));
        let many = scope.spawn(|| all_seen(cache.get_many(&["l", "absent"])));
        wait_until("both ask", || cache.stats().commands == 3);
        wait_until("a reply is held", || proxy.queued(Direction::ToClient) > 0);
        proxy.cut();
        proxy.release(Direction::ToClient);
        assert_eq!(one.join().unwrap(), "v from redis");
        assert_eq!(many.join().unwrap(), ["w from redis", "nothing from redis"]);
    });
    assert_eq!(cache.stats().connections, 2);
}

fn a_silent_connection_is_replaced<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let options = "?heartbeat_interval=200ms&reconnect_delay_max=20ms";
    let notices = Notices::default();
    let cache = observed::<C>(proxy.url() + options, notices.clone());
    assert_eq!(seen(cache.get_with("k", TTL, || found("old"))), "old from loaded");
    proxy.hold(Direction::ToClient);
    // The push for this change never arrives.
    server.connect().ok(&["SET", "k", "new"]);
    let lost = Kind::Disconnected;
    let ((), elapsed) = timed(|| notices.wait_for(1, lost));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    assert!(notices.text().contains("heartbeat_interval"), "{}", notices.text());
    proxy.release(Direction::ToClient);
    assert_eq!(seen(cache.get("k")), "new from redis");
    assert!(cache.stats().connections >= 2);
    // An idle connection is kept.
    proxy.clear();
    let pings = || proxy.commands().iter().filter(|words| words[0] == b"PING").count();
    wait_until("three heartbeats", || pings() >= 3);
    assert_eq!((notices.count(lost), seen(cache.get("k"))), (1, "new from near".to_owned()));
}

fn commands_beyond_the_limit_are_rejected_and_the_rest_is_answered<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?inflight_max=16&command_timeout=60s");
    wait_until_idle(&cache);
    proxy.hold(Direction::ToClient);
    let keys: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    thread::scope(|scope| {
        let batch = scope.spawn(|| cache.get_many(&keys));
        wait_until("the batch is under way", || cache.stats().commands == 16);
        let (error, elapsed) = timed(|| cache_error(cache.get("k")));
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(error.is_retryable() && elapsed < AT_ONCE, "{elapsed:?}");
        proxy.release(Direction::ToClient);
        let (answered, refused): (Vec<_>, Vec<_>) =
            batch.join().unwrap().unwrap().into_iter().partition(Result::is_ok);
        assert_eq!((answered.len(), refused.len()), (16, 4));
        for error in refused {
            assert_eq!(cache_error(error).kind(), ErrorKind::Overloaded);
        }
    });
    assert_eq!(seen(cache.get("k")), "nothing from redis");
}
