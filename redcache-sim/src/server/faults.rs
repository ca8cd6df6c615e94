//! The faults that a test has set.

use std::collections::VecDeque;

use bytes::Bytes;

use super::reply::ReplyError;

/// The faults of a server.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) loading: bool,
    pub(super) read_only: bool,
    pub(super) out_of_memory: bool,
    pub(super) busy: bool,
    /// The server hangs up on these commands if they name this key.
    pub(super) fatal: Option<(Vec<String>, Bytes)>,
    pub(super) rejections: VecDeque<(String, ReplyError)>,
}

impl Faults {
    /// Return whether the server hangs up on a command.
    pub(super) fn is_fatal(&self, args: &[Bytes]) -> bool {
        self.fatal.as_ref().is_some_and(|(commands, key)| {
            let is_it = |name: &String| name.as_bytes().eq_ignore_ascii_case(&args[0]);
            commands.iter().any(is_it) && args[1..].contains(key)
        })
    }

    /// Return the refusal that is due for this command.
    pub(super) fn take_rejection(&mut self, command: &[u8]) -> Option<ReplyError> {
        let waits = |(name, _): &(String, _)| name.as_bytes().eq_ignore_ascii_case(command);
        let at = self.rejections.iter().position(waits)?;
        self.rejections.remove(at).map(|(_, error)| error)
    }
}
