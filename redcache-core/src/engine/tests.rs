//! Tests of the engine with scripted replies of its servers.

mod audits;
mod disabled;
mod freshness;
mod joins;
mod locks;
mod outage;
mod overdue;
mod removals;
mod round_trip;
mod silence;
mod steps;
mod ttl;
mod unstored;
mod world;

use std::time::Duration;

use world::World;

use crate::api::key::Key;

#[test]
fn an_engine_shows_none_of_the_values_in_it() {
    // The command waits, because no node is known for its slot.
    let mut world = World::with(|builder| builder.cluster([("h", 1)]));
    let now = world.now;
    world.engine.insert(now, Key::from("k"), "hunter2".into(), Duration::from_secs(1)).unwrap();
    let shown = format!("{:?}", world.engine);
    assert!(!shown.contains("hunter2"), "{shown}");
}
