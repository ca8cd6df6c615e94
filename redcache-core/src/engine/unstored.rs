//! Loaded values that are not stored because the server refuses the lock or the value.

use super::env::Env;
use super::exchange::Exchange;
use super::script_support::forbids_scripts;
use super::sender::Sender;
use crate::api::observer::NotStoredEvent;
use crate::protocol::command::Command;
use crate::protocol::envelope::Stored;
use crate::protocol::reply::{LockReply, ReadReply, Reply};

impl Env {
    /// Report a fetch whose value is not stored because of this reply. The callers get the value.
    /// Refused scripts are reported once, by [`ScriptSupport`](super::script_support).
    pub(crate) fn note_unstored(&mut self, exchange: &Exchange) {
        let Exchange { issued, reply } = exchange;
        let why = match (&issued.command, reply) {
            (
                Command::ReadOrLock { .. },
                Reply::Read(ReadReply {
                    stored: Stored::Missing,
                    lock: LockReply::Refused(why),
                    ..
                }),
            ) => why,
            (
                Command::Lock { .. } | Command::WriteLock { .. } | Command::Publish { .. },
                Reply::Refused(why),
            ) => why,
            _ => return,
        };
        let is_of_fetch = matches!(issued.token.map(Sender::of), Some(Sender::Flight(_)));
        if is_of_fetch && !forbids_scripts(&issued.command, why) {
            self.stats.not_stored += 1;
            let reason = format!("the server refuses to store it: {}", why.0);
            self.observe(|| NotStoredEvent::new(issued.command.key().clone(), reason));
        }
    }
}
