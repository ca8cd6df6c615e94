//! Observers of redcache for the crates `tracing` and `metrics`, one feature each, both on by default.
//!
//! Give one to `Cache::observe`; for both, write an observer that tells the two.

#![forbid(unsafe_code)]

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;
