//! A Redis that runs inside a test: the model that redcache is simulated against, and an embedded server.
//!
//! [`server::Server`] is a model of one Redis 7 server and, like redcache's core, sans-IO: a state machine that is
//! told of bytes and of time and that asks for bytes to be sent. It is a function of its inputs, so a test or a
//! simulator drives it faster than real time and gets the same run again from the same inputs. Whether it behaves
//! like a real server is not left to belief: the contract tests of this workspace send the same probes to both and
//! compare the bytes.
//!
//! [`listen::EmbeddedServer`] puts the model behind a loopback TCP port, for examples and for tests of applications
//! that use redcache. It is made for that, not for production: it keeps everything in one map behind one lock.
//!
//! [`world`] is a whole world around that model, made from one number: processes that run redcache's engine, links that
//! delay, split and cut, faults of every kind, and time that is not waited for. After each step [`check`] compares what
//! the engines believe with what the model knows. The server of such a world may be a whole cluster. `simulate` runs such worlds by the thousand. [`fuzz`] has what fuzzers
//! throw bytes at.
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
mod history;
pub mod invariant;
pub mod listen;
mod options;
mod plan;
mod request;
mod rng;
pub mod server;
mod state;
pub mod tally;
pub mod world;
