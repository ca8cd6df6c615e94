//! The pauses between dial attempts: doubling, capped, with jitter on the upper half.

use std::time::Duration;

use crate::rng::Rng;

const FIRST: Duration = Duration::from_millis(10);

/// The duration of a useful connection that resets the pauses, in multiples of the last pause.
const LASTING: u32 = 10;

/// After so many hang-ups in a row that a command may have caused, the pauses grow again.
const BLAMED_MAX: u8 = 8;

/// The next pause between failed attempts.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    /// The nominal length of the last pause.
    last: Duration,
    max: Duration,
    /// The number of hang-ups in a row that a command may have caused.
    blamed: u8,
}

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self { next: FIRST.min(max), last: Duration::ZERO, max, blamed: 0 }
    }

    /// Return the next pause, between half and all of its nominal length, so that many clients
    /// spread out.
    pub(crate) fn pause(&mut self, rng: &mut Rng) -> Duration {
        let nominal = self.next;
        self.last = nominal;
        self.next = (nominal * 2).min(self.max);
        nominal / 2 + rng.below(nominal / 2)
    }

    /// Handle the loss of a connection that lasted for `lasted`. A connection that outlasted the
    /// longest pause resets the pauses, and so does one that answered commands for much longer than
    /// the last pause. Other connections do not, because a server may accept and hang up, or answer
    /// some commands and violate the protocol with the next.
    pub(crate) fn on_lost(&mut self, lasted: Duration, was_useful: bool) {
        if lasted >= self.max || was_useful && lasted >= self.last * LASTING {
            self.reset();
        }
    }

    /// Take a hang-up that a command may have caused. Up to a limit, the next pause is the first
    /// one, so that the other commands do not wait while the one at fault is found.
    pub(crate) fn on_command_blamed(&mut self) {
        if self.blamed < BLAMED_MAX {
            self.blamed += 1;
            self.next = FIRST.min(self.max);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.blamed = 0;
        self.next = FIRST.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_reset_after_success() {
        let max = Duration::from_secs(2);
        let (mut backoff, mut rng) = (Backoff::new(max), Rng::new(1));
        let mut nominal = FIRST;
        for _ in 0..20 {
            let pause = backoff.pause(&mut rng);
            assert!(nominal / 2 <= pause && pause <= nominal, "{pause:?} of {nominal:?}");
            nominal = (nominal * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.pause(&mut rng) <= FIRST);
    }

    #[test]
    fn only_a_lasting_connection_resets_the_pauses() {
        let max = Duration::from_secs(2);
        let (mut backoff, mut rng) = (Backoff::new(max), Rng::new(1));
        for _ in 0..20 {
            backoff.on_lost(max - Duration::from_millis(1), false);
            backoff.pause(&mut rng);
        }
        assert!(backoff.pause(&mut rng) >= max / 2);
        backoff.on_lost(max, false);
        assert!(backoff.pause(&mut rng) <= FIRST);
    }

    #[test]
    fn hang_ups_that_commands_may_have_caused_keep_the_pauses_short_up_to_a_limit() {
        let max = Duration::from_secs(2);
        let (mut backoff, mut rng) = (Backoff::new(max), Rng::new(1));
        for _ in 0..BLAMED_MAX {
            backoff.on_command_blamed();
            assert!(backoff.pause(&mut rng) <= FIRST);
        }
        for _ in 0..20 {
            backoff.on_command_blamed();
            backoff.pause(&mut rng);
        }
        assert!(backoff.pause(&mut rng) >= max / 2);
    }

    #[test]
    fn a_useful_connection_resets_the_pauses_if_it_lasts_longer_than_they_do() {
        let max = Duration::from_secs(2);
        let (mut backoff, mut rng) = (Backoff::new(max), Rng::new(1));
        for _ in 0..20 {
            backoff.pause(&mut rng);
            backoff.on_lost(FIRST * LASTING - Duration::from_millis(1), true);
        }
        assert!(backoff.pause(&mut rng) >= max / 2);
        backoff.reset();
        for _ in 0..20 {
            assert!(backoff.pause(&mut rng) <= FIRST);
            backoff.on_lost(FIRST * LASTING, true);
        }
    }
}
