//! Commands on which the server hung up repeatedly, the last time while they were alone.
//!
//! During a pause, the same command on the same key fails at once. The pause doubles with each
//! further hang-up. After it, the command is tried alone, so that it costs other commands at most
//! one connection.
//!
//! A proxy may hang up at every script. After prompt hang-ups at small scripts of two keys, with no
//! answer to a script in between, every script fails at once during a longer pause. An answer shows
//! that scripts are allowed, so it takes more keys from then on.

use std::time::{Duration, Instant};

use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::protocol::command::Command;
use crate::wire::issued::Issued;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The largest number of remembered commands. Beyond it, the oldest is forgotten.
const CULPRITS_MAX: usize = 64;
/// The number of keys with hang-ups at scripts after which no script is sent.
const KEYS_MAX: usize = 2;
/// The same once a script was answered. The values of a few keys may be too long for replies, but a
/// proxy may take the server's place.
const KEYS_MAX_ONCE_ANSWERED: usize = 8;
/// The pause during which no script is sent.
const SCRIPTS_PAUSE: Duration = Duration::from_secs(60);
/// The size from which a command of any kind may be too large for the server.
const SMALL_MAX: usize = 64 << 10;
/// A hang-up so long after a script was sent may have any cause.
const AT_ONCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Culprits {
    all: Vec<Culprit>,
    scripts: Scripts,
}

/// The hang-ups at scripts since the last answer to one.
#[derive(Debug, Default)]
struct Scripts {
    /// The different keys, up to the limit.
    keys: Vec<Key>,
    until: Option<Instant>,
    /// A script was answered at any time.
    is_answered: bool,
}

impl Scripts {
    fn keys_max(&self) -> usize {
        if self.is_answered { KEYS_MAX_ONCE_ANSWERED } else { KEYS_MAX }
    }
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
        if command.script().is_some() && !self.scripts.keys.is_empty() {
            return if self.forbid_scripts(now) {
                Admission::Refused(hangs_up_at_scripts())
            } else {
                Admission::Alone
            };
        }
        match self.place(command).and_then(|place| self.all.get(place)) {
            None => Admission::Free,
            Some(culprit) if culprit.until <= now => Admission::Alone,
            Some(_) => Admission::Refused(Error::new(ErrorKind::Unavailable, reason(command))),
        }
    }

    /// Return whether no script is sent, because the server hangs up at each.
    pub(super) fn forbid_scripts(&self, now: Instant) -> bool {
        self.scripts.until.is_some_and(|until| now < until)
    }

    /// Return whether the server has hung up on another command with this key. Every command with a
    /// key whose value is too long may be a cause.
    pub(super) fn has_key(&self, key: &Key) -> bool {
        self.all.iter().any(|culprit| culprit.key == *key)
    }

    /// Return the keys of the remembered commands, oldest first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.all.iter().map(|culprit| &culprit.key)
    }

    /// Record a hang-up while the command was the only one in flight. Return whether no script is
    /// sent from now on.
    pub(super) fn on_hang_up(&mut self, now: Instant, issued: &Issued) -> bool {
        let command = &issued.command;
        self.remember(now, command);
        // A release never waits until it is alone, so it proves nothing by itself.
        let is_alone = !command.releases_lock() || !self.scripts.keys.is_empty();
        let is_at_once = now.saturating_duration_since(issued.sent_at) < AT_ONCE;
        let is_proof = is_alone && is_at_once && issued.size < SMALL_MAX;
        if command.script().is_none() || !is_proof {
            return false;
        }
        let keys_max = self.scripts.keys_max();
        let Scripts { keys, until, .. } = &mut self.scripts;
        if keys.len() < keys_max && !keys.contains(command.key()) {
            keys.push(command.key().clone());
        }
        let is_over = until.is_none_or(|until| until <= now);
        let begins = keys.len() >= keys_max && is_over;
        if begins {
            *until = Some(now + SCRIPTS_PAUSE);
        }
        begins
    }

    fn remember(&mut self, now: Instant, command: &Command) {
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
        if command.script().is_some() {
            self.scripts.keys.clear();
            self.scripts.until = None;
            self.scripts.is_answered = true;
        }
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

fn hangs_up_at_scripts() -> Error {
    let text = "the server hangs up at every script: is there a proxy that does not allow `EVAL`?";
    Error::new(ErrorKind::Unavailable, text)
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
    use crate::protocol::command::Token;
    use crate::protocol::slot::Slot;

    fn issued(now: Instant, command: Command) -> Issued {
        Issued::new(now, Token { sender: 1, slot: 0 }, command, Slot::FIRST)
    }

    fn read(key: &str) -> Command {
        Command::Read { key: Key::from(key), asks_ttl: true }
    }

    #[test]
    fn a_culprit_is_refused_for_a_pause_that_doubles_until_it_is_answered() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let mut now = Instant::now();
        let mut culprits = Culprits::default();
        for pause in [PAUSE_FIRST, PAUSE_FIRST * 2, PAUSE_FIRST * 4] {
            assert!(!culprits.on_hang_up(now, &issued(now, read("a"))));
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
            culprits.on_hang_up(now, &issued(now, read(&number.to_string())));
        }
        assert_eq!(culprits.all.len(), CULPRITS_MAX);
        assert!(matches!(culprits.admit(now, &read("0")), Admission::Free));
    }

    #[test]
    fn after_hang_ups_at_scripts_of_two_keys_no_script_is_sent_until_the_pause_is_over() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let ttl = Duration::from_secs(1);
        let script = |key: &str| Command::Touch { key: Key::from(key), ttl };
        let mut culprits = Culprits::default();
        assert!(!culprits.on_hang_up(now + AT_ONCE, &issued(now, script("late"))));
        assert!(!culprits.on_hang_up(now, &issued(now, script("a"))));
        let mut large = issued(now, script("large"));
        large.size = SMALL_MAX;
        assert!(!culprits.on_hang_up(now, &large));
        assert!(matches!(culprits.admit(now, &script("b")), Admission::Alone));
        assert!(matches!(culprits.admit(now, &read("b")), Admission::Free));
        assert!(culprits.on_hang_up(now, &issued(now, script("b"))));
        let until = now + SCRIPTS_PAUSE;
        assert!(matches!(culprits.admit(now, &script("c")), Admission::Refused(_)));
        assert!(matches!(culprits.admit(until, &script("c")), Admission::Alone));
        assert!(culprits.on_hang_up(until, &issued(until, script("c"))));
        assert!(culprits.forbid_scripts(until));
        culprits.on_answer(&script("d"));
        assert!(!culprits.forbid_scripts(until));
        assert!(matches!(culprits.admit(until, &script("d")), Admission::Free));
    }

    #[test]
    fn once_a_script_was_answered_hang_ups_at_a_few_keys_leave_scripts_allowed() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let ttl = Duration::from_secs(1);
        let script = |key: &str| Command::Touch { key: Key::from(key), ttl };
        let mut culprits = Culprits::default();
        culprits.on_answer(&script("a"));
        for key in ["b", "c", "b", "c", "b", "c", "b", "c"] {
            assert!(!culprits.on_hang_up(now, &issued(now, script(key))));
        }
        assert!(matches!(culprits.admit(now, &script("a")), Admission::Alone));
        culprits.on_answer(&script("a"));
        assert!(matches!(culprits.admit(now, &script("a")), Admission::Free));
        for number in 1..KEYS_MAX_ONCE_ANSWERED {
            let issued = issued(now, script(&number.to_string()));
            assert!(!culprits.on_hang_up(now, &issued), "{number}");
        }
        assert!(culprits.on_hang_up(now, &issued(now, script("last"))));
        assert!(matches!(culprits.admit(now, &script("a")), Admission::Refused(_)));
    }
}
