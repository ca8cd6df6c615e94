//! Removals that fail because Redis cannot be reached.

use bytes::Bytes;

use super::world::{SECOND, World};
use crate::api::key::Key;
use crate::api::stats::Stats;

/// Return the numbers of removals that were kept, repeated and dropped, and that wait.
fn removals(world: &World) -> [u64; 4] {
    let Stats { removals_kept, removals_repeated, removals_dropped, removals_waiting, .. } =
        world.engine.stats();
    [removals_kept, removals_repeated, removals_dropped, removals_waiting]
}

fn insert(world: &mut World) {
    let value = Bytes::from_static(b"v");
    world.call(|engine, now| engine.insert(now, Key::from("k"), value, 60 * SECOND));
}

#[test]
fn a_failed_removal_is_repeated_on_the_next_connection() {
    let mut world = World::new();
    world.remove();
    world.hang_up();
    assert_eq!(removals(&world), [1, 0, 0, 1]);
    world.pass(SECOND);
    world.hear(":1\r\n");
    assert_eq!(removals(&world), [1, 1, 0, 0]);
}

#[test]
fn a_removal_without_a_reply_is_repeated_on_the_same_connection() {
    let mut world = World::new();
    world.remove();
    world.pass(2 * SECOND);
    assert_eq!(removals(&world), [1, 0, 0, 1]);
    world.take_sent();
    world.pass(SECOND);
    assert_eq!(world.take_sent(), ["DEL k"]);
    // The late reply to the first attempt comes first.
    world.hear(":1\r\n");
    assert_eq!(removals(&world), [1, 0, 0, 1]);
    world.hear(":0\r\n");
    assert_eq!(removals(&world), [1, 1, 0, 0]);
}

#[test]
fn a_failed_insert_leaves_a_removal_of_its_key() {
    let mut world = World::new();
    insert(&mut world);
    world.hear("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_eq!(removals(&world), [1, 0, 0, 1]);
    world.take_sent();
    world.pass(SECOND);
    assert_eq!(world.take_sent(), ["DEL k"]);
    world.hear("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    world.pass(SECOND);
    assert_eq!(world.take_sent(), ["DEL k"]);
    world.hear(":1\r\n");
    assert_eq!(removals(&world), [1, 1, 0, 0]);
}

#[test]
fn a_newer_write_takes_the_place_of_a_failed_removal() {
    let mut world = World::new();
    world.remove();
    world.hang_up();
    insert(&mut world);
    world.pass(SECOND);
    // From now on, a removal would delete the new value.
    world.pass(SECOND / 2);
    world.hear("+OK\r\n");
    assert_eq!(removals(&world), [1, 0, 0, 0]);
    world.take_sent();
    world.pass(SECOND);
    assert_eq!(world.take_sent(), Vec::<String>::new());
}

#[test]
fn a_removal_that_redis_refuses_for_good_is_not_kept() {
    let mut world = World::new();
    world.remove();
    world.hear("-NOPERM this user has no permissions to run the 'del' command\r\n");
    assert_eq!(removals(&world), [0; 4]);
}

#[test]
fn the_oldest_of_too_many_failed_removals_is_dropped() {
    let mut world = World::with(|builder| builder.kept_removals_max(2));
    let keys = ["a", "b", "c", "b"].map(Key::from).to_vec();
    world.call(|engine, now| engine.remove_many(now, keys));
    world.hang_up();
    assert_eq!(removals(&world), [4, 0, 1, 2]);
    world.pass(SECOND);
    world.hear(":1\r\n:1\r\n");
    assert_eq!(removals(&world), [4, 2, 1, 0]);
}

#[test]
fn a_removal_drops_the_near_entry_before_redis_replies() {
    let mut world = World::new();
    let read = world.fetch();
    world.hear("$1\r\nv\r\n:60000\r\n_\r\n");
    assert_eq!(world.text(read), "redis v");
    let is_near = |world: &World| world.engine.near().peek(b"k", world.now).is_some();
    assert!(is_near(&world));
    world.remove();
    assert!(!is_near(&world));
}

/// Hang up, and hear the replies to the repeated removal of a key in generation 1 while the
/// namespace has the generation `found`.
fn repeat_in_generation(found: &str) -> World {
    let mut world = World::new();
    let key = Key::from("n:k%~g0000000000000001");
    world.call(|engine, now| engine.keep_removals(now, vec![key]));
    world.pass(SECOND);
    let sent = ["DEL n:k%~g0000000000000001", "GET n:%~generation", "PTTL n:%~generation"];
    assert_eq!(world.take_sent(), sent);
    world.hear(&format!(":0\r\n{found}:1000\r\n"));
    world
}

#[test]
fn a_kept_removal_also_removes_the_key_under_the_current_generation() {
    let mut world = repeat_in_generation("$16\r\n0000000000000002\r\n");
    assert_eq!(removals(&world), [1, 0, 0, 1]);
    assert_eq!(world.take_sent(), ["DEL n:k%~g0000000000000002"]);
    world.hear(":1\r\n");
    assert_eq!(removals(&world), [1, 1, 0, 0]);
}

#[test]
fn a_kept_removal_ends_if_its_generation_is_the_current_one_or_lost() {
    for found in ["$16\r\n0000000000000001\r\n", "_\r\n"] {
        let mut world = repeat_in_generation(found);
        assert_eq!(world.take_sent(), [""; 0]);
        assert_eq!(removals(&world), [1, 1, 0, 0]);
    }
}
