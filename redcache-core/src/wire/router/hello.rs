//! The detection of servers that hang up at `HELLO` instead of refusing it. A hang-up at the
//! `CLIENT` that follows counts as one at `HELLO`, because a connection without `HELLO` sends no
//! `CLIENT` either.
//!
//! | state       | event                    | next                      |
//! |-------------|--------------------------|---------------------------|
//! | `Known`     | two hang-ups at `HELLO`  | `Doubted`                 |
//! | `Doubted`   | ready without `HELLO`    | `Verifying` after a pause |
//! | `Doubted`   | no connection without it | `Known`                   |
//! | `Verifying` | a hang-up at `HELLO`     | `Missing`                 |
//! | `Missing`   | ready without `HELLO`    | `Verifying` after a pause |
//! | `Missing`   | the connection is lost   | `Verifying`               |
//! | `Missing`   | no connection without it | `Known`                   |
//! | any         | an answer to `HELLO`     | `Known`                   |
//!
//! Even three hang-ups may be a coincidence, and a connection without `HELLO` is untracked. So
//! `HELLO` is tried again as long as the server is used without it, after pauses that double.

use std::time::{Duration, Instant};

/// The number of consecutive hang-ups at `HELLO` after which one attempt omits it.
const HANG_UPS_MAX: u8 = 2;

/// The longest pause before a verification, unless `reconnect_delay_max` is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The number of doublings after which every pause has reached its limit.
const DOUBLINGS_MAX: u8 = 31;

/// The knowledge of a node about its server's `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    /// The server has rarely or never hung up at `HELLO`.
    Known { hang_ups: u8 },
    /// The next attempt, or the current connection, omits `HELLO`.
    Doubted { verify_at: Option<Instant> },
    /// The next attempt begins with `HELLO`, after so many verifications in a row that failed.
    Verifying { failed: u8 },
    /// The server has hung up at `HELLO` again. The next attempt, or the current connection, omits
    /// `HELLO`.
    Missing { failed: u8, verify_at: Option<Instant> },
}

impl Hello {
    pub(super) const UNKNOWN: Self = Self::Known { hang_ups: 0 };

    /// Return whether the next handshake omits `HELLO`.
    pub(super) fn is_skipped(self) -> bool {
        matches!(self, Self::Doubted { .. } | Self::Missing { .. })
    }

    /// Record a hang-up before the server has answered `HELLO`.
    pub(super) fn on_hang_up(&mut self) {
        *self = match *self {
            Self::Known { hang_ups } if hang_ups + 1 < HANG_UPS_MAX => {
                Self::Known { hang_ups: hang_ups + 1 }
            }
            Self::Known { .. } => Self::Doubted { verify_at: None },
            Self::Verifying { failed } => {
                Self::Missing { failed: (failed + 1).min(DOUBLINGS_MAX), verify_at: None }
            }
            Self::Doubted { .. } | Self::Missing { .. } => *self,
        };
    }

    /// Record a completed handshake. If it omitted `HELLO`, `HELLO` is tried again after `pause`,
    /// doubled by each verification that has failed.
    pub(super) fn on_ready(&mut self, now: Instant, pause: Duration) {
        *self = match *self {
            Self::Known { .. } | Self::Verifying { .. } => Self::UNKNOWN,
            Self::Doubted { .. } => Self::Doubted { verify_at: Some(now + pause) },
            Self::Missing { failed, .. } => {
                let doubled = pause.saturating_mul(1 << failed).min(PAUSE_MAX.max(pause));
                Self::Missing { failed, verify_at: Some(now + doubled) }
            }
        };
    }

    /// Record the loss of a connection, or of an attempt that got beyond `HELLO`. Another server
    /// may answer from now on, so the pauses begin again.
    pub(super) fn on_lost(&mut self) {
        *self = match *self {
            Self::Doubted { verify_at: Some(_) } | Self::Missing { verify_at: Some(_), .. } => {
                Self::Verifying { failed: 0 }
            }
            Self::Doubted { verify_at: None } | Self::Missing { verify_at: None, .. } => {
                Self::UNKNOWN
            }
            Self::Known { .. } | Self::Verifying { .. } => *self,
        };
    }

    /// Record that a connection without `HELLO` is left, to verify that the server hangs up at it.
    pub(super) fn on_verify(&mut self) {
        *self = match *self {
            Self::Doubted { .. } => Self::Verifying { failed: 0 },
            Self::Missing { failed, .. } => Self::Verifying { failed },
            Self::Known { .. } | Self::Verifying { .. } => *self,
        };
    }

    /// Return the instant at which a connection that begins with `HELLO` is to replace this one.
    pub(super) fn verify_at(self) -> Option<Instant> {
        match self {
            Self::Missing { .. } if mutant!(HelloVerifiedOnce) => None,
            Self::Doubted { verify_at } | Self::Missing { verify_at, .. } => verify_at,
            Self::Known { .. } | Self::Verifying { .. } => None,
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

    /// Return the state after three hang-ups at `HELLO`, the last of them in a verification.
    fn missing() -> Hello {
        let mut hello = Hello::UNKNOWN;
        (0..2).for_each(|_| hello.on_hang_up());
        hello.on_ready(base(), PAUSE);
        assert!(hello.verify_at().is_some());
        hello.on_verify();
        hello.on_hang_up();
        assert!(hello.is_skipped());
        hello
    }

    #[test]
    fn two_hang_ups_lead_to_one_attempt_without_hello() {
        let mut hello = Hello::UNKNOWN;
        hello.on_hang_up();
        assert!(!hello.is_skipped());
        hello.on_hang_up();
        assert!(hello.is_skipped());
        hello.on_lost();
        assert!(!hello.is_skipped(), "the server was down");
    }

    #[test]
    fn a_server_is_verified_before_it_counts_as_one_without_hello() {
        let mut hello = Hello::UNKNOWN;
        (0..2).for_each(|_| hello.on_hang_up());
        hello.on_ready(base(), PAUSE);
        hello.on_lost();
        assert!(!hello.is_skipped());
        hello.on_ready(base(), PAUSE);
        assert_eq!(hello, Hello::UNKNOWN);
    }

    #[test]
    fn a_server_without_hello_is_verified_after_pauses_that_double_up_to_a_limit() {
        let (mut hello, now) = (missing(), base());
        for seconds in
            [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048].into_iter().chain([3600; 40])
        {
            hello.on_ready(now, PAUSE);
            assert_eq!(hello.verify_at(), Some(now + Duration::from_secs(seconds)));
            hello.on_verify();
            assert!(!hello.is_skipped());
            hello.on_hang_up();
            assert!(hello.is_skipped());
        }
    }

    #[test]
    fn a_lost_connection_begins_the_pauses_again() {
        let mut hello = missing();
        for _ in 0..3 {
            hello.on_ready(base(), PAUSE);
            hello.on_verify();
            hello.on_hang_up();
        }
        hello.on_ready(base(), PAUSE);
        hello.on_lost();
        hello.on_hang_up();
        assert_eq!(hello, Hello::Missing { failed: 1, verify_at: None });
    }

    #[test]
    fn three_hang_ups_by_coincidence_leave_a_server_with_hello() {
        let mut hello = missing();
        hello.on_ready(base(), PAUSE);
        hello.on_verify();
        hello.on_ready(base(), PAUSE);
        assert_eq!(hello, Hello::UNKNOWN);
        assert_eq!(hello.verify_at(), None);
    }
}
