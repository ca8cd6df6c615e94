//! Leaves a server alone that does not answer, so that callers are refused at once instead of each waiting in turn.
//!
//! A circuit breaker (M. Nygard, "Release It!", 2007): closed until enough commands in a row went unanswered, then open
//! for a pause, then one command goes through as a probe; its answer closes the breaker, its failure begins another
//! pause.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Breaker {
    /// How many unanswered commands in a row open it; zero keeps it closed for good.
    failures_max: u32,
    pause: Duration,
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, failures: 0, open_until: None }
    }

    /// Whether a command may go to the server. While it is open, the first to ask after each pause may.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = Some(now + self.pause);
                true
            }
        }
    }

    pub(crate) fn on_answer(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    pub(crate) fn on_failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures_max > 0 && self.failures >= self.failures_max {
            self.open_until = Some(now + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn base() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        Instant::now()
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_through_per_pause() {
        let (mut breaker, now) = (Breaker::new(3, PAUSE), base());
        breaker.on_failure(now);
        breaker.on_answer();
        (0..3).for_each(|_| breaker.on_failure(now));
        assert!(!breaker.allows(now + PAUSE / 2));
        assert!(breaker.allows(now + PAUSE));
        assert!(!breaker.allows(now + PAUSE), "one probe is enough");
        breaker.on_answer();
        assert!(breaker.allows(now + PAUSE));
    }

    #[test]
    fn it_stays_closed_when_it_is_off() {
        let (mut breaker, now) = (Breaker::new(0, PAUSE), base());
        (0..100).for_each(|_| breaker.on_failure(now));
        assert!(breaker.allows(now));
    }
}
