//! Near hits that are checked against Redis.

use std::time::Duration;

use super::world::{SECOND, World};
use crate::api::key::Key;
use crate::api::options::CallOptions;

/// Return a world that checks every near hit and has an entry of the key `k`, which was just a hit.
fn after_a_hit() -> World {
    let mut world = World::with(|builder| builder.near_audit_every(1));
    let read = world.call(|engine, now| engine.get(now, Key::from("k"), CallOptions::new()));
    world.hear("$3\r\nold\r\n:60000\r\n");
    assert_eq!(world.text(read), "redis old");
    hit(&mut world);
    world
}

fn hit(world: &mut World) {
    world.take_sent();
    world.now += SECOND;
    assert!(world.engine.near().get(b"k", || world.now).is_some());
    world.settle();
    assert_eq!(world.take_sent(), ["GET k", "PTTL k"]);
}

fn counts(world: &World) -> (u64, u64, Duration) {
    let stats = world.engine.stats();
    assert_eq!(stats.calls, 0);
    (stats.audits, stats.audit_differences, stats.audit_age_max)
}

#[test]
fn an_entry_that_equals_redis_is_no_difference() {
    let mut world = after_a_hit();
    world.hear("$3\r\nold\r\n:59000\r\n");
    assert_eq!(counts(&world), (1, 0, Duration::ZERO));
}

#[test]
fn an_entry_whose_invalidation_was_lost_is_a_difference_of_its_age() {
    for reply in ["$3\r\nnew\r\n:59000\r\n", "_\r\n:-2\r\n"] {
        let mut world = after_a_hit();
        world.hear(reply);
        assert_eq!(counts(&world), (1, 1, SECOND));
    }
}

#[test]
fn a_change_that_is_reported_before_the_reply_is_no_difference() {
    let mut world = after_a_hit();
    world.hear(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$3\r\nnew\r\n:59000\r\n");
    assert_eq!(counts(&world), (0, 0, Duration::ZERO));
    hit(&mut world);
    // The invalidation may also arrive in the middle of the reply.
    world.hear("$3\r\nnew\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n:59000\r\n");
    assert_eq!(counts(&world), (0, 0, Duration::ZERO));
}

#[test]
fn checks_under_way_are_limited_and_end_with_the_cache() {
    let mut world = after_a_hit();
    for _ in 0..100 {
        assert!(world.engine.near().get(b"k", || world.now).is_some());
        world.settle();
    }
    assert_eq!(world.engine.stats().calls, 16);
    world.engine.close(world.now);
    assert_eq!(world.engine.stats().calls, 0);
}
