//! The interface of a client under measurement.

use std::fs;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_driver::Answer;
use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::{IntoConnectionInfo as _, TlsCertificates};

use crate::Failure;
use crate::cli::Workload;
use crate::runtime::Runtime;
use crate::tls::TlsPort;

/// One client, held by one task.
pub trait Peer: Sized + Send + 'static {
    /// Runtime of its tasks.
    type Runtime: Runtime;

    /// Value of a read.
    type Value: AsRef<[u8]> + Send;

    /// Workloads that the peer supports.
    const WORKLOADS: &'static [Workload];

    /// Whether the peer is set up for TLS.
    const TLS: bool = false;

    /// Whether the peer is set up for a cluster.
    const CLUSTER: bool = false;

    /// Connect to Redis.
    ///
    /// # Errors
    ///
    /// Fails with the error of the client.
    fn connect(setup: &Setup) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Return a client for another task: a handle of the same connection where the client shares
    /// one between tasks, or else another connection.
    ///
    /// # Errors
    ///
    /// Fails with the error of the client.
    fn fork(&self) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Read a key, and load a missing key from the source if the peer can load.
    ///
    /// # Errors
    ///
    /// Fails with the error of the client, or if the key is missing.
    fn read(
        &mut self,
        key: &str,
        source: &Source,
    ) -> impl Future<Output = Result<Self::Value, Failure>> + Send;

    /// Read keys in one call, load missing keys from the source, and return the number of values.
    ///
    /// # Errors
    ///
    /// Fails with the error of the client.
    fn read_many(
        &mut self,
        keys: &[String],
        source: &Source,
    ) -> impl Future<Output = Result<usize, Failure>> + Send;
}

/// Settings of the connection of a peer.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Address of Redis: `host:port`.
    pub redis: String,
    /// Port to use with TLS, if the connection is encrypted.
    pub tls: Option<TlsPort>,
    /// Whether the address is that of a node of a cluster.
    pub cluster: bool,
    /// Number of keys that the near cache must hold, if there is one.
    pub near_keys: usize,
    /// Lifetime of a key in the near cache.
    pub ttl: Duration,
}

impl Setup {
    /// Return the URL for redcache. The near cache has its default size, unless the keys need more.
    pub(crate) fn redcache_url(&self) -> String {
        const DEFAULT: usize = 128 << 20;
        // A value of 64 bytes, its key and the overhead of an entry.
        const PER_KEY: usize = 256;
        let bytes = DEFAULT.max(self.near_keys * PER_KEY);
        match &self.tls {
            None => {
                let scheme = if self.cluster { "redis-cluster" } else { "redis" };
                format!("{scheme}://{}?near_cache_bytes={bytes}", self.redis)
            }
            Some(TlsPort { port, ca }) => {
                let ca = ca.display();
                format!("rediss://localhost:{port}?near_cache_bytes={bytes}&tls_ca={ca}")
            }
        }
    }

    /// Return a client of redis-rs for the cluster.
    ///
    /// # Errors
    ///
    /// Fails if the address is malformed.
    pub(crate) fn redis_rs_cluster(&self) -> Result<ClusterClient, Failure> {
        let seed = format!("redis://{}/", self.redis).into_connection_info()?;
        Ok(ClusterClient::builder([seed]).tcp_settings(nodelay()).build()?)
    }

    /// Return a client of redis-rs for the server.
    ///
    /// # Errors
    ///
    /// Fails if the certificates cannot be read.
    pub(crate) fn redis_rs_client(&self, options: &str) -> Result<redis::Client, Failure> {
        let nodelay = nodelay();
        let Some(TlsPort { port, ca }) = &self.tls else {
            let url = format!("redis://{}/{options}", self.redis);
            return Ok(redis::Client::open(url.into_connection_info()?.set_tcp_settings(nodelay))?);
        };
        // The only error is that the process has a provider already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url = format!("rediss://localhost:{port}/{options}").into_connection_info()?;
        let root_cert = Some(fs::read(ca)?);
        let certificates = TlsCertificates { client_tls: None, root_cert };
        Ok(redis::Client::build_with_tls(url.set_tcp_settings(nodelay), certificates)?)
    }
}

fn nodelay() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Source of missing values.
#[derive(Debug)]
pub struct Source {
    value: Bytes,
    takes: Duration,
    loads: AtomicU64,
    last: Mutex<Duration>,
}

impl Source {
    /// Create a source that loads the same value each time, after a delay.
    pub fn new(value: Bytes, takes: Duration) -> Self {
        Self { value, takes, loads: AtomicU64::new(0), last: Mutex::default() }
    }

    /// Load one value.
    pub async fn load<R: Runtime>(&self) -> Bytes {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if !self.takes.is_zero() {
            let started = Instant::now();
            R::sleep(self.takes).await;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = started.elapsed();
        }
        self.value.clone()
    }

    /// Return the number of loads so far.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Return the actual duration of the last slow load, which exceeds its timer.
    pub fn last_took(&self) -> Duration {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Count the values among redcache's answers, or return their first error.
pub(crate) fn count_found<E: std::error::Error + Send + Sync + 'static>(
    answers: Vec<Result<Answer, E>>,
) -> Result<usize, Failure> {
    let mut found = 0;
    for answer in answers {
        found += usize::from(answer?.value.is_some());
    }
    Ok(found)
}
