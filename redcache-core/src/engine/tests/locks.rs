//! Locks whose reply is overdue.

use super::world::{SECOND, World};
use crate::api::key::Key;

/// Return a cluster in which a write of the key `k` has timed out, with its lock taken at the
/// former owner of the slot, and the reply of a `get` at the current owner.
fn with_overdue_lock() -> (World, String) {
    let mut world = World::cluster();
    world.call(|engine, now| engine.insert_with(now, Key::from("k"), 60 * SECOND));
    assert_eq!(world.take_sent_to(1), ["WriteLock k"]);
    world.call(|engine, now| engine.remove(now, Key::from("a")));
    assert_eq!(world.take_sent_to(2), ["DEL a"]);
    world.hear_from(2, "-MOVED 15495 h:3\r\n");
    assert_eq!(world.take_sent_to(3), ["DEL a"]);
    world.now += SECOND / 2;
    world.hear_from(3, ":0\r\n");
    world.answer_topology(3, 6, &[(3, 0, 16383)]);
    world.pass(3 * SECOND / 2);
    let lock = String::from_utf8(world.engine.env.locks.base().to_vec()).unwrap() + "1";
    (world, format!("${}\r\n{lock}\r\n:9000\r\n_\r\n", lock.len()))
}

#[test]
fn a_read_keeps_the_lock_of_a_write_whose_overdue_reply_holds_the_old_value() {
    let (mut world, locked) = with_overdue_lock();
    let read = world.fetch();
    assert_eq!(world.take_sent_to(3), ["GET k", "PTTL k", "SET k"]);
    world.hear_from(3, &locked);
    assert_eq!(world.take_sent_to(3), [""; 0]);
    world.hear_from(1, "*3\r\n:1\r\n$3\r\nold\r\n:60000\r\n");
    assert_eq!(world.take_sent_to(3), ["Restore k"]);
    assert_eq!(world.text(read), "waits");
}

#[test]
fn a_read_releases_the_lock_of_a_write_whose_reply_will_not_come() {
    let (mut world, locked) = with_overdue_lock();
    world.fetch();
    world.take_sent_to(3);
    world.hear_from(3, &locked);
    world.hang_up();
    assert_eq!(world.take_sent_to(3), ["GET k", "PTTL k", "CLUSTER INFO", "CLUSTER SHARDS"]);
    world.hear_from(3, &locked.replace("_\r\n", ""));
    assert_eq!(world.take_sent_to(3), ["Release k", "GET k", "PTTL k"]);
}
