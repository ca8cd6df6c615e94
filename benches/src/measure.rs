//! Time per call, and the result of a whole measurement.

use std::time::Duration;

/// The time of each call, without buckets that round it. A few hundred thousand numbers sort in
/// milliseconds.
#[derive(Debug, Default)]
pub struct Samples {
    /// Nanoseconds per call, at most `u32::MAX` (about four seconds).
    nanos: Vec<u32>,
}

/// Result of a measurement.
#[derive(Debug)]
pub struct Measurement {
    /// Calls in total.
    pub ops: usize,
    /// Time from the common start of all tasks to the end of the last task.
    pub elapsed: Duration,
    /// Time per call.
    pub samples: Samples,
    /// Number of runs of the loader.
    pub loads: u64,
    /// Time of a stampede beyond its loader.
    pub added: Option<Duration>,
    /// Number of commands that the server executed during the measurement.
    pub commands: u64,
    /// Processor time of the server during the measurement.
    pub server: Duration,
    /// Peak memory of this process, in KiB; 0 where the system does not report it.
    pub peak_kib: u64,
    /// Distinct keys read.
    pub keys: usize,
}

/// Return the peak memory of this process in KiB, or 0 where the system does not report it.
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

impl Samples {
    /// Reserve space, so that recording does not allocate.
    pub fn with_capacity(calls: usize) -> Self {
        Self { nanos: Vec::with_capacity(calls) }
    }

    /// Add the time of one call.
    pub fn record(&mut self, took: Duration) {
        self.nanos.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Add the samples of another task.
    pub fn append(&mut self, mut other: Self) {
        self.nanos.append(&mut other.nanos);
    }

    /// Sort the samples for [`Samples::quantile_us`].
    pub fn sort(&mut self) {
        self.nanos.sort_unstable();
    }

    /// Return the quantile of the given share in microseconds, or 0 without calls. The samples must
    /// be [sorted](Samples::sort).
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
