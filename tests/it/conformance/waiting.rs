//! Waiting for the lock of another client: the end of the wait, its duration and its cost.

use std::thread;
use std::time::{Duration, Instant};

use redcache_core::ErrorKind;
use redcache_tests::{Direction, Proxy, Raw};

use super::cache::Cache;
use super::scene::{
    AT_ONCE, LONG_LOCK, TTL, all_found, all_seen, cache_error, connected, found, gate,
    must_not_load, seen, timed, wait_until, wait_until_blocked, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_published_value_wakes_a_waiting_call,
    a_released_lock_wakes_a_waiting_call,
    a_flush_wakes_a_waiting_call,
    an_own_insert_wakes_a_waiting_call,
    the_lock_of_a_crashed_process_is_waited_for_as_long_as_it_lives,
    a_lock_that_never_ends_is_waited_for_once_and_never_overwritten,
    a_lock_that_is_renewed_without_end_is_waited_for_within_bounds,
    a_lock_that_outlives_every_load_is_waited_for_within_bounds,
    a_batch_does_not_wait_longer_than_one_key,
    a_slow_load_renews_its_lock,
    a_load_beyond_its_time_ends_in_an_error_and_lets_the_others_load,
    a_load_beyond_its_time_passes_to_the_next_caller,
    a_lock_whose_grant_was_lost_is_found_again,
    a_publish_whose_reply_was_lost_is_not_lost,
];

with_a_server_of_its_own![a_killed_connection_wakes_a_waiting_call,];

const FOREIGN: &str = "__redcache:lock:somebody:1";

/// Lock `k` as another process would.
fn lock(raw: &mut Raw, ttl_ms: u32) {
    raw.ok(&["SET", "k", FOREIGN, "PX", &ttl_ms.to_string()]);
}

/// Let two callers wait for a lock that lives for a minute, run `happen`, and return their answers.
#[track_caller]
fn woken<C: Cache>(server: &Server, happen: impl FnOnce(&C, &mut Raw)) -> [String; 2] {
    let mut raw = server.connect();
    lock(&mut raw, 60_000);
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let (answers, elapsed) = thread::scope(|scope| {
        let one = scope.spawn(|| seen(cache.get_with("k", TTL, || found("ours"))));
        wait_until_blocked(&cache);
        let two = scope.spawn(|| seen(cache.get_with("k", TTL, || found("ours"))));
        wait_until("both wait", || cache.stats().calls == 2);
        timed(|| {
            happen(&cache, &mut raw);
            [one, two].map(|call| call.join().unwrap())
        })
    });
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    wait_until_idle(&cache);
    answers
}

fn a_published_value_wakes_a_waiting_call<C: Cache>() {
    let server = Server::start();
    let answers = woken::<C>(&server, |_, raw| raw.ok(&["SET", "k", "theirs"]));
    assert_eq!(answers, ["theirs from redis", "theirs from joined"]);
}

fn a_released_lock_wakes_a_waiting_call<C: Cache>() {
    let server = Server::start();
    let answers = woken::<C>(&server, |_, raw| assert_eq!(raw.integer(&["DEL", "k"]), 1));
    assert_eq!(answers, ["ours from loaded", "ours from joined"]);
    assert!(server.connect().get("k").unwrap().ends_with(b":ours"));
}

fn a_flush_wakes_a_waiting_call<C: Cache>() {
    let server = Server::start();
    let answers = woken::<C>(&server, |_, raw| raw.ok(&["FLUSHALL"]));
    assert_eq!(answers, ["ours from loaded", "ours from joined"]);
}

fn a_killed_connection_wakes_a_waiting_call<C: Cache>() {
    let server = Server::start();
    let answers = woken::<C>(&server, |_, raw| {
        // The change is made in one step, so that no client receives a push.
        raw.ok(&["MULTI"]);
        raw.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        raw.call(&["SET", "k", "theirs"]);
        raw.call(&["EXEC"]);
    });
    assert_eq!(answers, ["theirs from redis", "theirs from joined"]);
}

fn an_own_insert_wakes_a_waiting_call<C: Cache>() {
    let server = Server::start();
    let answers = woken::<C>(&server, |cache, _| cache.insert("k", "new", TTL).unwrap());
    assert_eq!(answers, ["new from redis", "new from joined"]);
}

fn the_lock_of_a_crashed_process_is_waited_for_as_long_as_it_lives<C: Cache>() {
    let server = Server::start();
    let clients: [C; 2] = [(); 2].map(|()| connected(server.url() + LONG_LOCK));
    lock(&mut server.connect(), 500);
    let start = Instant::now();
    let answers = thread::scope(|scope| {
        let call = |client| scope.spawn(move || seen(C::get_with(client, "k", TTL, || found("v"))));
        clients.each_ref().map(call).map(|call| call.join().unwrap())
    });
    let elapsed = start.elapsed();
    // Redis rounds to a millisecond, and the lock began before our clock.
    assert!(elapsed > Duration::from_millis(450) && elapsed < AT_ONCE, "{elapsed:?}");
    assert_eq!(clients.iter().map(|client| client.stats().loads).sum::<u64>(), 1);
    assert!(answers.contains(&"v from loaded".to_owned()), "{answers:?}");
    assert!(answers.contains(&"v from redis".to_owned()), "{answers:?}");
}

fn a_lock_that_never_ends_is_waited_for_once_and_never_overwritten<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?lock_ttl=200ms");
    server.connect().ok(&["SET", "k", FOREIGN]);
    let (answer, elapsed) = timed(|| cache.get_with("k", TTL, || found("ours")));
    let answer = answer.unwrap();
    assert_eq!((answer.value.as_deref(), answer.ttl), (Some(&b"ours"[..]), None));
    assert!(elapsed > Duration::from_millis(200) && elapsed < AT_ONCE, "{elapsed:?}");
    assert_eq!(server.connect().get("k").unwrap(), FOREIGN.as_bytes());
    assert_eq!(server.connect().integer(&["PTTL", "k"]), -1);
    wait_until_idle(&cache);
}

fn a_lock_that_is_renewed_without_end_is_waited_for_within_bounds<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?lock_ttl=200ms&load_timeout=300ms");
    let mut raw = server.connect();
    lock(&mut raw, 60_000);
    thread::scope(|scope| {
        let call = scope.spawn(|| timed(|| cache.get_with("k", TTL, || found("ours"))));
        // Each renewal wakes the caller.
        while !call.is_finished() {
            assert_eq!(raw.integer(&["PEXPIRE", "k", "60000"]), 1);
            thread::yield_now();
        }
        let (answer, elapsed) = call.join().unwrap();
        assert_eq!(seen(answer), "ours from loaded");
        assert!(elapsed > Duration::from_millis(500) && elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert_eq!(raw.get("k").unwrap(), FOREIGN.as_bytes());
    // The caller does not poll at the rate of the pushes.
    assert!(cache.stats().lock_waits < 100, "{:?}", cache.stats());
}

fn a_lock_that_outlives_every_load_is_waited_for_within_bounds<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?lock_ttl=200ms&load_timeout=300ms");
    let mut raw = server.connect();
    lock(&mut raw, 3_600_000);
    let (answer, elapsed) = timed(|| cache.get_with("k", TTL, || found("ours")));
    assert_eq!(seen(answer), "ours from loaded");
    assert!(elapsed > Duration::from_millis(500) && elapsed < AT_ONCE, "{elapsed:?}");
    assert_eq!(raw.get("k").unwrap(), FOREIGN.as_bytes());
}

fn a_batch_does_not_wait_longer_than_one_key<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    let keys: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for key in &keys {
        raw.ok(&["SET", key, FOREIGN, "PX", "400"]);
    }
    let (answers, elapsed) = timed(|| cache.get_many_with(&keys, TTL, |keys| all_found(keys, "v")));
    assert_eq!(all_seen(answers), ["v from loaded"; 10]);
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

fn a_slow_load_renews_its_lock<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?lock_ttl=500ms");
    let load = || {
        // The first `SET` takes the lock; the next one, or a script, renews it.
        let is_lock = |words: &[Vec<u8>]| words[0].starts_with(b"EVAL") || words[0] == b"SET";
        wait_until("a renewal", || {
            proxy.commands().iter().filter(|words| is_lock(words)).count() >= 2
        });
        found("v")
    };
    assert_eq!(seen(cache.get_with("k", TTL, load)), "v from loaded");
}

fn a_load_beyond_its_time_ends_in_an_error_and_lets_the_others_load<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK + "&load_timeout=300ms");
    let other = connected::<C>(server.url() + LONG_LOCK);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("late"))));
        gate.reached();
        let waiter = scope.spawn(|| timed(|| other.get_with("k", TTL, || found("theirs"))));
        let (answer, elapsed) = waiter.join().unwrap();
        assert_eq!(seen(answer), "theirs from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        gate.open();
        let error = cache_error(leader.join().unwrap());
        assert_eq!((error.kind(), error.key()), (ErrorKind::LoadTimeout, Some(&"k".into())));
    });
    assert_eq!(seen(cache.get("k")), "theirs from redis");
    wait_until_idle(&cache);
}

fn a_load_beyond_its_time_passes_to_the_next_caller<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK + "&load_timeout=300ms");
    let (gate, door) = gate();
    thread::scope(|scope| {
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("late"))));
        gate.reached();
        let (answer, elapsed) = timed(|| cache.get_with("k", TTL, || found("next")));
        assert_eq!(seen(answer), "next from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        gate.open();
        assert_eq!(cache_error(leader.join().unwrap()).kind(), ErrorKind::LoadTimeout);
    });
    assert!(seen(cache.get("k")).starts_with("next from"));
    wait_until_idle(&cache);
}

fn a_lock_whose_grant_was_lost_is_found_again<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    wait_until_idle(&cache);
    proxy.hold(Direction::ToClient);
    thread::scope(|scope| {
        let call = scope.spawn(|| timed(|| cache.get_with("k", TTL, || found("v"))));
        wait_until("the lock is granted", || server.connect().get("k").is_some());
        proxy.cut();
        proxy.release(Direction::ToClient);
        let (answer, elapsed) = call.join().unwrap();
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":v"));
    assert_eq!(cache.stats().connections, 2);
}

fn a_publish_whose_reply_was_lost_is_not_lost<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            timed(|| cache.get_with("k", TTL, || (proxy.hold(Direction::ToClient), found("v")).1))
        });
        let is_published =
            || server.connect().get("k").is_some_and(|stored| stored.ends_with(b":v"));
        wait_until("the value is published", is_published);
        proxy.cut();
        proxy.release(Direction::ToClient);
        let (answer, elapsed) = call.join().unwrap();
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":v"));
    assert!(seen(cache.get_with("k", TTL, must_not_load)).starts_with("v from"));
}
