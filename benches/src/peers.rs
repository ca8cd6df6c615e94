//! Who is measured: one small file per client, each behind the [`Peer`] trait.
//!
//! # Adding a peer
//!
//! 1. Give it a name: a variant of [`cli::Peer`].
//! 2. Write `peers/its_name.rs` with a type that one task holds, and implement [`Peer`] for it.
//!    Set it up as its documentation tells a user to, with TCP_NODELAY where that is offered, and
//!    list in [`Peer::WORKLOADS`] only what it really does.
//! 3. Name it in [`measure`] below, in [`plan`](crate::plan) for the rows of `--all` it takes part
//!    in, and its crate in [`versions`](crate::versions).
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

/// One client as one task holds it.
pub trait Peer: Sized + Send + 'static {
    /// What its tasks run on.
    type Runtime: Runtime;

    /// What a read hands its caller.
    type Value: AsRef<[u8]> + Send;

    /// What it can do.
    const WORKLOADS: &'static [Workload];

    /// Connects.
    ///
    /// # Errors
    ///
    /// Passes on the client's own.
    fn connect(setup: &Setup) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Gives another task its own: a handle of the same connection where the client shares one
    /// between tasks, else a connection more.
    ///
    /// # Errors
    ///
    /// Passes on the client's own.
    fn fork(&self) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Reads a key, from the source if it is nowhere and the peer can load.
    ///
    /// # Errors
    ///
    /// Passes on the client's own; a key that is missing is one.
    fn read(
        &mut self,
        key: &str,
        source: &Source,
    ) -> impl Future<Output = Result<Self::Value, Failure>> + Send;

    /// Reads keys in one call, what is nowhere from the source, and counts the values it got.
    ///
    /// # Errors
    ///
    /// Passes on the client's own.
    fn read_many(
        &mut self,
        keys: &[String],
        source: &Source,
    ) -> impl Future<Output = Result<usize, Failure>> + Send;
}

/// What a peer needs to know to connect.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where Redis is: `host:port`.
    pub redis: String,
    /// How many keys its near cache must hold, if it has one.
    pub near_keys: usize,
    /// How long it may keep them.
    pub ttl: Duration,
}

impl Setup {
    /// Where redcache is to connect to: with the near cache that it has by itself, unless the keys need a larger one.
    fn redcache_url(&self) -> String {
        const DEFAULT: usize = 128 << 20;
        // 64 bytes, and what comes with them.
        const PER_KEY: usize = 256;
        let bytes = DEFAULT.max(self.near_keys * PER_KEY);
        format!("redis://{}?near_cache_bytes={bytes}", self.redis)
    }
}

/// Where values come from that are nowhere else.
#[derive(Debug)]
pub struct Source {
    value: Bytes,
    takes: Duration,
    loads: AtomicU64,
    last: Mutex<Duration>,
}

impl Source {
    /// Makes a source that takes its time and always gives the same value.
    pub fn new(value: Bytes, takes: Duration) -> Self {
        Self { value, takes, loads: AtomicU64::new(0), last: Mutex::default() }
    }

    /// Loads one value.
    pub async fn load<R: Runtime>(&self) -> Bytes {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if !self.takes.is_zero() {
            let started = Instant::now();
            R::sleep(self.takes).await;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = started.elapsed();
        }
        self.value.clone()
    }

    /// Counts the loads so far.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Tells how long the last slow load really took: timers are late.
    pub fn last_took(&self) -> Duration {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no measurement.
#[derive(Debug)]
pub enum NoMeasurement {
    /// The peer cannot do this, for the reason given.
    Unsupported(String),
    /// It went wrong.
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

/// Measures one run.
///
/// # Errors
///
/// Says why the peer cannot, or what went wrong.
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

/// Counts the values among redcache's answers, of which the first error is passed on.
fn count_found<E: std::error::Error + Send + Sync + 'static>(
    answers: Vec<Result<Answer, E>>,
) -> Result<usize, Failure> {
    let mut found = 0;
    for answer in answers {
        found += usize::from(answer?.value.is_some());
    }
    Ok(found)
}
