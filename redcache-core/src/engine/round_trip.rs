//! The measured round trip to Redis, which extends the TTL of locks if the network is too slow for
//! the configured one.
//!
//! If a lock expires before its publication arrives, nothing is stored and every caller loads. So a
//! lock lives for several round trips at least. Heartbeats are samples too, because an idle cache
//! must not keep what a few delayed commands have shown.

use std::time::{Duration, Instant};

/// The number of recent samples. Their minimum contains the least queueing delay.
const SAMPLES: usize = 8;
/// The number of samples before the round trip counts as known.
const SAMPLES_MIN: usize = 3;
/// The least TTL of a lock in round trips. The grant takes half a round trip to arrive. The renewal
/// is sent after half of the TTL, and takes half a round trip.
const LOCK_TRIPS: u32 = 4;

/// Samples of the round trip. No two of them overlap.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    /// The recent samples in nanoseconds. The next one replaces the oldest.
    samples: [u64; SAMPLES],
    /// The number of all samples.
    count: usize,
    last_at: Option<Instant>,
    /// The observer has been notified that locks live longer than configured.
    is_announced: bool,
}

impl RoundTrip {
    /// Record the reply to a request that was sent at `sent_at`. Return the round trip, if the
    /// reply is a sample and there are enough samples.
    pub(crate) fn on_reply(&mut self, sent_at: Instant, now: Instant) -> Option<Duration> {
        if self.last_at.is_some_and(|last| sent_at < last) {
            return None;
        }
        self.last_at = Some(now);
        let sample = now.saturating_duration_since(sent_at).as_nanos();
        self.samples[self.count % SAMPLES] = u64::try_from(sample).unwrap_or(u64::MAX);
        self.count += 1;
        if self.count < SAMPLES_MIN {
            return None;
        }
        let samples = &self.samples[..self.count.min(SAMPLES)];
        samples.iter().min().copied().map(Duration::from_nanos)
    }

    /// Record an extended lock. Return `true` for the first one.
    pub(crate) fn announce(&mut self) -> bool {
        !std::mem::replace(&mut self.is_announced, true)
    }
}

/// Return the least TTL of a lock at this round trip.
pub(crate) fn lock_ttl_min(round_trip: Duration) -> Duration {
    round_trip * LOCK_TRIPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_is_the_least_of_samples_that_do_not_overlap() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.on_reply(at(0), at(400)), None);
        // These commands were sent before the reply of the last sample.
        (1..20).for_each(|ms| assert_eq!(round_trip.on_reply(at(ms), at(400 + ms)), None));
        assert_eq!(round_trip.on_reply(at(400), at(560)), None);
        assert_eq!(round_trip.on_reply(at(600), at(770)), Some(Duration::from_millis(160)));
        for trip in 0..SAMPLES as u64 {
            round_trip.on_reply(at(1000 + 10 * trip), at(1005 + 10 * trip));
        }
        let least = round_trip.on_reply(at(2000), at(2300));
        assert_eq!(least, Some(Duration::from_millis(5)));
    }
}
