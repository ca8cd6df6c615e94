//! Clients under measurement: one small file per client, each behind the [`Peer`] trait.
//!
//! # Adding a peer
//!
//! 1. Give it a name: a variant of [`cli::Peer`].
//! 2. Write `peers/its_name.rs` with a type that one task holds, and implement [`Peer`] for it. Set
//!    it up as its documentation recommends, with TCP_NODELAY where available, and list in
//!    [`Peer::WORKLOADS`] only the workloads that it supports.
//! 3. Name it in [`measure`] below and in [`plan`](crate::plan) for its rows of `--all`. Name its
//!    crate in [`versions`](crate::versions).
//!
//! A peer on another runtime also needs an implementation of [`Runtime`](crate::runtime::Runtime).
//! A blocking peer implements the same trait with bodies that block, on
//! [`Threads`](crate::runtime::Threads).

mod fred;
mod moka;
mod quick_cache;
mod redcache;
mod redcache_blocking;
mod redis_rs;
mod redis_rs_cluster;
mod redis_rs_sync;
mod rustis;

use std::fmt;

use crate::cli::Run;
use crate::measure::Measurement;
use crate::peer::Peer;
use crate::runtime::{AsyncStd, Smol, Tokio};
use crate::server::Server;
use crate::{Failure, cli, workload};

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
        cli::Peer::RedisRs if run.cluster => measure_peer::<redis_rs_cluster::Plain>(run, server),
        cli::Peer::RedisRsSync if run.cluster => {
            measure_peer::<redis_rs_cluster::Sync>(run, server)
        }
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
    if run.tls && !P::TLS {
        return Err(NoMeasurement::Unsupported(format!("{} is not measured over TLS", run.peer)));
    }
    if run.cluster && !P::CLUSTER {
        return Err(NoMeasurement::Unsupported(format!(
            "{} is not measured on a cluster",
            run.peer
        )));
    }
    Ok(workload::run::<P>(run, server)?)
}
