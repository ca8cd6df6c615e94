//! The detection of servers that hang up at `HELLO` instead of refusing it.
//!
//! | state      | event                    | next                         |
//! |------------|--------------------------|------------------------------|
//! | `Known`    | two hang-ups at `HELLO`  | `Doubted`                    |
//! | `Doubted`  | ready without `HELLO`    | `Verifying` after a while    |
//! | `Doubted`  | no connection without it | `Known`                      |
//! | `Verifying` | a hang-up at `HELLO`    | `Missing`                    |
//! | `Missing`  | the connection is lost   | `Verifying`                  |
//! | any        | an answer to `HELLO`     | `Known`                      |
//!
//! Two hang-ups may be a coincidence, and a connection without `HELLO` is untracked. So `HELLO` is
//! tried once more soon after the first connection without it.

use std::time::{Duration, Instant};

/// The number of consecutive hang-ups at `HELLO` after which one attempt omits it.
const HANG_UPS_MAX: u8 = 2;

/// The knowledge of a node about its server's `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    /// The server has rarely or never hung up at `HELLO`.
    Known { hang_ups: u8 },
    /// The next attempt, or the current connection, omits `HELLO`.
    Doubted { verify_at: Option<Instant> },
    /// The next attempt begins with `HELLO`; a hang-up is proof.
    Verifying,
    /// The server hangs up at `HELLO`.
    Missing { is_used: bool },
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
            Self::Verifying => Self::Missing { is_used: false },
            Self::Doubted { .. } | Self::Missing { .. } => *self,
        };
    }

    /// Record a completed handshake. In doubt, `HELLO` is tried again after `pause`.
    pub(super) fn on_ready(&mut self, now: Instant, pause: Duration) {
        *self = match *self {
            Self::Known { .. } | Self::Verifying => Self::UNKNOWN,
            Self::Doubted { .. } => Self::Doubted { verify_at: Some(now + pause) },
            Self::Missing { .. } => Self::Missing { is_used: true },
        };
    }

    /// Record the loss of a connection, or of an attempt that got beyond `HELLO`.
    pub(super) fn on_lost(&mut self) {
        *self = match *self {
            Self::Doubted { verify_at: Some(_) } | Self::Missing { is_used: true } => {
                Self::Verifying
            }
            Self::Doubted { verify_at: None } | Self::Missing { is_used: false } => Self::UNKNOWN,
            Self::Known { .. } | Self::Verifying => *self,
        };
    }

    /// Return the instant at which a connection that begins with `HELLO` is to replace this one.
    pub(super) fn verify_at(self) -> Option<Instant> {
        match self {
            Self::Doubted { verify_at } => verify_at,
            Self::Known { .. } | Self::Verifying | Self::Missing { .. } => None,
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
        assert!(hello.verify_at().is_some());
        hello.on_lost();
        assert!(!hello.is_skipped());
        let mut coincidence = hello;
        coincidence.on_ready(base(), PAUSE);
        assert_eq!(coincidence, Hello::UNKNOWN);
        hello.on_hang_up();
        assert!(hello.is_skipped());
        hello.on_ready(base(), PAUSE);
        assert_eq!(hello.verify_at(), None);
    }
}
