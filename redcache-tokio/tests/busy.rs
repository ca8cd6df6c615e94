//! A runtime whose only thread reads a key in a loop.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::thread;
use std::time::Duration;

use redcache_sim::listen::EmbeddedServer;
use redcache_tokio::Source;

const TTL: Duration = Duration::from_secs(60);

/// Write a key as another process does.
#[tokio::main(flavor = "current_thread")]
async fn write(url: String) {
    let other = redcache_tokio::connect(url).await.unwrap();
    other.insert("k", "new", TTL).await.unwrap();
}

#[tokio::test]
async fn a_loop_of_near_hits_sees_a_change_of_another_process() {
    let server = EmbeddedServer::start().unwrap();
    let url = format!("{}?heartbeat_interval=50ms", server.url());
    let cache = redcache_tokio::connect(url).await.unwrap();
    cache.insert("k", "old", TTL).await.unwrap();
    while cache.get("k").await.unwrap().source != Source::Near {}
    let url = server.url();
    thread::spawn(move || write(url)).join().unwrap();
    // No near hit yields to the task that reads the invalidation.
    while cache.get("k").await.unwrap().value.unwrap() != "new" {}
}
