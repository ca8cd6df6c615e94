//! The memory of typed values in the near cache, as `Stats::near_bytes` counts it and as the
//! allocator does.
//!
//! A binary of its own: the counting allocator counts for the whole process, so nothing else may
//! run beside.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::alloc::System;
use std::time::Duration;

use redcache::blocking::{Cache, TypedCache};
use redcache::{Json, Typed};
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use redcache_tests::RedisServer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TTL: Duration = Duration::from_secs(3600);

/// As many entries as a full table has, so that no free places are counted for them.
const KEYS: u64 = 20_000;

/// The largest part of the memory by which the two counts may differ.
const DIFFERENCE_MAX: f64 = 0.2;

/// A row of a typical table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: String,
    city: Option<String>,
    roles: Vec<String>,
    visits: u32,
    is_active: bool,
}

fn user(id: u64) -> User {
    User {
        id,
        name: format!("User number {id:05}"),
        email: format!("user.{id:05}@example.org"),
        city: (id.is_multiple_of(2)).then(|| "Amsterdam".to_owned()),
        roles: vec!["reader".to_owned(), "writer".to_owned()],
        visits: 1815,
        is_active: true,
    }
}

/// Return the bytes that the allocator has handed out and not got back since `region` began.
fn held(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

/// Read all users through a cache, and return the bytes that it holds for them.
fn filled(server: &RedisServer, near_cache_bytes: u64) -> (Cache, f64) {
    let url = format!("{}?near_cache_bytes={near_cache_bytes}", server.url());
    let cache = redcache::blocking::connect(&*url).unwrap();
    let users: TypedCache<u64, User> = cache.typed("user", Json).ttl(TTL).build().unwrap();
    let region = Region::new(ALLOCATOR);
    for id in 0..KEYS {
        let loaded = users.get_with(&id, || Ok::<_, String>(user(id))).unwrap();
        assert_eq!(loaded.value.as_deref(), Some(&user(id)));
    }
    let held = held(&region);
    (cache, held)
}

#[test]
fn the_near_cache_counts_the_memory_of_typed_values() {
    let server = RedisServer::start();
    // The first cache loads. The other two decode what it has stored.
    let (loader, _) = filled(&server, 0);
    let (without, rest) = filled(&server, 0);
    let (cache, held) = filled(&server, 256 << 20);
    let stats = cache.stats();
    assert_eq!(stats.near_entries, KEYS);
    let (counted, allocated) = (stats.near_bytes as f64, held - rest);
    let difference = (counted - allocated) / allocated;
    println!("counted {counted}, allocated {allocated}: {difference:+.3}");
    assert!(difference.abs() <= DIFFERENCE_MAX, "counted {counted}, allocated {allocated}");
    for cache in [loader, without, cache] {
        cache.close();
    }
}
