//! Memory of an entry of the near cache.

use std::time::Duration;

use redcache_core::Key;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use super::scripted::Scripted;
use crate::Failure;

const VALUE: [u8; 64] = [b'v'; 64];

const TTL: Duration = Duration::from_secs(600);

/// Read keys into a near cache and return the bytes per entry beyond its key and value. The bytes
/// are counted by the allocator, so they include tables and their spare capacity.
///
/// # Errors
///
/// Fails if the engine fails.
pub fn bytes_per_entry(entries: usize) -> Result<f64, Failure> {
    let mut scripted = Scripted::connect(&VALUE, usize::MAX)?;
    // The first read allocates memory that does not depend on the number of keys.
    scripted.get_with(Key::from(format!("key:{:08}", 0)), TTL)?;
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let mut texts = 0;
    for index in 1..=entries {
        let key = Key::from(format!("key:{index:08}"));
        texts += key.as_bytes().len() + VALUE.len();
        scripted.get_with(key, TTL)?;
    }
    let change = region.change();
    let kept = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    Ok((kept - texts as f64) / entries as f64)
}
