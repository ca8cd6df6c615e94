//! redcache on its async adapters: the same driver, so the same code.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use redcache_driver::{Cache, Key};

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source, count_found};
use crate::runtime::Runtime;

/// One cache, cloned per task. `A` is the runtime as redcache's adapter, `R` the runtime of the
/// benchmark.
pub(super) struct Redcache<A: redcache_driver::Runtime, R> {
    cache: Cache,
    ttl: Duration,
    runtimes: PhantomData<fn() -> (A, R)>,
}

impl<A, R> Peer for Redcache<A, R>
where
    A: redcache_driver::Runtime + Default,
    R: Runtime,
{
    type Runtime = R;
    type Value = Bytes;

    const WORKLOADS: &'static [Workload] = Workload::ALL;
    const TLS: bool = true;
    const CLUSTER: bool = true;

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let cache = Cache::connect_on(A::default(), setup.redcache_url().as_str()).await?;
        Ok(Self { cache, ttl: setup.ttl, runtimes: PhantomData })
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self { cache: self.cache.clone(), ttl: self.ttl, runtimes: PhantomData })
    }

    async fn read(&mut self, key: &str, source: &Source) -> Result<Bytes, Failure> {
        let load = || async { Ok::<_, Infallible>(source.load::<R>().await) };
        let answer = self.cache.get_with(key, self.ttl, load).await?;
        answer.value.ok_or_else(|| "a key is missing".into())
    }

    async fn read_many(&mut self, keys: &[String], source: &Source) -> Result<usize, Failure> {
        let load = async |missing: Vec<Key>| {
            let value = source.load::<R>().await;
            Ok::<_, Infallible>(missing.into_iter().map(move |key| (key, value.clone())))
        };
        let answers = self.cache.get_many_with(keys, self.ttl, load).await?;
        count_found(answers)
    }
}
