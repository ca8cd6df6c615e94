//! Whether it is worth looking for an answer again and again rather than to sleep until it comes.
//!
//! A Redis nearby answers sooner than a sleeping thread wakes up, so who waits for a lone answer may look for it a
//! while. One further away answers after that while: each look in vain makes the next ones rarer, down to one in
//! [`SKIPS_MAX`] waits, so that waiting for it costs next to nothing.

use std::time::{Duration, Instant};

/// How many waits in a row begin with sleep at most.
const SKIPS_MAX: u32 = 256;

/// Decides for one connection. An adapter asks it; the engine does not.
#[derive(Debug)]
pub struct BusyPoll {
    limit: Duration,
    /// The look that is under way ends then.
    until: Option<Instant>,
    /// How many waits are to sleep at once.
    skips: u32,
    /// How many the next look in vain will add.
    penalty: u32,
}

impl BusyPoll {
    /// Makes one that looks no longer than `limit` at a time; with zero, never.
    pub fn new(limit: Duration) -> Self {
        Self { limit, until: None, skips: 0, penalty: 1 }
    }

    /// Whether to look at the beginning of a wait.
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

    /// Whether to look once more.
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

    /// Something has come. Whether it was looked for.
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

    fn base() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    /// How many of so many waits began with a look, all of them in vain.
    fn looks_in_vain(poll: &mut BusyPoll, now: Instant, waits: u32) -> u32 {
        (0..waits).map(|_| u32::from(poll.begin(now) && !poll.goes_on(now + LIMIT))).sum()
    }

    #[test]
    fn a_look_ends_with_the_answer_or_at_its_limit() {
        let (mut poll, now) = (BusyPoll::new(LIMIT), base());
        assert!(poll.begin(now));
        assert!(poll.goes_on(now + LIMIT / 2));
        assert!(poll.on_found());
        assert!(!poll.goes_on(now + LIMIT / 2));
        assert!(poll.begin(now));
        assert!(!poll.goes_on(now + LIMIT));
    }

    #[test]
    fn looks_in_vain_become_rare_and_an_answer_makes_them_frequent_again() {
        let (mut poll, now) = (BusyPoll::new(LIMIT), base());
        looks_in_vain(&mut poll, now, 10_000);
        let looks = looks_in_vain(&mut poll, now, SKIPS_MAX * 10);
        assert!((9..=10).contains(&looks), "{looks}");
        while !poll.begin(now) {}
        assert!(poll.on_found());
        assert!(poll.begin(now));
    }

    #[test]
    fn without_a_limit_it_never_looks() {
        assert_eq!(looks_in_vain(&mut BusyPoll::new(Duration::ZERO), base(), 10), 0);
    }
}
