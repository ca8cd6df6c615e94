//! The limits of the size of a frame.

/// The deepest nesting that any configuration may allow: decoding and dropping a frame use the
/// stack.
pub(super) const DEPTH_CEILING: usize = 128;

/// The longest payload that any configuration may allow, which is the limit of the servers.
const BULK_CEILING: usize = 512 << 20;

/// The shortest line that every configuration allows, so that any number fits.
const LINE_FLOOR: usize = 32;

/// The limits of one frame of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Aggregates within one another, at most; never more than 128. An attribute counts as one.
    pub depth_max: usize,
    /// Elements of all aggregates of a frame together, at most; a map entry counts as two.
    pub elements_max: usize,
    /// Bytes of one payload, at most; never more than 512 MiB.
    pub bulk_max: usize,
    /// Bytes of one line without its type byte and terminator, at most; never less than 32.
    pub line_max: usize,
}

impl Limits {
    /// Create limits, in the order of the fields.
    pub const fn new(
        depth_max: usize,
        elements_max: usize,
        bulk_max: usize,
        line_max: usize,
    ) -> Self {
        Self { depth_max, elements_max, bulk_max, line_max }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 32, elements_max: 1 << 20, bulk_max: 64 << 20, line_max: 64 << 10 }
    }
}

impl Limits {
    /// Return the limits within the bounds that no configuration lifts.
    pub(super) fn clamped(self) -> Self {
        Self {
            depth_max: self.depth_max.min(DEPTH_CEILING),
            elements_max: self.elements_max,
            bulk_max: self.bulk_max.min(BULK_CEILING),
            line_max: self.line_max.max(LINE_FLOOR),
        }
    }
}
