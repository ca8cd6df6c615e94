//! redis-rs on its multiplexed connection: the reference, and the same with its client-side cache.

use std::num::NonZeroUsize;

use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{AsyncCommands, AsyncConnectionConfig};

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::Tokio;

/// Plain `GET` and `MGET`.
pub(super) struct Plain(MultiplexedConnection);

impl Peer for Plain {
    type Runtime = Tokio;
    type Value = Vec<u8>;

    const WORKLOADS: &'static [Workload] = &[Workload::RemoteHit, Workload::RemoteMulti];
    const TLS: bool = true;

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let client = setup.redis_rs_client("")?;
        Ok(Self(client.get_multiplexed_async_connection().await?))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Vec<u8>, Failure> {
        read(&mut self.0, key).await
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        read_many(&mut self.0, keys).await
    }
}

/// The same commands through the client-side cache.
pub(super) struct Cached(MultiplexedConnection);

impl Peer for Cached {
    type Runtime = Tokio;
    type Value = Vec<u8>;

    const WORKLOADS: &'static [Workload] =
        &[Workload::LocalHit, Workload::RemoteHit, Workload::LocalMulti, Workload::RemoteMulti];

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let size = NonZeroUsize::new(setup.near_keys).unwrap_or(NonZeroUsize::MIN);
        let cache = CacheConfig::new().set_size(size).set_default_client_ttl(setup.ttl);
        let config = AsyncConnectionConfig::new().set_cache_config(cache);
        let client = setup.redis_rs_client("?protocol=resp3")?;
        Ok(Self(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Vec<u8>, Failure> {
        read(&mut self.0, key).await
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        read_many(&mut self.0, keys).await
    }
}

async fn read(connection: &mut MultiplexedConnection, key: &str) -> Result<Vec<u8>, Failure> {
    let value: Option<Vec<u8>> = connection.get(key).await?;
    value.ok_or_else(|| "a key is missing".into())
}

async fn read_many(
    connection: &mut MultiplexedConnection,
    keys: &[String],
) -> Result<usize, Failure> {
    let values: Vec<Option<Vec<u8>>> = connection.mget(keys).await?;
    Ok(values.iter().flatten().count())
}
