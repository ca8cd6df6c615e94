//! Stale entries as answers after timeouts, and while Redis is unavailable.

use std::time::Duration;

use super::world::{SECOND, World};
use crate::api::key::Key;
use crate::api::options::CallOptions;

const TIMEOUT: Duration = Duration::from_millis(100);

/// Return a world whose near cache has an entry of the key `k`.
fn with_entry() -> World {
    let mut world = World::with(|builder| builder.stale_if_error(600 * SECOND));
    let read = world.fetch();
    world.hear("$1\r\nv\r\n:60000\r\n_\r\n");
    assert_eq!(world.text(read), "redis v");
    world
}

#[test]
fn a_call_that_reaches_its_timeout_gets_the_stale_entry() {
    let mut world = with_entry();
    let get = world.call(|engine, now| engine.get(now, Key::from("k"), CallOptions::new()));
    let fetch = world.fetch();
    let other = world.call(|engine, now| engine.get(now, Key::from("other"), CallOptions::new()));
    for op in [get, fetch, other] {
        world.engine.set_timeout(world.now, op, TIMEOUT);
    }
    world.pass(TIMEOUT);
    assert_eq!([get, fetch].map(|op| world.text(op)), ["stale v", "stale v"]);
    assert!(world.text(other).contains("DeadlineExceeded"));
}

#[test]
fn a_call_gets_the_stale_entry_at_once_while_redis_refuses_connections() {
    let mut world = with_entry();
    world.refuses = true;
    world.hang_up();
    world.pass(SECOND);
    let get = world.call(|engine, now| engine.get(now, Key::from("k"), CallOptions::new()));
    let fetch = world.fetch();
    assert_eq!([get, fetch].map(|op| world.text(op)), ["stale v", "stale v"]);
    let other = world.call(|engine, now| engine.get(now, Key::from("other"), CallOptions::new()));
    assert!(world.text(other).contains("connection refused"));
    // A new connection ends all older entries.
    world.refuses = false;
    world.pass(2 * SECOND);
    let after = world.fetch();
    assert_eq!(world.text(after), "waits");
}
