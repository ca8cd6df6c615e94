//! The pure sans-IO core of redcache: cache-aside over Redis as one state machine.
//!
//! The core makes every decision and does no I/O: it has no clock, socket, thread or source of
//! randomness. Services depend on an adapter instead: `redcache-tokio`, `redcache-smol`,
//! `redcache-async-std`, or `redcache-blocking` for synchronous code. The adapters re-export the
//! types of this crate's root.
//!
//! The author of an adapter finds the state machine in [`engine`]. An adapter carries bytes and
//! time to an [`Engine`](engine::Engine), and acts on its events, in this loop:
//!
//! 1. Give the engine one input: a call, bytes, or the time.
//! 2. Drain [`poll_event`](engine::Engine::poll_event), and write the bytes of
//!    [`take_transmit`](engine::Engine::take_transmit) to each connection of
//!    [`transmits`](engine::Engine::transmits).
//! 3. Sleep until the next input or [`poll_timeout`](engine::Engine::poll_timeout).
//!
//! [`protocol`] describes the content of the keys in Redis, for other readers and for tests.
//! [`resp`] reads and writes the Redis protocol.

#![forbid(unsafe_code)]

#[macro_use]
mod mutant;

mod api;
pub mod engine;
mod event;
mod flow;
mod near;
pub mod protocol;
pub mod resp;
mod rng;
mod wire;

pub use api::answer::{Answer, Loaded, Source};
pub use api::config::{
    Address, Config, ConfigBuilder, ConfigError, IntoConfig, LOCK_PREFIX, NOT_FOUND_MARKER,
    OnRedisDown, REFRESH_LOCK_PREFIX, Servers, Setting,
};
pub use api::credentials::{Credentials, LoginRequest};
pub use api::credentials_provider::{BlockingCredentialsProvider, CredentialsProvider};
pub use api::error::{BatchResult, BoxError, Error, ErrorKind};
pub use api::health::Health;
pub use api::key::Key;
pub use api::load_error::{LoadError, SharedError};
pub use api::observer::{self, Observer};
pub use api::options::{CallOptions, RefreshOptions};
pub use api::stats::Stats;
pub use api::tls::{Pem, TlsConfig};
#[cfg(redcache_mutants)]
pub use mutant::Mutant;
