//! The async driver of redcache: everything that an adapter for one runtime has in common with the others.
//!
//! It carries bytes and time between the sockets of a [`Runtime`] and the engine of `redcache-core`, and gives the
//! application [`Cache`], one async method per call. It decides nothing about Redis.
//!
//! Applications depend on an adapter, `redcache-tokio` for instance, which re-exports all of this with its runtime
//! filled in. Implement [`Runtime`] to run redcache on another runtime or over another transport.
//!
//! ```text
//!  Cache<R> ──▶ shared: engine behind one short lock ◀── conn: a task per socket, bytes in and out
//!     │                       ▲
//!     └── near hits ask the   └── driver: one task, deadlines and dials
//!         near cache alone
//! ```

#![forbid(unsafe_code)]

mod cache;
mod call;
mod conn;
mod driver;
mod refresh;
mod runtime;
mod shared;
mod sync;

pub use cache::Cache;
pub use redcache_adapter::coarse_now;
pub use redcache_core::{
    Address, Answer, BatchResult, BoxError, CallOptions, Config, ConfigBuilder, ConfigError, Error,
    ErrorKind, IntoConfig, Key, LOCK_PREFIX, LoadError, Loaded, NOT_FOUND_MARKER, Notice, Observer,
    OnRedisDown, REFRESH_LOCK_PREFIX, RefreshEvent, RefreshOptions, SharedError, Source, Stats,
};
pub use refresh::RefreshingCache;
pub use runtime::Runtime;

#[cfg(test)]
mod tests;
