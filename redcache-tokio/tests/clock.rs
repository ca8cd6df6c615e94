//! A cache on tokio's paused clock, as tests of services use it.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::time::{Duration, Instant};

use redcache_sim::listen::EmbeddedServer;
use redcache_tokio::{Cache, Source};

const TTL: Duration = Duration::from_secs(60);

/// Connect on the system's clock and read a key until it is near.
async fn cache_with_a_near_key(server: &EmbeddedServer) -> Cache {
    // No heartbeat times out on a clock that jumps.
    let url = format!("{}?heartbeat_interval=1d", server.url());
    let cache = redcache_tokio::connect(url).await.unwrap();
    cache.insert("k", "v", TTL).await.unwrap();
    while cache.get("k").await.unwrap().source != Source::Near {}
    cache
}

#[tokio::test]
async fn an_entry_expires_by_a_clock_that_the_test_advances() {
    let server = EmbeddedServer::start().unwrap();
    let cache = cache_with_a_near_key(&server).await;
    tokio::time::pause();
    tokio::time::advance(TTL / 2).await;
    let answer = cache.get("k").await.unwrap();
    assert_eq!(answer.source, Source::Near);
    assert!(answer.ttl.unwrap() <= TTL / 2);
    tokio::time::advance(2 * TTL).await;
    let answer = cache.get("k").await;
    assert!(!answer.is_ok_and(|answer| answer.source == Source::Near));
}

#[tokio::test]
async fn timeouts_of_the_cache_do_not_spin_on_a_clock_that_is_ahead() {
    let server = EmbeddedServer::start().unwrap();
    let _cache = cache_with_a_near_key(&server).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    let began = Instant::now();
    // Tokio advances its clock while all tasks sleep.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(began.elapsed() < Duration::from_secs(20), "a task does not sleep");
}
