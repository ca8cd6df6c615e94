//! quick_cache without deadlines, as the lower limit of the cost of a hit.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::Tokio;

/// One cache, shared by all tasks.
pub(super) struct QuickCache(Arc<Cache<String, Bytes>>);

impl Peer for QuickCache {
    type Runtime = Tokio;
    type Value = Bytes;

    const WORKLOADS: &'static [Workload] =
        &[Workload::LocalHit, Workload::LocalMulti, Workload::Stampede];

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Cache::new(setup.near_keys))))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, source: &Source) -> Result<Bytes, Failure> {
        match self.0.get(key) {
            Some(value) => Ok(value),
            None => Ok(self.load(key, source).await),
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

impl QuickCache {
    async fn load(&self, key: &str, source: &Source) -> Bytes {
        let load = async { Ok::<_, Infallible>(source.load::<Tokio>().await) };
        let Ok(value) = self.0.get_or_insert_async(key, load).await;
        value
    }
}
