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

/// The latest refusals of scripts by the server.
#[derive(Debug, Default)]
pub(crate) struct ScriptSupport {
    /// The instant until which no lock is taken, because the server refused to end one.
    locks_refused_until: Option<Instant>,
    /// The instant until which nothing is refreshed, because the server refused a script.
    scripts_refused_until: Option<Instant>,
    is_announced: bool,
}

impl ScriptSupport {
    /// Return whether a lock may be taken.
    pub(crate) fn allows_locks(&self, now: Instant) -> bool {
        self.locks_refused_until.is_none_or(|until| until <= now)
    }

    /// Return whether a refresh may begin. It needs a script that replaces a value.
    pub(crate) fn allows_refreshes(&self, now: Instant) -> bool {
        self.scripts_refused_until.is_none_or(|until| until <= now)
    }

    /// Record the refusal of a command. Return `true` if it is the first one that forbids locks.
    pub(crate) fn on_refused(&mut self, now: Instant, command: &Command, why: &Refusal) -> bool {
        if !forbids_scripts(command, why) {
            return false;
        }
        self.scripts_refused_until = Some(now + REFUSED_FOR);
        if !ends_lock(command) {
            return false;
        }
        self.locks_refused_until = Some(now + REFUSED_FOR);
        !std::mem::replace(&mut self.is_announced, true)
    }

    /// Forget the refusals, because the login of a new connection may have other permissions.
    pub(crate) fn on_connected(&mut self) {
        *self = Self::default();
    }
}

/// Return whether a command was refused because it is a script.
pub(crate) fn forbids_scripts(command: &Command, why: &Refusal) -> bool {
    command.script().is_some() && (why.forbids_command() || why.is_unknown_command())
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
    }
}
