//! redcache for synchronous code: a cache-aside cache for Redis, with a near cache in this process
//! and one load across all processes, on `std::net` and threads. It needs no async runtime.
//!
//! # Examples
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_blocking::connect("redis://localhost:6379")?;
//! let answer = cache.get_with("user:42", Duration::from_secs(60), || {
//!     // Query the database here. `None` is stored as "not found".
//!     Ok::<_, std::io::Error>(Some("Ada"))
//! })?;
//! println!("{:?} from {}", answer.value, answer.source.as_str());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! - The [README](https://crates.io/crates/redcache-blocking) is the guide: calls, settings,
//!   guarantees, limits and costs.
//! - [`Cache`] has all calls; [`RefreshingCache`] refreshes values in the background.
//! - [`ConfigBuilder`] has all settings; each is also a parameter of the URL.
//! - `examples/quickstart_blocking.rs` is a small service with SQLite.
//! - The crate `redcache` adds typed keys and values; `redcache-sim` has a Redis that runs inside
//!   your tests.
//!
//! # Threads
//!
//! ```text
//!  Cache ──▶ shared: the engine behind one short lock ◀── socket_threads: a reader and a writer
//!    │                       ▲                             per connection
//!    └── near hits read the  └── timer: one thread, for timeouts and attempts to connect
//!        near cache alone
//! ```
//!
//! A cache of a single server runs three threads, however many threads call it; each further node
//! of a cluster adds two. In addition, each background refresh has a thread. All other loaders run
//! on the threads of their callers. A caller's thread writes its command itself if no other command
//! is in flight. Before it sleeps, a lone caller polls for its reply, and one of many yields its
//! processor to other threads a few times; `busy_poll=0` turns both off.
//!
//! Two kinds of application code may run on a thread that other calls wait for: the events of an
//! observer, and the `Drop` of a value or an error. They must not block. A call from them that
//! would wait for its own thread fails with [`InvalidInput`](ErrorKind::InvalidInput).

#![forbid(unsafe_code)]

mod cache;
mod call;
mod call_slots;
mod connection;
mod face;
mod login;
mod read;
mod refresh;
mod refreshing;
mod shared;
mod socket;
mod socket_threads;
mod timer;
mod waiting;
mod write;

pub use cache::{Cache, connect, connect_lazy, disabled};
pub use redcache_core::{
    Address, Answer, BatchResult, BlockingCredentialsProvider, BoxError, CallOptions, Config,
    ConfigBuilder, ConfigError, Credentials, Error, ErrorKind, Health, IntoConfig, Key,
    LOCK_PREFIX, LoadError, Loaded, LoginRequest, NOT_FOUND_MARKER, Observer, OnRedisDown,
    REFRESH_LOCK_PREFIX, RefreshOptions, SharedError, Source, Stats, observer,
};
pub use refreshing::RefreshingCache;
