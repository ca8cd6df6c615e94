//! The near cache: values of Redis in this process, which are valid while the server reports their
//! changes.
//!
//! Adapters read it without the engine's lock. The engine is its only writer and writes while it
//! parses the server's stream: a value enters at the position of its reply, an invalidation removes
//! it at the position of its push. Each entry has the epoch in which it was learned. When the
//! server flushes or its connection is lost, a new epoch begins, and all entries become unreachable
//! at once. In a cluster each slot has its own epochs, so an event at one node does not concern the
//! keys of others.
//!
//! An entry may have a companion, an object of a layer above that ends with it.
//!
//! `store` holds the entries, `freshness` records how current they are, `stale` returns expired
//! ones instead of an error, and `batch` looks several keys up.

mod attach;
mod audits;
pub(crate) mod batch;
mod companion;
mod compute_time;
mod content;
mod entry;
mod epochs;
mod freshness;
mod hits;
mod packed;
mod stale;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yielding;

pub use companion::Companion;
#[cfg(test)]
pub(crate) use compute_time::ComputeTime;
#[cfg(test)]
pub(crate) use content::Content;
pub(crate) use entry::Entry;
pub use entry::NearHit;
pub use packed::Time as NearTime;
pub(crate) use stale::{Absence, Staleness};
pub use store::Near;
