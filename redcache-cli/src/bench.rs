//! `redcache bench`: the times of three reads.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redcache_blocking::{Cache, CallOptions, Error, Source};
use serde_json::json;

use crate::arguments::Options;
use crate::exit::{Exit, Failure};
use crate::nodes::connect_cache;
use crate::output::Output;
use crate::probe_key;

/// The TTL of the keys, in case the program is killed.
const TTL: Duration = Duration::from_secs(60);
/// The length of a value in bytes.
const VALUE_LENGTH: usize = 64;
/// The keys that are removed by one call.
const BATCH: usize = 1000;
/// The longest time of one measurement.
const ROUND_MAX: Duration = Duration::from_secs(10);

/// Measure `calls` reads of each kind with keys that begin with `prefix`, and delete the keys.
///
/// # Errors
///
/// Fails if the cache has no connection or a call fails.
pub(crate) fn run(
    options: &Options,
    prefix: &str,
    calls: u32,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let scratch = probe_key::scratch(prefix, "bench")?;
    let (cache, _) = connect_cache(options)?;
    let keys: Vec<String> = (0..calls).map(|number| format!("{scratch}{number}")).collect();
    let measured = measure(&cache, &keys);
    let removed = keys.chunks(BATCH).try_for_each(|keys| cache.remove_many(keys).map(drop));
    let is_tracked = cache.is_tracked();
    cache.close();
    for (name, times) in measured? {
        let line = Summary::of(times);
        output.write(|| line.text(name), || line.json(name))?;
    }
    removed?;
    if !is_tracked {
        let text = "the near cache is off on this server; `redcache doctor` tells why";
        output.write(|| text.to_owned(), || json!({ "note": text }))?;
    }
    Ok(Exit::Good)
}

type Measured = Vec<(&'static str, Vec<Duration>)>;

fn measure(cache: &Cache, keys: &[String]) -> Result<Measured, Error> {
    let value = [b'v'; VALUE_LENGTH];
    let load = || Ok::<_, Infallible>(value.to_vec());
    let misses = timed(keys, |key| {
        cache.get_with(key.as_str(), TTL, load)?;
        Ok(())
    })?;
    let loaded = &keys[..misses.len()];
    let remote = cache.with_options(CallOptions::new().skip_near());
    let hits = timed(loaded, |key| remote.get(key.as_str()).map(drop))?;
    let mut near = Vec::with_capacity(loaded.len());
    // The key was read last, so it is in the near cache if any key is.
    if let Some(key) = loaded.first() {
        remote.get(key.as_str())?;
        let begun = Instant::now();
        while near.len() < loaded.len() && begun.elapsed() < ROUND_MAX {
            let at = Instant::now();
            let answer = cache.get(key.as_str())?;
            let took = at.elapsed();
            if answer.source != Source::Near {
                break;
            }
            near.push(took);
        }
    }
    Ok(vec![("near hit", near), ("remote hit", hits), ("cold miss", misses)])
}

fn timed(
    keys: &[String],
    call: impl Fn(&String) -> Result<(), Error>,
) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::with_capacity(keys.len());
    let begun = Instant::now();
    for key in keys {
        if begun.elapsed() >= ROUND_MAX {
            break;
        }
        let at = Instant::now();
        call(key)?;
        times.push(at.elapsed());
    }
    Ok(times)
}

/// The distribution of the times of one kind of read.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Summary {
    calls: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Summary {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |hundredths: usize| {
            let index = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or_default()
        };
        Self { calls: times.len(), p50: at(50), p99: at(99), max: at(100) }
    }

    fn text(&self, name: &str) -> String {
        if self.calls == 0 {
            return format!("{name:<11} none");
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let (p50, p99, max) = (us(self.p50), us(self.p99), us(self.max));
        format!(
            "{name:<11} p50 {p50:>9.1} us, p99 {p99:>9.1} us, max {max:>9.1} us, {} reads",
            self.calls
        )
    }

    fn json(&self, name: &str) -> serde_json::Value {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        json!({
            "read": name.replace(' ', "_"),
            "calls": self.calls,
            "p50_us": us(self.p50),
            "p99_us": us(self.p99),
            "max_us": us(self.max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_middle_and_the_end() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        let summary = Summary::of(times);
        let us = |it: Duration| it.as_micros();
        assert_eq!((us(summary.p50), us(summary.p99), us(summary.max)), (51, 100, 100));
        assert!(summary.text("near hit").contains("100 reads"));
        assert_eq!(Summary::of(Vec::new()).text("near hit"), "near hit    none");
    }
}
