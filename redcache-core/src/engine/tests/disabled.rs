//! A disabled cache: loads without a server.

use std::time::Duration;

use bytes::Bytes;

use super::world::{SECOND, World};
use crate::api::error::ErrorKind;
use crate::api::key::Key;
use crate::api::options::{CallOptions, LoadOptions};
use crate::event::Outcome;

fn disabled() -> World {
    World::with(|builder| builder.disabled())
}

fn key() -> Key {
    Key::from("k")
}

#[test]
fn a_disabled_cache_is_ready_and_stores_nothing() {
    let mut world = disabled();
    assert!(matches!(world.engine.readiness(), Some(Ok(()))));
    assert!(!world.engine.is_tracked() && world.engine.poll_timeout().is_none());
    let value = Bytes::from_static(b"v");
    let op = world.call(|engine, now| engine.insert(now, key(), value.clone(), SECOND));
    assert!(matches!(world.outcome(op), Some(Outcome::Written(Ok(true)))));
    let op = world.call(|engine, now| engine.get(now, key(), CallOptions::new()));
    assert_eq!(world.text(op), "redis nothing");
    for op in [world.remove(), world.call(|engine, now| engine.touch(now, key(), SECOND))] {
        assert!(matches!(world.outcome(op), Some(Outcome::Written(Ok(false)))));
    }
    let op = world.call(|engine, now| engine.insert_many(now, vec![(key(), value)], SECOND));
    assert!(matches!(world.outcome(op), Some(Outcome::WrittenMany(all)) if all.len() == 1));
    let op = world.call(|engine, now| engine.read_raw_many(now, vec![key()]));
    assert!(matches!(world.outcome(op), Some(Outcome::Raws(all)) if matches!(all[..], [Ok(None)])));
    assert!(world.engine.insert(world.now, key(), Bytes::new(), Duration::ZERO).is_err());
    assert_eq!(world.engine.stats().near_entries, 0);
}

#[test]
fn one_load_of_a_key_runs_at_a_time_and_answers_the_callers_before_it() {
    let mut world = disabled();
    let first = world.fetch();
    let load = world.take_load().unwrap();
    assert_eq!(load, first);
    let late = [world.fetch(), world.fetch(), world.fetch()];
    assert_eq!(world.take_load(), None);
    world.loaded(load, "1");
    assert_eq!(world.text(first), "loaded 1");
    let load = world.take_load().unwrap();
    assert_eq!(load, late[0]);
    assert_eq!(world.take_load(), None);
    world.loaded(load, "2");
    assert_eq!(late.map(|op| world.text(op)), ["loaded 2", "joined 2", "joined 2"]);
    let again = world.fetch();
    assert_eq!(world.take_load(), Some(again));
    world.loaded(again, "3");
    let answer = world.answer(again).unwrap().unwrap();
    assert_eq!((answer.value.as_deref(), answer.ttl), (Some(&b"3"[..]), None));
}

#[test]
fn reloads_batches_and_locked_writes_load_too() {
    let mut world = disabled();
    let options = LoadOptions::new(SECOND, CallOptions::new().reload());
    let reload = world.call(|engine, now| engine.get_with(now, key(), options));
    assert_eq!(world.take_load(), Some(reload));
    world.loaded(reload, "r");
    assert_eq!(world.text(reload), "loaded r");
    let keys = || vec![key(), Key::from("other"), key()];
    let batch = world.call(|engine, now| engine.get_many_with(now, keys(), SECOND));
    assert_eq!((world.take_load(), world.take_load()), (Some(batch), None));
    let loaded = vec![(key(), "b".into())];
    world.engine.handle_loaded_many(world.now, batch, Ok(loaded));
    world.settle();
    let Some(Outcome::Answers(answers)) = world.outcome(batch) else { panic!() };
    let found: Vec<_> = answers.into_iter().map(|it| it.unwrap().value.is_some()).collect();
    assert_eq!(found, [true, false, true]);
    let write = world.call(|engine, now| engine.insert_with(now, key(), SECOND));
    assert_eq!(world.take_load(), Some(write));
    // Longer than a lock of Redis lives without its renewal.
    let half = world.engine.config().lock_ttl / 2;
    world.pass(half + Duration::from_millis(1));
    world.loaded(write, "w");
    assert!(matches!(world.outcome(write), Some(Outcome::Stored(Ok(true)))));
}

#[test]
fn a_load_of_a_disabled_cache_has_its_timeout_and_its_successor() {
    let mut world = disabled();
    let (first, second) = (world.fetch(), world.fetch());
    assert_eq!(world.take_load(), Some(first));
    world.engine.cancel(world.now, first);
    world.settle();
    assert_eq!(world.take_load(), Some(second));
    let timeout = world.engine.config().load_timeout;
    world.pass(timeout);
    let error = world.answer(second).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoadTimeout);
    world.engine.close(world.now);
    world.settle();
    assert!(world.engine.get(world.now, key(), CallOptions::new()).is_err());
}
