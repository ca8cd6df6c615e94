//! The cost that options of the near cache add to its hits, in interleaved rounds.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redcache_core::CallOptions;
use redcache_sim::listen::EmbeddedServer;

use crate::Failure;

/// The options, as parameters of a URL. The first one is the measure of the others.
const OPTIONS: [&str; 3] = ["", "?near_audit_every=1000", "?near_staleness_max=50ms"];

/// Number of rounds. Other load of the machine slows some of them down, so the fastest one counts.
const ROUNDS: usize = 60;

/// Duration of one round. Six probes of a limit of 50 ms fall into it.
const ROUND: Duration = Duration::from_millis(100);

/// Number of hits between two readings of the clock.
const STRIDE: u64 = 1_000;

const TTL: Duration = Duration::from_secs(600);

/// The fastest round with one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionCost {
    /// The option, as the parameter of a URL; empty without one.
    pub option: &'static str,
    /// Nanoseconds per hit.
    pub nanos: f64,
}

/// Measure hits of the blocking cache with each option. Under load, another thread reads from the
/// server through the same connection all the time.
///
/// # Errors
///
/// Fails if the system denies a resource, or a call fails.
pub fn cost_of_options(is_loaded: bool) -> Result<Vec<OptionCost>, Failure> {
    let server = EmbeddedServer::start()?;
    let connect = |option: &str| redcache_blocking::connect(server.url() + option);
    let caches = OPTIONS.map(connect);
    let mut costs = OPTIONS.map(|option| OptionCost { option, nanos: f64::INFINITY });
    for _ in 0..ROUNDS {
        for (cache, cost) in caches.iter().zip(&mut costs) {
            let cache = cache.as_ref().map_err(Clone::clone)?;
            cost.nanos = cost.nanos.min(round(cache, is_loaded)?);
        }
    }
    Ok(costs.to_vec())
}

/// Return the nanoseconds per hit of one round.
fn round(cache: &redcache_blocking::Cache, is_loaded: bool) -> Result<f64, Failure> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = is_loaded.then(|| scope.spawn(|| read_until(cache, &is_over)));
        let measured = measure(cache);
        is_over.store(true, Ordering::Relaxed);
        let read = reader.map_or(Ok(Ok(())), thread::ScopedJoinHandle::join);
        read.map_err(|_| "the reader has panicked")??;
        measured
    })
}

fn measure(cache: &redcache_blocking::Cache) -> Result<f64, Failure> {
    let load = || Ok::<_, Infallible>("value");
    cache.get_with("hit", TTL, load)?;
    let (started, mut hits) = (Instant::now(), 0);
    loop {
        for _ in 0..STRIDE {
            black_box(cache.get_with("hit", TTL, load)?);
        }
        hits += STRIDE;
        let elapsed = started.elapsed();
        if elapsed >= ROUND {
            return Ok(elapsed.as_nanos() as f64 / hits as f64);
        }
    }
}

fn read_until(cache: &redcache_blocking::Cache, is_over: &AtomicBool) -> Result<(), Failure> {
    let far = cache.with_options(CallOptions::new().skip_near());
    while !is_over.load(Ordering::Relaxed) {
        black_box(far.get("far")?);
    }
    Ok(())
}
