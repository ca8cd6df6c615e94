//! redcache for synchronous code: cache-aside for Redis, with a near cache in this process and one load across the
//! whole fleet, on `std::net` and threads. There is no async runtime in it.
//!
//! # Examples
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let cache = redcache_blocking::Cache::connect("redis://localhost:6379")?;
//! let answer = cache.get_with("user:42", Duration::from_secs(60), || {
//!     // Ask the database; `None` would be remembered as not found.
//!     Ok::<_, std::io::Error>(Some("Ada"))
//! })?;
//! println!("{:?} from {}", answer.value, answer.source.as_str());
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! ```text
//!  Cache ──▶ shared: engine behind one short lock ◀── conn: two threads per connection, one reads, one writes
//!    │                       ▲
//!    └── near hits ask the   └── timer: one thread, deadlines and attempts to connect
//!        near cache alone
//! ```
//!
//! A cache runs four threads, however many call it: these three and one for the application's listener; while values are
//! refreshed in the background, one more for each load of that kind. All other loaders run on the threads of their callers, and a command goes out on its caller's own thread as long as nothing else is under
//! way. No code of the application runs on a thread that others wait for, but for an observer's, which must not block.

#![forbid(unsafe_code)]

mod cache;
mod call;
mod conn;
mod listener;
mod refresh;
mod shared;
mod socket;
mod timer;

pub use cache::Cache;
pub use redcache_core::{
    Address, Answer, BatchResult, BoxError, CallOptions, Config, ConfigBuilder, ConfigError, Error,
    ErrorKind, IntoConfig, Key, LOCK_PREFIX, LoadError, Loaded, NOT_FOUND_MARKER, Notice, Observer,
    OnRedisDown, REFRESH_LOCK_PREFIX, RefreshEvent, RefreshOptions, SharedError, Source, Stats,
};
pub use refresh::RefreshingCache;
