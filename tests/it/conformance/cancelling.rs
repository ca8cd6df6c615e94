//! Futures of calls that are dropped before their end leave no lock and lose no reply.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use redcache_core::{Answer, ErrorKind, LoadError, Loaded};
use redcache_tests::{Direction, Proxy};

use super::cache::{AsyncCache, Host};
use super::scene::{
    AT_ONCE, Boom, LONG_LOCK, TTL, cache_error, connected, found, must_not_load, seen, timed,
    wait_until, wait_until_blocked, wait_until_idle,
};
use super::server::Server;

on_every_async_adapter![
    a_cancelled_leader_hands_its_load_to_the_next_caller,
    a_cancelled_leader_hands_its_lock_to_another_client,
    a_cancelled_batch_hands_its_load_to_the_next_caller,
    a_call_that_is_cancelled_before_its_lock_is_granted_leaves_no_lock,
    a_call_that_is_cancelled_while_it_publishes_still_publishes,
    a_cancelled_write_restores_the_old_value,
    a_write_that_is_cancelled_before_its_lock_is_granted_restores_the_old_value,
    a_cancelled_waiter_leaves_nothing,
    a_cancelled_follower_does_not_delay_the_others,
    calls_that_are_cancelled_anywhere_leave_nothing_and_shift_no_answer,
    a_load_beyond_its_time_is_dropped,
    a_thousand_callers_in_one_task_cause_one_load,
];

/// Poll a call until `is_so`.
fn drive<H: Host, F: Future>(mut call: Pin<&mut F>, what: &str, mut is_so: impl FnMut() -> bool) {
    let given_up_at = Instant::now() + 2 * AT_ONCE;
    H::block_on(poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending(), "the call has ended");
        if is_so() {
            return Poll::Ready(());
        }
        assert!(Instant::now() < given_up_at, "not in time: {what}");
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
}

/// Poll a call up to `polls` times, and drop it.
fn cut_short<H: Host, F: Future>(call: F, polls: usize) {
    let mut call = pin!(call);
    let mut left = 0..polls;
    H::block_on(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if left.next().is_none() { Poll::Ready(()) } else { call.as_mut().poll(cx).map(|_| ()) }
    }));
}

/// Return a load of `k` that never ends.
fn endless_load<C: AsyncCache>(cache: &C) -> impl Future<Output = Result<Answer, LoadError<Boom>>> {
    cache.handle().get_with("k", TTL, pending::<Result<Loaded, Boom>>)
}

fn a_cancelled_leader_hands_its_load_to_the_next_caller<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut leader = Box::pin(endless_load(&cache));
    drive::<C::Host, _>(leader.as_mut(), "it loads", || cache.stats().loads == 1);
    thread::scope(|scope| {
        let next = scope.spawn(|| timed(|| cache.get_with("k", TTL, || found("v"))));
        wait_until("the follower has joined", || cache.stats().calls == 2);
        drop(leader);
        let (answer, elapsed) = next.join().unwrap();
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert!(cache.remove("k").unwrap(), "the value was stored under the leader's lock");
    wait_until_idle(&cache);
}

fn a_cancelled_leader_hands_its_lock_to_another_client<C: AsyncCache>() {
    let server = Server::start();
    let url = server.url() + LONG_LOCK;
    let (cache, other) = (connected::<C>(&url), connected::<C>(&url));
    let mut leader = Box::pin(endless_load(&cache));
    drive::<C::Host, _>(leader.as_mut(), "it loads", || cache.stats().loads == 1);
    thread::scope(|scope| {
        let next = scope.spawn(|| timed(|| other.get_with("k", TTL, || found("v"))));
        wait_until_blocked(&other);
        drop(leader);
        let (answer, elapsed) = next.join().unwrap();
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert!(other.remove("k").unwrap());
}

fn a_cancelled_batch_hands_its_load_to_the_next_caller<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let load = |_| pending::<Result<Vec<(&str, &str)>, Boom>>();
    let mut batch = Box::pin(cache.handle().get_many_with(["a", "b", "c"], TTL, load));
    drive::<C::Host, _>(batch.as_mut(), "it loads", || cache.stats().loads == 3);
    thread::scope(|scope| {
        let next = scope.spawn(|| timed(|| cache.get_with("b", TTL, || found("v"))));
        wait_until("it is aboard", || cache.stats().calls == 2);
        drop(batch);
        let (answer, elapsed) = next.join().unwrap();
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    wait_until("the other locks are back", || server.connect().integer(&["DBSIZE"]) == 1);
    assert_eq!(seen(cache.get("b")), "v from near");
    wait_until_idle(&cache);
}

fn a_call_that_is_cancelled_before_its_lock_is_granted_leaves_no_lock<C: AsyncCache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    wait_until_idle(&cache);
    proxy.hold(Direction::ToClient);
    let mut call = Box::pin(endless_load(&cache));
    let mut raw = server.connect();
    drive::<C::Host, _>(call.as_mut(), "the server grants it", || raw.get("k").is_some());
    drop(call);
    proxy.release(Direction::ToClient);
    wait_until("the lock is back", || raw.get("k").is_none());
    wait_until_idle(&cache);
    assert_eq!(cache.stats().loads, 0);
}

fn a_call_that_is_cancelled_while_it_publishes_still_publishes<C: AsyncCache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    let load = || async {
        proxy.hold(Direction::ToClient);
        found("v")
    };
    let mut call = Box::pin(cache.handle().get_with("k", TTL, load));
    let mut raw = server.connect();
    let mut is_published = || raw.get("k").is_some_and(|stored| stored.ends_with(b":v"));
    drive::<C::Host, _>(call.as_mut(), "it is published", &mut is_published);
    drop(call);
    thread::scope(|scope| {
        let next = scope.spawn(|| cache.get_with("k", TTL, must_not_load));
        wait_until("it is aboard", || cache.stats().calls == 1);
        proxy.release(Direction::ToClient);
        assert!(seen(next.join().unwrap()).starts_with("v from"));
    });
    assert_eq!(seen(cache.get("k")), "v from near");
    wait_until_idle(&cache);
}

fn a_cancelled_write_restores_the_old_value<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.set_each(&["k", "old\r\n", "l", "old"]);
    {
        let load = pending::<Result<Loaded, Boom>>;
        let mut write = pin!(cache.handle().insert_with("k", TTL, load));
        drive::<C::Host, _>(write.as_mut(), "it loads", || cache.stats().loads == 1);
        assert_ne!(raw.get("k").unwrap(), b"old\r\n");
    }
    {
        let load = |_| pending::<Result<Vec<(&str, Loaded)>, Boom>>();
        let mut write = pin!(cache.handle().insert_many_with(["l", "m"], TTL, load));
        drive::<C::Host, _>(write.as_mut(), "it loads", || cache.stats().loads == 3);
    }
    wait_until("the old values are back", || {
        let values = [raw.get("k"), raw.get("l"), raw.get("m")];
        values == [Some(b"old\r\n".to_vec()), Some(b"old".to_vec()), None]
    });
    wait_until_idle(&cache);
}

fn a_write_that_is_cancelled_before_its_lock_is_granted_restores_the_old_value<C: AsyncCache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "old"]);
    wait_until_idle(&cache);
    proxy.hold(Direction::ToClient);
    {
        let load = pending::<Result<Loaded, Boom>>;
        let mut write = pin!(cache.handle().insert_with("k", TTL, load));
        drive::<C::Host, _>(write.as_mut(), "the lock is granted", || {
            raw.get("k").unwrap() != b"old"
        });
    }
    proxy.release(Direction::ToClient);
    wait_until("the old value is back", || raw.get("k").unwrap() == b"old");
    wait_until_idle(&cache);
    assert_eq!(cache.stats().loads, 0);
}

fn a_cancelled_waiter_leaves_nothing<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    server.connect().ok(&["SET", "k", "__redcache:lock:somebody:1", "PX", "60000"]);
    let mut call = Box::pin(endless_load(&cache));
    drive::<C::Host, _>(call.as_mut(), "it waits", || cache.stats().lock_waits > 0);
    drop(call);
    wait_until_idle(&cache);
    server.connect().ok(&["SET", "k", "v"]);
    assert!(seen(cache.get_with("k", TTL, must_not_load)).starts_with("v from"));
}

fn a_cancelled_follower_does_not_delay_the_others<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut leader = Box::pin(endless_load(&cache));
    drive::<C::Host, _>(leader.as_mut(), "it loads", || cache.stats().loads == 1);
    let mut followers: Vec<_> = (0..100).map(|_| Box::pin(endless_load(&cache))).collect();
    for (number, follower) in followers.iter_mut().enumerate() {
        let aboard = number as u64 + 2;
        drive::<C::Host, _>(follower.as_mut(), "it is aboard", || cache.stats().calls == aboard);
    }
    thread::scope(|scope| {
        let last = scope.spawn(|| timed(|| cache.get_with("k", TTL, || found("v"))));
        wait_until("the last is aboard", || cache.stats().calls == 102);
        drop(followers);
        drop(leader);
        let (answer, elapsed) = last.join().unwrap();
        assert_eq!(seen(answer), "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert_eq!(cache.stats().loads, 2, "who is gone is not asked to load");
    wait_until_idle(&cache);
}

fn calls_that_are_cancelled_anywhere_leave_nothing_and_shift_no_answer<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let keys: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    for key in &keys {
        server.connect().ok(&["SET", key, key]);
    }
    let load = || async {
        // The loader yields, so that a call can be dropped while it loads.
        let mut turns = 0..10;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            turns.next().map_or(Poll::Ready(()), |_| Poll::Pending)
        })
        .await;
        found("v")
    };
    thread::scope(|scope| {
        for thread in 0..4 {
            let (cache, keys) = (cache.handle(), &keys);
            scope.spawn(move || {
                for round in 0..100 {
                    let (key, absent) = (&keys[round % keys.len()], format!("{thread}:{round}"));
                    // The numbers of polls range from none, before the call begins, to more than
                    // the call needs.
                    let polls = (1 << (round % 13)) >> 1;
                    cut_short::<C::Host, _>(cache.get_with(&absent, TTL, load), polls);
                    cut_short::<C::Host, _>(cache.get(key), polls);
                    cut_short::<C::Host, _>(cache.touch(key, TTL), polls);
                    cut_short::<C::Host, _>(cache.get_many(keys), polls);
                    cut_short::<C::Host, _>(cache.remove(&absent), polls);
                    cut_short::<C::Host, _>(cache.get_with(&absent, TTL, load), polls);
                }
            });
        }
    });
    for key in &keys {
        assert_eq!(cache.get(key).unwrap().value.unwrap(), key);
    }
    wait_until_idle(&cache);
    let mut raw = server.connect();
    for absent in (0..4).flat_map(|thread| (0..100).map(move |round| format!("{thread}:{round}"))) {
        let stored = raw.get(&absent);
        assert!(stored.is_none_or(|stored| stored.ends_with(b":v")), "a lock is left behind");
    }
}

fn a_load_beyond_its_time_is_dropped<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK + "&load_timeout=200ms");
    let (drops, dropped) = mpsc::channel::<()>();
    let load = || async move {
        let _drops = drops;
        pending::<Result<Loaded, Boom>>().await
    };
    let (result, elapsed) = timed(|| C::Host::block_on(cache.handle().get_with("k", TTL, load)));
    assert_eq!(cache_error(result).kind(), ErrorKind::LoadTimeout);
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    assert!(dropped.try_recv() == Err(mpsc::TryRecvError::Disconnected));
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn a_thousand_callers_in_one_task_cause_one_load<C: AsyncCache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let loads = std::cell::Cell::new(0);
    let load = || async {
        loads.set(loads.get() + 1);
        found("v")
    };
    let call = |_| Some(Box::pin(cache.handle().get_with("k", TTL, load)));
    let mut calls: Vec<_> = (0..1000).map(call).collect();
    let mut answers = Vec::new();
    C::Host::block_on(poll_fn(|cx| {
        for place in &mut calls {
            if let Some(call) = place
                && let Poll::Ready(answer) = call.as_mut().poll(cx)
            {
                answers.push(seen(answer));
                *place = None;
            }
        }
        if answers.len() == 1000 { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert_eq!(loads.get(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "v from joined").count(), 999);
}
