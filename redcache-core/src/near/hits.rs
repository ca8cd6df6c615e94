//! A counter of hits with little contention between threads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The number of threads that have counted a hit.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The counter of this thread. Only the sum of all counters is read.
    static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// A counter that is spread over several cache lines.
#[derive(Debug, Default)]
pub(super) struct HitCounters([HitCounter; 16]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct HitCounter(AtomicU64);

impl HitCounters {
    /// Count hits. Return the previous count of this thread's stripe.
    pub(super) fn add(&self, hits: u64) -> u64 {
        let stripe = STRIPE.with(|stripe| *stripe) % self.0.len();
        self.0[stripe].0.fetch_add(hits, Ordering::Relaxed)
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum()
    }
}
