//! Near hits allocate nothing, on the public calls of every adapter and of typed views.
//!
//! This is a separate binary: the counting allocator counts for the whole process, so nothing else
//! may run beside it.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::alloc::System;
use std::future::Future;
use std::time::Duration;

use redcache::{Json, Typed, TypedAnswer, TypedCache};
use redcache_driver::{Answer, Cache, Config, Source};
use redcache_sim::listen::EmbeddedServer;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TTL: Duration = Duration::from_secs(60);

/// The number of hits that are counted at a time.
const HITS: usize = 1_000;

/// The number of counts: a thread of the runtime or the server may wake in the middle of one count.
const ROUNDS: usize = 20;

#[test]
fn a_near_hit_allocates_nothing() {
    let region = Region::new(ALLOCATOR);
    let text = std::hint::black_box("Ada").to_owned();
    assert!(region.change().allocations > 0, "nothing is counted: {text}");
    let server = EmbeddedServer::start().unwrap();
    let config = Config::from_url(&server.url()).unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        hits_of("tokio", redcache_tokio::connect_lazy(config.clone()).unwrap()).await;
    });
    smol::block_on(hits_of("smol", redcache_smol::connect_lazy(config.clone()).unwrap()));
    let cache = redcache_async_std::connect_lazy(config.clone()).unwrap();
    async_std::task::block_on(hits_of("async-std", cache));
    hits_of_blocking(&redcache_blocking::connect(config).unwrap());
}

async fn hits_of(name: &str, cache: Cache) {
    cache.insert("user:1", "Ada", TTL).await.unwrap();
    cache.get("user:1").await.unwrap();
    check(&format!("get on {name}"), async || cache.get("user:1").await.unwrap()).await;
    let load = || async { Ok::<Option<&str>, String>(None) };
    let call = async || cache.get_with("user:1", TTL, load).await.unwrap();
    check(&format!("get_with on {name}"), call).await;
    let texts: TypedCache<(u64, String), String> = cache.typed("text", Json).build().unwrap();
    let key = (u64::MAX, "a key of usual length, with 50 characters in all".to_owned());
    let load = || async { Ok::<_, String>("Ada".to_owned()) };
    texts.get_with(&key, load).await.unwrap();
    let call = async || texts.get(&key).await.unwrap();
    check(&format!("typed get on {name}"), call).await;
    let call = async || texts.get_with(&key, load).await.unwrap();
    check(&format!("typed get_with on {name}"), call).await;
    cache.close().await;
}

fn hits_of_blocking(cache: &redcache_blocking::Cache) {
    cache.get("user:1").unwrap();
    smol::block_on(async {
        check("get, blocking", async || cache.get("user:1").unwrap()).await;
        let load = || Ok::<Option<&str>, String>(None);
        let call = async || cache.get_with("user:1", TTL, load).unwrap();
        check("get_with, blocking", call).await;
        let texts: redcache::blocking::TypedCache<u64, String> =
            cache.typed("text", Json).build().unwrap();
        texts.get_with(&1, || Ok::<_, String>("Ada".to_owned())).unwrap();
        check("typed get, blocking", async || texts.get(&1).unwrap()).await;
    });
    cache.close();
}

/// An answer that may come from the near cache.
trait IsHit {
    fn is_hit(&self) -> bool;
}

impl IsHit for Answer {
    fn is_hit(&self) -> bool {
        self.source == Source::Near && self.value.as_deref() == Some(b"Ada")
    }
}

impl IsHit for TypedAnswer<String> {
    fn is_hit(&self) -> bool {
        self.source == Source::Near
            && self.value.as_ref().is_some_and(|value| *value.as_str() == *"Ada")
    }
}

/// Count the allocations of many hits, until a count contains nothing but hits.
async fn check<F: Future<Output: IsHit>>(what: &str, mut hit: impl FnMut() -> F) {
    let mut fewest = usize::MAX;
    for _ in 0..ROUNDS {
        let region = Region::new(ALLOCATOR);
        for _ in 0..HITS {
            assert!(hit().await.is_hit(), "{what} is no hit");
        }
        let change = region.change();
        fewest = fewest.min(change.allocations + change.reallocations);
        if fewest == 0 {
            return;
        }
    }
    panic!("{what}: {fewest} allocations for {HITS} hits");
}
