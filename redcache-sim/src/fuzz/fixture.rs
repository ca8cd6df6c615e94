//! What every fuzzing harness starts from.

use std::time::{Duration, Instant};

use redcache_core::Key;

/// The keys of every rig.
pub(super) fn key(number: usize) -> Key {
    Key::from(["a", "b", "c"][number % 3])
}

/// The origin of virtual time; it shows nowhere.
pub(super) fn origin() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}
