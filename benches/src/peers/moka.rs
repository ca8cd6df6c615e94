//! moka's async cache, for the cost of a hit without Redis, and of coalesced loads.

use bytes::Bytes;
use moka::future::Cache;

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::Tokio;

/// One cache, cloned per task, with a time to live as a cache in front of Redis needs one.
pub(super) struct Moka(Cache<String, Bytes>);

impl Peer for Moka {
    type Runtime = Tokio;
    type Value = Bytes;

    const WORKLOADS: &'static [Workload] =
        &[Workload::LocalHit, Workload::LocalMulti, Workload::Stampede];

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let builder = Cache::builder().max_capacity(setup.near_keys as u64);
        Ok(Self(builder.time_to_live(setup.ttl).build()))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, source: &Source) -> Result<Bytes, Failure> {
        match self.0.get(key).await {
            Some(value) => Ok(value),
            None => Ok(self.0.get_with_by_ref(key, source.load::<Self::Runtime>()).await),
        }
    }

    async fn read_many(&mut self, keys: &[String], source: &Source) -> Result<usize, Failure> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.read(key, source).await?);
        }
        Ok(values.len())
    }
}
