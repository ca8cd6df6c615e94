//! A typed cache-aside library for Redis and Valkey, with decoded values in this process and one
//! load across all processes.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use redcache::{Json, Typed, TypedCache};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! # async fn select_user(_: u64) -> std::io::Result<Option<User>> { Ok(None) }
//! # #[cfg(feature = "tokio")]
//! # async fn example() -> Result<(), redcache::BoxError> {
//! let cache = redcache::connect("redis://localhost:6379").await?;
//! let users: TypedCache<u64, User> =
//!     cache.typed("user", Json).ttl(Duration::from_secs(60)).build()?;
//!
//! // Read through the cache. The loader runs only if no process has the value.
//! let user = users.get_with(&42, || select_user(42)).await?.value;
//! // Remove the key after each change of the database.
//! users.remove(&42).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! - [`TypedCache`] has the calls with your types, and [`Cache`] has the calls with bytes. Both
//!   share their connections.
//! - [`Json`] and the other codecs define the form of values in Redis; [`CacheKey`] defines the
//!   names of keys.
//! - [`disabled`] creates a cache without Redis, for tests and as an off switch.
//! - [`ConfigBuilder`] has all settings; each is also a parameter of the URL.
//! - The [README](https://crates.io/crates/redcache) is the guide: calls, settings, guarantees,
//!   limits and costs.
//!
//! # Features
//!
//! | feature | effect |
//! |---|---|
//! | `tokio` (default) | [`connect`], [`connect_lazy`] and [`disabled`] on tokio |
//! | `smol`, `async-std` | the modules `redcache::smol` and `redcache::async_std` with the same functions |
//! | `blocking` | the module `redcache::blocking`, for synchronous code |
//! | `postcard`, `messagepack` | the codecs `Postcard` and `MessagePack` |
//! | `lz4` | the codec `Compressed`, around another one |
//! | `macros` | the attribute `cached` for functions |
//! | `uuid` | UUIDs as keys |
//! | `metrics`, `tracing` | observers for the crates of these names; with `tracing`, spans too |
//! | `tls`, `tls-ring`, `tls-webpki-roots`, `tls-no-provider` | TLS, with the provider aws-lc-rs or ring, with Mozilla's certificates, or with the provider of the process |
//! | `test-util` | the module `redcache::test`, with a Redis for tests |

#![forbid(unsafe_code)]

mod answer;
#[cfg(feature = "async")]
mod async_calls;
#[cfg(feature = "blocking")]
mod blocking_calls;
mod builder;
#[cfg(feature = "macros")]
mod cached;
mod codec;
mod face;
mod key;
mod parsed_key;
mod refreshing;
mod typed;
mod view;

pub use answer::{TypedAnswer, TypedLoaded};
pub use builder::{Typed, TypedCacheBuilder};
pub use bytes;
#[cfg(feature = "macros")]
pub use cached::cached;
#[cfg(feature = "lz4")]
pub use codec::compressed::Compressed;
pub use codec::json::Json;
#[cfg(feature = "messagepack")]
pub use codec::messagepack::MessagePack;
#[cfg(feature = "postcard")]
pub use codec::postcard::Postcard;
pub use codec::{Codec, CodecError};
pub use key::{CacheKey, KeyWriter};
pub use parsed_key::{KeyParts, ParsedKey};
pub use redcache_core::{
    Address, Answer, BatchResult, BlockingCredentialsProvider, BoxError, CallOptions, Config,
    ConfigBuilder, ConfigError, Credentials, CredentialsProvider, Error, ErrorKind, Health,
    IntoConfig, Key, LOCK_PREFIX, LoadError, Loaded, LoginRequest, NOT_FOUND_MARKER, Observer,
    OnRedisDown, Pem, REFRESH_LOCK_PREFIX, RefreshOptions, Servers, SharedError, Source, Stats,
    TlsConfig, observer,
};
#[cfg(feature = "async")]
pub use redcache_driver::{Cache, RefreshingCache, Runtime};
#[cfg(feature = "metrics")]
pub use redcache_observe::Metrics;
#[cfg(feature = "tracing")]
pub use redcache_observe::Tracing;
#[cfg(feature = "tokio")]
pub use redcache_tokio::{Tokio, connect, connect_lazy, disabled};
pub use refreshing::TypedRefreshingCacheOn;
pub use typed::TypedCacheOn;

/// The parts of functions with the attribute [`cached`](macro@cached), for its expansion alone.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __cached {
    #[cfg(feature = "blocking")]
    pub mod blocking {
        pub use crate::cached::blocking_reads::{optional, value};
    }
    pub use crate::cached::reads::{error, optional, owned, value};
    #[cfg(feature = "async")]
    pub use crate::cached::views::AsyncCache;
    #[cfg(feature = "blocking")]
    pub use crate::cached::views::BlockingCache;
    pub use crate::cached::views::{Parts, Views};
}

/// A typed view of an async [`Cache`].
#[cfg(feature = "async")]
pub type TypedCache<K, V, C = Json> = TypedCacheOn<Cache, K, V, C>;

/// A typed view of an async [`Cache`] with a registered loader, whose error is `E`.
#[cfg(feature = "async")]
pub type TypedRefreshingCache<K, V, E, C = Json> = TypedRefreshingCacheOn<Cache, K, V, C, E>;

/// Caches on the runtime smol.
#[cfg(feature = "smol")]
pub mod smol {
    pub use redcache_smol::{Smol, connect, connect_lazy, disabled};
}

/// Caches on the runtime async-std.
#[cfg(feature = "async-std")]
pub mod async_std {
    pub use redcache_async_std::{AsyncStd, connect, connect_lazy, disabled};
}

/// Caches for synchronous code, on threads.
#[cfg(feature = "blocking")]
pub mod blocking {
    pub use redcache_blocking::{Cache, RefreshingCache, connect, connect_lazy, disabled};

    use crate::{Json, TypedCacheOn, TypedRefreshingCacheOn};

    /// A typed view of a blocking [`Cache`].
    pub type TypedCache<K, V, C = Json> = TypedCacheOn<Cache, K, V, C>;

    /// A typed view of a blocking [`Cache`] with a registered loader, whose error is `E`.
    pub type TypedRefreshingCache<K, V, E, C = Json> = TypedRefreshingCacheOn<Cache, K, V, C, E>;
}

/// A Redis for tests of your service.
#[cfg(feature = "test-util")]
pub mod test {
    pub use redcache_sim::listen::EmbeddedServer;
}

/// Compiles the code of the guides with the tests.
#[cfg(all(doctest, feature = "tokio"))]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../guides/from-redis-rs-and-moka.md")]
    struct FromRedisRsAndMoka;

    #[doc = include_str!("../guides/from-cached.md")]
    struct FromCached;

    #[doc = include_str!("../guides/from-go.md")]
    struct FromGo;

    #[cfg(feature = "test-util")]
    #[doc = include_str!("../guides/testing.md")]
    struct Testing;
}
