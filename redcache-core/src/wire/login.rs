//! The logins of one connection with credentials of a provider: when to request them, and when to
//! log in again.
//!
//! | state    | input                      | then                                          |
//! |----------|----------------------------|-----------------------------------------------|
//! | `Due`    | its time                   | the provider is asked: `Asked`                |
//! | `Asked`  | credentials                | they are sent: `Sent`                         |
//! | `Asked`  | a failure, or no answer    | `Due` after a pause                           |
//! | `Sent`   | accepted, with an expiry   | `Due` before the expiry                       |
//! | `Sent`   | accepted, without one      | `Over`                                        |
//! | `Sent`   | refused for the first time | `Due` at once: a provider may have an old one |
//! | `Sent`   | refused again              | `Due` after a pause                           |
//!
//! Without a provider, the only state is `Over`.

use std::time::{Duration, Instant};

use crate::api::credentials::Credentials;
use crate::rng::Rng;
use crate::wire::backoff::Backoff;

/// The least time between two logins, however soon the credentials expire.
const RENEW_MIN: Duration = Duration::from_millis(50);

/// The logins of one connection.
#[derive(Debug)]
pub(super) struct Login {
    state: State,
    /// The number of the last request.
    number: u64,
    was_refused: bool,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Due { at: Instant },
    Asked { until: Instant },
    Sent { renew_after: Option<Duration>, given_at: Instant },
    Over,
}

/// A request to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) number: u64,
    /// The server has refused the previous credentials.
    pub(super) was_refused: bool,
}

impl Login {
    /// Begin the logins of a new connection. With a provider, the first request is due.
    pub(super) fn new(now: Instant, has_provider: bool, pause_max: Duration) -> Self {
        Self {
            state: if has_provider { State::Due { at: now } } else { State::Over },
            number: 0,
            was_refused: false,
            backoff: Backoff::new(pause_max),
        }
    }

    /// Return the request that is due. An answer that has not arrived in time counts as a failure.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        timeout: Duration,
        rng: &mut Rng,
    ) -> Option<Question> {
        if self.is_overdue(now) {
            self.on_failure(now, rng);
        }
        match self.state {
            State::Due { at } if at <= now => {
                self.number += 1;
                self.state = State::Asked { until: now + timeout };
                Some(Question { number: self.number, was_refused: self.was_refused })
            }
            State::Due { .. } | State::Asked { .. } | State::Sent { .. } | State::Over => None,
        }
    }

    /// Return the instant at which the next [`ask`](Self::ask) is due.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Due { at } | State::Asked { until: at } => Some(at),
            State::Sent { .. } | State::Over => None,
        }
    }

    /// Return whether the provider has not answered in time.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.state, State::Asked { until } if until <= now)
    }

    /// Return whether the answer to this request is awaited.
    pub(super) fn awaits(&self, number: u64) -> bool {
        matches!(self.state, State::Asked { .. })
            && (self.number == number || mutant!(CredentialsMisdirected))
    }

    /// Handle the credentials, which are sent now.
    pub(super) fn on_credentials(&mut self, now: Instant, credentials: &Credentials) {
        self.state = State::Sent { renew_after: credentials.lifetime(), given_at: now };
    }

    /// Handle a failure of the provider.
    pub(super) fn on_failure(&mut self, now: Instant, rng: &mut Rng) {
        self.state = State::Due { at: now + self.backoff.pause(rng) };
    }

    /// Return whether a refusal by the server now would be the first one.
    pub(super) fn may_ask_again(&self) -> bool {
        matches!(self.state, State::Sent { .. }) && !self.was_refused
    }

    /// Handle the server's answer to a login.
    pub(super) fn on_answered(&mut self, now: Instant, is_accepted: bool, rng: &mut Rng) {
        let State::Sent { renew_after, given_at } = self.state else { return };
        if !is_accepted {
            let pause = if self.was_refused { self.backoff.pause(rng) } else { Duration::ZERO };
            self.was_refused = true;
            self.state = State::Due { at: now + pause };
            return;
        }
        self.was_refused = false;
        self.backoff.reset();
        self.state = match renew_after {
            Some(lifetime) if !mutant!(CredentialsNotRenewed) => {
                // The jitter keeps the connections of a cluster from requesting credentials at the
                // same time.
                let early = lifetime / 10 * 7 + rng.below(lifetime / 10);
                let renew_at = given_at.checked_add(early);
                renew_at.map_or(State::Over, |at| State::Due { at: at.max(now + RENEW_MIN) })
            }
            Some(_) | None => State::Over,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Line {
        login: Login,
        now: Instant,
        rng: Rng,
    }

    impl Line {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
            let now = Instant::now();
            Self { login: Login::new(now, true, SECOND), now, rng: Rng::new(1) }
        }

        fn ask(&mut self) -> Option<Question> {
            self.login.ask(self.now, SECOND, &mut self.rng)
        }

        /// Wait until something is due, and return the time that it took.
        fn wait(&mut self) -> Duration {
            let due = self.login.due_at().unwrap();
            let waited = due.saturating_duration_since(self.now);
            self.now = due;
            waited
        }

        fn answer(&mut self, is_accepted: bool) {
            let credentials = Credentials::password("p").expires_in(100 * SECOND);
            self.login.on_credentials(self.now, &credentials);
            self.login.on_answered(self.now, is_accepted, &mut self.rng);
        }
    }

    #[test]
    fn a_login_is_repeated_before_its_credentials_expire() {
        let mut line = Line::new();
        assert_eq!(line.ask(), Some(Question { number: 1, was_refused: false }));
        line.answer(true);
        assert_eq!(line.ask(), None);
        let waited = line.wait();
        assert!(70 * SECOND <= waited && waited <= 80 * SECOND, "{waited:?}");
        assert_eq!(line.ask(), Some(Question { number: 2, was_refused: false }));
    }

    #[test]
    fn credentials_without_an_expiry_are_kept() {
        let mut line = Line::new();
        line.ask();
        line.login.on_credentials(line.now, &Credentials::password("p"));
        line.login.on_answered(line.now, true, &mut line.rng);
        assert_eq!(line.login.due_at(), None);
    }

    #[test]
    fn refused_credentials_are_asked_for_again_once_and_then_after_a_pause() {
        let mut line = Line::new();
        line.ask();
        line.answer(false);
        assert_eq!(line.ask(), Some(Question { number: 2, was_refused: true }));
        line.answer(false);
        assert_eq!(line.ask(), None);
        assert!(line.wait() > Duration::ZERO);
        assert_eq!(line.ask(), Some(Question { number: 3, was_refused: true }));
        line.answer(true);
        line.wait();
        assert_eq!(line.ask(), Some(Question { number: 4, was_refused: false }));
    }

    #[test]
    fn a_provider_that_hangs_or_fails_is_asked_again_after_a_pause() {
        let mut line = Line::new();
        line.ask();
        assert_eq!(line.wait(), SECOND);
        assert_eq!(line.ask(), None);
        assert!(!line.login.awaits(1), "the answer comes too late");
        line.wait();
        assert_eq!(line.ask().unwrap().number, 2);
        assert!(line.login.awaits(2) && !line.login.awaits(1));
        line.login.on_failure(line.now, &mut line.rng);
        assert_eq!(line.ask(), None);
        line.wait();
        assert_eq!(line.ask().unwrap().number, 3);
    }

    #[test]
    fn a_connection_without_a_provider_never_asks() {
        let Line { now, mut rng, .. } = Line::new();
        let mut login = Login::new(now, false, SECOND);
        assert_eq!(login.ask(now, SECOND, &mut rng), None);
        assert_eq!(login.due_at(), None);
    }
}
