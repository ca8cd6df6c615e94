//! Bytes from a server.

use super::value_memory::ValueMemory;

/// Bytes that were just read; a connection consumes them frame by frame.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    /// The memory that the adapter has filled. Its last byte precedes `bytes`.
    pub(crate) filled: Option<ValueMemory>,
    /// The least number of missing bytes for which memory is lent; `None` if the adapter takes
    /// none.
    pub(crate) lent_min: Option<usize>,
    /// The memory that the adapter fills next. The rest of `bytes` goes there.
    pub(crate) lent: Option<ValueMemory>,
}

impl<'a> Input<'a> {
    /// Return bytes that the connection copies itself.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, filled: None, lent_min: None, lent: None }
    }

    /// Return whether the next byte is this one.
    pub(super) fn is_at(&self, byte: u8) -> bool {
        self.bytes.first() == Some(&byte)
    }
}
