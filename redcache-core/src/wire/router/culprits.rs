//! Commands on which the server hung up repeatedly, the last time while they were alone.
//!
//! During a pause, the same command on the same key fails at once. The pause doubles with each
//! further hang-up. After it, the command is tried alone, so that it costs other commands at most
//! one connection.

use std::time::{Duration, Instant};

use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::protocol::command::Command;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The largest number of remembered commands. Beyond it, the oldest is forgotten.
const CULPRITS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Culprits {
    all: Vec<Culprit>,
}

#[derive(Debug)]
struct Culprit {
    key: Key,
    name: &'static str,
    pause: Duration,
    until: Instant,
}

/// The way in which a command may be sent.
#[derive(Debug)]
pub(super) enum Admission {
    /// Like any other command.
    Free,
    /// Alone, and once.
    Alone,
    /// Not before the end of the pause.
    Refused(Error),
}

impl Culprits {
    pub(super) fn admit(&self, now: Instant, command: &Command) -> Admission {
        match self.place(command).and_then(|place| self.all.get(place)) {
            None => Admission::Free,
            Some(culprit) if culprit.until <= now => Admission::Alone,
            Some(_) => Admission::Refused(Error::new(ErrorKind::Unavailable, reason(command))),
        }
    }

    /// Return whether the server has hung up on another command with this key. Every command with a
    /// key whose value is too long may be a cause.
    pub(super) fn has_key(&self, key: &Key) -> bool {
        self.all.iter().any(|culprit| culprit.key == *key)
    }

    /// Record a hang-up while the command was the only one in flight.
    pub(super) fn on_hang_up(&mut self, now: Instant, command: &Command) {
        let place = self.place(command);
        let before = place.map(|place| self.all.remove(place).pause);
        let pause = before.map_or(PAUSE_FIRST, |pause| (pause * 2).min(PAUSE_MAX));
        if self.all.len() == CULPRITS_MAX {
            self.all.remove(0);
        }
        let (key, name) = (command.key().clone(), command.name());
        self.all.push(Culprit { key, name, pause, until: now + pause });
    }

    /// Record the answer to a command.
    pub(super) fn on_answer(&mut self, command: &Command) {
        if let Some(place) = self.place(command) {
            self.all.remove(place);
        }
    }

    fn place(&self, command: &Command) -> Option<usize> {
        let is_same =
            |culprit: &Culprit| culprit.name == command.name() && culprit.key == *command.key();
        self.all.iter().position(is_same)
    }
}

/// Return the error text for a command on which the server hangs up.
pub(super) fn reason(command: &Command) -> String {
    let name = command.name();
    format!(
        "the server hung up each time it was sent this `{name}`: is the value longer than the \
         server's `proto-max-bulk-len`, or the reply than its `client-output-buffer-limit`?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Command {
        Command::Read { key: Key::from(key), asks_ttl: true }
    }

    #[test]
    fn a_culprit_is_refused_for_a_pause_that_doubles_until_it_is_answered() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let mut now = Instant::now();
        let mut culprits = Culprits::default();
        for pause in [PAUSE_FIRST, PAUSE_FIRST * 2, PAUSE_FIRST * 4] {
            culprits.on_hang_up(now, &read("a"));
            now += pause - Duration::from_millis(1);
            assert!(matches!(culprits.admit(now, &read("a")), Admission::Refused(_)));
            assert!(matches!(culprits.admit(now, &read("b")), Admission::Free));
            let removal = Command::Remove { key: Key::from("a") };
            assert!(matches!(culprits.admit(now, &removal), Admission::Free));
            now += Duration::from_millis(1);
            assert!(matches!(culprits.admit(now, &read("a")), Admission::Alone));
        }
        culprits.on_answer(&read("a"));
        assert!(matches!(culprits.admit(now, &read("a")), Admission::Free));
    }

    #[test]
    fn the_number_of_culprits_is_bounded() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut culprits = Culprits::default();
        for number in 0..=CULPRITS_MAX {
            culprits.on_hang_up(now, &read(&number.to_string()));
        }
        assert_eq!(culprits.all.len(), CULPRITS_MAX);
        assert!(matches!(culprits.admit(now, &read("0")), Admission::Free));
    }
}
