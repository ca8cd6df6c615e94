//! Two versions of a program on one namespace, as during a rolling deploy.
//!
//! Each version has two caches with connections and near caches of their own, as two processes
//! have. The number of rounds does not depend on time, unless `REDCACHE_DEPLOY_SECONDS` sets a
//! duration.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redcache::{Json, Typed, TypedCache};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};

/// Longer than the test runs, so that no value is loaded because it has expired.
const TTL: Duration = Duration::from_secs(3600);

const KEYS: u64 = 5;
const CALLERS: usize = 4;
const ROUNDS: usize = 200;

/// The largest number of loads of one version for one key: the first load, the load that replaces
/// the other version's value, and the load for the side key.
const LOADS_MAX: u32 = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New {
    first: String,
    last: String,
}

trait Version: Clone + PartialEq + Serialize + for<'de> Deserialize<'de> + Send + Sync {
    fn of(key: u64) -> Self;
}

impl Version for Old {
    fn of(key: u64) -> Self {
        Self { name: format!("Ada {key}") }
    }
}

impl Version for New {
    fn of(key: u64) -> Self {
        Self { first: "Ada".to_owned(), last: key.to_string() }
    }
}

/// The loads of one version, by key.
type Loads = Arc<Mutex<BTreeMap<u64, u32>>>;

/// One process of a version.
struct Process<V: 'static> {
    view: TypedCache<u64, V>,
    loads: Loads,
}

impl<V: Version> Process<V> {
    async fn start(server: &EmbeddedServer, loads: &Loads) -> Arc<Self> {
        let cache = redcache::connect(server.url()).await.unwrap();
        let view = cache.typed("user", Json).ttl(TTL).build().unwrap();
        Arc::new(Self { view, loads: Arc::clone(loads) })
    }

    /// Read keys one by one and in batches. No call may fail or return another version's value.
    async fn serve(self: Arc<Self>) {
        for _ in 0..ROUNDS {
            for key in 0..KEYS {
                let load = async || {
                    self.note([key]);
                    tokio::task::yield_now().await;
                    Ok::<_, String>(V::of(key))
                };
                let answer = self.view.get_with(&key, load).await.unwrap();
                assert!(answer.value.is_some_and(|value| *value == V::of(key)));
            }
            let load = async |keys: Vec<u64>| {
                self.note(keys.iter().copied());
                Ok::<_, String>(keys.into_iter().map(|key| (key, V::of(key))))
            };
            let answers = self.view.get_many_with(0..KEYS, load).await.unwrap();
            for (key, answer) in (0..).zip(answers) {
                assert!(answer.unwrap().value.is_some_and(|value| *value == V::of(key)));
            }
            tokio::task::yield_now().await;
        }
    }

    fn note(&self, keys: impl IntoIterator<Item = u64>) {
        let mut loads = self.loads.lock().unwrap();
        for key in keys {
            *loads.entry(key).or_default() += 1;
        }
    }
}

#[tokio::test]
async fn versions_with_incompatible_structs_neither_fail_nor_fight() {
    let seconds = std::env::var("REDCACHE_DEPLOY_SECONDS");
    let seconds = seconds.map_or(0, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let server = EmbeddedServer::start().unwrap();
    let (of_old, of_new) = (Loads::default(), Loads::default());
    let old = [Process::start(&server, &of_old).await, Process::start(&server, &of_old).await];
    let new = [Process::start(&server, &of_new).await, Process::start(&server, &of_new).await];
    loop {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            old.iter()
                .for_each(|process| drop(callers.spawn(Process::<Old>::serve(process.clone()))));
            new.iter()
                .for_each(|process| drop(callers.spawn(Process::<New>::serve(process.clone()))));
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        if Instant::now() >= until {
            break;
        }
    }
    for loads in [of_old, of_new] {
        let loads = loads.lock().unwrap();
        assert!(
            loads.len() as u64 == KEYS && loads.values().all(|it| *it <= LOADS_MAX),
            "{loads:?}"
        );
    }
    let replaced: u64 = old.iter().map(|it| it.view.replaced()).sum::<u64>()
        + new.iter().map(|it| it.view.replaced()).sum::<u64>();
    let undecodable: u64 = old.iter().map(|it| it.view.undecodable()).sum::<u64>()
        + new.iter().map(|it| it.view.undecodable()).sum::<u64>();
    // Each version replaces the other's value of a key once per TTL.
    assert!((KEYS..=2 * KEYS).contains(&replaced), "{replaced}");
    assert!(undecodable >= replaced, "{undecodable}");
}
