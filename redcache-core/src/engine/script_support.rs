//! The ability of the server to end locks for this login, by scripts or by native commands. Without
//! it, a lock can neither be replaced by its value nor be released, so none is taken.
//!
//! A lock whose release was refused is released with two commands: a read, and a removal if the key
//! still holds the lock.

use std::time::{Duration, Instant};

use crate::protocol::command::Command;
use crate::protocol::refusal::Refusal;

/// The time for which no lock is taken after a refused script. The next lock then shows whether
/// scripts are allowed again.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The first pause without locks after a release was refused for an unknown reason. The pause
/// doubles with each further refusal.
const DOUBTED_FOR: Duration = Duration::from_secs(1);

/// The latest refusals of scripts by the server.
#[derive(Debug, Default)]
pub(crate) struct ScriptSupport {
    /// The instant until which no lock is taken, because the server refused to end one.
    locks_refused_until: Option<Instant>,
    /// The instant until which nothing is refreshed, because the server refused a script.
    scripts_refused_until: Option<Instant>,
    is_announced: bool,
    are_hang_ups_announced: bool,
    /// The number of releases that were refused for an unknown reason.
    doubts: u32,
}

impl ScriptSupport {
    /// Return whether no refusal forbids to take a lock.
    pub(super) fn allows_locks(&self, now: Instant) -> bool {
        self.locks_refused_until.is_none_or(|until| until <= now)
    }

    /// Return whether no refusal forbids to begin a refresh.
    pub(super) fn allows_refreshes(&self, now: Instant) -> bool {
        self.scripts_refused_until.is_none_or(|until| until <= now)
    }

    /// Record the refusal of a command. Return `true` if it is the first one that forbids locks.
    pub(crate) fn on_refused(&mut self, now: Instant, command: &Command, why: &Refusal) -> bool {
        if !forbids_scripts(command, why) {
            return false;
        }
        let pause = if why.forbids_script() { REFUSED_FOR } else { self.doubt() };
        self.scripts_refused_until = Some(now + pause);
        if !ends_lock(command) {
            return false;
        }
        self.locks_refused_until = Some(now + pause);
        !std::mem::replace(&mut self.is_announced, true)
    }

    fn doubt(&mut self) -> Duration {
        let pause = DOUBTED_FOR.saturating_mul(1 << self.doubts.min(6)).min(REFUSED_FOR);
        self.doubts = self.doubts.saturating_add(1);
        pause
    }

    /// Record that the server hangs up at scripts. Return `true` if this is the first time.
    pub(crate) fn on_hang_ups(&mut self) -> bool {
        !std::mem::replace(&mut self.are_hang_ups_announced, true)
    }

    /// Forget the refusals, because the login of a new connection may have other permissions.
    pub(crate) fn on_connected(&mut self) {
        let are_hang_ups_announced = self.are_hang_ups_announced;
        *self = Self { are_hang_ups_announced, ..Self::default() };
    }
}

/// Return whether a command was refused because it is a script. A lock whose release was refused in
/// unknown words would stay, so these words count, too.
pub(crate) fn forbids_scripts(command: &Command, why: &Refusal) -> bool {
    let is_in_doubt = matches!(command, Command::Release { .. }) && why.is_lasting();
    command.script().is_some() && (why.forbids_script() || is_in_doubt)
}

/// Return whether the command ends or renews a lock. Some servers have native commands for it, so
/// locks may work there although scripts are refused.
fn ends_lock(command: &Command) -> bool {
    match command {
        Command::Publish { .. }
        | Command::Release { .. }
        | Command::Renew { .. }
        | Command::Restore { .. } => true,
        Command::Read { .. }
        | Command::ReadRaw { .. }
        | Command::ReadOrLock { .. }
        | Command::Lock { .. }
        | Command::Replace { .. }
        | Command::WriteLock { .. }
        | Command::Insert { .. }
        | Command::Remove { .. }
        | Command::Touch { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::key::Key;

    #[test]
    fn locks_are_taken_again_after_a_while_or_on_a_new_connection() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let key = Key::from("k");
        let remove = Command::Remove { key: key.clone() };
        let lock = crate::protocol::lock::Locks::new(b"lock:", 0, &[7; 10]).issue();
        let release = Command::Release { key, lock };
        let refusal = |text: &str| Refusal(text.into());
        let noperm = refusal("NOPERM this user has no permissions to run the 'eval' command");
        let mut support = ScriptSupport::default();
        assert!(!support.on_refused(now, &remove, &noperm));
        let touch = Command::Touch { key: Key::from("k"), ttl: Duration::from_secs(1) };
        assert!(support.allows_refreshes(now));
        assert!(!support.on_refused(now, &touch, &noperm));
        assert!(!support.allows_refreshes(now));
        assert!(!support.on_refused(now, &release, &refusal("OOM command not allowed")));
        assert!(support.allows_locks(now));
        assert!(support.on_refused(now, &release, &noperm));
        assert!(!support.on_refused(now, &release, &refusal("ERR unknown command 'EVAL'")));
        assert!(!support.allows_locks(now));
        assert!(support.allows_locks(now + REFUSED_FOR));
        support.on_connected();
        assert!(support.allows_locks(now));
        assert!(support.on_hang_ups());
        support.on_connected();
        assert!(!support.on_hang_ups());
    }

    #[test]
    fn a_refusal_of_the_commands_in_a_script_is_a_refusal_of_scripts() {
        let lock = crate::protocol::lock::Locks::new(b"lock:", 0, &[7; 10]).issue();
        let release = Command::Release { key: Key::from("k"), lock };
        let remove = Command::Remove { key: Key::from("k") };
        for text in [
            "ERR Unknown Redis command called from script script: 26a7, on @user_script:1.",
            "ERR The user executing the script can't run this command or subcommand script: 1",
            "ERR Unknown command called from script script: on @user_script:1.",
            "ERR ACL failure in script: User app has no permissions to run the 'del' command script",
            "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'",
            "unsupported command 'EVALSHA'",
            "ERR unsupported command",
        ] {
            let why = Refusal::of(text.as_bytes());
            assert!(why.forbids_script(), "{text}: {}", why.0);
            assert!(forbids_scripts(&release, &why) && !forbids_scripts(&remove, &why), "{text}");
        }
        for text in [
            "ERR The user executing the script can't access at least one of the keys mentioned",
            "ERR ACL failure in script: No permissions to access a key script: on @user_script:1.",
            "OOM command not allowed when used memory > 'maxmemory'. script: c73c",
            "NOREPLICAS Not enough good replicas to write. script: c73c",
            "WRONGTYPE Operation against a key",
        ] {
            assert!(!forbids_scripts(&release, &Refusal::of(text.as_bytes())), "{text}");
        }
    }

    #[test]
    fn a_release_that_is_refused_in_unknown_words_ends_locks_for_a_pause_that_doubles() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let mut now = Instant::now();
        let lock = crate::protocol::lock::Locks::new(b"lock:", 0, &[7; 10]).issue();
        let release = Command::Release { key: Key::from("k"), lock };
        let mut support = ScriptSupport::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            support.on_refused(now, &release, &Refusal::of(b"scripts are not my thing"));
            now += Duration::from_secs(seconds) - Duration::from_millis(1);
            assert!(!support.allows_locks(now), "{seconds}");
            now += Duration::from_millis(1);
            assert!(support.allows_locks(now), "{seconds}");
        }
    }
}
