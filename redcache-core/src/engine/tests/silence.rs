//! Near hits while nothing is read from the server.

use std::time::Duration;

use super::world::{SECOND, World};
use crate::api::key::Key;
use crate::api::options::CallOptions;

const TICK: Duration = Duration::from_millis(1);

#[test]
fn an_entry_is_a_hit_for_two_heartbeats_after_the_last_sign_of_life() {
    let mut world = World::with(|builder| builder.heartbeat_interval(SECOND));
    let op = world.call(|engine, now| engine.get(now, Key::from("k"), CallOptions::new()));
    world.hear("$1\r\nv\r\n:60000\r\n");
    assert_eq!(world.text(op), "redis v");
    let hit = |world: &World, after| world.engine.near().get(b"k", || world.now + after).is_some();
    assert!(hit(&world, 2 * SECOND));
    assert!(!hit(&world, 2 * SECOND + TICK));
    // The engine probes the server, whose reply is a sign of life.
    world.now += SECOND + SECOND / 2;
    world.settle();
    assert!(!hit(&world, SECOND));
    world.hear("+PONG\r\n");
    assert!(hit(&world, 2 * SECOND));
}
