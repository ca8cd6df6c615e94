//! A circuit breaker (M. Nygard, "Release It!", 2007) for a server that does not answer.
//!
//! It is closed until enough consecutive commands went unanswered. Then it is open for a pause and
//! rejects commands at once. After the pause, one command passes as a probe: its answer closes the
//! breaker, its failure begins another pause. The answer to a `PING` closes it too.
//!
//! A busy server is not a dead one. A command is no failure if the server has answered another one
//! since the command was issued, and commands that were issued at the same time are one failure, so
//! that a large batch opens no breaker.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Breaker {
    /// The number of consecutive unanswered commands that opens the breaker; zero keeps it closed.
    failures_max: u32,
    pause: Duration,
    failures: u32,
    /// The issue of the latest command that counts as a failure.
    failed_at: Option<Instant>,
    answered_at: Option<Instant>,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, pause: Duration) -> Self {
        Self {
            failures_max,
            pause,
            failures: 0,
            failed_at: None,
            answered_at: None,
            open_until: None,
        }
    }

    /// Return whether a command may pass. An open breaker lets one command pass after each pause.
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

    /// Return whether all commands except probes are rejected.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    pub(crate) fn on_answer(&mut self, now: Instant) {
        self.failures = 0;
        self.answered_at = Some(now);
        self.open_until = None;
    }

    /// Record that a command, issued at `issued_at`, went unanswered.
    pub(crate) fn on_failure(&mut self, now: Instant, issued_at: Instant) {
        let is_busy = self.answered_at.is_some_and(|at| at > issued_at);
        if is_busy || self.failed_at.replace(issued_at) == Some(issued_at) {
            return;
        }
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
        breaker.on_failure(now, now - PAUSE);
        breaker.on_answer(now);
        (0..3).for_each(|command| breaker.on_failure(now + 2 * PAUSE, now + command * PAUSE / 2));
        let now = now + 2 * PAUSE;
        assert!(!breaker.allows(now + PAUSE / 2) && breaker.is_open());
        assert!(breaker.allows(now + PAUSE));
        assert!(!breaker.allows(now + PAUSE), "one probe is enough");
        breaker.on_answer(now + PAUSE);
        assert!(breaker.allows(now + PAUSE) && !breaker.is_open());
    }

    #[test]
    fn it_stays_closed_while_a_busy_server_answers_and_after_one_batch() {
        let (mut breaker, issued_at) = (Breaker::new(3, PAUSE), base());
        (0..100).for_each(|_| breaker.on_failure(issued_at + 2 * PAUSE, issued_at));
        assert!(!breaker.is_open(), "the commands are one batch");
        breaker.on_answer(issued_at + PAUSE);
        for command in 0..100 {
            let issued_at = issued_at + command * PAUSE / 200;
            breaker.on_failure(issued_at + 2 * PAUSE, issued_at);
        }
        assert!(!breaker.is_open(), "the server answers other commands");
    }

    #[test]
    fn it_stays_closed_when_disabled() {
        let (mut breaker, now) = (Breaker::new(0, PAUSE), base());
        (0..100).for_each(|command| breaker.on_failure(now + PAUSE, now + command * PAUSE / 100));
        assert!(breaker.allows(now));
    }
}
