//! Exponential backoff of polls, counted in waits.
//!
//! A poll instead of a sleep is worthwhile if the reply comes soon. Each poll without success
//! therefore makes polls rarer, down to one in [`SKIPS_MAX`] waits, so that waiting for a distant
//! server costs next to nothing. The first success makes them frequent again.

use std::sync::atomic::{AtomicU32, Ordering};

/// The largest number of consecutive waits that sleep at once.
const SKIPS_MAX: u32 = 256;

/// The recent history of polls. Threads may share it.
#[derive(Debug)]
pub struct PollBackoff {
    /// The number of waits that will sleep at once.
    skips: AtomicU32,
    /// The number of skips that the next poll without success adds.
    penalty: AtomicU32,
}

impl Default for PollBackoff {
    fn default() -> Self {
        Self { skips: AtomicU32::new(0), penalty: AtomicU32::new(1) }
    }
}

impl PollBackoff {
    /// Begin a wait. Return `true` if it should poll first.
    pub fn begin(&self) -> bool {
        let less_one = |skips: u32| skips.checked_sub(1);
        self.skips.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).is_err()
    }

    /// Record a poll with success.
    pub fn on_success(&self) {
        // A store takes the cache line from the other threads, so it is left out if possible.
        if self.penalty.load(Ordering::Relaxed) != 1 {
            self.penalty.store(1, Ordering::Relaxed);
        }
    }

    /// Record a poll without success.
    pub fn on_failure(&self) {
        let penalty = self.penalty.load(Ordering::Relaxed);
        self.skips.store(penalty, Ordering::Relaxed);
        self.penalty.store((penalty * 2).min(SKIPS_MAX), Ordering::Relaxed);
    }

    /// Record a poll that other threads have interrupted.
    pub fn on_interrupted(&self) {
        self.skips.store(SKIPS_MAX, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Count the waits that begin with a poll, none of which succeeds.
    fn failed_polls(backoff: &PollBackoff, waits: u32) -> u32 {
        let poll = |_| backoff.begin() && (backoff.on_failure(), true).1;
        u32::try_from((0..waits).filter(|wait| poll(*wait)).count()).unwrap()
    }

    #[test]
    fn failed_polls_become_rare_and_a_success_makes_them_frequent_again() {
        let backoff = PollBackoff::default();
        failed_polls(&backoff, 10_000);
        let polls = failed_polls(&backoff, SKIPS_MAX * 10);
        assert!((9..=10).contains(&polls), "{polls}");
        while !backoff.begin() {}
        backoff.on_success();
        assert!(backoff.begin());
        assert_eq!(failed_polls(&backoff, 3), 2, "one skip between the first two");
    }
}
