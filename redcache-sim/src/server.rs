//! A model of one Redis 7 server: keys, expiry, client tracking and redcache's scripts. It may be a node of a [`Cluster`]
//! of such servers, in which each knows of the others what it was told.
//!
//! A [`Server`] has the four kinds of methods that redcache's own engine has. It is *told* of connections, bytes and
//! time; it *wishes*, through [`Server::poll_event`] and [`Server::poll_timeout`], that bytes be sent, that
//! connections end and that it be woken; it answers *questions*; and a test may *disturb* it. After every input,
//! drain the wishes.
//!
//! ```text
//!  handle_bytes ─▶ request ─▶ dispatch ─▶ commands/* ─▶ keyspace
//!                                             │ read, changed
//!  poll_event   ◀─ reply   ◀─────────────── tracking
//! ```
//!
//! What it does not model says so in its reply instead of answering something likely.
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
mod dispatch;
mod disturb;
mod event;
mod faults;
mod input;
mod instance;
mod keyspace;
mod memory;
mod query;
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

pub use self::client::{ClientId, Tracking};
pub use self::cluster::{Cluster, Member};
pub use self::config::{Config, Eviction, HelloSupport};
pub use self::event::Event;
pub use self::instance::{ScriptCall, ScriptEffect, Server};
pub use self::record::{CommandCount, LoggedCommand};
pub use self::replicate::KeyCopy;
pub use self::reply::{Reply, ReplyError};
