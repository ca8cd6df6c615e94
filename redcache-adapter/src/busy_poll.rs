//! Policy for polling a socket in a loop instead of sleeping until it is readable.
//!
//! A nearby Redis replies sooner than a sleeping thread wakes up, so a lone caller polls for a
//! short time. A distant Redis replies later than that. Each poll without success therefore makes
//! polls rarer, down to one in [`SKIPS_MAX`] waits, so that waiting for a distant server costs next
//! to nothing.

use std::time::{Duration, Instant};

/// The largest number of consecutive waits that sleep at once.
const SKIPS_MAX: u32 = 256;

/// The policy and recent history of one connection.
#[derive(Debug)]
pub struct BusyPoll {
    limit: Duration,
    /// The end of the current poll.
    until: Option<Instant>,
    /// The number of waits that will sleep at once.
    skips: u32,
    /// The number of skips that the next poll without success adds.
    penalty: u32,
}

impl BusyPoll {
    /// Create a policy whose polls last at most `limit`. A limit of zero disables polling.
    pub fn new(limit: Duration) -> Self {
        Self { limit, until: None, skips: 0, penalty: 1 }
    }

    /// Begin a wait. Return `true` if it should poll first.
    pub fn begin(&mut self, now: Instant) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return false;
        }
        self.until = Some(now + self.limit);
        true
    }

    /// Return `true` if the current poll should continue.
    pub fn goes_on(&mut self, now: Instant) -> bool {
        let Some(until) = self.until else { return false };
        if now < until {
            return true;
        }
        self.until = None;
        self.skips = self.penalty;
        self.penalty = (self.penalty * 2).min(SKIPS_MAX);
        false
    }

    /// Record that bytes have arrived. Return `true` if the wait was polling.
    pub fn on_found(&mut self) -> bool {
        let was_sought = self.until.take().is_some();
        if was_sought {
            self.penalty = 1;
        }
        was_sought
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(100);

    /// Count the waits that begin with a poll, none of which succeeds.
    fn failed_polls(poll: &mut BusyPoll, now: Instant, waits: u32) -> u32 {
        (0..waits).map(|_| u32::from(poll.begin(now) && !poll.goes_on(now + LIMIT))).sum()
    }

    #[test]
    fn a_poll_ends_with_the_reply_or_at_its_limit() {
        let (mut poll, now) = (BusyPoll::new(LIMIT), Instant::now());
        assert!(poll.begin(now));
        assert!(poll.goes_on(now + LIMIT / 2));
        assert!(poll.on_found());
        assert!(!poll.goes_on(now + LIMIT / 2));
        assert!(poll.begin(now));
        assert!(!poll.goes_on(now + LIMIT));
    }

    #[test]
    fn failed_polls_become_rare_and_a_reply_makes_them_frequent_again() {
        let (mut poll, now) = (BusyPoll::new(LIMIT), Instant::now());
        failed_polls(&mut poll, now, 10_000);
        let polls = failed_polls(&mut poll, now, SKIPS_MAX * 10);
        assert!((9..=10).contains(&polls), "{polls}");
        while !poll.begin(now) {}
        assert!(poll.on_found());
        assert!(poll.begin(now));
    }

    #[test]
    fn without_a_limit_it_never_polls() {
        assert_eq!(failed_polls(&mut BusyPoll::new(Duration::ZERO), Instant::now(), 10), 0);
    }
}
