//! The randomness and the date that an engine starts with.

use std::time::{SystemTime, UNIX_EPOCH};

use redcache_core::Error;
use redcache_core::engine::Seed;

/// Return a new seed from the operating system's generator and the wall clock.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`](redcache_core::ErrorKind::Unavailable) if the operating system has no
/// randomness.
pub fn new_seed() -> Result<Seed, Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(Error::no_randomness)?;
    // With a clock before 1970, only the order of locks in time is lost.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    Ok(Seed::new(random, unix_ms))
}
