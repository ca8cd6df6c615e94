//! The faults that a test has set.

use std::collections::VecDeque;

use super::reply::ReplyError;

/// The faults of a server.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) loading: bool,
    pub(super) read_only: bool,
    pub(super) out_of_memory: bool,
    pub(super) busy: bool,
    pub(super) rejections: VecDeque<(String, ReplyError)>,
}

impl Faults {
    /// Return the refusal that is due for this command.
    pub(super) fn take_rejection(&mut self, command: &[u8]) -> Option<ReplyError> {
        let waits = |(name, _): &(String, _)| name.as_bytes().eq_ignore_ascii_case(command);
        let at = self.rejections.iter().position(waits)?;
        self.rejections.remove(at).map(|(_, error)| error)
    }
}
