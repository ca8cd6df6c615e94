//! A model of one Redis or Valkey server: keys, expiry, client tracking, transactions, scripts of
//! redcache. It may be a node of a [`Cluster`], with its own view of the others.
//!
//! A [`Server`] has four kinds of methods, like redcache's engine: *inputs* (connections, bytes,
//! time), *events* to carry out after every input ([`Server::poll_event`],
//! [`Server::poll_timeout`]), *queries*, and *disturbances* for tests.
//!
//! ```text
//!  handle_bytes ─▶ request ─▶ dispatch ─▶ commands/* ─▶ keyspace
//!                                             │ read, changed
//!  poll_event   ◀─ reply   ◀─────────────── tracking
//! ```
//!
//! A command or option outside the model is refused with an error that says so.
//!
//! ```
//! use std::time::Instant;
//! use redcache_sim::server::{Config, Event, Server};
//!
//! let now = Instant::now();
//! let mut server = Server::new(now, Config::default());
//! let client = server.connect(now);
//! server.handle_bytes(now, client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
//! assert_eq!(server.poll_event(), Some(Event::Transmit { client, bytes: b"+OK\r\n".to_vec() }));
//! assert_eq!(server.value(0, b"k").as_deref(), Some(&b"v"[..]));
//! ```

mod call;
mod client;
mod clock;
mod cluster;
mod commands;
mod config;
mod dialect;
mod dispatch;
mod disturb;
mod event;
mod faults;
mod input;
mod instance;
mod keyspace;
mod memory;
mod query;
mod queue;
mod record;
mod redirect;
mod replicate;
mod reply;
mod request;
mod rng;
mod script_cache;
mod script_call;
mod script_effects;
#[cfg(test)]
mod tests;
mod tracking;
mod tracking_table;
mod transaction;

pub use self::client::{ClientId, Tracking};
pub use self::cluster::{Cluster, Member};
pub use self::config::{Config, Eviction, HelloSupport, Product};
pub use self::event::Event;
pub use self::instance::{ScriptCall, ScriptEffect, Server};
pub use self::record::{CommandCount, LoggedCommand};
pub use self::replicate::KeyCopy;
pub use self::reply::{Reply, ReplyError};
