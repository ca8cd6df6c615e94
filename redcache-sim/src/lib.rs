//! A Redis for tests: a server model, an embedded server, and a simulator for redcache.
//!
//! [`server::Server`] models one Redis 7 server without I/O: a state machine that takes bytes and
//! time and returns bytes to send. Equal inputs give equal runs, faster than real time. The
//! contract tests of this workspace send the same probes to the model and to a real server and
//! compare the replies.
//!
//! [`listen::EmbeddedServer`] serves the model on a loopback TCP port, for examples and for tests
//! of applications that use redcache. It is not for production: all keys are in one map behind one
//! lock.
//!
//! [`world`] simulates a whole deployment from one seed: processes that run redcache's engine,
//! links that delay, split and cut, faults of every kind, and virtual time. The server may be a
//! cluster, or a group under Redis Sentinel; or the processes share a namespace that they clear.
//! After each step the simulator checks every [`invariant`]. The program `simulate` runs such
//! worlds by the thousand. [`fuzz`] has the fuzz targets.
//!
//! ```
//! use redcache_sim::listen::EmbeddedServer;
//!
//! let server = EmbeddedServer::start()?;
//! assert!(server.url().starts_with("redis://127.0.0.1:"));
//! # std::io::Result::Ok(())
//! ```

#![forbid(unsafe_code)]

mod check;
mod clock;
mod deque;
pub mod fault;
pub mod fuzz;
mod group;
mod history;
pub mod invariant;
pub mod listen;
mod namespace;
mod options;
mod plan;
mod provider;
mod request;
mod rng;
mod run;
pub mod server;
mod state;
pub mod tally;
mod timeline;
mod wiring;
pub mod world;
