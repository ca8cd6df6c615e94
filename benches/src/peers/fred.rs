//! fred, which has no cache: plain `GET` and `MGET`.

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::Builder;
use fred::types::config::{Config, TcpConfig};

use crate::Failure;
use crate::cli::Workload;
use crate::peer::{Peer, Setup, Source};
use crate::runtime::Tokio;

/// One client, cloned per task.
pub(super) struct Fred(Client);

impl Peer for Fred {
    type Runtime = Tokio;
    type Value = Bytes;

    const WORKLOADS: &'static [Workload] = &[Workload::RemoteHit, Workload::RemoteMulti];

    async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let config = Config::from_url(&format!("redis://{}", setup.redis))?;
        let client = Builder::from_config(config)
            .with_connection_config(|config| {
                config.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            })
            .build()?;
        client.init().await?;
        Ok(Self(client))
    }

    async fn fork(&self) -> Result<Self, Failure> {
        Ok(Self(self.0.clone()))
    }

    async fn read(&mut self, key: &str, _: &Source) -> Result<Bytes, Failure> {
        let value: Option<Bytes> = self.0.get(key).await?;
        value.ok_or_else(|| "a key is missing".into())
    }

    async fn read_many(&mut self, keys: &[String], _: &Source) -> Result<usize, Failure> {
        let values: Vec<Option<Bytes>> = self.0.mget(keys.to_vec()).await?;
        Ok(values.iter().flatten().count())
    }
}
