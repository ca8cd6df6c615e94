//! The async driver of redcache, which the adapters for tokio, smol and async-std share.
//!
//! It carries bytes and time between the sockets of a [`Runtime`] and the engine of
//! `redcache-core`, and offers [`Cache`] to the application. It takes no decision about Redis.
//!
//! Applications depend on an adapter, `redcache-tokio` for example, which exports the same types
//! and connects on its runtime. Implement [`Runtime`] to run redcache on another runtime or over
//! another transport, and connect with [`Cache::connect_on`].
//!
//! ```text
//!  Cache ──▶ shared: the engine behind one short lock ◀── socket_task: a task per connection
//!    │                       ▲
//!    └── near hits read the  └── drive: one task, for timeouts and attempts to connect
//!        near cache alone
//! ```

#![forbid(unsafe_code)]

mod any_runtime;
mod cache;
mod call;
mod call_slots;
mod connect_any;
mod connection;
mod drive;
mod face;
mod login;
mod read;
mod refresh;
mod refreshing;
mod runtime;
mod shared;
mod socket_task;
mod sync;
mod watchers;
mod write;
mod write_half;

pub use cache::Cache;
pub use connect_any::connect_any;
pub use redcache_adapter::{address_of, coarse_now};
pub use redcache_core::{
    Address, Answer, BatchResult, BoxError, CallOptions, Config, ConfigBuilder, ConfigError,
    Credentials, CredentialsProvider, Error, ErrorKind, Health, IntoConfig, Key, LOCK_PREFIX,
    LoadError, Loaded, LoginRequest, NOT_FOUND_MARKER, Observer, OnRedisDown, REFRESH_LOCK_PREFIX,
    RefreshOptions, SharedError, Source, Stats, observer,
};
pub use refreshing::RefreshingCache;
pub use runtime::Runtime;

#[cfg(test)]
mod tests;
