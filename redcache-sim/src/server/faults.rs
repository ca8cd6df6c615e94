//! The faults that a test has set on a server.

use std::collections::VecDeque;

use super::reply::ReplyError;

/// The ways in which a server may be sick.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) loading: bool,
    pub(super) read_only: bool,
    pub(super) out_of_memory: bool,
    pub(super) busy: bool,
    pub(super) rejections: VecDeque<(String, ReplyError)>,
}

impl Faults {
    /// Takes the error that waits for the next command of this name.
    pub(super) fn take_rejection(&mut self, command: &[u8]) -> Option<ReplyError> {
        let waits = |(name, _): &(String, _)| name.as_bytes().eq_ignore_ascii_case(command);
        let at = self.rejections.iter().position(waits)?;
        self.rejections.remove(at).map(|(_, error)| error)
    }
}
