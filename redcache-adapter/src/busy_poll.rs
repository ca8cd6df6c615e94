//! Policy for polling a socket in a loop instead of sleeping until it is readable.
//!
//! A nearby Redis replies sooner than a sleeping thread wakes up, so a lone caller polls for a
//! short time. A distant Redis replies later than that, so polls without success become rare.
//!
//! A polling thread yields its processor again and again. While all processors are busy, Linux may
//! then run other threads for milliseconds. A sleeping thread would be woken sooner, so an
//! interrupted poll makes polls rare at once.

use std::time::{Duration, Instant};

use crate::poll_backoff::PollBackoff;

/// A poll that takes longer than this multiple of its limit was interrupted by other threads.
const INTERRUPTED: u32 = 4;

/// The policy and recent history of one connection.
#[derive(Debug)]
pub struct BusyPoll {
    limit: Duration,
    /// The end of the current poll.
    until: Option<Instant>,
    backoff: PollBackoff,
}

impl BusyPoll {
    /// Create a policy whose polls last at most `limit`. A limit of zero disables polling.
    pub fn new(limit: Duration) -> Self {
        Self { limit, until: None, backoff: PollBackoff::default() }
    }

    /// Begin a wait. Return `true` if it should poll first.
    pub fn begin(&mut self, now: Instant) -> bool {
        if self.limit.is_zero() || !self.backoff.begin() {
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
        if self.was_interrupted(now, until) {
            self.backoff.on_interrupted();
        } else {
            self.backoff.on_failure();
        }
        false
    }

    /// Record that bytes have arrived. Return `true` if the wait was polling.
    pub fn on_found(&mut self, now: Instant) -> bool {
        let Some(until) = self.until.take() else { return false };
        if self.was_interrupted(now, until) {
            self.backoff.on_interrupted();
        } else {
            self.backoff.on_success();
        }
        true
    }

    fn was_interrupted(&self, now: Instant, until: Instant) -> bool {
        now > until + self.limit * (INTERRUPTED - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(100);

    #[test]
    fn a_poll_ends_with_the_reply_or_at_its_limit() {
        let (mut poll, now) = (BusyPoll::new(LIMIT), Instant::now());
        assert!(poll.begin(now));
        assert!(poll.goes_on(now + LIMIT / 2));
        assert!(poll.on_found(now));
        assert!(!poll.goes_on(now + LIMIT / 2));
        assert!(poll.begin(now));
        assert!(!poll.goes_on(now + LIMIT));
    }

    #[test]
    fn a_failed_poll_makes_the_next_wait_sleep() {
        let (mut poll, now) = (BusyPoll::new(LIMIT), Instant::now());
        assert!(poll.begin(now) && !poll.goes_on(now + LIMIT));
        assert!(!poll.begin(now));
        assert!(poll.begin(now));
    }

    #[test]
    fn a_poll_that_was_interrupted_its_processor_makes_polls_rare() {
        for is_found in [true, false] {
            let (mut poll, now) = (BusyPoll::new(LIMIT), Instant::now());
            assert!(poll.begin(now));
            let late = now + LIMIT * (INTERRUPTED + 1);
            assert!(if is_found { poll.on_found(late) } else { !poll.goes_on(late) });
            assert!((0..100).all(|_| !poll.begin(now)));
        }
    }

    #[test]
    fn without_a_limit_it_never_polls() {
        assert!(!BusyPoll::new(Duration::ZERO).begin(Instant::now()));
    }
}
