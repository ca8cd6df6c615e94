//! The commands of a client between `MULTI` and `EXEC`.

use bytes::Bytes;

/// The queued commands of a client.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) commands: Vec<Vec<Bytes>>,
    /// A command was refused, so nothing will be executed.
    pub(super) is_aborted: bool,
}
