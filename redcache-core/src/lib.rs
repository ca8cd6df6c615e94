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

mod answer;
mod batch;
mod busy_poll;
mod coarse_clock;
mod command;
mod config;
mod conn;
mod engine;
mod error;
mod event;
mod flights;
mod flow;
mod key;
mod lock;
mod near;
mod observer;
mod options;
mod redirect;
mod refresh;
mod reply;
pub mod resp;
mod rng;
mod router;
mod script;
mod slot;
mod speculation;
mod stats;
mod stored;
mod timers;
mod topology;
mod writers;

pub use answer::{Answer, Loaded, Source};
pub use batch::Batch;
pub use busy_poll::BusyPoll;
pub use coarse_clock::CoarseClock;
pub use config::{
    Address, Config, ConfigBuilder, ConfigError, LOCK_PREFIX, NOT_FOUND_MARKER, OnRedisDown,
    REFRESH_LOCK_PREFIX, Servers,
};
pub use engine::{Engine, Seed, check_ttl};
pub use error::{CacheError, CallError, Error, ErrorKind, LoadFailure};
pub use event::{Event, Notice, Outcome};
pub use flights::OpId;
pub use key::Key;
#[cfg(redcache_mutants)]
pub use mutant::Mutant;
pub use near::{Near, NearHit};
pub use observer::{Observation, Observer, ObserverSlot, RefreshEvent};
pub use options::{CallOptions, FamilyId, LoadOptions, RefreshOptions};
pub use refresh::RefreshPolicy;
pub use router::ConnId;
pub use script::Script;
pub use slot::Slot;
pub use stats::Stats;
pub use stored::{ENVELOPE_PREFIX, Stored, Value, write_envelope};
