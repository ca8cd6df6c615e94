//! A clock of the server that jumps.

use std::time::{Duration, Instant};

use redcache_sim::listen::EmbeddedServer;

use super::cache::Cache;
use super::scene::{TTL, connected, found, seen, wait_until};

with_a_server_of_its_own![
    a_server_clock_that_jumps_ahead_costs_a_load_of_each_value,
    a_server_clock_that_jumps_ahead_in_a_load_costs_only_the_storing,
];

/// Set the clock of the server an hour ahead, where it stays.
fn jump(server: &EmbeddedServer) {
    server.with(|server| server.handle_timeout(Instant::now() + Duration::from_secs(3600)));
}

fn a_server_clock_that_jumps_ahead_costs_a_load_of_each_value<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connected::<C>(server.url());
    cache.get_with("k", TTL, || found("old")).unwrap();
    assert_eq!(seen(cache.get("k")), "old from near");
    jump(&server);
    wait_until("the value expires", || {
        seen(cache.get_with("k", TTL, || found("new"))).starts_with("new")
    });
    assert_eq!(seen(cache.get("k")), "new from near");
    assert_eq!(cache.stats().loads, 2);
}

fn a_server_clock_that_jumps_ahead_in_a_load_costs_only_the_storing<C: Cache>() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connected::<C>(server.url());
    let load = || {
        jump(&server);
        found("loaded")
    };
    assert_eq!(seen(cache.get_with("k", TTL, load)), "loaded from loaded");
    assert_eq!(cache.stats().locks_lost, 1);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
}
