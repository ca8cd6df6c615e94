//! The callers that may share a load.

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::answer::Loaded;
use crate::api::key::Key;

/// The replies to a read of a missing key whose lock attempt is refused.
const MISSING_OOM: &str =
    "_\r\n:-2\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n";

#[test]
fn a_load_without_a_lock_answers_only_the_calls_that_began_before_it() {
    let mut world = World::new();
    let [first, early] = [world.fetch(), world.fetch()];
    world.hear(MISSING_OOM);
    assert_eq!(world.take_load(), Some(first));
    // Another process may have removed the key by now, and this process cannot know.
    let late = world.fetch();
    world.loaded(first, "old");
    assert_eq!(
        [first, early, late].map(|op| world.text(op)),
        ["loaded old", "joined old", "waits"]
    );
    world.hear(MISSING_OOM);
    assert_eq!(world.take_load(), Some(late));
    world.loaded(late, "new");
    assert_eq!(world.text(late), "loaded new");
}

#[test]
fn a_value_that_is_not_stored_answers_only_the_calls_that_began_before_its_load() {
    let mut world = World::new();
    let [first, early] = [world.fetch(), world.fetch()];
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(first));
    let late = world.fetch();
    world.loaded(first, Loaded::value("old").do_not_store());
    assert_eq!(
        [first, early, late].map(|op| world.text(op)),
        ["loaded old", "joined old", "waits"]
    );
}

#[test]
fn a_value_whose_publication_has_no_reply_answers_only_the_calls_that_began_before_its_load() {
    let mut world = World::new();
    let [first, early] = [world.fetch(), world.fetch()];
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(first));
    let late = world.fetch();
    world.loaded(first, "old");
    // The connection is alive, so the late call can read the key itself.
    world.pass(2 * SECOND);
    assert_eq!(
        [first, early, late].map(|op| world.text(op)),
        ["loaded old", "joined old", "waits"]
    );
}

#[test]
fn a_call_that_was_too_late_for_a_load_waits_for_others_anew() {
    const LOCKED: &str = "$23\r\n__redcache:lock:another\r\n:9000\r\n";
    let tenth = SECOND / 10;
    let mut world = World::with(|builder| builder.load_timeout(tenth).lock_ttl(tenth));
    let first = world.fetch();
    world.hear(&format!("{LOCKED}_\r\n"));
    // The patience of the first call ends.
    world.pass(2 * tenth);
    world.hear(LOCKED);
    assert_eq!(world.take_load(), Some(first));
    let late = world.fetch();
    world.loaded(first, "old");
    world.hear(LOCKED);
    assert_eq!([first, late].map(|op| world.text(op)), ["loaded old", "waits"]);
    assert_eq!(world.take_load(), None);
}

#[test]
fn a_value_that_was_published_meanwhile_is_no_stale_answer() {
    let mut world = World::with(|builder| builder.stale_while_revalidate(60 * SECOND));
    let waiting = world.fetch();
    world.hear("$23\r\n__redcache:lock:another\r\n:9000\r\n_\r\n");
    let write = world.call(|engine, now| engine.insert_with(now, Key::from("k"), 60 * SECOND));
    world.hear("*3\r\n:1\r\n_\r\n:0\r\n");
    assert_eq!(world.take_load(), Some(write));
    world.take_sent();
    // After many wake-ups, each further one is followed by a pause, not by a read.
    for _ in 0..20 {
        world.hear(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        if world.take_sent().contains(&"GET k".to_owned()) {
            world.hear("$23\r\n__redcache:lock:another\r\n:9000\r\n");
        }
    }
    world.loaded(write, "new");
    world.hear(":1\r\n");
    assert_eq!(world.text(waiting), "waits");
}

#[test]
fn a_load_that_was_overtaken_answers_the_calls_that_began_before_it() {
    let mut world = World::new();
    let [first, early] = [world.fetch(), world.fetch()];
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(first));
    let [late, later] = [world.fetch(), world.fetch()];
    world.loaded(first, "old");
    // Another process has removed the key, and the lock with it.
    world.hear(":0\r\n");
    assert_eq!([first, early].map(|op| world.text(op)), ["loaded old", "joined old"]);
    // The next load is overtaken too, and still answers all of its callers.
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(late));
    world.loaded(late, "new");
    world.hear(":0\r\n");
    assert_eq!([late, later].map(|op| world.text(op)), ["loaded new", "joined new"]);
}

#[test]
fn a_call_after_an_own_write_joins_no_load_that_began_before_it() {
    for reply in [MISSING_LOCKED, MISSING_OOM] {
        let mut world = World::new();
        let before = world.fetch();
        world.hear(reply);
        assert_eq!(world.take_load(), Some(before));
        world.remove();
        world.hear(":0\r\n");
        let after = world.fetch();
        world.hear(MISSING_LOCKED);
        assert_eq!(world.take_load(), Some(after));
    }
}

#[test]
fn an_own_write_moves_the_late_callers_of_a_load_to_the_next_one() {
    let mut world = World::new();
    let first = world.fetch();
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(first));
    let late = world.fetch();
    world.remove();
    world.hear(":1\r\n");
    let sent = world.take_sent();
    assert_eq!(sent[sent.len() - 4..], ["DEL k", "GET k", "PTTL k", "SET k"]);
    world.hear(MISSING_LOCKED);
    assert_eq!(world.take_load(), Some(late));
}

#[test]
fn a_call_after_an_own_write_joins_no_read_at_the_former_owner_of_the_slot() {
    let mut world = World::cluster();
    let before = world.fetch();
    assert_eq!(world.take_sent_to(1), ["GET k", "PTTL k", "SET k"]);
    // The former owner does not answer. Another node's redirect leads to the new one.
    world.call(|engine, now| engine.remove(now, Key::from("a")));
    assert_eq!(world.take_sent_to(2), ["DEL a"]);
    world.hear_from(2, "-MOVED 15495 h:3\r\n");
    assert_eq!(world.take_sent_to(3), ["DEL a"]);
    world.now += SECOND / 2;
    world.hear_from(3, ":0\r\n");
    world.answer_topology(3, 6, &[(3, 0, 16383)]);
    world.remove();
    assert_eq!(world.take_sent_to(3), ["DEL k"]);
    world.hear_from(3, ":1\r\n");
    let after = world.fetch();
    assert_eq!(world.take_sent_to(3), ["GET k", "PTTL k", "SET k"]);
    world.hear_from(1, "$3\r\nold\r\n:60000\r\n_\r\n");
    assert_eq!([before, after].map(|op| world.text(op)), ["redis old", "waits"]);
}
