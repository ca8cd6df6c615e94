//! Loads that do not begin or do not end, and the callers that wait for them.

use std::time::Duration;

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::key::Key;
use crate::flow::call::OpId;

const LOCK_TTL: Duration = SECOND;

fn world() -> World {
    World::with(|builder| builder.lock_ttl(LOCK_TTL).load_timeout(10 * SECOND))
}

/// Let time pass in steps of half the TTL of a lock, and have the server renew each lock.
fn pass(world: &mut World, time: Duration) {
    let end = world.now + time;
    while world.now < end {
        world.pass(LOCK_TTL / 2);
        for command in world.take_sent() {
            world.hear(if command == "PING" { "+PONG\r\n" } else { ":1\r\n" });
        }
    }
}

#[test]
fn a_load_that_is_not_begun_passes_to_the_next_call_before_its_lock_is_renewed() {
    let mut world = world();
    let first = world.fetch();
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load_late(), Some(first));
    world.take_sent();
    let second = world.fetch();
    pass(&mut world, LOCK_TTL / 2);
    assert_eq!(world.take_load(), Some(second));
    // The first call is polled now, and has no load any more.
    assert!(!world.engine.begin_load(first));
    world.loaded(first, "stray");
    world.loaded(second, "v");
    world.hear(":1\r\n");
    assert_eq!([first, second].map(|op| world.text(op)), ["joined v", "loaded v"]);
}

#[test]
fn a_load_that_has_begun_is_not_passed_on_before_its_timeout() {
    let mut world = world();
    let first = world.fetch();
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(first));
    world.take_sent();
    let second = world.fetch();
    pass(&mut world, 9 * SECOND);
    assert_eq!(world.take_load(), None);
    world.loaded(first, "v");
    world.hear(":1\r\n");
    assert_eq!([first, second].map(|op| world.text(op)), ["loaded v", "joined v"]);
}

#[test]
fn calls_that_are_never_polled_fail_after_one_timeout() {
    let mut world = world();
    let calls = [world.fetch(), world.fetch(), world.fetch()];
    world.hear(MISSING_LOCKED);
    world.take_sent();
    let mut asked = Vec::new();
    for _ in 0..40 {
        pass(&mut world, LOCK_TTL / 2);
        asked.extend(std::iter::from_fn(|| world.take_load_late()));
    }
    assert_eq!(asked, calls, "each call is asked to load once");
    for op in calls {
        assert!(world.text(op).contains("LoadTimeout"));
    }
}

#[test]
fn at_the_timeout_of_a_load_only_the_calls_that_waited_for_all_of_it_fail() {
    let mut world = world();
    let [first, early] = [world.fetch(), world.fetch()];
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(first));
    world.take_sent();
    pass(&mut world, 6 * SECOND);
    let [late, last] = [world.fetch(), world.fetch()];
    pass(&mut world, 4 * SECOND);
    for op in [first, early] {
        assert!(world.text(op).contains("LoadTimeout"));
    }
    assert_eq!(world.take_load(), Some(late));
    // The second load has the whole timeout. Then both have waited for one load.
    pass(&mut world, 9 * SECOND);
    assert_eq!([late, last].map(|op| world.text(op)), ["waits", "waits"]);
    pass(&mut world, SECOND);
    for op in [late, last] {
        assert!(world.text(op).contains("LoadTimeout"));
    }
    assert_eq!(world.take_load(), None);
}

/// Start a batch of the keys `a` and `k`, the second of which another process has locked. Its
/// loader runs for the first.
fn loading_batch(world: &mut World) -> OpId {
    let keys = || ["a", "k"].map(Key::from).to_vec();
    let batch = world.call(|engine, now| engine.get_many_with(now, keys(), 60 * SECOND));
    world.take_sent();
    world.hear("*2\r\n_\r\n$23\r\n__redcache:lock:another\r\n:-2\r\n+OK\r\n:9000\r\n_\r\n");
    assert_eq!(world.take_load(), Some(batch));
    batch
}

#[test]
fn a_batch_whose_loader_runs_passes_its_other_keys_on() {
    let mut world = world();
    let batch = loading_batch(&mut world);
    let call = world.fetch();
    // The other process has deleted its lock.
    world.hear(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert_eq!(world.take_sent(), ["GET k", "PTTL k"]);
    world.hear("_\r\n:-2\r\n");
    assert_eq!(world.take_sent(), ["SET k"]);
    world.hear("+OK\r\n");
    assert_eq!(world.take_load(), None, "one loader of a batch runs at a time");
    pass(&mut world, LOCK_TTL / 2);
    assert_eq!(world.take_load(), Some(call));
    world.loaded(call, "v");
    world.hear(":1\r\n");
    assert_eq!(world.text(call), "loaded v");
    assert!(world.outcome(batch).is_none(), "its loader still runs");
}
