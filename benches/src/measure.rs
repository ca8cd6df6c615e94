//! Time per call, and what a whole measurement amounts to.

use std::time::Duration;

/// How long each call took, kept whole: a few hundred thousand numbers sort in milliseconds, and no
/// bucket rounds them.
#[derive(Debug, Default)]
pub struct Samples {
    /// Nanoseconds; a call longer than four seconds counts as that.
    nanos: Vec<u32>,
}

/// What a measurement amounts to.
#[derive(Debug)]
pub struct Measurement {
    /// Calls in total.
    pub ops: usize,
    /// From the moment that all tasks were let go to the end of the last.
    pub elapsed: Duration,
    /// Time per call.
    pub samples: Samples,
    /// How often the loader ran.
    pub loads: u64,
    /// What a stampede took beyond its loader.
    pub added: Option<Duration>,
    /// What the server executed meanwhile.
    pub commands: u64,
    /// Processor time of the server meanwhile.
    pub server: Duration,
    /// The most memory that this process ever held, in KiB; 0 where the system does not tell.
    pub peak_kib: u64,
    /// Distinct keys read.
    pub keys: usize,
}

/// Gives the most memory that this process ever held, in KiB; 0 where the system does not tell.
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

impl Samples {
    /// Makes room, so that recording does not allocate.
    pub fn with_capacity(calls: usize) -> Self {
        Self { nanos: Vec::with_capacity(calls) }
    }

    /// Adds one call.
    pub fn record(&mut self, took: Duration) {
        self.nanos.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Adds what another task recorded.
    pub fn append(&mut self, mut other: Self) {
        self.nanos.append(&mut other.nanos);
    }

    /// Puts the samples in order, for [`Samples::quantile_us`].
    pub fn sort(&mut self) {
        self.nanos.sort_unstable();
    }

    /// Gives the time in microseconds that the given share of calls stayed within; 0 without calls.
    /// The samples must be [sorted](Samples::sort).
    pub fn quantile_us(&self, share: f64) -> f64 {
        let rank = (share * self.nanos.len() as f64).ceil() as usize;
        let nanos = self.nanos.get(rank.max(1) - 1).copied().unwrap_or(0);
        f64::from(nanos) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_nearest_rank() {
        let mut samples = Samples::with_capacity(1000);
        for micros in (1..=1000).rev() {
            samples.record(Duration::from_micros(micros));
        }
        samples.sort();
        let quantiles = [0.5, 0.99, 0.999, 1.0].map(|share| samples.quantile_us(share));
        assert_eq!(quantiles, [500.0, 990.0, 999.0, 1000.0]);
    }

    #[test]
    fn no_samples_have_quantiles_of_zero() {
        assert_eq!(Samples::default().quantile_us(0.5), 0.0);
    }

    #[test]
    fn an_endless_call_counts_as_the_longest() {
        let mut samples = Samples::default();
        samples.record(Duration::from_secs(60));
        assert_eq!(samples.quantile_us(0.5), f64::from(u32::MAX) / 1000.0);
    }
}
