//! redis-rs on a cluster, asynchronous and synchronous.

use std::sync::{Mutex, PoisonError};

use redis::cluster::{ClusterClient, ClusterConnection as SyncConnection};
use redis::cluster_async::ClusterConnection;
use redis::{AsyncCommands, Commands};

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::{Threads, Tokio};

const WORKLOADS: &[Workload] = &[Workload::RemoteHit, Workload::RemoteMulti];

/// Plain `GET`, and `MGET` that the client splits by node.
pub(super) struct Plain(ClusterConnection);

impl Peer for Plain {
    type Runtime = Tokio;
    type Value = Vec<u8>;

    const WORKLOADS: &'static [Workload] = WORKLOADS;
    const CLUSTER: bool = true;

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        Ok(Self(setup.redis_rs_cluster()?.get_async_connection().await?))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Vec<u8>, Failure> {
        let value: Option<Vec<u8>> = self.0.get(key).await?;
        value.ok_or_else(|| "a key is missing".into())
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        let values: Vec<Option<Vec<u8>>> = self.0.mget(keys).await?;
        Ok(values.iter().flatten().count())
    }
}

/// The same commands, with a connection to each node per thread.
pub(super) struct Sync {
    client: ClusterClient,
    /// Its type cannot be shared between threads, and the one thread never waits for it.
    connection: Mutex<SyncConnection>,
}

impl Peer for Sync {
    type Runtime = Threads;
    type Value = Vec<u8>;

    const WORKLOADS: &'static [Workload] = WORKLOADS;
    const CLUSTER: bool = true;

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        Self::open(setup.redis_rs_cluster()?)
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Self::open(self.client.clone())
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Vec<u8>, Failure> {
        let value: Option<Vec<u8>> = self.connection().get(key)?;
        value.ok_or_else(|| "a key is missing".into())
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        let values: Vec<Option<Vec<u8>>> = self.connection().mget(keys)?;
        Ok(values.iter().flatten().count())
    }
}

impl Sync {
    fn open(client: ClusterClient) -> Result<Self, Failure> {
        let connection = Mutex::new(client.get_connection()?);
        Ok(Self { client, connection })
    }

    fn connection(&mut self) -> &mut SyncConnection {
        self.connection.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
