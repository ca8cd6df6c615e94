//! rustis with its client-side cache.

use std::sync::Arc;

use rustis::cache::{Cache, MokaStore};
use rustis::client::Client;
use rustis::commands::ClientTrackingOptions;
use rustis::resp::BulkString;

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::Tokio;

/// One cache over one client, shared by all tasks.
pub(super) struct Cached(Arc<Cache>);

impl Peer for Cached {
    type Runtime = Tokio;
    type Value = Vec<u8>;

    const WORKLOADS: &'static [Workload] =
        &[Workload::LocalHit, Workload::RemoteHit, Workload::LocalMulti, Workload::RemoteMulti];

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let client = Client::connect(setup.redis.as_str()).await?;
        let store = MokaStore::new(setup.ttl, setup.near_keys as u64);
        let tracking = ClientTrackingOptions::default();
        Ok(Self(Cache::with_store(client, store, tracking).await?))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Vec<u8>, Failure> {
        let value: Option<BulkString> = self.0.get(key).await?;
        Ok(value.ok_or("a key is missing")?.into())
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        let values: Vec<Option<BulkString>> = self.0.mget(keys).await?;
        Ok(values.iter().flatten().count())
    }
}
