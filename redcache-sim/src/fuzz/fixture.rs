//! The common start of every harness.

use std::time::{Duration, Instant};

use redcache_core::Key;

/// Return one of the three keys.
pub(super) fn key(number: usize) -> Key {
    Key::from(["a", "b", "c"][number % 3])
}

/// Return the origin of virtual time.
pub(super) fn origin() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}
