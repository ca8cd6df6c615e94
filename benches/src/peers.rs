//! Clients under measurement: one small file per client, each behind the [`Peer`] trait.
//!
//! # Adding a peer
//!
//! 1. Give it a name: a variant of [`cli::Peer`].
//! 2. Write `peers/its_name.rs` with a type that one task holds, and implement [`Peer`] for it.
//!    Set it up as its documentation recommends, with TCP_NODELAY where available, and list in
//!    [`Peer::WORKLOADS`] only the workloads that it supports.
//! 3. Name it in [`measure`] below and in [`plan`](crate::plan) for its rows of `--all`. Name its
//!    crate in [`versions`](crate::versions).
//!
//! A peer on another runtime also needs an implementation of [`Runtime`].
//! A blocking peer implements the same trait with bodies that block, on
//! [`Threads`](crate::runtime::Threads).

mod fred;
mod moka;
mod quick_cache;
mod redcache;
mod redcache_blocking;
mod redis_rs;
mod redis_rs_sync;
mod rustis;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_driver::Answer;

use crate::cli::{Run, Workload};
use crate::measure::Measurement;
use crate::runtime::{AsyncStd, Runtime, Smol, Tokio};
use crate::server::Server;
use crate::{Failure, cli, workload};

/// One client, held by one task.
pub trait Peer: Sized + Send + 'static {
    /// Runtime of its tasks.
    type Runtime: Runtime;

    /// Value of a read.
    type Value: AsRef<[u8]> + Send;

    /// Workloads that the peer supports.
    const WORKLOADS: &'static [Workload];

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
    /// Number of keys that the near cache must hold, if there is one.
    pub near_keys: usize,
    /// Lifetime of a key in the near cache.
    pub ttl: Duration,
}

impl Setup {
    /// Return the URL for redcache. The near cache has its default size, unless the keys need more.
    fn redcache_url(&self) -> String {
        const DEFAULT: usize = 128 << 20;
        // A value of 64 bytes, its key and the overhead of an entry.
        const PER_KEY: usize = 256;
        let bytes = DEFAULT.max(self.near_keys * PER_KEY);
        format!("redis://{}?near_cache_bytes={bytes}", self.redis)
    }
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

/// Reason for a missing measurement.
#[derive(Debug)]
pub enum NoMeasurement {
    /// The peer does not support the workload, for the given reason.
    Unsupported(String),
    /// The measurement failed.
    Failed(Failure),
}

impl fmt::Display for NoMeasurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(reason) => f.write_str(reason),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for NoMeasurement {}

impl From<Failure> for NoMeasurement {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

type OnTokio = redcache::Redcache<redcache_tokio::Tokio, Tokio>;
type OnAsyncStd = redcache::Redcache<redcache_async_std::AsyncStd, AsyncStd>;
type OnSmol = redcache::Redcache<redcache_smol::Smol, Smol>;

/// Measure one run.
///
/// # Errors
///
/// Fails if the peer does not support the workload, or with the error of the run.
pub fn measure(run: &Run, server: &Server) -> Result<Measurement, NoMeasurement> {
    match run.peer {
        cli::Peer::RedcacheTokio => measure_peer::<OnTokio>(run, server),
        cli::Peer::RedcacheAsyncStd => measure_peer::<OnAsyncStd>(run, server),
        cli::Peer::RedcacheSmol => measure_peer::<OnSmol>(run, server),
        cli::Peer::RedcacheBlocking => measure_peer::<redcache_blocking::Blocking>(run, server),
        cli::Peer::RedisRs => measure_peer::<redis_rs::Plain>(run, server),
        cli::Peer::RedisRsCache => measure_peer::<redis_rs::Cached>(run, server),
        cli::Peer::RedisRsSync => measure_peer::<redis_rs_sync::Sync>(run, server),
        cli::Peer::Fred => measure_peer::<fred::Fred>(run, server),
        cli::Peer::RustisCache => measure_peer::<rustis::Cached>(run, server),
        cli::Peer::Moka => measure_peer::<moka::Moka>(run, server),
        cli::Peer::QuickCache => measure_peer::<quick_cache::QuickCache>(run, server),
    }
}

fn measure_peer<P: Peer>(run: &Run, server: &Server) -> Result<Measurement, NoMeasurement> {
    if !P::WORKLOADS.contains(&run.workload) {
        let can: Vec<_> = P::WORKLOADS.iter().map(|workload| workload.name()).collect();
        let Run { peer, workload, .. } = run;
        let reason = format!("{peer} cannot do {workload}, only {}", can.join(", "));
        return Err(NoMeasurement::Unsupported(reason));
    }
    Ok(workload::run::<P>(run, server)?)
}

/// Count the values among redcache's answers, or return their first error.
fn count_found<E: std::error::Error + Send + Sync + 'static>(
    answers: Vec<Result<Answer, E>>,
) -> Result<usize, Failure> {
    let mut found = 0;
    for answer in answers {
        found += usize::from(answer?.value.is_some());
    }
    Ok(found)
}
