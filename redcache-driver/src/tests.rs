//! Tests of the driver under many schedules of its callers, its tasks and the server.
//!
//! The checker may switch tasks at each lock and each atomic. It runs the task with the highest
//! priority until that task waits. At a few points, chosen by a seeded generator, it gives the
//! running task the lowest priority, so that the others advance as far as they can while that task
//! stands between two steps. No timer ever fires, so a lost wake-up leaves every task waiting,
//! which the checker reports as a deadlock.

mod pipe;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redcache_core::engine::Seed;
use redcache_core::{Config, ErrorKind, LoadError};
use shuttle::future::{block_on, spawn};
use shuttle::scheduler::PctScheduler;
use shuttle::{Config as Checker, Runner};

use crate::Cache;
use pipe::Piped;

const TTL: Duration = Duration::from_secs(60);
/// The number of schedules per test.
const ORDERS: usize = 120;
/// One more than the number of points at which a task gets the lowest priority.
const DEPTH: usize = 3;
/// The room in bytes of a socket that takes everything, and of one that takes every command in
/// pieces.
const ROOMS: [usize; 2] = [1 << 20, 24];
/// Whether a task polls for a reply before it parks.
const BUSY_POLLS: [Duration; 2] = [Duration::ZERO, Duration::from_micros(30)];

fn open(room: usize, busy_poll: Duration) -> Cache {
    let config = Config::builder().server("nowhere", 1).busy_poll(busy_poll).build().unwrap();
    let seed = Seed::new([7; 32], 0);
    Cache::seeded(config, &seed, Piped::new(room)).unwrap()
}

/// Run a scene under many schedules on each kind of socket, with and without busy polling.
fn check<F: Future<Output = ()>>(scene: impl Fn(Cache) -> F + Send + Sync + 'static) {
    let scene = Arc::new(scene);
    for (room, busy_poll) in ROOMS.into_iter().flat_map(|room| BUSY_POLLS.map(|poll| (room, poll)))
    {
        let mut checker = Checker::new();
        // The engine is not built for small stacks.
        checker.stack_size = 1 << 20;
        let scheduler = PctScheduler::new_from_seed(1, DEPTH, ORDERS);
        let scene = Arc::clone(&scene);
        Runner::new(scheduler, checker)
            .run(move || block_on(async { scene(open(room, busy_poll)).await }));
    }
}

async fn get_with(cache: &Cache, key: &str) -> Result<(), ErrorKind> {
    let load = || async { Ok::<_, io::Error>("v") };
    let answer = cache.get_with(key, TTL, load).await.map_err(|error| match error {
        LoadError::Cache(error) => error.kind(),
        other => panic!("{other}"),
    })?;
    assert_eq!(answer.value.as_deref(), Some(&b"v"[..]));
    Ok(())
}

#[test]
fn calls_beside_one_another_are_all_answered_and_closing_ends() {
    check(|cache| async move {
        let calls = ["a", "b", "a"].map(|key| {
            let cache = cache.clone();
            spawn(async move { get_with(&cache, key).await })
        });
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(()));
        }
        cache.close().await;
    });
}

#[test]
fn calls_that_follow_one_another_are_answered_beside_others_that_do() {
    check(|cache| async move {
        cache.ready().await.unwrap();
        let other = cache.clone();
        let calls = spawn(async move {
            for _ in 0..3 {
                other.insert("a", "v", TTL).await.unwrap();
            }
        });
        for _ in 0..3 {
            cache.insert("b", "v", TTL).await.unwrap();
        }
        calls.await.unwrap();
        cache.close().await;
    });
}

#[test]
fn closing_beside_calls_ends_them_all() {
    check(|cache| async move {
        let calls = ["a", "b"].map(|key| {
            let cache = cache.clone();
            spawn(async move { get_with(&cache, key).await })
        });
        cache.close().await;
        for call in calls {
            assert!(matches!(call.await.unwrap(), Ok(()) | Err(ErrorKind::Closed)));
        }
    });
}

#[test]
fn a_call_that_is_dropped_hands_its_load_to_the_one_beside_it() {
    check(|cache| async move {
        let (one, other) = (cache.clone(), cache.clone());
        let dropped = spawn(async move { get_with(&one, "a").await });
        let call = spawn(async move { get_with(&other, "a").await });
        dropped.abort();
        assert_eq!(call.await.unwrap(), Ok(()));
        cache.close().await;
    });
}
