//! The scripts that the server of one connection knows.

use super::awaited::Form;
use crate::protocol::script::Script;

/// The scripts whose source was sent on a connection.
#[derive(Debug, Default)]
pub(super) struct SentScripts {
    /// One bit for each script whose source was sent.
    sent: u8,
    /// For each script, the number of unanswered commands that carry its source.
    unanswered: [u32; Script::ALL.len()],
}

impl SentScripts {
    /// Return the form in which to send a script. The first use on a connection carries the source,
    /// which costs bytes but no round trip; later ones carry its hash.
    pub(super) fn form(&mut self, script: Option<Script>) -> Form {
        let Some(script) = script.filter(|script| self.sent & script.bit() == 0) else {
            return Form::Hash;
        };
        self.sent |= script.bit();
        self.unanswered[script as usize] += 1;
        Form::Source
    }

    /// Record that a command that carried a source is answered.
    pub(super) fn on_source_answered(&mut self, script: Script) {
        self.unanswered[script as usize] -= 1;
    }

    /// Record that the server has forgotten a script. The next command carries its source, unless
    /// an unanswered one already does.
    pub(super) fn on_unknown(&mut self, script: Script) {
        if self.unanswered[script as usize] == 0 {
            self.sent &= !script.bit();
        }
    }
}
