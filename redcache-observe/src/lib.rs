//! Observers of redcache for the crates `tracing` and `metrics`. Each is a feature of the same
//! name; both are on by default.
//!
//! Pass an observer to `Config::builder().observer(…)`; pass a tuple for both:
//!
//! ```
//! # use redcache_core::Config;
//! use redcache_observe::{Metrics, Tracing};
//!
//! let observers = (Metrics::new("users"), Tracing::new("users"));
//! let config = Config::builder().observer(observers).build()?;
//! # Ok::<(), redcache_core::ConfigError>(())
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;
