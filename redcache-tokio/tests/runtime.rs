//! A runtime that is too busy for the tasks of the cache, or that has ended, and a call that is not
//! polled.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::future;
use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use redcache_sim::listen::EmbeddedServer;
use redcache_tokio::{ErrorKind, LoadError, Source};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

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

#[test]
fn a_call_after_the_end_of_the_runtime_names_the_reason() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let server = EmbeddedServer::start().unwrap();
    let first = runtime();
    let cache = first.block_on(redcache_tokio::connect(server.url())).unwrap();
    drop(first);
    let second = runtime();
    for error in [second.block_on(cache.get("k")).err(), second.block_on(cache.ready()).err()] {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Closed);
        let text = error.to_string();
        assert!(text.contains("the runtime on which it was opened has ended"), "{text}");
    }
    second.block_on(cache.close());
}

#[tokio::test]
async fn a_load_that_is_not_polled_passes_to_the_next_caller() {
    let server = EmbeddedServer::start().unwrap();
    let url = format!("{}?lock_ttl=200ms", server.url());
    let cache = redcache_tokio::connect(url).await.unwrap();
    let get_with = |value| cache.get_with("k", TTL, async move || Ok::<_, io::Error>(value));
    let mut stalled = pin!(get_with("stalled"));
    // The first poll sends the read. The future is asked to load later.
    tokio::select! {
        biased;
        answer = &mut stalled => panic!("{answer:?}"),
        () = future::ready(()) => {}
    }
    let answer = get_with("next").await.unwrap();
    assert_eq!((answer.source, answer.value.unwrap()), (Source::Loaded, "next".into()));
    let answer = stalled.await.unwrap();
    assert_eq!((answer.source, answer.value.unwrap()), (Source::Joined, "next".into()));
}

#[tokio::test]
async fn a_load_that_does_not_end_passes_to_the_next_caller_at_its_timeout() {
    let server = EmbeddedServer::start().unwrap();
    let url = format!("{}?load_timeout=1s", server.url());
    let cache = redcache_tokio::connect(url).await.unwrap();
    let has_begun = Notify::new();
    let load = || async {
        has_begun.notify_one();
        future::pending::<io::Result<&str>>().await
    };
    let mut stalled = pin!(cache.get_with("k", TTL, load));
    tokio::select! {
        answer = &mut stalled => panic!("{answer:?}"),
        () = has_begun.notified() => {}
    }
    let answer = cache.get_with("k", TTL, async || Ok::<_, io::Error>("v")).await.unwrap();
    assert_eq!(answer.source, Source::Loaded);
    let Err(LoadError::Cache(error)) = stalled.await else { panic!("the load has ended") };
    assert_eq!(error.kind(), ErrorKind::LoadTimeout);
}
