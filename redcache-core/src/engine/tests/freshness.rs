//! The freshness of answers, its limits, and the probes that maintain it.

use std::time::Duration;

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::answer::Answer;
use crate::api::key::Key;
use crate::api::options::{CallOptions, LoadOptions};
use crate::flow::call::OpId;

const MS: Duration = Duration::from_millis(1);

/// The reply to a read of a value.
const VALUE: &str = "$1\r\nv\r\n:60000\r\n";

fn get(world: &mut World, key: &str) -> OpId {
    world.call(|engine, now| engine.get(now, Key::from(key), CallOptions::new()))
}

/// Start a `get_with` of the key `k` whose answer is no older than the call.
fn fetch_newest(world: &mut World) -> OpId {
    let options = LoadOptions::new(60 * SECOND, CallOptions::new().max_staleness(Duration::ZERO));
    world.call(|engine, now| engine.get_with(now, Key::from("k"), options))
}

fn answer(world: &mut World, op: OpId) -> Answer {
    world.answer(op).expect("the call has ended").unwrap()
}

fn age_of_hit(world: &World, key: &str) -> Option<Duration> {
    let hit = world.engine.near().get(key.as_bytes(), || world.now);
    hit.map(|hit| hit.fresh_as_of)
}

#[test]
fn an_answer_is_as_fresh_as_the_sending_of_its_read() {
    let mut world = World::new();
    let read = get(&mut world, "k");
    world.now += 30 * MS;
    world.hear(VALUE);
    assert_eq!(answer(&mut world, read).fresh_as_of, Some(30 * MS));
    assert_eq!(age_of_hit(&world, "k"), Some(30 * MS));
}

#[test]
fn a_reply_to_a_later_command_makes_every_entry_as_fresh_as_its_sending() {
    let mut world = World::new();
    get(&mut world, "k");
    world.hear(VALUE);
    world.now += 100 * MS;
    get(&mut world, "other");
    world.now += 10 * MS;
    assert_eq!(age_of_hit(&world, "k"), Some(110 * MS));
    world.hear("$1\r\nv\r\n");
    assert_eq!(age_of_hit(&world, "k"), Some(110 * MS), "the reply is not complete");
    world.hear(":60000\r\n");
    assert_eq!(age_of_hit(&world, "k"), Some(10 * MS));
}

#[test]
fn in_a_cluster_a_reply_says_nothing_about_the_entries_of_another_node() {
    let mut world = World::cluster();
    get(&mut world, "k");
    world.hear_from(1, VALUE);
    get(&mut world, "a");
    world.hear_from(2, VALUE);
    world.now += 100 * MS;
    get(&mut world, "a");
    world.hear_from(2, VALUE);
    assert_eq!(age_of_hit(&world, "a"), Some(Duration::ZERO));
    assert_eq!(age_of_hit(&world, "k"), Some(100 * MS));
}

#[test]
fn a_call_that_wants_the_newest_value_is_not_answered_by_an_earlier_read() {
    let mut world = World::new();
    let early = world.fetch();
    world.now += MS;
    let newest = fetch_newest(&mut world);
    world.take_sent();
    world.hear("$3\r\nold\r\n:60000\r\n_\r\n");
    assert_eq!([early, newest].map(|op| world.text(op)), ["redis old", "waits"]);
    assert_eq!(world.take_sent()[..2], ["GET k", "PTTL k"]);
    world.hear("$3\r\nnew\r\n:60000\r\n_\r\n");
    assert_eq!(world.text(newest), "redis new");
}

#[test]
fn a_call_that_wants_the_newest_value_gets_one_that_is_published_after_its_begin() {
    let mut world = World::new();
    let leader = world.fetch();
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(leader));
    world.now += MS;
    let newest = fetch_newest(&mut world);
    world.loaded(leader, "v");
    world.hear(":1\r\n");
    assert_eq!([leader, newest].map(|op| world.text(op)), ["loaded v", "joined v"]);
}

#[test]
fn a_stale_answer_replaces_an_error_only_within_the_limit_of_the_call() {
    let mut world = World::with(|builder| builder.stale_if_error(600 * SECOND));
    get(&mut world, "k");
    world.hear(VALUE);
    world.refuses = true;
    world.hang_up();
    world.pass(SECOND);
    let within = |max| CallOptions::new().max_staleness(max);
    let read = |world: &mut World, max| {
        let op = world.call(|engine, now| engine.get(now, Key::from("k"), within(max)));
        world.text(op)
    };
    assert_eq!(read(&mut world, SECOND), "stale v");
    assert!(read(&mut world, SECOND - MS).contains("connection refused"));
}

#[test]
fn beyond_the_limit_of_the_cache_an_entry_is_no_hit_until_a_reply_comes() {
    let mut world = World::with(|builder| builder.near_staleness_max(30 * MS));
    get(&mut world, "k");
    world.hear(VALUE);
    world.now += 30 * MS;
    assert_eq!(age_of_hit(&world, "k"), Some(30 * MS));
    world.now += MS;
    assert_eq!(age_of_hit(&world, "k"), None);
    get(&mut world, "other");
    world.hear(VALUE);
    assert_eq!(age_of_hit(&world, "k"), Some(Duration::ZERO));
}

#[test]
fn while_entries_are_hits_an_idle_connection_is_probed_within_the_limit() {
    let mut world = World::with(|builder| builder.near_staleness_max(30 * MS));
    get(&mut world, "k");
    world.hear(VALUE);
    world.take_sent();
    for number in 1..50 {
        assert!(age_of_hit(&world, "k").is_some());
        assert_eq!(world.engine.poll_timeout(), Some(world.now + 10 * MS));
        world.pass(10 * MS);
        assert_eq!(world.take_sent(), [format!("PING {number}")]);
        assert_eq!(age_of_hit(&world, "k"), Some(10 * MS));
        let number = number.to_string();
        world.hear(&format!("${}\r\n{number}\r\n", number.len()));
        assert_eq!(age_of_hit(&world, "k"), Some(Duration::ZERO));
    }
}

#[test]
fn without_hits_the_probes_end() {
    let mut world = World::with(|builder| builder.near_staleness_max(30 * MS));
    get(&mut world, "k");
    world.hear(VALUE);
    world.take_sent();
    let mut probes = 0;
    for _ in 0..100 {
        world.pass(10 * MS);
        for sent in world.take_sent() {
            probes += 1;
            world.hear(&format!("$1\r\n{}\r\n", sent.trim_start_matches("PING ")));
        }
    }
    assert!(probes <= 3, "{probes}");
}
