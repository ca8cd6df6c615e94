//! The synchronous redis-rs, one connection per thread as its users have it.

use redis::{Client, Commands, Connection};

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::Threads;

/// Plain `GET` and `MGET` on a connection per thread.
pub(super) struct Sync {
    client: Client,
    connection: Connection,
}

impl Peer for Sync {
    type Runtime = Threads;
    type Value = Vec<u8>;

    const WORKLOADS: &'static [Workload] = &[Workload::RemoteHit, Workload::RemoteMulti];
    const TLS: bool = true;

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        Self::open(setup.redis_rs_client("")?)
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Self::open(self.client.clone())
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Vec<u8>, Failure> {
        let value: Option<Vec<u8>> = self.connection.get(key)?;
        value.ok_or_else(|| "a key is missing".into())
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        let values: Vec<Option<Vec<u8>>> = self.connection.mget(keys)?;
        Ok(values.iter().flatten().count())
    }
}

impl Sync {
    fn open(client: Client) -> Result<Self, Failure> {
        let connection = client.get_connection()?;
        Ok(Self { client, connection })
    }
}
