//! redcache on plain threads.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use redcache_blocking::{Cache, Key};

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source, count_found};
use crate::runtime::{Threads, block_on};

/// One cache, cloned per thread.
pub(super) struct Blocking {
    cache: Cache,
    ttl: Duration,
}

impl Peer for Blocking {
    type Runtime = Threads;
    type Value = Bytes;

    const WORKLOADS: &'static [Workload] = Workload::ALL;
    const TLS: bool = true;
    const CLUSTER: bool = true;

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let cache = redcache_blocking::connect(setup.redcache_url().as_str())?;
        Ok(Self { cache, ttl: setup.ttl })
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self { cache: self.cache.clone(), ttl: self.ttl })
    }

    async fn read(&mut self, key: &str, source: &Source) -> Result<Bytes, Failure> {
        let load = || Ok::<_, Infallible>(block_on(source.load::<Threads>()));
        let answer = self.cache.get_with(key, self.ttl, load)?;
        answer.value.ok_or_else(|| "a key is missing".into())
    }

    async fn read_many(&mut self, keys: &[String], source: &Source) -> Result<usize, Failure> {
        let load = |missing: Vec<Key>| {
            let value = block_on(source.load::<Threads>());
            Ok::<_, Infallible>(missing.into_iter().map(move |key| (key, value.clone())))
        };
        let answers = self.cache.get_many_with(keys, self.ttl, load)?;
        count_found(answers)
    }
}
