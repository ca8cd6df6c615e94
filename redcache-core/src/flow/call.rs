//! Names of calls.

/// Names a call in flight: a slot of the table of calls and a number that the slot never reuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl OpId {
    /// Return a small number that is unique among the calls in flight, for indexing a table.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Return whether the call began after another one, which may have ended.
    pub(crate) fn is_newer_than(self, other: Self) -> bool {
        // Generations count calls, and wrap around after 2^31.
        let since = self.generation.wrapping_sub(other.generation) & (u32::MAX >> 1);
        since != 0 && since < 1 << 30
    }
}

/// One key of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) op: OpId,
    /// The key's position in the call.
    pub(crate) slot: u32,
}
