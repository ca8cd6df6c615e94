//! The pure sans-IO core of redcache: cache-aside over Redis as one state machine.
//!
//! It decides everything and does nothing: no clock, no socket, no thread, no chance of its own. An adapter carries
//! bytes and time to an [`Engine`] and its events back, in a loop that is the same everywhere:
//!
//! 1. give the engine one input: a call, bytes, the time;
//! 2. drain [`Engine::poll_event`], and write what [`Engine::take_transmit`] gives for [`Engine::transmits`];
//! 3. sleep until the next input or [`Engine::poll_timeout`].
//!
//! Services use an adapter: `redcache-tokio`, or `redcache-blocking` for synchronous code.
//!
//! Modules, in reading order: [`engine`](Engine) owns two towers. The flow tower decides what to do (`flow`, `flights`,
//! `writers`, `near`, `refresh`, `timers`, `speculation`); the wire tower knows how to say it (`router`, `conn`). Both speak in words
//! (`command`, `topology`, `reply`, `redirect`, `stored`, `script`, `lock`, `key`, `slot`), which [`resp`] spells as bytes.

#![forbid(unsafe_code)]

#[macro_use]
mod mutant;

mod api;
mod engine;
mod event;
mod flow;
mod near;
mod protocol;
pub mod resp;
mod rng;
mod wire;

pub use api::answer::{Answer, Loaded, Source};
pub use api::config::{
    Address, Config, ConfigBuilder, ConfigError, ENVELOPE_PREFIX, IntoConfig, LOCK_PREFIX,
    NOT_FOUND_MARKER, OnRedisDown, REFRESH_LOCK_PREFIX, Servers, Setting,
};
pub use api::error::{BatchResult, BoxError, Error, ErrorKind};
pub use api::key::Key;
pub use api::load_error::{CallError, LoadError, LoadFailure, SharedError};
pub use api::observer::{self, Observer};
pub use api::options::{CallOptions, LoadOptions, LoaderId, RefreshOptions};
pub use api::stats::Stats;
pub use api::tls::{Pem, TlsConfig};
pub use engine::{Engine, Seed, check_ttl};
pub use event::{Event, Outcome};
pub use flow::call::OpId;
pub use flow::refresh_policy::RefreshPolicy;
#[cfg(redcache_mutants)]
pub use mutant::Mutant;
pub use near::batch::Batch;
pub use near::{Near, NearHit};
pub use protocol::envelope::{Stored, Value, write_envelope};
pub use protocol::script::Script;
pub use protocol::slot::Slot;
pub use wire::router::ConnId;
