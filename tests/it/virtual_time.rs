//! Behaviour that takes time, under a clock that the test moves, so that no result depends on the
//! machine.

mod change;
mod schedules;
mod world;

use std::time::Duration;

use redcache_core::engine::{CallError, Outcome};
use redcache_core::{ConfigBuilder, ErrorKind, Key, LOCK_PREFIX};

use self::world::World;

const TTL: Duration = Duration::from_secs(60);
const THEIRS: &str = "__redcache:lock:somebody:1";

fn short_lock(config: ConfigBuilder) -> ConfigBuilder {
    config.lock_ttl(Duration::from_millis(200)).load_timeout(TTL)
}

fn long_lock(config: ConfigBuilder) -> ConfigBuilder {
    config.lock_ttl(TTL)
}

fn key() -> Key {
    Key::from("k")
}

#[track_caller]
fn assert_locked(world: &World) {
    let value = world.server.value(0, b"k").expect("the lock has not expired");
    assert!(value.starts_with(LOCK_PREFIX.as_bytes()), "{value:?}");
}

#[track_caller]
fn stored(world: &World, key: &str) -> String {
    let value = world.server.value(0, key.as_bytes()).expect("there is a value");
    String::from_utf8(value.to_vec()).unwrap()
}

#[test]
fn a_slow_load_keeps_its_lock() {
    let mut world = World::new(2, short_lock);
    let leader = world.call(0, |engine, now| engine.get_with(now, key(), TTL));
    assert!(world.take_load(0, leader).is_some());
    let waiter = world.call(1, |engine, now| engine.get_with(now, key(), TTL));
    world.advance(Duration::from_secs(5), assert_locked);
    assert!(world.take_load(1, waiter).is_none());
    world.load(0, leader, "v");
    assert!(stored(&world, "k").ends_with(":v"));
    // The waiter reads again after a pause.
    world.advance(Duration::from_millis(100), |_| ());
    for (process, call) in [(0, leader), (1, waiter)] {
        let Some(Outcome::Answer(Ok(answer))) = world.outcome(process, call) else {
            panic!("no answer")
        };
        assert_eq!(answer.value.as_deref(), Some(&b"v"[..]));
    }
}

#[test]
fn a_slow_write_keeps_its_lock() {
    let mut world = World::new(1, short_lock);
    world.foreign(&["SET", "k", "old"]);
    let write = world.call(0, |engine, now| engine.insert_with(now, key(), TTL));
    assert!(world.take_load(0, write).is_some());
    world.advance(Duration::from_secs(5), assert_locked);
    world.load(0, write, "v");
    assert!(matches!(world.outcome(0, write), Some(Outcome::Stored(Ok(true)))));
    assert!(stored(&world, "k").ends_with(":v"));
}

#[test]
fn a_cancelled_leader_costs_no_time_in_its_process_or_another() {
    for next in [0, 1] {
        let mut world = World::new(2, long_lock);
        let leader = world.call(0, |engine, now| engine.get_with(now, key(), TTL));
        assert!(world.take_load(0, leader).is_some());
        let call = world.call(next, |engine, now| engine.get_with(now, key(), TTL));
        assert!(world.take_load(next, call).is_none(), "it waits for the leader");
        world.cancel(0, leader);
        assert!(world.take_load(next, call).is_some(), "the clock has not moved");
        world.load(next, call, "v");
        assert!(stored(&world, "k").ends_with(":v"));
    }
}

#[test]
fn a_call_past_its_timeout_hands_its_lock_to_the_next_caller() {
    let mut world = World::new(1, long_lock);
    let limit = Duration::from_millis(50);
    let first = world.call(0, |engine, now| engine.get_with(now, key(), TTL));
    world.set_timeout(0, first, limit);
    assert!(world.take_load(0, first).is_some());
    let second = world.call(0, |engine, now| engine.get_with(now, key(), TTL));
    world.advance(limit, assert_locked);
    let Some(Outcome::Answer(Err(_))) = world.outcome(0, first) else { panic!("no error") };
    assert!(world.take_load(0, second).is_some(), "the same lock serves the second");
    world.load(0, second, "v");
    assert!(stored(&world, "k").ends_with(":v"));
}

#[test]
fn a_batch_past_its_timeout_keeps_the_answers_that_it_has() {
    let mut world = World::new(1, long_lock);
    world.foreign(&["SET", "k", THEIRS, "PX", "60000"]);
    let both = vec![Key::from("free"), key()];
    let batch = world.call(0, |engine, now| engine.get_many_with(now, both, TTL));
    world.set_timeout(0, batch, Duration::from_millis(50));
    let keys = world.take_load(0, batch).expect("the free key is loaded");
    world.load_many(0, batch, keys, "v");
    world.advance(Duration::from_millis(50), |_| ());
    let Some(Outcome::Answers(mut answers)) = world.outcome(0, batch) else { panic!("no answers") };
    let Err(CallError::Cache(error)) = answers.remove(1) else { panic!("no error") };
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(answers.remove(0).unwrap().value.as_deref(), Some(&b"v"[..]));
}
