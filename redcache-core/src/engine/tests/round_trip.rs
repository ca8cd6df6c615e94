//! A line with a long round trip.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::key::Key;
use crate::api::observer::{LockExtendedEvent, Observer};
use crate::api::options::CallOptions;

const LOCK_TTL: Duration = Duration::from_millis(100);

/// The round trips of the extended locks that were reported.
#[derive(Default)]
struct Extended(Mutex<Vec<Duration>>);

impl Observer for Extended {
    fn on_lock_extended(&self, event: &LockExtendedEvent) {
        self.0.lock().unwrap().push(event.round_trip);
    }
}

/// Read other keys, each with this round trip.
fn read(world: &mut World, round_trip: Duration, count: usize) {
    for _ in 0..count {
        world.call(|engine, now| engine.get(now, Key::from("other"), CallOptions::new()));
        world.pass(round_trip);
        world.hear("_\r\n:-2\r\n");
    }
}

#[test]
fn a_lock_outlives_a_round_trip_longer_than_its_configured_ttl_and_the_observer_is_told_once() {
    let extended = Arc::new(Extended::default());
    let observer = Arc::clone(&extended);
    let mut world = World::with(|builder| builder.lock_ttl(LOCK_TTL).observer(observer));
    assert_eq!(world.engine.env.lock_ttl(), LOCK_TTL);
    let round_trip = Duration::from_millis(160);
    for _ in 0..2 {
        read(&mut world, round_trip, 8);
        assert_eq!(world.engine.env.lock_ttl(), 4 * round_trip);
        assert_eq!(*extended.0.lock().unwrap(), [round_trip]);
        read(&mut world, Duration::from_millis(1), 8);
        assert_eq!(world.engine.env.lock_ttl(), LOCK_TTL);
    }
}

#[test]
fn a_load_on_a_slow_line_renews_its_lock_before_it_expires() {
    let mut world = World::with(|builder| builder.lock_ttl(LOCK_TTL));
    let round_trip = Duration::from_millis(160);
    read(&mut world, round_trip, 3);
    let op = world.fetch();
    world.take_sent();
    world.pass(round_trip);
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(op));
    world.pass(2 * round_trip - Duration::from_millis(1));
    assert_eq!(world.take_sent(), [""; 0]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.take_sent(), ["Renew k"]);
}

#[test]
fn long_replies_extend_no_lock_and_heartbeats_of_an_idle_line_shorten_it_again() {
    let mut world = World::with(|builder| builder.lock_ttl(LOCK_TTL).near_cache_bytes(0));
    let value = "v".repeat(70 << 10);
    let value = format!("${}\r\n{value}\r\n:5000\r\n", value.len());
    for _ in 0..3 {
        world.call(|engine, now| engine.get(now, Key::from("other"), CallOptions::new()));
        world.pass(SECOND);
        world.hear(&value);
    }
    assert_eq!(world.engine.env.lock_ttl(), LOCK_TTL);
    let round_trip = Duration::from_millis(160);
    read(&mut world, round_trip, 3);
    assert_eq!(world.engine.env.lock_ttl(), 4 * round_trip);
    world.take_sent();
    world.pass(world.engine.config().heartbeat_interval);
    assert_eq!(world.take_sent(), ["PING 1"]);
    world.pass(Duration::from_millis(1));
    world.hear("$1\r\n1\r\n");
    assert_eq!(world.engine.env.lock_ttl(), LOCK_TTL);
}
