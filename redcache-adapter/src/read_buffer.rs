//! The buffer that a face reads a socket into.

/// The size of the buffer. A reply with a value of 64 KiB fits into it, and is copied once.
pub const READ_BUFFER: usize = 128 << 10;

/// After a longer read, a face yields its processor: a large value is coming, and small reads
/// should not wait for a processor until it is there.
pub const LONG_READ: usize = READ_BUFFER / 2;
